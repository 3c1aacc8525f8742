"""The Trainer: epochs, batches and a history. No mathematics."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _validate
from fastnn._loop import Diverged, Loop, draw_orders, measure
from fastnn._validate import Array
from fastnn._workspace import make_data, make_plain_task
from fastnn.gradients import METHODS, Backprop, Perturbation, check_data, count_chunks
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import Data, Method
from fastnn.losses import find_loss
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS, SGD, Adam


class Evaluation(NamedTuple):
    """What `Trainer.evaluate` measures."""

    loss: float
    accuracy: float | None  # share of right decisions; None for squared error


@dataclass(frozen=True)
class History:
    """What `Trainer.fit` measured, one entry an epoch.

    Attributes
    ----------
    loss : ndarray, shape (epochs,)
        Mean loss over the epoch's samples, each measured just before the step that
        its batch takes.
    accuracy : ndarray, shape (epochs,), or None
        Share of right decisions, measured at the same time; None for squared error.
    validation_loss, validation_accuracy : ndarray, shape (epochs,), or None
        Measured after the epoch; None without validation data.
    seconds : ndarray, shape (epochs,)
        Time of the epoch's steps, compilation included.
    """

    loss: Array
    accuracy: Array | None
    validation_loss: Array | None
    validation_accuracy: Array | None
    seconds: Array

    def to_dict(self) -> dict[str, Array]:
        """Return the measured arrays by name, leaving out what is None."""
        columns = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: column for name, column in columns if column is not None}

    def __len__(self) -> int:
        return self.loss.size

    def __repr__(self) -> str:
        if not len(self):
            return "History: 0 epochs"
        columns = [
            f"{name.replace('_', ' ')} {column[0]:.4g} to {column[-1]:.4g}"
            for name, column in self.to_dict().items()
            if name != "seconds"
        ]
        epochs = f"{len(self)} epoch" + "s" * (len(self) > 1)
        return f"History: {epochs} in {self.seconds.sum():.2g} s, {', '.join(columns)}"


class Trainer:
    """Train a network, by perturbing every weight or by back-propagation.

    Parameters
    ----------
    network : Network
        Trained in place.
    loss : str, default "squared_error"
        Summed over outputs, averaged over samples, without a factor of one half:

        - ``"squared_error"``: ``(a - y)**2``, any output layer;
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
        _validate.instance("network", network, (Network,))
        _validate.instance("gradient", gradient, METHODS)
        _validate.instance("optimizer", optimizer, OPTIMIZERS)
        self.network = network
        self.gradient = gradient
        self.optimizer = optimizer
        self._loss = find_loss(loss, network.layers[-1].code)
        self._batch_size = None if batch_size is None else _validate.integer("batch_size", batch_size, low=1)
        self._shuffle = _validate.flag("shuffle", shuffle)
        self._rng = _validate.generator("seed", seed)
        self._update = optimizer.make_update(network._theta)
        self._n_steps = 0

    @property
    def n_steps(self) -> int:
        """Optimiser steps taken so far, over all calls of `fit`."""
        return self._n_steps

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 1,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one stopped.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs)
        y : array_like, shape (n_samples, n_outputs)
            For categorical cross-entropy also integer labels, (n_samples,); for one
            output also (n_samples,).
        epochs : int, default 1
            Passes over the samples, at least 0.
        validation_data : (X, y) or None
            Measured after each epoch, not trained on.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss; nothing has changed then.
        FloatingPointError
            If the loss overflows. The network keeps the weights from before the step
            that made it so.
        """
        epochs = _validate.integer("epochs", epochs, low=0)
        data = check_data(self.network, self._loss, X, y)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
                raise TypeError(f"validation_data must be a pair (X, y), got {type(validation_data).__name__}")
            validation = check_data(self.network, self._loss, *validation_data)
        n_samples = len(data.x)
        batch_size = min(self._batch_size or n_samples, n_samples)
        n_chunks = count_chunks(self.network._layout, self.gradient.method, batch_size)
        task = self.gradient.make_task(self._loss, self.network.dtype, n_chunks)
        network = self.network
        loop = Loop(network._layout, network._theta, task, self._update, n_samples, batch_size, self._n_steps)
        rng = self._rng if self._shuffle and batch_size < n_samples else None
        totals, seconds = [np.zeros((0, 2))], [np.zeros(0)]
        validations: list[Evaluation] = []
        left = epochs
        try:
            while left:
                ahead = 1 if validation else left
                order = draw_orders(n_samples, ahead, rng)
                ahead = min(ahead, len(order)) if rng else ahead
                measured, elapsed = loop.run(make_data(data.x, data.y, order), ahead)
                totals.append(measured)
                seconds.append(elapsed)
                if validation:
                    validations.append(self._measure(validation))
                left -= ahead
        except Diverged as event:
            epoch = epochs - left + event.epoch + 1
            raise FloatingPointError(
                f"the loss is not finite at epoch {epoch}, batch {event.batch + 1} of {loop.n_batches}, with "
                f"{self.optimizer}; try a smaller learning rate, or inputs scaled to about 1. The network keeps the "
                "weights from before the step that led there"
            ) from None
        finally:
            self._n_steps = loop.done
        means = np.concatenate(totals) / n_samples
        checked = np.array([[v.loss, np.nan if v.accuracy is None else v.accuracy] for v in validations]).reshape(-1, 2)
        decides = self._loss != Loss.SQUARED_ERROR
        return History(
            loss=means[:, 0],
            accuracy=means[:, 1] / self._n_decisions if decides else None,
            validation_loss=checked[:, 0] if validation else None,
            validation_accuracy=checked[:, 1] if validation and decides else None,
            seconds=np.concatenate(seconds),
        )

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> Evaluation:
        """Measure the network on samples without training on them.

        Parameters
        ----------
        X, y : array_like
            As for `fit`.

        Returns
        -------
        Evaluation
            ``loss`` and ``accuracy`` (None for squared error).

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss.
        """
        return self._measure(check_data(self.network, self._loss, X, y))

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
        accuracy = correct / (n_samples * self._n_decisions) if self._loss != Loss.SQUARED_ERROR else None
        return Evaluation(loss / n_samples, accuracy)
