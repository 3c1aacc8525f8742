"""What `fastnn.Trainer.fit` calls while it trains.

A callback is a `Callback` with some of its methods overridden. It may look at
all that the trainer has in public, save it, set its learning rate, and stop it. An
exception that a callback raises ends `fit`, with training as after the last step.

What a callback must not forget when a run is killed, it returns from `Callback.state`:
`Checkpoint` and `fastnn.Trainer.save` put it into their file, copies of a trainer have it, and the
first `fit` after `fastnn.Trainer.resume` gives it back to the callback of the same class (the first to the
first, and so on). So does a `fit` after one that Ctrl-C or an error ended, if it is called
with the same callbacks. After a run that came to its end, all begin anew.
"""

import csv
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, get_args

import numpy as np

from fastnn._support import files, validate
from fastnn._support.choices import ModeName
from fastnn._support.names import named_arguments, refuse_method
from fastnn.model.metrics import find_mode
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer

# Of what callbacks are told, what gets neither better nor worse.
UNJUDGED = ("epoch", "seconds", "queries", "learning_rate")


class Callback:
    """What is called while a trainer trains; its methods do nothing.

    Attributes
    ----------
    adds : tuple of str
        Of the class: what its `on_epoch_end` adds to the metrics, for the callbacks behind it; () by default.

    Raises
    ------
    TypeError
        Where a class is made with a method that looks like one of these and is none, which nothing would call.

    Examples
    --------
    >>> import fastnn
    >>> class StopBelow(fastnn.callbacks.Callback):
    ...     def on_epoch_end(self, trainer, metrics):
    ...         if metrics["loss"] < 0.1:
    ...             trainer.stop()
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
    >>> len(trainer.fit([[1], [3]], [3, 9], epochs=1000, callbacks=[StopBelow()])) < 1000
    True
    """

    adds: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in vars(cls):
            if not hasattr(Callback, name) and (hint := refuse_method(name, dir(Callback))):
                raise TypeError(f"nothing calls {cls.__name__}.{name}{hint}")

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Raise what speaks against a call of `fastnn.Trainer.fit`, before anything has changed for anybody.

        Parameters
        ----------
        trainer : Trainer
        names : sequence of str
            Of the metrics that `on_epoch_end` will be told; none where nothing ends an epoch.
        """

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Prepare for a call of `fastnn.Trainer.fit` that is to take n_steps steps, 0 if nobody knows how many."""

    def on_steps(self, trainer: "Trainer") -> None:
        """Look at a trainer after some steps: all that were taken in about a tenth of a second, or one."""

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Look at a trainer after an epoch, before `on_steps`.

        Parameters
        ----------
        trainer : Trainer
        metrics : mapping of str to float
            "epoch", counted from 1 over all calls of `fit`; "loss", "accuracy",
            "validation_loss", "validation_accuracy", "seconds" and "queries" as in `fastnn.History`, and
            the trainer's own metrics, such as "validation_r2", as far as they were measured; and "learning_rate".
        """

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        """Clean up; history is what `fit` returns, or None where it raises."""

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on: numbers, texts and NumPy arrays, by names; {} if it needs nothing."""
        return {}

    def restore(self, trainer: "Trainer", state: Mapping[str, Any]) -> None:
        """Go on where a run was that did not come to its end; called after `on_fit_begin`.

        The state may come from a file. Raise ValueError if it cannot have come from `state`.
        """


class _Monitor(Callback):
    """What watches one of the metrics.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    """

    def __init__(self, monitor: str | None, mode: ModeName, min_delta: float) -> None:
        if not isinstance(monitor, str | None):
            raise TypeError(f"monitor must be a name from the metrics, got {validate.show(monitor)}")
        self.monitor = monitor
        self.mode = validate.choice("mode", mode, get_args(ModeName))
        self.min_delta = validate.number("min_delta", min_delta, low=0.0)

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse what this fit does not measure."""
        measured = [name for name in names if name not in UNJUDGED]
        kind = type(self).__name__
        if self.monitor not in (None, *measured):
            hint = validate.did_you_mean(self.monitor, measured)
            raise ValueError(f"{kind} monitors {self.monitor!r}, and this fit measures {', '.join(measured)}{hint}")
        if self.monitor and self.mode == "auto" and not find_mode(self.monitor):
            raise ValueError(f"{kind} cannot tell which {self.monitor} is better: mode='min' or 'max'")

    def _find_name(self, metrics: Mapping[str, float]) -> str:
        """Return what is monitored."""
        return self.monitor or ("validation_loss" if "validation_loss" in metrics else "loss")

    def _is_better(self, name: str, value: float, best: float) -> bool:
        """Return if a value is better than the best one, nan being none, by more than min_delta."""
        if math.isnan(best):
            return not math.isnan(value)
        mode = find_mode(name) if self.mode == "auto" else self.mode
        return (value - best if mode == "max" else best - value) > self.min_delta


class EarlyStopping(_Monitor):
    """Stop when nothing has become better for some epochs, and go back to the best weights.

    A run that ends in time goes back to its best weights, too. One that Ctrl-C or an
    error ends does not: it can go on from where it is.

    Validation data are measured with the weights after the epoch, and those are kept. The
    training loss and accuracy are measured before each step. Where an epoch is one step, of
    all samples, the weights before that step are kept: they have the `best`. Where it has
    several steps, the epoch's mean belongs to no weights in particular; those after the epoch
    are kept, whose loss may be another. Validation data leave no doubt.

    Parameters
    ----------
    monitor : str or None, default None
        What becomes better: a name from the metrics of `Callback.on_epoch_end`, be it of the trainer's own,
        such as "validation_r2". None is "validation_loss", or "loss" without validation data.
    patience : int, default 10
        Stop after so many epochs in a row without a better one, at least 1.
    min_delta : float, default 0.0
        What is better by no more than this does not count.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less is better, or more. "auto" knows it of all but functions of one's own.

    Attributes
    ----------
    best : float
        The best value seen.
    best_epoch : int
        The epoch, counted as in the metrics, that it was seen in.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described; from `fit`, before any step, if it does not
        measure what is monitored, or a file has a state of something else.
    """

    @named_arguments
    def __init__(
        self, monitor: str | None = None, patience: int = 10, min_delta: float = 0.0, mode: ModeName = "auto"
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = validate.integer("patience", patience, low=1)
        self.best, self.best_epoch = math.nan, 0
        self._name, self._weights = "", np.zeros(0)
        self._steps, self._before = 0, np.zeros(0)

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Forget an earlier run."""
        self._forget(trainer.n_epochs)
        self._look(trainer)

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Keep the weights if they are the best so far; stop if that was long ago."""
        name = self._find_name(metrics)
        if name != self._name:  # the first epoch, or the fit before measured something else
            self._forget(int(metrics["epoch"]) - 1)
            self._name = name
        before = self._before if trainer.n_steps == self._steps + 1 else None
        self._look(trainer)
        value = metrics[name]
        if self._is_better(name, value, self.best):
            self.best, self.best_epoch = value, int(metrics["epoch"])
            self._weights = self._before if before is None or name.startswith("validation") else before
        elif metrics["epoch"] - self.best_epoch >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        """Go back to the best weights."""
        if self._weights.size and history is not None and not history.interrupted:
            trainer.network._theta[:] = self._weights  # at once: Ctrl-C may come at any time

    def state(self) -> dict[str, Any]:
        """Return what was seen, and the weights that were kept."""
        return {
            "monitor": self._name,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "steps": self._steps,
            "weights": self._weights,
            "before": self._before,
        }

    def restore(self, trainer: "Trainer", state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        theta = trainer.network._theta
        try:
            best_epoch, steps = (validate.integer(name, state[name], low=0) for name in ("best_epoch", "steps"))
            weights, before = (state[name] for name in ("weights", "before"))
            for array in (weights, before):
                if array.size and (array.dtype != theta.dtype or array.shape != theta.shape):
                    raise ValueError("its weights are not those of this network")
                if not np.isfinite(array).all():
                    raise ValueError("its weights are not finite")
            name, best = str(state["monitor"]), float(state["best"])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"EarlyStopping cannot go on from its state in the checkpoint: {error!r}") from None
        self._name, self.best, self.best_epoch, self._weights = name, best, best_epoch, weights
        self._steps, self._before = steps, before
        if trainer.n_epochs - self.best_epoch >= self.patience:
            trainer.stop()

    def _forget(self, epoch: int) -> None:
        self._name, self.best, self.best_epoch, self._weights = "", math.nan, epoch, np.zeros(0)

    def _look(self, trainer: "Trainer") -> None:
        self._steps, self._before = trainer.n_steps, trainer.network._theta.copy()


class ReduceOnPlateau(_Monitor):
    """Multiply the learning rate by a factor when nothing has become better for some epochs.

    Parameters
    ----------
    monitor : str or None, default None
        As for `EarlyStopping`.
    factor : float, default 0.1
        Above 0 and below 1.
    patience : int, default 10
        Epochs in a row without a better one, at least 1.
    min_delta : float, default 0.0
        What is better by no more than this does not count.
    mode : {"auto", "min", "max"}, default "auto"
        As for `EarlyStopping`.
    cooldown : int, default 0
        Epochs that are not counted after the rate was lowered.
    min_lr : float, default 0.0
        It is lowered no further.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described; from `fit`, before any step, if it does not
        measure what is monitored, or a file has a state of something else.
    """

    @named_arguments
    def __init__(
        self,
        monitor: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: ModeName = "auto",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = validate.number("factor", factor, low=0.0, high=1.0, open_low=True, open_high=True)
        self.patience = validate.integer("patience", patience, low=1)
        self.cooldown = validate.integer("cooldown", cooldown, low=0)
        self.min_lr = validate.number("min_lr", min_lr, low=0.0)
        self._name, self._best, self._waited, self._cooling = "", math.nan, 0, 0

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Forget an earlier run."""
        self._forget("")

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Lower the rate if the best epoch was long ago."""
        name = self._find_name(metrics)
        if name != self._name:  # the first epoch, or the fit before measured something else
            self._forget(name)
        self._waited += 1
        if self._is_better(name, metrics[name], self._best):
            self._best, self._waited = metrics[name], 0
        if self._cooling:
            self._cooling, self._waited = self._cooling - 1, 0
        if self._waited >= self.patience:
            self._cooling, self._waited = self.cooldown, 0
            trainer.learning_rate = min(trainer.learning_rate, max(self.factor * trainer.learning_rate, self.min_lr))

    def state(self) -> dict[str, Any]:
        """Return what was seen."""
        return {"monitor": self._name, "best": self._best, "waited": self._waited, "cooling": self._cooling}

    def restore(self, trainer: "Trainer", state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        try:
            waited, cooling = (validate.integer(name, state[name], low=0) for name in ("waited", "cooling"))
            name, best = str(state["monitor"]), float(state["best"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"ReduceOnPlateau cannot go on from its state in the checkpoint: {error!r}") from None
        self._name, self._best, self._waited, self._cooling = name, best, waited, cooling

    def _forget(self, name: str) -> None:
        self._name, self._best, self._waited, self._cooling = name, math.nan, 0, 0


class Checkpoint(Callback):
    """Save the trainer to one file again and again, for `fastnn.Trainer.resume`.

    It is saved at the beginning, so that a folder that cannot be written is known
    then, and at the end. Whatever kills the process, the file is whole. Wherever it stands
    among the callbacks, it is called last: the file has what the others did, such as the
    weights that `EarlyStopping` went back to.

    Parameters
    ----------
    path : str or path-like
        See `fastnn.Trainer.save`.
    every : int, default 1
        Save after so many epochs, at least 1.
    seconds : float or None, default None
        Also save when the last time was so many seconds ago, in the middle of an
        epoch, too.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.
    ImportError, OSError
        From `fit`, as `fastnn.Trainer.save`; training stays as it was.
    """

    @named_arguments
    def __init__(self, path: str | os.PathLike[str], every: int = 1, seconds: float | None = None) -> None:
        self.path = Path(path)
        self.every = validate.integer("every", every, low=1)
        self.seconds = math.inf if seconds is None else validate.number("seconds", seconds, low=0.0)
        self._saved = 0.0

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse a folder that is not there."""
        files.check_folder(self.path)

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Save."""
        self._save(trainer)

    def on_steps(self, trainer: "Trainer") -> None:
        """Save if the last time was long ago."""
        if time.monotonic() - self._saved >= self.seconds:
            self._save(trainer)

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Save every so many epochs."""
        if trainer.n_epochs % self.every == 0:
            self._save(trainer)

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        """Save."""
        if history is not None:
            self._save(trainer)

    def _save(self, trainer: "Trainer") -> None:
        trainer.save(self.path)
        self._saved = time.monotonic()


class LearningRateSchedule(Callback):
    """Set the learning rate at the beginning and after each epoch.

    Parameters
    ----------
    rate : callable
        Called with the number of epochs finished, over all calls of `fastnn.Trainer.fit`;
        returns the learning rate of the next one. `step`, `cosine` and `exponential`
        make the usual ones.

    Raises
    ------
    TypeError, ValueError
        If rate is not callable; from `fit`, if what it returns is not a number >= 0.

    Examples
    --------
    >>> import fastnn
    >>> schedule = fastnn.callbacks.LearningRateSchedule.step(0.1, every=2, factor=0.5)
    >>> [schedule.rate(epoch) for epoch in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    def __init__(self, rate: Callable[[int], float]) -> None:
        if not callable(rate):
            raise TypeError(f"rate must be a function of the number of epochs finished, got {rate!r}")
        self.rate = rate

    @classmethod
    def step(cls, lr: float, every: int, factor: float = 0.1) -> Self:
        """Return a schedule that starts at lr and is multiplied by factor after every so many epochs."""
        lr, factor = validate.number("lr", lr, low=0.0), validate.number("factor", factor, low=0.0)
        every = validate.integer("every", every, low=1)
        return cls(lambda epoch: lr * factor ** (epoch // every))

    @classmethod
    def exponential(cls, lr: float, factor: float) -> Self:
        """Return a schedule that starts at lr and is multiplied by factor after every epoch."""
        return cls.step(lr, 1, factor)

    @classmethod
    def cosine(cls, lr: float, epochs: int, minimum: float = 0.0) -> Self:
        """Return a schedule that falls from lr to minimum along half a cosine, in so many epochs, and stays there."""
        lr, minimum = validate.number("lr", lr, low=0.0), validate.number("minimum", minimum, low=0.0)
        epochs = validate.integer("epochs", epochs, low=1)
        return cls(lambda epoch: minimum + (lr - minimum) * (1 + math.cos(math.pi * min(epoch / epochs, 1.0))) / 2)

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse a first rate that is none."""
        validate.number("learning_rate", self.rate(trainer.n_epochs), low=0.0)

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Set the rate of the first epoch."""
        trainer.learning_rate = self.rate(trainer.n_epochs)

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Set the rate of the next epoch."""
        trainer.learning_rate = self.rate(trainer.n_epochs)


class Alignment(Callback):
    """Measure now and then how the estimates that a trainer steps along lie to the gradient.

    On the first batch of the samples, one estimate is drawn and compared with back-propagation. After an epoch the
    metrics have the last "cosine" and "noise" as well, for the callbacks behind this one in the list.

    Parameters
    ----------
    every : int, default 100
        At the beginning, and when so many steps were taken since the last time, at least 1. It is seen
        to after each epoch, and after about a tenth of a second of steps.

    Attributes
    ----------
    steps : ndarray
        When it was measured.
    cosine : ndarray
        Between the estimate and the gradient; 0 where one of them is.
    noise : ndarray
        The length of their difference, relative to the gradient's; inf where that is 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described; from `fastnn.minimize`, where nothing knows the gradient; if a
        file has a state of something else.

    Examples
    --------
    >>> import fastnn
    >>> trainer = fastnn.Trainer(fastnn.mlp(2, 3, 1, hidden="tanh", seed=0), gradient=fastnn.RandomDirections())
    >>> alignment = fastnn.callbacks.Alignment()
    >>> history = trainer.fit([[1.0, 2.0], [2.0, 1.0]], [1.0, 0.0], epochs=300, callbacks=[alignment])
    >>> bool(abs(alignment.cosine).max() < 1)
    True
    """

    adds = "cosine", "noise"

    def __init__(self, every: int = 100) -> None:
        self.every = validate.integer("every", every, low=1)
        self._clear()

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse a loss that is measured."""
        if not hasattr(trainer, "_align"):
            raise TypeError("Alignment compares with back-propagation, and of a loss that is measured nothing knows it")

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Forget an earlier run, and measure."""
        self._clear()
        self._look(trainer)

    def on_steps(self, trainer: "Trainer") -> None:
        """Measure if it is time."""
        if trainer.n_steps - self.steps[-1] >= self.every:
            self._look(trainer)

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Measure if it is time, and add what was measured last to the metrics."""
        self.on_steps(trainer)
        cast("dict[str, float]", metrics).update(cosine=float(self.cosine[-1]), noise=float(self.noise[-1]))

    def state(self) -> dict[str, Any]:
        """Return what was measured."""
        return {"steps": self.steps, "cosine": self.cosine, "noise": self.noise}

    def restore(self, trainer: "Trainer", state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        found = [np.asarray(state.get(name, [[]])) for name in ("steps", "cosine", "noise")]
        if any(array.shape != (found[0].size,) or array.dtype.kind not in "if" for array in found):
            raise ValueError("Alignment cannot go on from its state in the checkpoint: it has no such columns")
        self.steps, self.cosine, self.noise = found

    def _clear(self) -> None:
        self.steps, self.cosine, self.noise = np.zeros(0, np.int64), np.zeros(0), np.zeros(0)

    def _look(self, trainer: "Trainer") -> None:
        measured = trainer.n_steps, *trainer._align()
        self.steps, self.cosine, self.noise = (
            np.append(column, value)
            for column, value in zip((self.steps, self.cosine, self.noise), measured, strict=True)
        )


class CSVLogger(Callback):
    """Append the metrics of each epoch to a file, a row an epoch below a row of names.

    The file is closed after each row: what has been measured is there whatever happens.
    Rows of epochs that come again, as after `fastnn.Trainer.resume` from an earlier one, are
    taken out when `fit` begins, and all where the trainer is new.

    Parameters
    ----------
    path : str or path-like
        Begun if it is not there or empty, otherwise continued.

    Raises
    ------
    OSError
        From `fit`, if the file cannot be written.
    ValueError
        From `fit`, if the file has other columns, or is something else.
    """

    @named_arguments
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse a file of something else, or one that cannot be written."""
        if not self.path.exists():
            files.check_folder(self.path)
            return
        with self.path.open("r+", newline="", errors="replace") as file:
            first = file.readline()
        if first and first.partition(",")[0] != "epoch":
            raise ValueError(f"{self.path} is there already, and not by CSVLogger: it begins with {first[:60]!r}")
        if first.endswith("\n"):
            self._compare(next(csv.reader([first])), names)

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Take out what comes again."""
        self.path.open("a").close()
        with self.path.open(newline="", errors="replace") as file:
            lines = file.readlines()
        kept = lines[:1] + [line for line in lines[1:] if _find_epoch(line) <= trainer.n_epochs]
        kept = [line for line in kept if line.endswith("\n")]  # a full disk may have cut the last one
        if kept != lines:
            files.replace(self.path, "".join(kept).encode())

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Append a row."""
        with self.path.open("a+", newline="") as file:
            file.seek(0)
            names = next(csv.reader(file), None)
            writer = csv.writer(file)
            if names is None:
                writer.writerow(metrics)
            else:  # what callbacks before this one add, they may not have said
                self._compare(names, list(metrics))
            writer.writerow(metrics.values())

    def _compare(self, columns: Sequence[str], names: Sequence[str]) -> None:
        """Refuse to write numbers below other names."""
        if list(columns) != list(names):
            raise ValueError(f"{self.path} has columns {', '.join(columns)}, and this fit measures {', '.join(names)}")


def _find_epoch(line: str) -> float:
    """Return the epoch that a row is of, inf for what is no row."""
    epoch = line.partition(",")[0]
    return int(epoch) if epoch.isdecimal() else math.inf


class TensorBoard(Callback):
    """Write the metrics of each epoch for TensorBoard, by the package tensorboard's own writer.

    What a killed run wrote stays: where epochs come again, log them to a folder of their own.

    Parameters
    ----------
    folder : str or path-like
        Where TensorBoard looks for the run.

    Raises
    ------
    ImportError
        From `fit`, without the package tensorboard.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: Any = None

    def check(self, trainer: "Trainer", names: Sequence[str]) -> None:
        """Refuse to go on without the package."""
        with validate.optional("callbacks.TensorBoard", "tensorboard"):
            import tensorboard.summary  # noqa: F401

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        """Open the writer."""
        import tensorboard.summary as summary

        self._writer = summary.Writer(str(self.folder))

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Write what was measured."""
        for name, number in metrics.items():
            if name != "epoch":
                self._writer.add_scalar(name, number, int(metrics["epoch"]))
        self._writer.flush()

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
