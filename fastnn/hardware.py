"""What stands between weights and the number that is read of their loss: how it is read, what they are kept on."""

import warnings
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from fastnn._engine.devices import draw_gains, put_on_devices, read_weights, write_weights
from fastnn._support import validate
from fastnn._support.choices import RoundingName
from fastnn._support.validate import Array, find_caller
from fastnn.kernels.devices import GAINS
from fastnn.kernels.optimizers import Update

# A reading is a float64, which counts no finer.
MAX_BITS = 52
# Of devices: in float32, levels are right to a hundredth of their distance.
MAX_DEVICE_BITS = 16
# Of a step, what a nudge of whole ones may be off by its own rounding.
WHOLE = 1e-3


@dataclass(frozen=True)
class Readout:
    """How a loss is read: every reading of it, also those at weights that are not perturbed.

    A reading is the mean of so many queries. Each adds noise of its own to the loss and is
    rounded as a converter of so many bits does it. The noise is a function of the seed and the
    number of the query: it does not depend on the order in which answers come.

    Parameters
    ----------
    noise : float, default 0.0
        Standard deviation of one query's normal noise, at least 0.
    repeats : int, default 1
        How many queries are averaged to a reading, at least 1; each counts.
    bits : int or None, default None
        Round what is read to ``2**bits`` levels, at most 52 bits; None does not.
    span : (float, float) or None, default None
        The lowest and the highest level; what lies beyond is read as that. Needed with bits.
    seed : int, default 0
        Below 2**32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or bits and span do not come together.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.hardware import Readout
    >>> coarse = Readout(bits=8, span=(0.0, 2.55))
    >>> options = {"optimizer": fastnn.SGD(0.1), "queries": 2, "readout": coarse}
    >>> round(fastnn.minimize(lambda weights: 1.0042, [0.0], **options).loss, 9)
    1.0
    """

    noise: float = 0.0
    repeats: int = 1
    bits: int | None = None
    span: tuple[float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", validate.number("noise", self.noise, low=0.0))
        object.__setattr__(self, "repeats", validate.integer("repeats", self.repeats, low=1))
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=2**32 - 1))
        if (self.bits is None) != (self.span is None):
            raise ValueError("bits and span come together, for example Readout(bits=8, span=(0.0, 5.0))")
        if self.bits is None:
            return
        object.__setattr__(self, "bits", validate.integer("bits", self.bits, low=1, high=MAX_BITS))
        if not isinstance(self.span, tuple | list) or len(self.span) != 2:
            raise TypeError(f"span must be the lowest and the highest level, got {validate.show(self.span)}")
        low = validate.number("span[0]", self.span[0], low=-float("inf"))
        high = validate.number("span[1]", self.span[1], low=low, open_low=True)
        object.__setattr__(self, "span", (low, high))


@dataclass(frozen=True)
class Devices:
    """What weights are kept on: devices with bounds, levels and errors, such as memristors or the settings of a DAC.

    Each weight has one. It is *written*: what is wanted is cut to the bounds and rounded, and noise is added. What
    *acts* is that setting times the device's gain. It is *read*, with noise that passes: in every query of
    `minimize`, and in a step on a network once for all of the step.

    All noise is a function of the seed, the step and the weight: the same on any number of threads or workers.

    Parameters
    ----------
    bits : int or None, default None
        Settings are the ``2**bits`` levels from low to high, at most 16 bits; None has no levels.
    low, high : float, default -1.0 and 1.0
        The bounds of settings.
    rounding : {"nearest", "stochastic"}, default "nearest"
        To the nearest level; or to one of the two beside what is wanted, at random, so that the mean is what is wanted
        [1]_. A nudge of less than half a step moves no device by the nearest.
    write_noise : float, default 0.0
        Standard deviation of what a write adds to the setting, at least 0.
    read_noise : float, default 0.0
        Standard deviation of what a reading adds to what acts, at least 0. Not in `Trainer.evaluate`, nor in
        the weights that are left.
    gain_spread : float, default 0.0
        Standard deviation of the logarithm of the devices' gains, at least 0: drawn once.
    stuck : float, default 0.0
        Share of the devices that stay as they are first written, drawn once: 0 to 1.
    copy : bool, default True
        Steps are taken with a copy of full precision, of which settings are made. Without, what is written is all
        there is, and steps that are too small for a level are lost, or left to chance.
    seed : int, default 0
        Below 2**32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or rounding is given without bits.

    References
    ----------
    .. [1] Gupta, Agrawal, Gopalakrishnan, Narayanan, "Deep learning with limited numerical precision", 2015.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.hardware import Devices
    >>> devices = Devices(bits=6, low=-2.0, high=2.0)
    >>> round(devices.step, 4)
    0.0635
    >>> def loss(w):
    ...     return float((w[0] - 0.7) ** 2 + (w[1] + 1.4) ** 2)
    >>> result = fastnn.minimize(loss, [0.0, 0.0], devices=devices)
    >>> [round(float(w), 4) for w in result.weights]  # the levels next to 0.7 and -1.4
    [0.7302, -1.4286]
    """

    bits: int | None = None
    low: float = -1.0
    high: float = 1.0
    rounding: RoundingName = "nearest"
    write_noise: float = 0.0
    read_noise: float = 0.0
    gain_spread: float = 0.0
    stuck: float = 0.0
    copy: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bits is not None:
            object.__setattr__(self, "bits", validate.integer("bits", self.bits, low=1, high=MAX_DEVICE_BITS))
        object.__setattr__(self, "low", validate.number("low", self.low, low=-float("inf")))
        object.__setattr__(self, "high", validate.number("high", self.high, low=self.low, open_low=True))
        validate.choice("rounding", self.rounding, get_args(RoundingName))
        if self.bits is None and self.rounding != "nearest":
            raise ValueError('rounding="stochastic" needs bits: without there are no levels to round to')
        for name in ("write_noise", "read_noise", "gain_spread"):
            object.__setattr__(self, name, validate.number(name, getattr(self, name), low=0.0))
        object.__setattr__(self, "stuck", validate.number("stuck", self.stuck, low=0.0, high=1.0))
        validate.flag("copy", self.copy)
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=2**32 - 1))

    @property
    def step(self) -> float | None:
        """The distance of two levels, None without."""
        return None if self.bits is None else (self.high - self.low) / (2**self.bits - 1)

    @property
    def _grid(self) -> float:
        """What nudges have to be whole numbers of, 0 if nothing."""
        return (self.step or 0.0) if self.rounding == "nearest" else 0.0

    def _warn_of_nudge(self, name: str, nudge: float) -> None:
        """Warn of a nudge that is no whole number of steps."""
        n_steps = nudge / self._grid if self._grid else 0.0
        if abs(n_steps - round(n_steps)) > WHOLE:
            warnings.warn(
                f"{name}={nudge:g} is {n_steps:.3g} steps of the devices: nudges are rounded to whole ones",
                stacklevel=find_caller(),
            )

    def _list_numbers(self, run: int) -> Array:
        """Return what kernels are told, with the seed of a run."""
        levels = 0.0 if self.bits is None else 2.0**self.bits - 1
        at_random = self.rounding == "stochastic"
        noises = self.write_noise, self.read_noise
        return np.array([self.seed, run, self.low, self.high, levels, at_random, *noises, self.copy, 0.0])

    def _draw_gains(self, n_weights: int, numbers: Array, dtype: np.dtype[Any]) -> Array:
        """Return the devices' gains, 0 of those that are stuck."""
        gains = np.empty(n_weights, dtype)
        draw_gains(numbers, self.gain_spread, self.stuck, gains)
        return gains

    def _carry(self, update: Update) -> Update:
        """Return an optimiser that carries these devices."""
        numbers = self._list_numbers(0)
        return put_on_devices(update, numbers, self._draw_gains(update.moments.shape[1], numbers, update.moments.dtype))

    def _act(self, theta: Array) -> tuple[Array, Array]:
        """Return what weights act as, written and read once, and their gains."""
        update = self._carry(Update(0, 0.0, 0.0, float("inf"), np.zeros(0), np.zeros((0, theta.size), theta.dtype)))
        acting = theta.copy()
        write_weights(update, 0, acting)
        read_weights(update, 0, acting)
        return acting, update.moments[GAINS]


def check_devices(devices: object, nudge: float = 0.0, name: str = "eps") -> None:
    """Refuse what is neither devices nor None, and a nudge that moves none; 0 is no nudge."""
    if not isinstance(devices, Devices | None):
        raise TypeError(f"devices must be a fastnn.hardware.Devices, got {validate.show(devices)}")
    if devices and 0.0 < nudge < devices._grid / 2:
        raise ValueError(
            f"no device moves: {name}={nudge:g} is less than half of a step of {devices._grid:g}, with {devices}; take "
            f'{name}={devices._grid:.6g}, more bits, or rounding="stochastic"'
        )
