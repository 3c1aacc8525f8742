"""Spall's gains."""

from dataclasses import dataclass
from typing import ClassVar

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.kernels.optimizers import Update
from fastnn.training.optimizers import SGD


@dataclass(frozen=True)
class Spall:
    """Steps and nudges that fall as Spall [1]_ has them: ``a / (A + k + 1)**alpha`` and ``c / (k + 1)**gamma``.

    k counts the steps from 0. What is not given is measured before the first step, by queries that
    count; what was chosen is in `Minimum.settings`.

    Parameters
    ----------
    first_step : float or None, default None
        How far a weight moves in the first step, about, if a is None. None is 0.1 of the weights' root
        mean square, or 0.1 if they are all zero.
    a : float or None, default None
        None finds it by calibrate pairs of queries: ``first_step * (A + 1)**alpha`` over the mean size of
        a difference, ``abs(L(w + c d) - L(w - c d)) / (2 c)``.
    c : float or None, default None
        None is the standard deviation of calibrate readings at the start, or the gradient's eps if that is larger.
    A : float or None, default None
        None is a tenth of the steps that the queries allow, or 100 if nothing limits them.
    alpha, gamma : float, default 0.602 and 0.101
        At least 0.
    calibrate : int, default 25
        At least 2.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or first_step and a are both given.

    References
    ----------
    .. [1] Spall, "Implementation of the simultaneous perturbation algorithm for stochastic optimization", 1998.
    """

    _elsewhere: ClassVar[str] = "; Spall is for fastnn.minimize"

    first_step: float | None = None
    a: float | None = None
    c: float | None = None
    A: float | None = None
    alpha: float = 0.602
    gamma: float = 0.101
    calibrate: int = 25

    def __post_init__(self) -> None:
        for name in ("first_step", "a", "c"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, validate.number(name, value, low=0.0, open_low=True))
        if self.A is not None:
            object.__setattr__(self, "A", validate.number("A", self.A, low=0.0))
        for name in ("alpha", "gamma"):
            object.__setattr__(self, name, validate.number(name, getattr(self, name), low=0.0))
        object.__setattr__(self, "calibrate", validate.integer("calibrate", self.calibrate, low=2))
        if self.a is not None and self.first_step is not None:
            raise ValueError("first_step is what a is found by; give one of them")

    def make_update(self, theta: Array) -> Update:
        """Return plain steps, whose rate is set before each."""
        return SGD().make_update(theta)
