"""A user's script for mypy, as strict as it gets: what is misspelt below is an error, and nothing else.

Nothing runs it: mypy reports an error that is not found as an unused "ignore".
"""

from collections.abc import Iterator
from typing import assert_type

import numpy as np

import fastnn
from fastnn.callbacks import Checkpoint, EarlyStopping
from fastnn.sklearn import PerturbationClassifier, PerturbationRegressor

X, y = np.zeros((4, 2)), np.array([0, 1, 2, 0])
network = fastnn.mlp(2, 3, 3, hidden="tanh", output="softmax", seed=0)
layers: list[fastnn.Dense] = [fastnn.Dense(3, "relu"), fastnn.Dense(1, "identity")]
other = fastnn.Network(2, layers, dtype="float32", init="standard_normal")
trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(0.01))
history = trainer.fit(X, y, epochs=3, callbacks=[EarlyStopping("loss"), Checkpoint("run.safetensors")])
assert_type(history, fastnn.History)


def load() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield X, y


trainer.fit(load, epochs=3)
trainer.fit(load())
trainer.fit([(X, y), (X, y, y)], epochs=3)
assert_type(trainer.evaluate(X, y).loss, float)
fastnn.gradient(network, X, y, loss="categorical_cross_entropy", method=fastnn.Perturbation(scheme="central"))
model = PerturbationClassifier((10,), random_state=0)
assert_type(model.fit(X, y), PerturbationClassifier)
labels = model.predict(X)
assert_type(trainer.learning_rate, float)

fastnn.Trainer(other, loss="mse ")  # type: ignore[arg-type]
fastnn.Dense(3, "gelo")  # type: ignore[arg-type]
fastnn.mlp(2, 1, hidden="softmax")  # type: ignore[arg-type]
fastnn.Conv2D(3, 3, "relu", padding="some")  # type: ignore[arg-type]
fastnn.Perturbation(scheme="centered")  # type: ignore[arg-type]
PerturbationClassifier(solver="lbfgs")  # type: ignore[arg-type]
PerturbationRegressor(loss="log_loss")  # type: ignore[arg-type]
fastnn.callbacks.EarlyStopping(restore_best_weights=True)  # type: ignore[call-arg]
EarlyStopping(mode="least")  # type: ignore[arg-type]
fastnn.Trainer(other, metrics=["r3"])  # type: ignore[list-item]
fastnn.Trainer(other, lr=0.1)  # type: ignore[call-arg]
trainer.lr = 0.1  # type: ignore[attr-defined]
trainer.batch_size = 8  # type: ignore[misc]
network.fit(X, y)  # type: ignore[attr-defined]
missing = labels.shap  # type: ignore[attr-defined]
