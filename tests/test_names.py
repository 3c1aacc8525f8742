"""What users of scikit-learn, Keras and PyTorch type first: it works, or the message has the name that it has here."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn._support import names

X, LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 2]


def make_network():
    return fastnn.mlp(2, 4, 3, hidden="tanh", output="softmax", seed=0)


def make_trainer(**options):
    return fastnn.Trainer(make_network(), loss="categorical_cross_entropy", **options)


# What is typed, and what the message has.
TYPED = {
    # on a network
    "network.fit(X, y)": (lambda: make_network().fit(X, LABELS), "training is fastnn.Trainer"),
    "network.compile()": (lambda: make_network().compile(loss="mse"), "loss and optimizer are the trainer's"),
    "network.score": (lambda: make_network().score(X, LABELS), "evaluate"),
    "network.evaluate": (lambda: make_network().evaluate(X, LABELS), r"fastnn.Trainer\(.*evaluate"),
    "network.predict_proba": (lambda: make_network().predict_proba(X), "predict.X. has the probabilities"),
    "network.predict_classes": (lambda: make_network().predict_classes(X), "predict_labels"),
    "network.parameters()": (lambda: make_network().parameters(), "network.weights"),
    "network.get_weights()": (lambda: make_network().get_weights(), "network.weights"),
    "network.set_weights()": (lambda: make_network().set_weights([]), "network.weights = "),
    "network.state_dict()": (lambda: make_network().state_dict(), "fastnn.load"),
    "network.count_params()": (lambda: make_network().count_params(), "n_parameters"),
    "network.coefs_": (lambda: make_network().coefs_, r"network.weights\[::2\]"),
    "network.add": (lambda: make_network().add(fastnn.Dense(2, "relu")), "layers are given at once"),
    "network.eval()": (lambda: make_network().eval(), "no mode"),
    "network.to('cuda')": (lambda: make_network().to("cuda"), "CPU"),
    "network.backward()": (lambda: make_network().backward(), "fastnn.gradient"),
    "network.forwards": (lambda: make_network().forwards, "did you mean 'forward'"),
    "network.xyz": (lambda: make_network().xyz, "'xyz'$"),
    "layers[0].weights": (lambda: make_network().layers[0].weights, "weights are the network's"),
    "layers[0].units": (lambda: make_network().layers[0].units, "did you mean 'n_units'|n_units"),
    # on a trainer
    "trainer.lr": (lambda: make_trainer().lr, "did you mean 'learning_rate'"),
    "trainer.score": (lambda: make_trainer().score(X, LABELS), "evaluate"),
    "trainer.partial_fit": (lambda: make_trainer().partial_fit(X, LABELS), "fit again"),
    "trainer.compile()": (lambda: make_trainer().compile(), "arguments"),
    "trainer.predict_proba": (lambda: make_trainer().predict_proba(X), "probabilities"),
    "trainer.model": (lambda: make_trainer().model, "did you mean 'network'|network"),
    "trainer.loss_curve_": (lambda: make_trainer().loss_curve_, "history.loss"),
    "trainer.weights": (lambda: make_trainer().weights, "network.weights"),
    "trainer.load": (lambda: make_trainer().load("a"), "resume"),
    # on a history
    "history.history": (lambda: make_trainer().history.history, "to_dict"),
    "history.val_loss": (lambda: make_trainer().history.val_loss, "validation_loss"),
    "history.acc": (lambda: make_trainer().history.acc, "accuracy"),
    # arguments
    "Trainer(lr=)": (lambda: make_trainer(lr=0.1), "optimizer=fastnn.SGD"),
    "Trainer(learning_rate=)": (lambda: make_trainer(learning_rate=0.1), "optimizer=fastnn.SGD"),
    "Trainer(epochs=)": (lambda: make_trainer(epochs=3), "epochs are fit's"),
    "fit(metrics=)": (lambda: make_trainer().fit(X, LABELS, metrics=["accuracy"]), "said to the trainer"),
    "Trainer(random_state=)": (lambda: make_trainer(random_state=0), "did you mean 'seed'"),
    "Trainer(weight_decay=)": (lambda: make_trainer(weight_decay=0.1), "weight decay is the optimizer's"),
    "Trainer(solver=)": (lambda: make_trainer(solver="adam"), "optimizer=fastnn.Adam"),
    "Trainer(early_stopping=)": (lambda: make_trainer(early_stopping=True), "callbacks.EarlyStopping"),
    "fit(n_epochs=)": (lambda: make_trainer().fit(X, LABELS, n_epochs=3), "did you mean 'epochs'"),
    "fit(batch_size=)": (lambda: make_trainer().fit(X, LABELS, batch_size=3), "the batch size is the trainer's"),
    "fit(verbose=)": (lambda: make_trainer().fit(X, LABELS, verbose=1), "did you mean 'progress'"),
    "fit(restore_best_weights=)": (lambda: make_trainer().fit(X, LABELS, restore_best_weights=True), "EarlyStopping"),
    "fit(qqq=)": (lambda: make_trainer().fit(X, LABELS, qqq=1), r"Trainer.fit\(\) takes no argument 'qqq'$"),
    "Dense(units=)": (lambda: fastnn.Dense(units=3, activation="relu"), "did you mean 'n_units'"),
    "Dense(use_bias=)": (lambda: fastnn.Dense(3, "relu", use_bias=False), "every layer has a bias"),
    "Dense(in_features=)": (lambda: fastnn.Dense(3, "relu", in_features=4), "what is below it"),
    "mlp(activation=)": (lambda: fastnn.mlp(2, 3, activation="relu"), "hidden"),
    "mlp(hidden_layer_sizes=)": (lambda: fastnn.mlp(2, 3, hidden_layer_sizes=(3,)), "one by one"),
    "mlp(random_state=)": (lambda: fastnn.mlp(2, 3, random_state=0), "did you mean 'seed'"),
    "Network(activation=)": (lambda: fastnn.Network(2, [], activation="relu"), "each layer has its own"),
    "SGD(learning_rate=)": (lambda: fastnn.SGD(learning_rate=0.1), "did you mean 'lr'"),
    "Adam(beta_1=)": (lambda: fastnn.Adam(beta_1=0.9), "did you mean 'beta1'"),
    "AdamW(params)": (lambda: fastnn.AdamW(params=[]), "the trainer has the weights"),
    "SGD(nesterovs_momentum=)": (lambda: fastnn.SGD(nesterovs_momentum=True), "did you mean 'nesterov'"),
    # values
    "Dense('linear')": (lambda: fastnn.Dense(3, "linear"), "did you mean 'identity'"),
    "Dense('logistic')": (lambda: fastnn.Dense(3, "logistic"), "did you mean 'sigmoid'"),
    "Dense('swish')": (lambda: fastnn.Dense(3, "swish"), "did you mean 'silu'"),
    "init='xavier_uniform'": (lambda: fastnn.mlp(2, 1, init="xavier_uniform"), "did you mean 'glorot_uniform'"),
    "init='kaiming_normal'": (lambda: fastnn.mlp(2, 1, init="kaiming_normal"), "did you mean 'he_normal'"),
    "loss='mse'": (
        lambda: make_trainer() and fastnn.Trainer(make_network(), loss="mse"),
        "did you mean 'squared_error'",
    ),
    "loss='mae'": (lambda: fastnn.Trainer(make_network(), loss="mae"), "did you mean 'absolute_error'"),
    "loss='log_loss'": (lambda: fastnn.Trainer(make_network(), loss="log_loss"), "'categorical_cross_entropy'"),
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed(typed):
    call, told = TYPED[typed]
    with pytest.raises((AttributeError, TypeError, ValueError), match=told):
        call()


def test_hints_name_what_there_is():
    """A hint that is one name is that of an attribute or argument of what it is told about."""
    for kind, table in names.ATTRIBUTES.items():
        known = dir(getattr(fastnn, kind))
        assert not set(table) & set(known), "what is there needs no hint"
    for where, table in names.ARGUMENTS.items():
        function = getattr(fastnn, where) if "." not in where else fastnn.Trainer.fit
        with pytest.raises(TypeError) as event:
            function(**{"there is no such argument": 1})
        assert str(event.value) == f"{where}() takes no argument 'there is no such argument'"
        for name in table:
            with pytest.raises(TypeError, match=f"takes no argument {name!r}[:;]"):
                function(**{name: 1})


def test_what_works(capsys):
    """Habits that are served as they are."""
    make_trainer(metrics=["accuracy"]).fit(X, LABELS, validation_split=0.5)
    network, trainer = make_network(), make_trainer()
    np.testing.assert_array_equal(network(X), network.predict(X))
    np.testing.assert_array_equal(trainer.predict(X), trainer.network.predict(X))
    labels = network.predict(X).argmax(axis=1)
    np.testing.assert_array_equal(network.predict_labels(X), labels)
    np.testing.assert_array_equal(trainer.predict_labels(X), labels)
    network.summary()
    assert capsys.readouterr().out == f"{network}\n"
    one = fastnn.mlp(2, 1, output="sigmoid", seed=0)
    np.testing.assert_array_equal(one.predict_labels(X), one.predict(X)[:, 0] > 0.5)
    several = fastnn.mlp(2, 3, output="sigmoid", seed=0)
    np.testing.assert_array_equal(several.predict_labels(X), several.predict(X) > 0.5)
    assert several.predict_labels(X).dtype == np.int64
    with pytest.raises(TypeError, match="ends in identity: predict"):
        fastnn.mlp(2, 1).predict_labels(X)


def test_copies():
    """What Python asks an object for while it is made is no foreign name."""
    for value in (make_network(), fastnn.Dense(3, "relu"), make_trainer().history):
        assert repr(pickle.loads(pickle.dumps(value))) == repr(copy.deepcopy(value)) == repr(value)
    assert not hasattr(make_network(), "__array__")
    assert not hasattr(make_network(), "_ipython_display_")
