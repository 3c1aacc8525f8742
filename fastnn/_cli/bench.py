"""What a training step takes on this machine, by perturbation and by back-propagation."""

from collections.abc import Iterator

import numpy as np

import fastnn

NETWORKS = ((64, 32, 10), (784, 100, 10))
BATCH, N_STEPS, N_EPOCHS = 32, 200, 9


def time_step(sizes: tuple[int, int, int], gradient: fastnn.Perturbation | fastnn.Backprop) -> float:
    """Return the milliseconds of a step."""
    rng = np.random.default_rng(0)
    X, labels = rng.random((N_STEPS * BATCH, sizes[0])), rng.integers(0, sizes[-1], N_STEPS * BATCH)
    network = fastnn.mlp(*sizes, output="softmax", seed=0)
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", gradient=gradient, batch_size=BATCH)
    history = trainer.fit(X, labels, epochs=N_EPOCHS)  # of which the first one may compile
    return 1000 * float(np.median(history.seconds)) / N_STEPS


def table() -> Iterator[str]:
    """Yield the lines of a small table, each when it has been measured."""
    yield f"{'one step, ms':20}  perturbation  back-propagation  ratio"
    for sizes in NETWORKS:
        name = f"{'-'.join(map(str, sizes))}, batch {BATCH}"
        ours, other = time_step(sizes, fastnn.Perturbation()), time_step(sizes, fastnn.Backprop())
        yield f"{name:20}  {ours:12.3f}  {other:16.3f}  {ours / other:5.2f}"
