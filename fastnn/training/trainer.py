"""The Trainer: epochs, batches and a history. No mathematics."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain, compress
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnn._engine.loop import Diverged, Loop, draw_orders, measure
from fastnn._engine.threads import count_chunks
from fastnn._engine.workspace import make_data, make_plain_task
from fastnn._support import files, html, validate
from fastnn._support.interrupt import Interrupt
from fastnn._support.validate import Array
from fastnn.callbacks import Callback
from fastnn.kernels.losses import Loss
from fastnn.kernels.updates import LR
from fastnn.kernels.work import Data, Method
from fastnn.model.losses import find_loss
from fastnn.model.network import Network, restore_network
from fastnn.training.gradients import METHODS, Backprop, Perturbation, check_data
from fastnn.training.hooks import Hooks, States, check_callbacks, make_progress
from fastnn.training.optimizers import OPTIMIZERS, SGD, Adam

# The columns of Trainer._rows, which has a row an epoch; nan for what was not measured.
COLUMNS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
# Random generators whose state is four whole numbers: a file cannot make them read beyond it.
GENERATORS = {generator.__name__: generator for generator in (np.random.PCG64, np.random.PCG64DXSM)}
# Steps that a checkpoint may have taken: more than any has, and further ones are counted in 64 bits.
MAX_STEPS = 2**53


class Evaluation(NamedTuple):
    """What `Trainer.evaluate` measures."""

    loss: float
    accuracy: float | None  # share of right decisions; None for losses of numbers


@dataclass(frozen=True)
class History:
    """What `Trainer.fit` measured, one entry an epoch.

    Attributes
    ----------
    loss : ndarray, shape (epochs,)
        Mean loss over the epoch's samples, each measured just before the step that
        its batch takes.
    accuracy : ndarray, shape (epochs,), or None
        Share of right decisions, measured at the same time; None for losses of numbers.
    validation_loss, validation_accuracy : ndarray, shape (epochs,), or None
        Measured after the epoch; None without validation data.
    seconds : ndarray, shape (epochs,)
        Time of the epoch: of its steps, compilation included, and of its validation.
    interrupted : bool
        Whether Ctrl-C came. The next `fit` finishes the epoch that was begun.
    """

    loss: Array
    accuracy: Array | None
    validation_loss: Array | None
    validation_accuracy: Array | None
    seconds: Array
    interrupted: bool = False

    def to_dict(self) -> dict[str, Array]:
        """Return the measured arrays by name, leaving out what is None."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: columns[name] for name in COLUMNS if columns[name] is not None}

    def __len__(self) -> int:
        return self.loss.size

    def __repr__(self) -> str:
        columns = [f"{name} {first:.4g} to {last:.4g}" for name, _, first, last in self._named_columns()]
        return ", ".join([self._summary(), *columns, *["interrupted"] * self.interrupted])

    def _repr_html_(self) -> str:
        rows: list[tuple[str | Array, ...]] = []
        for name, column, first, last in self._named_columns():
            best = np.argsort(-column if "accuracy" in name else column, kind="stable")[0]  # nan sorts last
            rows.append((name, f"{first:.4g}", f"{column[best]:.4g}", f"{best + 1:,}", f"{last:.4g}", column))
        caption = ", ".join([self._summary(), *["interrupted"] * self.interrupted])
        return html.table(caption, ["", "first", "best", "at epoch", "last", ""], rows)

    def _summary(self) -> str:
        n_epochs = f"{len(self):,} epoch" + "s" * (len(self) != 1)
        return f"History: {n_epochs} in {self.seconds.sum():.2g} s" if len(self) else f"History: {n_epochs}"

    def _named_columns(self) -> list[tuple[str, Array, float, float]]:
        """Return what was measured beside times: a readable name, each epoch, the first and the last measurement."""
        named = []
        for name, column in self.to_dict().items():
            measured = column[~np.isnan(column)]  # other fits may have had no validation data
            if name != "seconds" and measured.size:
                named.append((name.replace("_", " "), column, measured[0], measured[-1]))
        return named


class Position(NamedTuple):
    """Where in an epoch training stands."""

    order: Array  # (n_epochs, n_samples) int64, the rows of this epoch and of those drawn ahead
    batch: int  # the next one; behind the last one, there is the validation left
    totals: Array  # (2,) of the epoch so far, see `Loop.run`
    seconds: float  # of the epoch so far


class Trainer:
    """Train a network, by perturbing every weight or by back-propagation.

    Parameters
    ----------
    network : Network
        Trained in place.
    loss : str, default "squared_error"
        Summed over outputs, averaged over samples, without a factor of one half:

        - ``"squared_error"``: ``(a - y)**2``, any output layer;
        - ``"absolute_error"``: ``abs(a - y)``, any output layer but softmax;
        - ``"huber"``: ``e**2 / 2`` of errors ``e = a - y`` up to 1 in size, ``abs(e) - 1 / 2`` of larger ones,
          any output layer but softmax;
        - ``"binary_cross_entropy"``: ``-y log a - (1 - y) log(1 - a)``, a sigmoid output layer;
        - ``"categorical_cross_entropy"``: ``-y log a``, a softmax output layer.

        The cross-entropies are computed from the logits.
    gradient : Perturbation or Backprop, default ``Perturbation()``
    optimizer : SGD or Adam, default ``SGD(0.01)``
    batch_size : int or None, default 32
        Samples a step; None is all of them. The last batch of an epoch may be
        shorter and is averaged over its true size.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    seed : int, numpy.random.Generator or None, default 0
        For the order.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or the loss does not go with the
        network's output layer.

    Examples
    --------
    >>> import fastnn
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), batch_size=None)
    >>> history = trainer.fit([[1], [3], [4], [8], [10]], [3, 9, 12, 24, 30], epochs=1000)
    >>> float(history.loss[-1]) < 1e-3
    True
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: str = "squared_error",
        gradient: Perturbation | Backprop = Perturbation(),  # noqa: B008 (frozen)
        optimizer: SGD | Adam = SGD(0.01),  # noqa: B008 (frozen)
        batch_size: int | None = 32,
        shuffle: bool = True,
        seed: int | np.random.Generator | None = 0,
    ) -> None:
        validate.instance("network", network, (Network,))
        validate.instance("gradient", gradient, METHODS)
        validate.instance("optimizer", optimizer, OPTIMIZERS)
        self.network = network
        self.gradient = gradient
        self.optimizer = optimizer
        self._loss = find_loss(loss, network.layers[-1].code)
        self._batch_size = None if batch_size is None else validate.integer("batch_size", batch_size, low=1)
        self._shuffle = validate.flag("shuffle", shuffle)
        self._rng = validate.generator("seed", seed)
        self._update = optimizer.make_update(network._theta)
        self._n_steps = 0
        self._rows: list[Array] = []
        self._position: Position | None = None
        self._states: States = {}  # of callbacks, in a run that did not come to its end
        self._hooks: Hooks | None = None  # while `fit` runs
        self._is_stopping = False

    @property
    def n_steps(self) -> int:
        """Optimiser steps taken so far, over all calls of `fit`."""
        return self._n_steps

    @property
    def n_epochs(self) -> int:
        """Epochs finished so far, over all calls of `fit`."""
        return len(self._rows)

    @property
    def history(self) -> History:
        """What all calls of `fit` measured; `fit` returns its own part of it."""
        return self._make_history(0, False)

    @property
    def learning_rate(self) -> float:
        """The optimiser's learning rate, which may be changed at any time: a number >= 0."""
        return float(self._update.rates[LR])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._update.rates[LR] = validate.number("learning_rate", value, low=0.0)

    def stop(self) -> None:
        """End the running `fit` where it is: for callbacks. It returns its history."""
        self._is_stopping = True

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 1,
        validation_data: tuple[ArrayLike, ...] | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool | None = None,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one stopped.

        Ctrl-C ends it after about a tenth of a second of steps, or at once in a step or a
        validation that takes longer: the network has the weights of the last step that was
        finished, the history says ``interrupted=True``, and the next `fit` on as many
        samples finishes the epoch that was begun. A callback that runs then is waited for;
        a second Ctrl-C leaves it. A Ctrl-C handler of your own stays in charge: what it
        raises ends `fit` in the same way, and is raised then.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs)
        y : array_like, shape (n_samples, n_outputs)
            For categorical cross-entropy also integer labels, (n_samples,); for one
            output also (n_samples,).
        epochs : int, default 1
            Passes over the samples, at least 0; an epoch that an interrupt left
            unfinished is the first of them.
        validation_data : (X, y) or (X, y, sample_weight) or None
            Measured after each epoch, not trained on.
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0. The loss is the mean weighted by them; their common size is of
            no account, and a batch is divided by its number of samples, as without
            weights. Accuracy counts every sample alike. None weighs all alike.
        class_weight : mapping of int to float, "balanced" or None
            What the samples of each class count, besides sample_weight; 1 for classes
            that are not named. "balanced" has every class count the same. For labels
            or one-hot rows under a cross-entropy.
        callbacks : iterable of Callback, default ()
            Told of every epoch, in their order, but a `Checkpoint` after all others; see
            `fastnn.callbacks`.
        progress : bool or None, default None
            A progress bar, by tqdm. None shows one if the run takes more than two
            seconds, standard error is a terminal, and tqdm is installed.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss, or an argument is not of
            the kind described; nothing has changed then.
        ImportError
            With ``progress=True`` and without tqdm.
        FloatingPointError
            If the loss, a weight or the optimiser's state overflows, in the last step,
            too. The network keeps the weights from before the step that made it so.
        """
        epochs = validate.integer("epochs", epochs, low=0)
        checked = check_callbacks(callbacks)
        # What looks at an epoch's end needs compiled calls to stop there; a bar does not.
        ahead = 1 if checked or validation_data is not None else epochs
        called = make_progress(progress) + checked
        data = check_data(self.network, self._loss, X, y, sample_weight, class_weight)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
                raise TypeError(
                    f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}"
                )
            validation = check_data(self.network, self._loss, *validation_data)
        n_samples = len(data.x)
        batch_size = min(self._batch_size or n_samples, n_samples)
        n_chunks = count_chunks(self.network._layout, self.gradient.method, batch_size)
        task = self.gradient.make_task(self._loss, self.network.dtype, n_chunks)
        network = self.network
        loop = Loop(network._layout, network._theta, task, self._update, n_samples, batch_size, self._n_steps)
        with Interrupt() as interrupt:
            history = self._fit(loop, data, validation, epochs, ahead, called, interrupt)
        return replace(history, interrupted=True) if interrupt.is_pressed() else history

    def _fit(
        self,
        loop: Loop,
        data: Data,
        validation: Data | None,
        epochs: int,
        ahead: int,
        callbacks: list[Callback],
        interrupt: Interrupt,
    ) -> History:
        """Run epochs, so many ahead at a time, until they are done, a callback stops them or Ctrl-C does."""
        if self._position and self._position.order.shape[1] != len(data.x):
            self._position = None  # other samples: an epoch of their own
        begun = self._position.batch if self._position else 0
        first_row = len(self._rows)
        self._is_stopping = False
        self._hooks = hooks = Hooks(self, callbacks, interrupt, self._states)
        history = None
        try:
            try:
                hooks.begin(max(0, epochs * loop.n_batches - begun))
                while not self._is_stopping and (left := first_row + epochs - len(self._rows)):
                    self._run(loop, data, validation, min(ahead, left), hooks, interrupt)
            except KeyboardInterrupt as error:
                interrupt.note(error)
            history = self._make_history(first_row, interrupt.error is not None)
        except Diverged as event:
            self._n_steps = loop.done
            self._position = None
            raise FloatingPointError(
                f"{event.what} not finite at epoch {event.epoch + 1}, batch {event.batch + 1} of {loop.n_batches}, "
                f"with {self.optimizer} at learning rate {self.learning_rate:g}; try a smaller learning rate, or "
                "inputs scaled to about 1. The network keeps the weights from before the step that led there"
            ) from None
        finally:
            try:
                hooks.end(history)
            finally:
                self._states, self._hooks = hooks.states(), None
        return history

    def _run(
        self,
        loop: Loop,
        data: Data,
        validation: Data | None,
        n_epochs: int,
        hooks: Hooks,
        interrupt: Interrupt,
    ) -> None:
        """Run up to that many epochs from where training stands, and keep count of everything."""
        n_samples = len(data.x)
        rng = self._rng if self._shuffle and loop.n_batches > 1 else None
        before = self._position or Position(draw_orders(n_samples, n_epochs, rng), 0, np.zeros(2), 0.0)
        self._position = before  # whatever happens, what was drawn is visited
        if rng:
            n_epochs = min(n_epochs, len(before.order))
        totals, seconds = np.zeros((n_epochs, 2)), np.zeros(n_epochs)
        totals[0], seconds[0] = before.totals, before.seconds
        first_row, counted = len(self._rows), 0
        try:
            visits = make_data(data.x, data.y, before.order)
            trained = [before.batch] * (before.batch == loop.n_batches)  # that epoch lacks its validation only
            for reached in chain(trained, loop.run(visits, before.batch, totals, seconds)):
                whole, batch = divmod(reached, loop.n_batches)
                if validation and whole:  # Ctrl-C does not wait for its measurement: the next fit makes up for it
                    unmeasured = Position(before.order, reached, totals[0].copy(), float(seconds[0]))
                    self._n_steps, self._position = loop.done, unmeasured
                rows = self._make_rows(totals[counted:whole] / n_samples, seconds[counted:whole], validation)
                left = before.order[whole:] if rng else before.order
                position = None
                if batch or (rng and len(left)):
                    begun = (totals[whole].copy(), float(seconds[whole])) if batch else (np.zeros(2), 0.0)
                    position = Position(left, batch, *begun)
                counted = whole
                self._n_steps, self._position = loop.done, position
                self._rows += rows
                hooks.tell(self._name(rows[-1], validation is not None) if rows else {})
                self._is_stopping |= interrupt.error is not None
                if self._is_stopping:
                    return
        except Diverged as event:
            raise Diverged(first_row + event.epoch, event.batch, event.what) from None

    def _make_rows(self, means: Array, seconds: Array, validation: Data | None) -> list[Array]:
        """Return what was measured in some epochs, the last of which has just ended."""
        rows = np.full((len(means), len(COLUMNS)), np.nan)
        rows[:, 0], rows[:, 4] = means[:, 0], seconds
        if self._loss.classifies:
            rows[:, 1] = means[:, 1] / self._n_decisions
        if validation and len(rows):
            started = time.perf_counter()
            evaluation = self._measure(validation)
            rows[-1, 4] += time.perf_counter() - started
            rows[-1, 2] = evaluation.loss
            rows[-1, 3] = np.nan if evaluation.accuracy is None else evaluation.accuracy
        return list(rows)

    def _make_history(self, first_row: int, interrupted: bool) -> History:
        """Return the history from an epoch on."""
        rows = np.array(self._rows[first_row:]).reshape(-1, len(COLUMNS))
        accuracy, validation_loss, validation_accuracy = (None if np.isnan(c).all() else c for c in rows.T[1:4])
        return History(rows[:, 0], accuracy, validation_loss, validation_accuracy, rows[:, 4], interrupted)

    def _name(self, row: Array, is_validated: bool) -> dict[str, float]:
        """Return what callbacks are told of the epoch that has just ended."""
        decides = self._loss.classifies
        measured = (True, decides, is_validated, is_validated and decides, True)
        metrics = compress(zip(COLUMNS, row.tolist(), strict=True), measured)
        return {"epoch": self.n_epochs, **dict(metrics), "learning_rate": self.learning_rate}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: all that `Trainer.resume` needs to go on bit for bit.

        That is the network, the optimiser's state, the state of the random generator,
        where in an epoch training stands, the history, and the states of callbacks. The file is whole or not
        there, like that of `Network.save`. The samples are not in it.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there.

        Raises
        ------
        ImportError
            Without safetensors (``pip install 'fastnn-numba[save]'``).
        OSError
            If the file cannot be written; one that was there, and training, stay as they were.
        TypeError
            If the random generator is not one of NumPy's default kind, PCG64.
        ValueError
            If a weight is not finite, or `resume` could not read the file for another reason.
        """
        self.network.check_weights()
        state = self._rng.bit_generator.state
        if state["bit_generator"] not in GENERATORS:
            raise TypeError(
                f"a checkpoint holds generators of {' or '.join(GENERATORS)}, not {state['bit_generator']}; "
                "make the Trainer with a number, or with numpy.random.default_rng, as its seed"
            )
        position = self._position or Position(np.zeros((0, 0), np.int64), 0, np.zeros(2), 0.0)
        description: dict[str, Any] = {
            "network": self.network._describe(),
            "loss": self._loss.name.lower(),
            "gradient": [type(self.gradient).__name__, asdict(self.gradient)],
            "optimizer": [type(self.optimizer).__name__, asdict(self.optimizer)],
            "learning_rate": self.learning_rate,
            "batch_size": self._batch_size,
            "shuffle": self._shuffle,
            "random": state,
            "callbacks": {},
        }
        arrays = {
            **self.network._arrays(),
            "moments": self._update.moments,
            "history": np.array(self._rows).reshape(-1, len(COLUMNS)),
            "order": position.order,
            "totals": np.append(position.totals, position.seconds),
            "counts": np.array([self._n_steps, position.batch]),
        }
        states = self._hooks.states() if self._hooks else self._states
        for name, (_, kept) in states.items():
            are_arrays = {key: isinstance(value, np.ndarray) for key, value in kept.items()}
            description["callbacks"][name] = {key: value for key, value in kept.items() if not are_arrays[key]}
            arrays |= {f"callbacks.{name}.{key}": value for key, value in kept.items() if are_arrays[key]}
        files.write(path, "checkpoint", description, arrays, Trainer.resume)

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> Self:
        """Return the trainer that `save` wrote, to go on as if it had never stopped.

        Call `fit` with the same samples, for the epochs that are left: the numbers
        are the same bit for bit, on any number of threads; with ``NUMBA_DISABLE_JIT=1``,
        the last bits are others than without. Callbacks that have a state, such as
        `EarlyStopping`, go on if the run had not come to its end; see `fastnn.callbacks`.

        Parameters
        ----------
        path : str or path-like
            Of a checkpoint. It is data, and checked in full, like that of `fastnn.load`.

        Returns
        -------
        Trainer
            With a network of its own, ``trainer.network``.

        Raises
        ------
        ImportError
            Without safetensors (``pip install 'fastnn-numba[save]'``).
        OSError
            If there is nothing to read.
        ValueError
            If the file is damaged, not a checkpoint, or of a newer format.

        Examples
        --------
        >>> import fastnn, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> X, y = [[1], [3], [4], [8], [10]], [3, 9, 12, 24, 30]
        >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), batch_size=2)
        >>> history = trainer.fit(X, y, epochs=7, callbacks=[fastnn.callbacks.Checkpoint(path)])
        >>> trainer = fastnn.Trainer.resume(path)
        >>> history = trainer.fit(X, y, epochs=20 - trainer.n_epochs)
        >>> len(trainer.history)
        20
        """
        _, description, arrays = files.read(path, "checkpoint")
        with files.restoring(path, "checkpoint"):
            state = {name: arrays.pop(name) for name in ("moments", "history", "order", "totals", "counts")}
            states: States = {}
            for name, kept in description.get("callbacks", {}).items():  # not in the first files of this version
                prefix = f"callbacks.{name}."
                kept |= {key.removeprefix(prefix): arrays.pop(key) for key in list(arrays) if key.startswith(prefix)}
                states[name] = None, kept
            network = restore_network(path, description["network"], arrays)
            trainer = cls(
                network,
                loss=description["loss"],
                gradient=_rebuild(METHODS, description["gradient"]),
                optimizer=_rebuild(OPTIMIZERS, description["optimizer"]),
                batch_size=description["batch_size"],
                shuffle=description["shuffle"],
                seed=np.random.Generator(GENERATORS[description["random"]["bit_generator"]](0)),
            )
            trainer._restore(description, **state)
            trainer._states = states
            return trainer

    def _restore(
        self, description: dict[str, Any], moments: Array, history: Array, order: Array, totals: Array, counts: Array
    ) -> None:
        """Take up the state that a file holds, or raise: kernels check nothing any more."""
        here = self._update.moments
        wanted = {
            "moments": (moments, here.dtype, here.shape),
            "history": (history, np.float64, (len(history), len(COLUMNS))),
            "order": (order, np.int64, (len(order), order.shape[-1])),
            "totals": (totals, np.float64, (3,)),
            "counts": (counts, np.int64, (2,)),
        }
        for name, (array, dtype, shape) in wanted.items():
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        n_samples = order.shape[1]
        n_steps, batch = counts.tolist()
        n_batches = -(-n_samples // (self._batch_size or n_samples)) if order.size else 0
        # One without entries takes no bytes of a file, whatever its shape says.
        if order.shape != (0, 0) and not (order.size and (np.sort(order, axis=1) == np.arange(n_samples)).all()):
            raise ValueError("its order is none of samples")
        if not (0 <= n_steps <= MAX_STEPS and 0 <= batch <= n_batches):
            raise ValueError("its counts are none of training")
        if not validate.is_finite(moments):
            raise ValueError("the optimiser's state has NaN or infinity")
        self._rng.bit_generator.state = description["random"]
        self.learning_rate = description["learning_rate"]
        self._update.moments[:] = moments
        self._n_steps = n_steps
        self._rows = list(history)
        self._position = Position(order, batch, totals[:2], float(totals[2])) if order.size else None

    def evaluate(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Evaluation:
        """Measure the network on samples without training on them.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As for `fit`.

        Returns
        -------
        Evaluation
            ``loss`` and ``accuracy`` (None for losses of numbers). Where the loss overflows, inf
            and nan.

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss.
        """
        return self._measure(check_data(self.network, self._loss, X, y, sample_weight))

    @property
    def _n_decisions(self) -> int:
        """Decisions a sample: one a class label, or one an output."""
        return self.network.layers[-1].n_units if self._loss == Loss.BINARY_CROSS_ENTROPY else 1

    def _measure(self, data: Data) -> Evaluation:
        """Return the mean loss and accuracy over checked samples."""
        network = self.network
        n_samples = len(data.x)
        n_chunks = count_chunks(network._layout, Method.NONE, n_samples)
        task = make_plain_task(int(self._loss), Method.NONE, n_chunks)
        loss, correct, _ = measure(network._layout, network._theta, data, task)
        accuracy = correct / (n_samples * self._n_decisions) if self._loss.classifies else None
        return Evaluation(loss / n_samples, accuracy)


def _rebuild(kinds: Sequence[type[Any]], described: tuple[str, dict[str, Any]]) -> Any:
    """Return a frozen dataclass, one of those kinds, from its name and its fields."""
    name, values = described
    return {kind.__name__: kind for kind in kinds}[name](**values)
