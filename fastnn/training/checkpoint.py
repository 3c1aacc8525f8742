"""A trainer as a file, and back: all that training needs to go on bit for bit."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from fastnn._support import files, validate
from fastnn._support.choices import MetricName
from fastnn._support.validate import Array
from fastnn.hardware import Devices, Readout
from fastnn.model.metrics import METRICS, Metric
from fastnn.model.network import restore_network
from fastnn.training.gradients import METHODS
from fastnn.training.history import QUERIES, name_columns
from fastnn.training.hooks import pack_states, unpack_states
from fastnn.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer

T = TypeVar("T", bound="Trainer")

# Random generators whose state is four whole numbers: a file cannot make them read beyond it.
GENERATORS = {generator.__name__: generator for generator in (np.random.PCG64, np.random.PCG64DXSM)}
# Steps that a checkpoint may have taken: more than any has, and further ones are counted in 64 bits.
MAX_STEPS = 2**53


class Position(NamedTuple):
    """Where in an epoch training stands."""

    order: Array  # (n_epochs, n_samples) int64, the rows of this epoch and of those drawn ahead
    batch: int  # the next one; behind the last one, there is the validation left
    totals: Array  # (2,) of the epoch so far, see `Loop.run`
    seconds: float  # of the epoch so far


def save(trainer: "Trainer", path: str | os.PathLike[str], read: Callable[[Any], object]) -> None:
    """Write all that `resume` needs, if `read` can read it; see `fastnn.Trainer.save`."""
    trainer.network.check_weights()
    state = trainer._rng.bit_generator.state
    if state["bit_generator"] not in GENERATORS:
        raise TypeError(
            f"a checkpoint holds generators of {' or '.join(GENERATORS)}, not {state['bit_generator']}; "
            "make the Trainer with a number, or with numpy.random.default_rng, as its seed"
        )
    position = trainer._position or Position(np.zeros((0, 0), np.int64), 0, np.zeros(2), 0.0)
    description: dict[str, Any] = {
        "network": trainer.network._describe(),
        "loss": trainer._loss.name.lower(),
        "gradient": [type(trainer.gradient).__name__, asdict(trainer.gradient)],
        "optimizer": [type(trainer.optimizer).__name__, asdict(trainer.optimizer)],
        "learning_rate": trainer.learning_rate,
        "batch_size": trainer._batch_size,
        "block_size": trainer._block_size,
        "shuffle": trainer._shuffle,
        "clip_norm": trainer.clip_norm,
        "random": state,
        "dropout": trainer._key,
        "readout": asdict(trainer.readout) if trainer.readout else None,
        "devices": asdict(trainer.devices) if trainer.devices else None,
        "metrics": list(trainer._metrics),
    }
    arrays = {
        **trainer.network._arrays(),
        "moments": trainer._update.moments,
        "history": np.array(trainer._rows).reshape(-1, len(name_columns(trainer._metrics))),
        "order": position.order,
        "totals": np.append(position.totals, position.seconds),
        "counts": np.array([trainer._n_steps, position.batch]),
    }
    description["callbacks"], kept = pack_states(trainer._find_states())
    arrays |= kept
    files.write(path, "checkpoint", description, arrays, read)


def resume(kind: type[T], path: str | os.PathLike[str], metrics: Iterable[MetricName | Metric] | None) -> T:
    """Return the trainer, of that class, that `save` wrote; see `fastnn.Trainer.resume`.

    With None for metrics it is one to be looked at, whose own functions are but names.
    """
    _, description, arrays = files.read(path, "checkpoint")
    with files.restoring(path, "checkpoint"):
        names = _check_names(description.get("metrics", []))  # not in the first files
    own = _stand_in(names) if metrics is None else _find_own(path, names, metrics)
    with files.restoring(path, "checkpoint"):
        state = {name: arrays.pop(name) for name in ("moments", "history", "order", "totals", "counts")}
        states = unpack_states(description.get("callbacks", {}), arrays)  # not in the first files of this version
        network = restore_network(path, description["network"], arrays)
        trainer = kind(
            network,
            loss=description["loss"],
            gradient=files.rebuild(METHODS, description["gradient"]),
            optimizer=files.rebuild(OPTIMIZERS, description["optimizer"]),
            batch_size=description["batch_size"],
            block_size=description.get("block_size"),  # not in the first files
            shuffle=description["shuffle"],
            clip_norm=description.get("clip_norm"),  # not in the first files
            seed=np.random.Generator(GENERATORS[description["random"]["bit_generator"]](0)),
            readout=Readout(**read) if (read := description.get("readout")) else None,  # not in the first files
            devices=Devices(**found) if (found := description.get("devices")) else None,  # not in the first files
            metrics=[own.get(name, name) for name in names],
        )
        _restore(trainer, description, **state)
        trainer._states = states
        return trainer


def _find_own(
    path: str | os.PathLike[str], names: Sequence[str], metrics: Iterable[MetricName | Metric]
) -> dict[str, Any]:
    """Return the functions that a checkpoint has the names of, if they are those that are given."""
    given = {getattr(metric, "__name__", str(metric)): metric for metric in metrics}
    missing = [name for name in names if name not in METRICS and name not in given]
    others = [name for name in given if name not in names]
    if missing or others:
        raise ValueError(
            f"{os.fspath(path)!r} measures {', '.join(names) or 'no metrics'}; "
            + (f"functions are not in a file: give {missing[0]} again, " if missing else f"it has no {others[0]}: ")
            + f"Trainer.resume(path, metrics=[{', '.join(name for name in names if name not in METRICS)}])"
        )
    return given


def _stand_in(names: Iterable[str]) -> dict[str, Any]:
    """Return what has the name of each function and can be called, but not with what a metric is handed."""
    own: dict[str, Any] = {name: partial(float) for name in names if name not in METRICS}
    for name, function in own.items():
        function.__name__ = name
    return own


def _check_names(names: object) -> list[str]:
    """Return the names of metrics, if a file has some."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"metrics are {validate.show(names)}")
    return names


def _restore(
    trainer: "Trainer",
    description: dict[str, Any],
    moments: Array,
    history: Array,
    order: Array,
    totals: Array,
    counts: Array,
) -> None:
    """Take up the state that a file holds, or raise: kernels check nothing any more."""
    here = trainer._update.moments
    if history.ndim == 2 and history.shape[1] == QUERIES:  # not in the first files of this version
        history = np.column_stack([history, np.full(len(history), np.nan)])
    wanted = {
        "moments": (moments, here.dtype, here.shape),
        "history": (history, np.float64, (len(history), len(name_columns(trainer._metrics)))),
        "order": (order, np.int64, (len(order), order.shape[-1])),
        "totals": (totals, np.float64, (3,)),
        "counts": (counts, np.int64, (2,)),
    }
    for name, (array, dtype, shape) in wanted.items():
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
    n_samples = order.shape[1]
    n_steps, batch = counts.tolist()
    n_batches = -(-n_samples // (trainer._batch_size or n_samples)) if order.size else 0
    # One without entries takes no bytes of a file, whatever its shape says.
    if order.shape != (0, 0) and not (order.size and (np.sort(order, axis=1) == np.arange(n_samples)).all()):
        raise ValueError("its order is none of samples")
    if not (0 <= n_steps <= MAX_STEPS and 0 <= batch <= n_batches):
        raise ValueError("its counts are none of training")
    if not validate.is_finite(moments):
        raise ValueError("the optimiser's state has NaN or infinity")
    key = description.get("dropout", 0)  # not in the first files
    trainer._key = validate.integer("its key of what is dropped", key, low=0, high=2**63 - 1)
    trainer._rng.bit_generator.state = description["random"]
    trainer.learning_rate = description["learning_rate"]
    trainer._update.moments[:] = moments
    trainer._n_steps = n_steps
    trainer._rows = list(history)
    trainer._position = Position(order, batch, totals[:2], float(totals[2])) if order.size else None
