"""What estimates of a gradient are, in numbers, and no kernels: those of `schemes` are imported when one is used."""

from enum import IntEnum
from typing import NamedTuple

from numpy import uint64

# Streams of random numbers.
DIRECTIONS, ORDER, COLUMNS, CALIBRATION, NOISE, MASK, DROPOUT = range(7)


class Kind(IntEnum):
    """What directions are."""

    RADEMACHER = 0
    GAUSSIAN = 1
    SPHERE = 2
    WALSH = 3
    COORDINATE = 4


class Shaping(IntEnum):
    """What is made of the readings before directions are weighed by them."""

    NONE = 0
    SIGN = 1
    RANKS = 2


class Plan(NamedTuple):
    """The directions of a step."""

    kind: int  # Kind
    stream: int
    key: uint64
    q: int
    is_central: bool
    shaping: int  # Shaping
    n_rows: int  # rows of a code or coordinates, in an order that is drawn for each sweep; 0: none is


class Estimator(IntEnum):
    """How a gradient is estimated."""

    DIRECTIONS = 0
    NODES = 1
    WEIGHT_SLOPES = 2
    UNIT_SLOPES = 3
    DIFFERENCES = 4


class Reading(NamedTuple):
    """How a loss is read."""

    key: uint64
    noise: float
    repeats: int
    low: float
    high: float
    levels: float  # less one; 0: readings are not rounded
