"""Directions that a loss is perturbed along which can only be measured."""

from fastnn.kernels.estimators import CALIBRATION, DIRECTIONS, Kind, Plan, Shaping
from fastnn.training.gradients import Perturbation
from fastnn.training.schemes import MAX_SEED as MAX_SEED
from fastnn.training.schemes import RandomDirections as RandomDirections
from fastnn.training.schemes import make_key

ESTIMATORS = (RandomDirections, Perturbation)


def make_plan(gradient: RandomDirections | Perturbation, n_weights: int, seed: int) -> Plan:
    """Return what kernels are told of a way to find gradients."""
    if isinstance(gradient, RandomDirections):
        return gradient.plan(n_weights)._replace(key=make_key(gradient.seed, seed))
    if gradient.evaluate != "auto":
        raise ValueError(f"evaluate={gradient.evaluate!r} is for networks: a loss that is measured has no inside")
    if gradient.fraction != 1.0:
        raise ValueError(
            "fraction is for networks: of a loss that is measured, some weights at a time are "
            'RandomDirections(q, directions="coordinate")'
        )
    central = gradient.scheme == "central"
    return Plan(int(Kind.COORDINATE), DIRECTIONS, make_key(0, seed), n_weights, central, int(Shaping.NONE), 0)


def make_calibration(n_pairs: int, gradient: RandomDirections | Perturbation, seed: int) -> Plan:
    """Return the directions that slopes are found along before the first step."""
    own = gradient.seed if isinstance(gradient, RandomDirections) else 0
    return Plan(int(Kind.RADEMACHER), CALIBRATION, make_key(own, seed), n_pairs, True, int(Shaping.NONE), 0)
