"""Samples that come some at a time, from files, a generator or a loader, so that not all have to be in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fastnn._support import validate
from fastnn._support.interrupt import Interrupt
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import Data
from fastnn.model.network import Network
from fastnn.training.gradients import check_data

Batch = Sequence[Any]  # (X, y) or (X, y, sample_weight)
Batches = Iterable[Batch] | Callable[[], Iterable[Batch]]

# Of what needs all samples at once, what to do instead.
INSTEAD = {
    "validation_split": "hold some out, as validation_data",
    "sample_weight": "give each batch its own: (X, y, sample_weight)",
    "class_weight": "give each batch its sample_weight: (X, y, sample_weight)",
}


def check_batches(batches: Any, epochs: int, **others: object) -> None:
    """Refuse what is no iterable of batches, or cannot be gone through so often, and what does not go with it."""
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"{name} needs all samples at once; of batches, {INSTEAD[name]}")
    if (not isinstance(batches, Iterable) and not callable(batches)) or hasattr(batches, "shape"):
        raise TypeError(
            f"y is missing, or X must be an iterable of batches (X, y), or a function that returns one; got "
            f"{validate.show(batches)}"
        )
    if epochs > 1 and isinstance(batches, Iterator):
        raise ValueError(
            f"a generator can be gone through only once, and epochs={epochs}: give fit what can be gone through again, "
            "such as a list, or the function that makes the generator: fit(load, ...), not fit(load(), ...)"
        )


def read_batches(batches: Any, network: Network, loss: Loss, interrupt: Interrupt) -> Iterator[Data]:
    """Yield the checked samples of each batch of an epoch; Ctrl-C does not wait for what brings them."""
    count = 0
    with interrupt.leave_at(1):
        left = iter(batches if isinstance(batches, Iterable) else batches())
    while True:
        with interrupt.leave_at(1):
            batch = next(left, None)
        if batch is None:
            break
        count += 1
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TypeError(f"batch {count} must be (X, y) or (X, y, sample_weight), got {validate.show(batch)}")
        try:
            data = check_data(network, loss, *batch)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"batch {count}: {error}") from None
        yield data
    if not count:
        raise ValueError("there is no batch; if these can be gone through only once, that has been done")
