"""Numbers of eighty digits, for truths that extended precision cannot tell: `naive` works on arrays of them."""

import decimal
import functools

import numpy as np

CONTEXT = decimal.Context(prec=80, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


@functools.total_ordering
class Wide:
    """A number; NumPy calls the methods named after its functions."""

    def __init__(self, value):
        if isinstance(value, Wide):
            value = value.value
        self.value = value if isinstance(value, decimal.Decimal) else decimal.Decimal(float(value))

    def __add__(self, other):
        return Wide(CONTEXT.add(self.value, Wide(other).value))

    def __sub__(self, other):
        return Wide(CONTEXT.subtract(self.value, Wide(other).value))

    def __mul__(self, other):
        return Wide(CONTEXT.multiply(self.value, Wide(other).value))

    def __truediv__(self, other):
        return Wide(CONTEXT.divide(self.value, Wide(other).value))

    def __radd__(self, other):
        return self + other

    def __rsub__(self, other):
        return Wide(other) - self

    def __rmul__(self, other):
        return self * other

    def __rtruediv__(self, other):
        return Wide(other) / self

    def __neg__(self):
        return Wide(self.value.copy_negate())

    def __abs__(self):
        return Wide(self.value.copy_abs())

    def __eq__(self, other):
        return float(self - other) == 0.0

    def __lt__(self, other):
        return float(self - other) < 0.0

    def __hash__(self):
        return hash(self.value)

    def __float__(self):
        return float(self.value)

    def exp(self):
        return Wide(self.value.exp(CONTEXT))

    def log(self):
        return Wide(self.value.ln(CONTEXT))

    def log1p(self):
        return (self + 1).log()

    def tanh(self):
        e = (-2 * abs(self)).exp()
        size = (1 - e) / (1 + e)
        return size if self > 0 else -size


def widen(array):
    """Return an array of numbers as one of wide ones."""
    return np.frompyfunc(Wide, 1, 1)(array)


def narrow(array):
    """Return an array of wide numbers as float64."""
    return array.astype(float)
