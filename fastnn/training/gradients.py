"""How a gradient is found: by perturbation of every weight, by back-propagation, or as an estimate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from fastnn._engine.loop import count_passes, measure
from fastnn._engine.recipe import Recipe
from fastnn._engine.threads import count_chunks
from fastnn._engine.workspace import layer_sizes, make_data, make_plain_task, split
from fastnn._support import validate
from fastnn._support.choices import EvaluationName, LossName, SchemeName
from fastnn._support.names import Brief, named_arguments, named_fields
from fastnn._support.validate import Array
from fastnn.hardware import Devices, Readout, check_devices
from fastnn.kernels.estimators import DIRECTIONS, Estimator, Kind, Plan, Reading
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import Data, Method, Task
from fastnn.model.losses import encode_targets, find_loss, find_strata, weigh
from fastnn.model.network import Network
from fastnn.model.samples import hold_out
from fastnn.training.schemes import (
    MAX_SEED,
    ForwardGradient,
    NodePerturbation,
    RandomDirections,
    make_key,
    make_reading,
)

# What a series may leave out, relative to the layer's differences. The plain float64
# loop's rounding is 1e-12 to 1e-11 of them at eps = 1e-4, and eps itself costs 1e-5.
TOLERANCE = 1e-8
# A float32 network's own rounding is as large.
TOLERANCE32 = 8 * float(np.finfo(np.float32).eps)
# What it may leave out without a third term, in float64. At the default eps that is a few roundings.
ENOUGH = 1e-11


@named_fields
@dataclass(frozen=True, repr=False)
class Perturbation(Brief):
    """Finite differences: every weight is nudged by itself, on the mini-batch.

    With J the mean loss of the batch and e the direction of one weight, its
    difference is ``(J(w + eps e) - J(w)) / eps`` (forward) or
    ``(J(w + eps e) - J(w - eps e)) / (2 eps)`` (central) [1]_.

    Parameters
    ----------
    eps : float, default 1e-6
        The nudge, in the weight's own units, positive. The forward difference is
        off the derivative by about ``eps / 2`` times the loss's curvature, the
        central one by ``eps**2 / 6`` times its third derivative. fastnn loses no digits
        to a small one; a large one has more nudges measured directly, which takes longer
        where inputs are not scaled, and takes rectifiers across their kinks.
    scheme : {"forward", "central"}, default "forward"
    evaluate : {"auto", "series", "direct"}, default "auto"
        How the differences are evaluated. "direct" recomputes, for each weight, what
        it touches, carrying the *change* of every value. "series" expands the change
        of the loss in powers of the nudge, for all weights of a layer at once, at one
        to a few times back-propagation's price: two terms where they are enough, to 1e-11 of the layer's
        differences in float64, else three. What it leaves out is bounded (see
        `fastnn.kernels.series`), and a sample whose bound is above 1e-8 of the layer's
        differences (1e-6 in float32) is refused. "auto" takes the series, and measures
        directly those inputs of such samples whose own nudges are too large. Both measure
        directly what a nudge takes to a rectifier's kink. A weight of a `Conv2D` or a recurrent layer is nudged
        wherever it is used, and "series" refuses such. "auto" measures those of a `Conv2D` directly, as exactly by
        products where what is above has rectifiers and pools and that is cheaper; of those that are
        met at every step it measures, in each step, how much one term and two leave out of sixteen weights, and all
        of them directly where that is more: so what it leaves out there is checked on a sample, not proved.

    fraction : float or tuple of float, default 1.0
        Of each layer's weights and biases, how many are perturbed in a step, drawn anew; a tuple says it layer by layer
        (see `grasp`). The differences of the others are 0. That saves queries on a device, and no time here.
    redraw : int, default 1
        Steps that go by before others are drawn.
    rescale : bool, default False
        Multiply differences by the inverse of the fraction: their mean is then the gradient.
    seed : int, default 0
        For what is drawn; below 2**32.

    Raises
    ------
    TypeError, ValueError
        If eps is not a positive number, a name is unknown, or a fraction is not above 0 and at most 1; and, with
        ``evaluate="series"``, when a sample's remainder is not small.

    Notes
    -----
    Values are computed in the network's dtype, the direct kernel's changes in float64.
    Differences are right to about the rounding of the dtype: 1e-12 of the layer's
    largest in float64, and 1e-6 in float32, where two float32 losses subtracted
    would be noise. A rectifier's kink is found to the rounding of its pre-activation.

    References
    ----------
    .. [1] Spall, "Introduction to Stochastic Search and Optimization", 2003,
       section 6.3 (the finite-difference gradient).
    """

    eps: float = 1e-6
    scheme: SchemeName = "forward"
    evaluate: EvaluationName = "auto"
    fraction: float | tuple[float, ...] = 1.0
    redraw: int = 1
    rescale: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", validate.number("eps", self.eps, low=0.0, open_low=True))
        validate.choice("scheme", self.scheme, get_args(SchemeName))
        validate.choice("evaluate", self.evaluate, get_args(EvaluationName))
        if isinstance(self.fraction, tuple | list):
            fractions = [validate.share(f"fraction[{k}]", value) for k, value in enumerate(self.fraction)]
            object.__setattr__(self, "fraction", tuple(fractions))
        else:
            object.__setattr__(self, "fraction", validate.share("fraction", self.fraction))
        object.__setattr__(self, "redraw", validate.integer("redraw", self.redraw, low=1))
        validate.flag("rescale", self.rescale)
        object.__setattr__(self, "seed", validate.integer("seed", self.seed, low=0, high=MAX_SEED))

    def queries(self, n_weights: int | Sequence[int]) -> int:
        """Return how many readings a step costs of n_weights weights, or of those of each layer.

        One each weight that is perturbed, and one more; or, central, two each.
        """
        n = sum(self._count_perturbed([n_weights] if isinstance(n_weights, int) else n_weights))
        return 2 * n if self.scheme == "central" else n + 1

    def _count_perturbed(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return how many weights of each layer are perturbed in a step, one at least."""
        fractions = self.fraction if isinstance(self.fraction, tuple) else (self.fraction,) * len(sizes)
        if len(fractions) != len(sizes):
            raise ValueError(
                f"fraction has {len(fractions)} numbers, one for each layer with weights, and those are {len(sizes)}"
            )
        return tuple(max(1, round(share * size)) for share, size in zip(fractions, sizes, strict=True))

    def make_recipe(self, sizes: Sequence[int], reading: Reading) -> Recipe | None:
        """Return how kernels make a `reading` of each difference in layers of those sizes, if they have to."""
        counts = self._count_perturbed(sizes)
        is_exact = reading.noise == 0.0 and reading.levels == 0.0
        if counts == tuple(sizes) and is_exact:
            return None
        if reading.levels and self.scheme == "central":
            raise ValueError(
                "bits round both readings of a central difference, and fastnn finds that whole, not what it is of; use "
                f'RandomDirections(q={sum(sizes)}, eps={self.eps:g}, directions="coordinate"), the same differences '
                'reading by reading, or scheme="forward"'
            )
        plan = Plan(int(Kind.COORDINATE), DIRECTIONS, make_key(self.seed, 0), 1, self.scheme == "central", 0, 0)
        some = counts if counts != tuple(sizes) else ()
        return Recipe(Estimator.DIFFERENCES, plan, reading, some, self.redraw, self.rescale)

    def make_task(self, loss: Loss, dtype: np.dtype[Any], n_chunks: int) -> Task:
        """Return what kernels are told."""
        central = self.scheme == "central"
        n_terms, tolerance, enough = 3, TOLERANCE, ENOUGH
        if dtype == np.float32:
            tolerance = enough = TOLERANCE32
        if self.eps * self.eps < min(enough, float(np.finfo(np.float32).eps)):  # what the third term weighs
            n_terms = 1 if central else 2
        strict = self.evaluate == "series"
        return Task(int(loss), int(self.method), central, self.eps, n_terms, tolerance, enough, strict, False, n_chunks)

    @property
    def method(self) -> Method:
        """The method as kernels know it."""
        return Method.DIRECT if self.evaluate == "direct" else Method.SERIES


@dataclass(frozen=True, repr=False)
class Backprop(Brief):
    """The analytic gradient by back-propagation, for comparison.

    It agrees with perturbation up to the latter's truncation error. At a kink
    (relu, leaky_relu at exactly 0) it takes the slope on the left; of an absolute error of exactly 0, none.
    """

    def queries(self, n_weights: int | Sequence[int]) -> None:
        """Return None for any n_weights: what is differentiated cannot be measured."""

    def make_task(self, loss: Loss, dtype: np.dtype[Any], n_chunks: int) -> Task:
        """Return what kernels are told."""
        return make_plain_task(int(loss), self.method, n_chunks)

    @property
    def method(self) -> Method:
        """The method as kernels know it."""
        return Method.BACKPROP


Gradient = Perturbation | Backprop | RandomDirections | NodePerturbation | ForwardGradient
METHODS = (Perturbation, Backprop, RandomDirections, NodePerturbation, ForwardGradient)


@named_arguments
def gradient(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: LossName = "squared_error",
    method: Gradient = Perturbation(),
    sample_weight: ArrayLike | None = None,
    readout: Readout | None = None,
    devices: Devices | None = None,
) -> list[Array]:
    """Return the gradient of the mean loss over the samples: what `Trainer` steps against, but that nothing is dropped.

    Parameters
    ----------
    network : Network
        Left as it is, bit for bit.
    X : array_like or sparse matrix, shape (n_samples,) + input_shape
    y : array_like, shape (n_samples,) + output_shape
        For categorical cross-entropy also integer labels, (n_samples,), or of sequences
        (n_samples, n_steps); of one output also the same shape.
    loss : {"squared_error", "absolute_error", "huber", "poisson", "binary_cross_entropy", "categorical_cross_entropy"}
        See `Trainer`. Default "squared_error".
    method : Perturbation, Backprop, RandomDirections, NodePerturbation or ForwardGradient, default ``Perturbation()``
        Of those that draw, the directions of a first step: another seed draws others.
    sample_weight : array_like, shape (n_samples,), or None
        Numbers >= 0: the loss is the mean weighted by them. None weighs all alike. Of sequences also
        (n_samples, n_steps).
    readout : fastnn.hardware.Readout or None, default None
        How the loss is read, in every reading that an estimate takes.
    devices : fastnn.hardware.Devices or None, default None
        Written with the weights, and read once: the slope is that with their settings.

    Returns
    -------
    list of ndarray
        ``[dW1, db1, dW2, db2, ...]``, shaped like ``network.weights``, in the
        network's dtype.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together; nothing is computed then.
    FloatingPointError
        If the loss overflows.

    Examples
    --------
    >>> import fastnn
    >>> network = fastnn.mlp(1, 1, seed=0)
    >>> network.weights = [[[2.0]], [0.0]]
    >>> dW, db = fastnn.gradient(network, [[1.0], [2.0]], [3.0, 6.0])
    >>> round(float(dW[0, 0]), 12)  # the derivative is -5; a forward difference adds eps * 2.5
    -4.9999975
    """
    validate.instance("network", network, (Network,))
    validate.instance("method", method, METHODS)
    make_recipe(network, method, readout)
    check_devices(devices, getattr(method, "eps", 0.0))
    code = find_loss(loss, network.output_layer.code)
    data = check_data(network, code, X, y, sample_weight)
    return split(network._layout, find_gradient(network, code, data, method, readout, devices))


def find_gradient(
    network: Network,
    code: Loss,
    data: Data,
    method: Gradient,
    readout: Readout | None = None,
    devices: Devices | None = None,
) -> Array:
    """Return the gradient of checked samples' mean loss, flat."""
    recipe = make_recipe(network, method, readout)
    n_chunks = count_chunks(network._layout, method.method, data.x.shape[0] * count_passes(recipe))
    task = method.make_task(code, network.dtype, n_chunks)
    theta, gains = network._theta, None
    if devices is not None:
        theta, gains = devices._act(theta)
    value, _, differences = measure(network._layout, theta, data, task, recipe)
    if not math.isfinite(value):
        raise FloatingPointError("the loss is not finite: weights are too large, or inputs are not scaled to about 1")
    return differences if gains is None else differences * gains


def make_recipe(network: Network, method: Gradient, readout: Readout | None = None) -> Recipe | None:
    """Return how kernels estimate a network's gradient, if they do; refuse what is not proved for its layers."""
    if not isinstance(readout, Readout | None):
        raise TypeError(f"readout must be a fastnn.hardware.Readout, got {validate.show(readout)}")
    shared = [str(layer) for layer in network.shared_layers() if layer.parameters]
    if shared and isinstance(method, Perturbation) and method.evaluate == "series":
        raise ValueError(
            f"evaluate='series' is proved for dense layers only, and this network has a {shared[0]}; "
            "use evaluate='auto', which measures the weights of such layers directly"
        )
    if readout and isinstance(method, Backprop | ForwardGradient):
        raise ValueError(f"{method} differentiates, and reads no loss: what has a readout is an estimate by perturbing")
    if isinstance(method, Backprop):
        return None
    return method.make_recipe(layer_sizes(network._layout), make_reading(readout or Readout(), 0))


def count_queries(network: Network, method: Gradient, readout: Readout | None = None) -> int | None:
    """Return how many readings of the loss a step costs on a device, None for what cannot be measured there."""
    n_readings = method.queries(layer_sizes(network._layout))
    return None if n_readings is None else n_readings * (readout.repeats if readout else 1)


def check_data(
    network: Network,
    loss: Loss,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    class_weight: object = None,
    *,
    which: str = "the samples",
) -> Data:
    """Return checked samples, in the order they came; the weights are checked, too. Which they are is for messages."""
    x, targets = _check_samples(network, loss, X, y)
    return make_data(x, weigh(loss, targets, sample_weight, class_weight, _count_targets(network), which))


def split_data(
    network: Network,
    loss: Loss,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    class_weight: object,
    fraction: float,
    is_drawn: bool,
) -> tuple[Data, Data]:
    """Return checked samples to train on, and that share of them to validate with; see `samples.hold_out`."""
    x, targets = _check_samples(network, loss, X, y)
    n_steps = _count_targets(network)
    weigh(loss, targets, sample_weight, class_weight, n_steps)
    weights = None if sample_weight is None else np.asarray(sample_weight)
    each = targets.reshape(x.shape[0], -1, targets.shape[1])
    strata = find_strata(loss, targets) if n_steps is None else np.zeros(x.shape[0])
    parts = []
    roles = (class_weight, "leaves"), (None, "holds out")
    for rows, (by_class, role) in zip(hold_out(strata, fraction, is_drawn), roles, strict=True):
        chosen = each[rows].reshape(-1, targets.shape[1])
        counted = None if weights is None else weights[rows]
        which = f"the samples that validation_split {role}"
        parts.append(make_data(x[rows], weigh(loss, chosen, counted, by_class, n_steps, which)))
    train, held = parts
    return train, held


def _count_targets(network: Network) -> int | None:
    """Return how many steps of a sample have targets, None where it is no sequence."""
    outputs = network.output_shape
    return outputs[0] if len(outputs) > 1 else None


def _check_samples(network: Network, loss: Loss, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return samples and encoded targets, checked."""
    network.check_weights()
    x = network.check_inputs(X)
    outputs = network.output_shape
    advice = ""
    if len(outputs) == 1 and any(vars(layer).get("return_sequences") is False for layer in network.layers):
        advice = "; for a result of each step, give the last recurrent layer return_sequences=True"
    return x, encode_targets(loss, y, x.shape[0], outputs, network.dtype, advice)
