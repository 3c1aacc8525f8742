"""The minimum of a loss that can only be measured, in one call."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from fastnn.blackbox.directions import RandomDirections
from fastnn.blackbox.minimizer import Minimizer
from fastnn.blackbox.result import Minimum
from fastnn.blackbox.spall import Spall
from fastnn.callbacks import Callback
from fastnn.hardware import Devices, Readout
from fastnn.training.gradients import Perturbation
from fastnn.training.optimizers import Optimizer


def minimize(
    loss: Callable[..., Any],
    weights: ArrayLike | Sequence[ArrayLike],
    *,
    gradient: RandomDirections | Perturbation = RandomDirections(),  # noqa: B008 (frozen)
    optimizer: Spall | Optimizer = Spall(),  # noqa: B008 (frozen)
    queries: int | None = 10_000,
    seconds: float | None = None,
    bounds: tuple[object, object] | None = None,
    batched: bool = False,
    workers: Callable[..., Iterable[float]] | None = None,
    measure_every: int | None = None,
    blocking: float | Literal["auto"] | None = None,
    average: float = 0.0,
    readout: Readout | None = None,
    devices: Devices | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
    seed: int = 0,
) -> Minimum:
    """Minimise a loss that can only be measured: by nudging its weights and reading it again.

    The loss may be noisy, slow, run elsewhere, and fail now and then. Every reading counts, those of
    the calibration, too. The same arguments give the same bits, however the queries are answered.

    Parameters
    ----------
    loss : callable
        Called with weights shaped like the start, in arrays that it cannot write to; returns one real number.
        A function that numba compiles, of a vector, has the loop around it compiled, too: it may be
        called some million times a second. That should return nan rather than raise.
    weights : array_like or list of ndarray
        Where to start. It is copied, and kept in float32 if all of it is float32, else in float64.
    gradient : RandomDirections or Perturbation, default ``RandomDirections()``
        How a step's gradient is estimated. `Perturbation` nudges every weight by itself.
    optimizer : Spall, SGD, Adam, RMSprop, AdamW or Adagrad, default ``Spall()``
        What is made of it. Weight decay is of all weights here.
    queries : int or None, default 10_000
        How often the loss is asked for at most. As many whole steps are taken as they allow.
    seconds : float or None, default None
        End after the first reading at which so many seconds are over; of a batch, of what `workers` are
        handed, or of compiled steps (a tenth of a second), after the last one. Whichever budget ends first counts.
    bounds : (low, high) or None, default None
        What the weights, also the nudged ones, stay within: each a number, an array shaped like the weights or, of a
        list, a list of these, where None is no bound. Where a weight is closer to a bound than a nudge, readings are
        taken a nudge away from the bound. A normal direction's outliers are cut. Of weights in float32, bounds are
        rounded inwards.
    batched : bool, default False
        The loss takes a batch of points at once, with one more axis in front of each array, and returns a vector
        of as many numbers.
    workers : callable or None, default None
        What answers queries elsewhere: a function like ``map(function, queries)`` that returns the numbers
        in their order, such as the ``map`` of an executor or a pool. What it maps is an object with the loss in it,
        pickled for other processes. Each `Query` has another index, so none is taken for one that was answered.
    measure_every : int or None, default None
        Read the loss at the weights themselves after each so many steps.
    blocking : float, "auto" or None, default None
        Read the loss after each step, and take the step back if it is worse than before by more than this. "auto"
        is two standard deviations of readings at the start: 25, or Spall's `calibrate`.
    average : float, default 0.0
        `Minimum.weights` is the mean over this last share of the steps; if fewer are taken than the queries
        allow, the last weights.
    readout : fastnn.hardware.Readout or None, default None
        What happens to each reading: noise, repeats, rounding.
    devices : fastnn.hardware.Devices or None, default None
        What the weights are kept on: bounds, rounding, noise. The loss is handed what acts, and so are results. From
        their bounds, too, readings are taken a nudge away.
    callbacks : iterable of Callback, default ()
        `Callback.on_steps` is called, with the `Minimizer` in the place of a trainer, after each step (of compiled
        ones, all of a tenth of a second), and within a step after a tenth of a second; so
        ``Checkpoint(path, seconds=60)`` saves a search. Those that look at epochs are refused.
    progress : bool or None, default None
        A progress bar, as in `Trainer.fit`.
    seed : int, default 0
        Below 2**32. Of the run; beside it the gradient and the readout have theirs.

    Returns
    -------
    Minimum
        Also after Ctrl-C, with ``stopped="interrupted"``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, before anything is read; if the loss returns something other
        than a number, or changed by no more than rounding in the calibration.
    FloatingPointError
        If more than half of a step's queries failed, by an exception or a number that is not finite, if every
        direction of ten steps in a row lost a reading by that, or a weight is not finite. Its attribute ``result`` is
        the `Minimum` from before. Others that fail are left out.

    Examples
    --------
    >>> import fastnn
    >>> result = fastnn.minimize(lambda w: (w[0] - 1) ** 2 + (w[1] + 2) ** 2, [0.0, 0.0], queries=1000)
    >>> [round(float(w), 1) for w in result.weights], result.queries
    ([1.0, -2.0], 999)
    """
    minimizer = Minimizer(
        weights,
        gradient=gradient,
        optimizer=optimizer,
        queries=queries,
        bounds=bounds,
        measure_every=measure_every,
        blocking=blocking,
        average=average,
        readout=readout,
        devices=devices,
        seed=seed,
    )
    return minimizer.run(
        loss, seconds=seconds, batched=batched, workers=workers, callbacks=callbacks, progress=progress
    )
