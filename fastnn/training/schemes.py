"""Estimates of a gradient that perturb many weights at once, or all units of a sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from fastnn._engine.recipe import Recipe
from fastnn._support import validate
from fastnn._support.choices import DirectionsName, LayersName, NoiseName, SchemeName, ShapingName, SlopesName
from fastnn._support.names import Brief
from fastnn.hardware import Readout
from fastnn.kernels.estimators import DIRECTIONS, Estimator, Kind, Plan, Reading, Shaping
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import Method, Task

KINDS = {kind.name.lower(): kind for kind in Kind}
# What units can be perturbed by: of a code or of coordinates every sample would be at another place.
NOISES = get_args(NoiseName)
SHAPINGS = {None: Shaping.NONE, "sign": Shaping.SIGN, "ranks": Shaping.RANKS}
# A code's rows are put into an order, which takes room.
MAX_CODE = 2**20
MAX_SEED = 2**32 - 1


def make_key(seed: int, run: int) -> np.uint64:
    """Return the key of random numbers: of an estimator's or a readout's seed, and of a run's."""
    return np.uint64(seed | run << 32)


def make_reading(readout: Readout, run: int) -> Reading:
    """Return a readout as kernels see it, in a run of that seed."""
    low, high = readout.span or (0.0, 1.0)
    levels = float(2**readout.bits - 1) if readout.bits else 0.0
    return Reading(make_key(readout.seed, run), readout.noise, readout.repeats, low, high, levels)


def _make_task(loss: Loss, method: Method, eps: float, scheme: str, n_chunks: int, together: bool = False) -> Task:
    """Return what kernels are told where nothing is expanded into a series."""
    return Task(int(loss), int(method), scheme == "central", eps, 1, 0.0, 0.0, False, together, n_chunks)


def _plan_directions(kind: Kind, n_weights: int, q: int, seed: int, central: bool, shaping: Shaping) -> Plan:
    """Return directions of so many weights as kernels know them, or say why there are none."""
    n_rows = 0
    if kind == Kind.WALSH:
        n_rows = 1 << (n_weights - 1).bit_length()
        if n_rows > MAX_CODE:
            raise ValueError(f'directions="walsh" takes up to {MAX_CODE:,} weights, got {n_weights:,}')
    elif kind == Kind.COORDINATE:
        n_rows = n_weights
    if n_rows and q > n_rows:
        name = kind.name.lower()
        raise ValueError(f"{name} directions of {n_weights:,} weights are {n_rows:,}, got q={q:,}")
    return Plan(int(kind), DIRECTIONS, make_key(seed, 0), q, central, int(shaping), n_rows)


@dataclass(frozen=True, repr=False)
class RandomDirections(Brief):
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
        drawn. Within a step "walsh" takes no row twice, and "coordinate" no weight. Each of the others is drawn by
        itself: of few weights, some of "rademacher" may be equal.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or "ranks" are wanted of one direction.

    Notes
    -----
    On a loss that can only be measured, see `minimize`, a step costs `queries` readings of it. On a network nothing
    is read: the *change* of every value is carried up from the inputs, and no two losses are subtracted, so that
    differences are right to the rounding of the network's dtype, however small eps is. The directions themselves are
    never stored. Differences of all weights, which fastnn finds at once, are a better buy on networks: `Perturbation`.

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

    q: int = 1
    eps: float = 1e-3
    directions: DirectionsName = "rademacher"
    scheme: SchemeName = "central"
    shaping: ShapingName | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", validate.integer("q", self.q, low=1))
        object.__setattr__(self, "eps", validate.number("eps", self.eps, low=0.0, open_low=True))
        validate.choice("directions", self.directions, KINDS)
        validate.choice("scheme", self.scheme, get_args(SchemeName))
        if self.shaping is not None:
            validate.choice("shaping", self.shaping, [name for name in SHAPINGS if name])
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=MAX_SEED))
        if self.shaping == "ranks" and self.q == 1:
            raise ValueError('shaping="ranks" needs q >= 2: the ranks of one direction are always the same')

    def queries(self, n_weights: int | Sequence[int]) -> int:
        """Return how many readings a step takes of n_weights weights: 2 q, or q + 1 (q with ranks)."""
        if self.scheme == "central":
            return 2 * self.q
        return self.q + (self.shaping != "ranks")

    def plan(self, n_weights: int) -> Plan:
        """Return the directions of n_weights weights as kernels know them."""
        shaping = SHAPINGS[self.shaping]
        central = self.scheme == "central"
        return _plan_directions(KINDS[self.directions], n_weights, self.q, self.seed, central, shaping)

    def make_task(self, loss: Loss, dtype: np.dtype[Any], n_chunks: int) -> Task:
        """Return what kernels are told."""
        return _make_task(loss, self.method, self.eps, self.scheme, n_chunks)

    def make_recipe(self, sizes: Sequence[int], reading: Reading) -> Recipe:
        """Return how kernels estimate the gradient of layers of those sizes, the loss being read by `reading`."""
        return Recipe(Estimator.DIRECTIONS, self.plan(sum(sizes)), reading)

    @property
    def method(self) -> Method:
        """The method as kernels know it."""
        return Method.NONE


@dataclass(frozen=True, repr=False)
class NodePerturbation(Brief):
    """Noise on every unit's sum, of each sample by itself: what its loss makes of it is taken for the slope.

    A unit's z becomes ``z + sigma xi``, xi drawn anew for each sample and unit. With the loss l of that sample, the
    estimate of its slope with z is ``(l(sigma xi) - l(0)) / sigma`` times xi (forward), or ``(l(sigma xi) - l(-sigma
    xi)) / (2 sigma)`` times xi (central), and a weight's that times its input, as in back-propagation [1]_. The noise
    in it goes by the number of units, not of weights: in a linear layer of m outputs the mean square is that of the
    gradient plus ``m + 1`` (gaussian) or ``m - 1`` (rademacher) times a sum over samples [2]_.

    Parameters
    ----------
    sigma : float, default 1e-3
        The noise's standard deviation, positive.
    noise : {"rademacher", "gaussian", "sphere"}, default "rademacher"
        +1 or -1; normal; or uniform on the sphere of radius the root of the number of units.
    layers : {"together", "each"}, default "together"
        All layers at once; or one after another, whose losses are read each by itself.
    scheme : {"forward", "central"}, default "forward"
    seed : int, default 0
        Below 2**32. The noise is a function of the seed, the step and the sample's place in the epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    Notes
    -----
    A step costs 2 queries; layer by layer 1 and one a layer, or, central, two a layer. But on a device every sample's
    loss is to be read, and noise to be put on every sum.

    Layers whose weights are shared have a sum wherever these are used, and noise on each of them: a `Conv2D` at every
    place, recurrent layers at every step, the z of all gates; of a `GRU` also what the state adds to n's. An
    `Embedding` has it on what it puts out. A sequence is one sample, whose loss is the sum of its steps'. The estimate
    of a shared weight's slope is the sum over all sums that it is used in.

    References
    ----------
    .. [1] Widrow, Lehr, "30 years of adaptive neural networks: perceptron, madaline, and backpropagation", 1990.
    .. [2] Werfel, Xie, Seung, "Learning curves for stochastic gradient descent in linear feedforward networks", 2005.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.NodePerturbation().queries(2410), fastnn.NodePerturbation(layers="each").queries([2080, 330])
    (2, 3)
    """

    sigma: float = 1e-3
    noise: NoiseName = "rademacher"
    layers: LayersName = "together"
    scheme: SchemeName = "forward"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", validate.number("sigma", self.sigma, low=0.0, open_low=True))
        validate.choice("noise", self.noise, NOISES)
        validate.choice("layers", self.layers, get_args(LayersName))
        validate.choice("scheme", self.scheme, get_args(SchemeName))
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=MAX_SEED))

    def queries(self, n_weights: int | Sequence[int]) -> int:
        """Return how many readings a step takes: 2, or for "each", of n_weights of every layer, 1 and one a layer."""
        times = len(n_weights) if self.layers == "each" and not isinstance(n_weights, int) else 1
        return 2 * times if self.scheme == "central" else 1 + times

    def make_task(self, loss: Loss, dtype: np.dtype[Any], n_chunks: int) -> Task:
        """Return what kernels are told."""
        return _make_task(loss, self.method, self.sigma, self.scheme, n_chunks, self.layers == "together")

    def make_recipe(self, sizes: Sequence[int], reading: Reading) -> Recipe:
        """Return how kernels estimate the gradient of layers of those sizes, the loss being read by `reading`."""
        plan = _plan_directions(KINDS[self.noise], sum(sizes), 1, self.seed, self.scheme == "central", Shaping.NONE)
        return Recipe(Estimator.NODES, plan, reading)

    @property
    def method(self) -> Method:
        """The method as kernels know it."""
        return Method.BACKPROP


@dataclass(frozen=True, repr=False)
class ForwardGradient(Brief):
    """The exact gradient as forward-mode differentiation sees it: its slopes along q random directions.

    With g the gradient and d a direction, the estimate is the mean of q vectors ``(g . d) d`` [1]_: what
    `RandomDirections`, or `NodePerturbation`, tend to for small nudges. fastnn finds g by back-propagation and projects
    it, which is the same to rounding as q Jacobian-vector products, and takes a fraction of their time.

    Parameters
    ----------
    q : int, default 1
        Directions a step; for "units", a sample.
    of : {"weights", "units"}, default "weights"
        Directions of all weights; or, for each sample, of all its units' sums [2]_, whose noise goes by the number of
        units.
    directions : str, default "rademacher"
        As for `RandomDirections`; "walsh" and "coordinate" for weights only.
    seed : int, default 0
        Below 2**32, as for `RandomDirections`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    References
    ----------
    .. [1] Baydin and others, "Gradients without backpropagation", 2022.
    .. [2] Ren and others, "Scaling forward gradient with local losses", 2023.

    Examples
    --------
    >>> import fastnn
    >>> network = fastnn.mlp(1, 1, seed=0)
    >>> exact = fastnn.gradient(network, [[2.0]], [1.0], method=fastnn.Backprop())
    >>> whole = fastnn.gradient(network, [[2.0]], [1.0], method=fastnn.ForwardGradient(2, directions="walsh"))
    >>> [bool(abs(a - b).max() < 1e-12) for a, b in zip(whole, exact)]  # all rows of a code leave nothing out
    [True, True]
    """

    q: int = 1
    of: SlopesName = "weights"
    directions: DirectionsName = "rademacher"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", validate.integer("q", self.q, low=1))
        validate.choice("of", self.of, get_args(SlopesName))
        validate.choice("directions", self.directions, KINDS)
        if self.of == "units" and self.directions not in NOISES:
            listed = ", ".join(map(repr, NOISES))
            raise ValueError(f'of="units" takes directions {listed}, got {self.directions!r}')
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=MAX_SEED))

    def queries(self, n_weights: int | Sequence[int]) -> None:
        """Return None for any n_weights: what is differentiated cannot be measured."""

    def make_task(self, loss: Loss, dtype: np.dtype[Any], n_chunks: int) -> Task:
        """Return what kernels are told."""
        return _make_task(loss, self.method, 1.0, "central", n_chunks)

    def make_recipe(self, sizes: Sequence[int], reading: Reading) -> Recipe:
        """Return how kernels estimate the gradient of layers of those sizes; `reading` is one without noise."""
        plan = _plan_directions(KINDS[self.directions], sum(sizes), self.q, self.seed, True, Shaping.NONE)
        return Recipe(Estimator.WEIGHT_SLOPES if self.of == "weights" else Estimator.UNIT_SLOPES, plan, reading)

    @property
    def method(self) -> Method:
        """The method as kernels know it."""
        return Method.BACKPROP
