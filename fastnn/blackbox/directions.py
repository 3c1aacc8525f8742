"""Random directions that a loss is perturbed along."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastnn._support import validate
from fastnn.kernels.measured import CALIBRATION, DIRECTIONS, Kind, Plan, Shaping
from fastnn.training.gradients import SCHEMES, Perturbation

KINDS = {kind.name.lower(): kind for kind in Kind}
SHAPINGS = {None: Shaping.NONE, "sign": Shaping.SIGN, "ranks": Shaping.RANKS}
# A code's rows are put into an order, which takes room.
MAX_CODE = 2**20
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class RandomDirections:
    """Finite differences along random directions: all weights are nudged at once.

    With L the loss and d a direction, a difference is ``(L(w + eps d) - L(w - eps d)) / (2 eps)``
    (central) or ``(L(w + eps d) - L(w)) / eps`` (forward), and the estimate of the gradient is the
    mean of q of them, each times its d. Its mean over directions is the gradient of a smoothed loss;
    a single one is mostly noise: of P weights, the cosine between it and the gradient is about
    ``sqrt(q / (q + P - 1))``.

    Parameters
    ----------
    q : int, default 1
        Directions a step.
    eps : float, default 1e-3
        The size of an entry's nudge: for "gaussian" its standard deviation, for "sphere" its root
        mean square. For "coordinate" the one entry's.
    directions : str, default "rademacher"
        - ``"rademacher"``: +1 or -1 in every entry, as in SPSA [1]_;
        - ``"gaussian"``: normal entries, as in evolution strategies [2]_;
        - ``"sphere"``: uniform on the sphere of radius ``sqrt(P)``;
        - ``"walsh"``: rows of a Walsh code with random signs, as in multiplexed gradient descent [3]_.
          The code has the next power of two of rows, N >= P, and its rows are taken in random order. N / q
          steps are a sweep, whose differences, taken together at the same weights, are exact to second order if
          q divides N; forward ones with the following sweep, which has the negatives;
        - ``"coordinate"``: one weight each, in random order, its difference times P. With q = P all
          differences are exact, as those of `Perturbation`.
    scheme : {"central", "forward"}, default "central"
        Two readings a direction; or one, and one more a step at the weights themselves.
    shaping : {None, "sign", "ranks"}, default None
        What a direction is weighed by: its difference; the sign of it; or, as in [2]_, the
        difference of its readings' ranks among all of the step, scaled to -1/2 to 1/2. Forward ranks
        need no reading at the weights themselves.
    seed : int, default 0
        Below 2**32. A direction is a function of the seed, the step and its number, so the same wherever it is
        drawn; none comes twice within a step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or "ranks" are wanted of one direction.

    Notes
    -----
    What these take is a loss that can only be measured: `minimize`. For networks, whose differences fastnn
    finds all at once, there is `Perturbation`.

    References
    ----------
    .. [1] Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
       approximation", 1992.
    .. [2] Salimans, Ho, Chen, Sidor, Sutskever, "Evolution strategies as a scalable alternative to reinforcement
       learning", 2017.
    .. [3] McCaughan and others, "Multiplexed gradient descent", 2023.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.RandomDirections(10).queries(2410), fastnn.RandomDirections(10, scheme="forward").queries(2410)
    (20, 11)
    """

    _elsewhere: ClassVar[str] = "; RandomDirections are for fastnn.minimize"

    q: int = 1
    eps: float = 1e-3
    directions: str = "rademacher"
    scheme: str = "central"
    shaping: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", validate.integer("q", self.q, low=1))
        object.__setattr__(self, "eps", validate.number("eps", self.eps, low=0.0, open_low=True))
        validate.choice("directions", self.directions, KINDS)
        validate.choice("scheme", self.scheme, SCHEMES)
        if self.shaping is not None:
            validate.choice("shaping", self.shaping, [name for name in SHAPINGS if name])
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=MAX_SEED))
        if self.shaping == "ranks" and self.q == 1:
            raise ValueError('shaping="ranks" needs q >= 2: the ranks of one direction are always the same')

    def queries(self, n_weights: int) -> int:
        """Return how many readings a step takes of n_weights weights."""
        if self.scheme == "central":
            return 2 * self.q
        return self.q + (self.shaping != "ranks")

    def _plan(self, n_weights: int, seed: int) -> Plan:
        """Return what kernels are told, for so many weights and the seed of a run."""
        kind, n_rows = KINDS[self.directions], 0
        if kind == Kind.WALSH:
            n_rows = 1 << (n_weights - 1).bit_length()
            if n_rows > MAX_CODE:
                raise ValueError(f'directions="walsh" takes up to {MAX_CODE:,} weights, got {n_weights:,}')
        elif kind == Kind.COORDINATE:
            n_rows = n_weights
        if n_rows and self.q > n_rows:
            raise ValueError(f"{self.directions} directions of {n_weights:,} weights are {n_rows:,}, got q={self.q:,}")
        shaping = int(SHAPINGS[self.shaping])
        return Plan(int(kind), DIRECTIONS, make_key(self.seed, seed), self.q, self.scheme == "central", shaping, n_rows)


ESTIMATORS = (RandomDirections, Perturbation)


def make_key(seed: int, run: int) -> np.uint64:
    """Return the key of random numbers: of an estimator's or a readout's seed, and of a run's."""
    return np.uint64(seed | run << 32)


def make_plan(gradient: RandomDirections | Perturbation, n_weights: int, seed: int) -> Plan:
    """Return what kernels are told of a way to find gradients."""
    if isinstance(gradient, RandomDirections):
        return gradient._plan(n_weights, seed)
    if gradient.evaluate != "auto":
        raise ValueError(f"evaluate={gradient.evaluate!r} is for networks: a loss that is measured has no inside")
    central = gradient.scheme == "central"
    return Plan(int(Kind.COORDINATE), DIRECTIONS, make_key(0, seed), n_weights, central, int(Shaping.NONE), 0)


def make_calibration(n_pairs: int, gradient: RandomDirections | Perturbation, seed: int) -> Plan:
    """Return the directions that slopes are found along before the first step."""
    own = gradient.seed if isinstance(gradient, RandomDirections) else 0
    return Plan(int(Kind.RADEMACHER), CALIBRATION, make_key(own, seed), n_pairs, True, int(Shaping.NONE), 0)
