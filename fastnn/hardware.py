"""What stands between a loss and the number that is read of it."""

from dataclasses import dataclass

from fastnn._support import validate

# A reading is a float64, which counts no finer.
MAX_BITS = 52


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
