"""Which learning rate to take: steps at rates that rise, and the loss of each."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.training.gradients import check_data
from fastnn.training.parts import list_paths
from fastnn.training.trainer import Trainer

# Steps on either side that a loss is averaged over, as a share of all.
WINDOW = 0.05
# A loss of so many times the lowest before has left what can be trained.
DIVERGED = 4.0


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What `learning_rate_range_test` measured, an entry a step.

    Attributes
    ----------
    rates : ndarray
        The learning rate of each step.
    losses : ndarray
        The mean loss of each step's batch, measured just before it.
    smoothed : ndarray
        The mean of each with its neighbours, a twentieth of all steps on either side.
    suggestion : float
        Where the smoothed loss falls steepest with the logarithm of the rate; nan where it falls nowhere.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float

    def __repr__(self) -> str:
        span = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"RangeTest: {len(self.rates)} steps at rates {span}, suggestion {self.suggestion:.3g}"


def learning_rate_range_test(
    trainer: Trainer,
    X: ArrayLike,
    y: ArrayLike,
    *,
    lowest: float = 1e-5,
    highest: float = 10.0,
    n_steps: int = 100,
) -> RangeTest:
    """Take steps at learning rates that rise, each by the same factor, with a copy of a trainer [1]_.

    It ends early where the loss has become several times its lowest, or overflows.

    Parameters
    ----------
    trainer : Trainer
        Left as it is, bit for bit.
    X, y : array_like
        As for `Trainer.fit`, but for files; a step takes a batch of the trainer's size.
    lowest, highest : float, default 1e-5 and 10
        The first and the last rate, positive.
    n_steps : int, default 100
        At least 10.

    Returns
    -------
    RangeTest

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together.
    FloatingPointError
        If the very first loss overflows.

    References
    ----------
    .. [1] Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.

    Examples
    --------
    >>> import fastnn
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
    >>> found = fastnn.learning_rate_range_test(trainer, [[1], [3], [4]], [3, 9, 12])
    >>> 1e-4 < found.suggestion < 1
    True
    """
    validate.instance("trainer", trainer, (Trainer,))
    lowest = validate.number("lowest", lowest, low=0.0, open_low=True)
    highest = validate.number("highest", highest, low=lowest, open_low=True)
    n_steps = validate.integer("n_steps", n_steps, low=10)
    if list_paths(X):
        raise ValueError("a range test takes samples at hand, and these are in files")
    samples: Any = check_data(trainer.network, trainer._loss, X, y).x
    n_samples = samples.shape[0]
    if not validate.is_sparse(samples):
        samples = samples.reshape(n_samples, *trainer.network.input_shape)
    targets = np.asarray(y)
    trial = copy.deepcopy(trainer)
    trial._batch_size, trial._position = None, None
    size = min(trainer._batch_size or n_samples, n_samples)
    order = np.arange(n_samples)
    rates, losses = np.geomspace(lowest, highest, n_steps), np.full(n_steps, math.nan)
    begun = n_samples
    for k, rate in enumerate(rates):
        if begun + size > n_samples:
            order, begun = trial._rng.permutation(n_samples) if trial._shuffle else order, 0
        rows = order[begun : begun + size]
        begun += size
        trial.learning_rate = float(rate)
        try:
            history = trial.fit(samples[rows], targets[rows], progress=False)
        except FloatingPointError:
            if not k:
                raise
            break
        if history.interrupted:
            raise KeyboardInterrupt
        losses[k] = history.loss[0]
        if losses[k] > DIVERGED * _smooth(losses[: k + 1], n_steps).min():
            break
    n_taken = int(np.isfinite(losses).sum())
    rates, losses = rates[:n_taken], losses[:n_taken]
    smoothed = _smooth(losses, n_steps)
    return RangeTest(rates, losses, smoothed, _suggest(rates, smoothed))


def _smooth(losses: Array, n_steps: int) -> Array:
    """Return the mean of each loss with its neighbours."""
    window: Any = np.ones(2 * max(1, round(WINDOW * n_steps)) + 1)
    half = len(window) // 2
    sums, counts = (np.convolve(part, window)[half:-half] for part in (losses, np.ones(len(losses))))
    smoothed: Array = sums / counts
    return smoothed


def _suggest(rates: Array, smoothed: Array) -> float:
    """Return the rate at which the loss falls steepest, before its lowest."""
    lowest = int(smoothed.argmin())
    slopes = np.diff(smoothed[: lowest + 1])
    return float(rates[slopes.argmin()]) if len(slopes) and slopes.min() < 0 else math.nan
