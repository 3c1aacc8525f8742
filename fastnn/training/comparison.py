"""Ways to find a gradient, side by side: what each costs, and how far it is from the gradient."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._support import html, validate
from fastnn._support.choices import LossName
from fastnn._support.validate import Array
from fastnn.hardware import Readout
from fastnn.model.losses import find_loss
from fastnn.model.network import Network
from fastnn.training.gradients import (
    METHODS,
    Backprop,
    Gradient,
    Perturbation,
    check_data,
    count_queries,
    find_gradient,
    make_recipe,
)
from fastnn.training.schemes import ForwardGradient, NodePerturbation, RandomDirections


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` measured, an entry a method.

    Attributes
    ----------
    methods : tuple of str
        As they are typed, without what is their default.
    queries : ndarray
        Readings of the loss that a step costs; nan for what readings cannot tell.
    seconds : ndarray
        Median time of an estimate, without that of the first one, which may compile.
    cosine, cosine_error : ndarray
        Mean of the cosines between estimates and the gradient, and its standard error.
    bias : ndarray
        How far the estimates' mean is from the gradient, relative to the gradient's length. What chance alone makes of
        it is taken off, so that it is 0 where it cannot be told from that.
    deviation : ndarray
        Root of the mean squared distance of estimates from their mean, relative to the gradient's length.
    expected : ndarray
        What the deviation is for small nudges, by a closed form; nan where there is none.
    """

    methods: tuple[str, ...]
    queries: Array
    seconds: Array
    cosine: Array
    cosine_error: Array
    bias: Array
    deviation: Array
    expected: Array

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return len(self.methods)

    def _list_rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for k, name in enumerate(self.methods):
            queries = "" if math.isnan(self.queries[k]) else f"{self.queries[k]:,.0f}"
            expected = "" if math.isnan(self.expected[k]) else f"{self.expected[k]:.3g}"
            cosine = f"{self.cosine[k]:.4f} ± {self.cosine_error[k]:.4f}"
            measured = f"{self.bias[k]:.2g}", f"{self.deviation[k]:.3g}", expected
            rows.append((name, queries, f"{1000 * self.seconds[k]:.3g}", cosine, *measured))
        return rows

    def __repr__(self) -> str:
        table = [HEADINGS, *self._list_rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for first, *others in table:
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *cells]))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html.table("Comparison with the gradient", HEADINGS, self._list_rows())


HEADINGS = ("", "queries", "ms", "cosine", "bias", "deviation", "expected")


def compare(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: LossName = "squared_error",
    methods: Sequence[Gradient],
    repeats: int = 20,
    readout: Readout | None = None,
) -> Comparison:
    """Find the same gradient by several methods, again and again, and compare with back-propagation.

    Parameters
    ----------
    network : Network
        Left as it is, bit for bit.
    X, y : array_like
        A batch, as for `gradient`.
    loss : str, default "squared_error"
        See `Trainer`.
    methods : sequence of what `gradient` takes
    repeats : int, default 20
        Estimates by each, at least 2: each draws with another seed, counted up from its own.
    readout : fastnn.hardware.Readout or None, default None
        How the loss is read by methods that read it; its seed is counted up, too. What differentiates has none.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together, or the gradient is 0.
    FloatingPointError
        If the loss overflows.

    Examples
    --------
    >>> import fastnn
    >>> network = fastnn.mlp(3, 4, 2, hidden="tanh", seed=0)
    >>> schemes = [fastnn.Perturbation(), fastnn.RandomDirections(10)]
    >>> found = fastnn.compare(network, [[1.0, 2.0, 3.0]], [[0.0, 1.0]], methods=schemes)
    >>> found.queries, [bool(cosine > 0.4) for cosine in found.cosine]
    (array([27., 20.]), [True, True])
    """
    validate.instance("network", network, (Network,))
    repeats = validate.integer("repeats", repeats, low=2)
    if not isinstance(methods, Iterable) or not (listed := list(methods)):
        raise TypeError(f"methods must be a list of what fastnn.gradient takes, got {validate.show(methods)}")
    for k, method in enumerate(listed):
        validate.instance(f"methods[{k}]", method, METHODS)
        make_recipe(network, method, _readout_of(method, readout))
    code = find_loss(loss, network.output_layer.code)
    data = check_data(network, code, X, y)

    def measure(method: Gradient, shift: int) -> Array:
        read = reseed(_readout_of(method, readout), shift)
        return find_gradient(network, code, data, reseed(method, shift), read).astype(float)

    truth = measure(Backprop(), 0)
    if not truth.any():
        raise ValueError("the gradient is 0 at these samples: there is nothing to compare with")
    size = float(np.linalg.norm(truth))
    expected = [
        math.hypot(expect(method, truth.size), expect_noise(method, truth.size, _readout_of(method, readout)) / size)
        for method in listed
    ]
    rows = [
        _compare(partial(measure, method), form, truth, repeats) for method, form in zip(listed, expected, strict=True)
    ]
    queries = [count_queries(network, method, _readout_of(method, readout)) for method in listed]
    return Comparison(
        tuple(map(repr, listed)),
        np.array([math.nan if number is None else number for number in queries], float),
        *np.array(rows, float).T,
    )


def _readout_of(method: Gradient, readout: Readout | None) -> Readout | None:
    """Return how the loss is read by a method, if it reads one."""
    return None if isinstance(method, Backprop | ForwardGradient) else readout


def align(estimate: Array, truth: Array) -> tuple[float, float]:
    """Return the cosine between an estimate and the gradient, and how far they are apart relative to the latter.

    The cosine is 0 where one of them is, and the distance inf where the gradient is.
    """
    estimate, truth = estimate.astype(float), truth.astype(float)
    size, length = float(np.linalg.norm(truth)), float(np.linalg.norm(estimate))
    cosine = float(estimate @ truth) / (size * length) if size * length else 0.0
    return cosine, float(np.linalg.norm(estimate - truth)) / size if size else math.inf


def reseed(method: Any, shift: int) -> Any:
    """Return a method or a readout that draws others, if it draws: of a seed that is counted up."""
    return replace(method, seed=(method.seed + shift) % 2**32) if hasattr(method, "seed") else method


def _compare(estimate: Callable[[int], Array], expected: float, truth: Array, repeats: int) -> tuple[float, ...]:
    """Return what a row of `Comparison` has behind the queries; `estimate` is called with 0, 1, ..."""
    estimate(0)  # compiled
    size = float(np.linalg.norm(truth))
    mean, square = np.zeros(truth.size), 0.0  # by Welford: squares of differences, never differences of squares
    seconds, cosines = np.empty(repeats), np.empty(repeats)
    for k in range(repeats):
        started = time.perf_counter()
        found = estimate(k)
        seconds[k] = time.perf_counter() - started
        cosines[k] = align(found, truth)[0]
        before = found - mean
        mean += before / (k + 1)
        square += float(before @ (found - mean))
    variance = square / (repeats - 1)
    bias = math.sqrt(max(0.0, float(np.square(mean - truth).sum()) - variance / repeats))
    error = float(cosines.std(ddof=1)) / math.sqrt(repeats)
    return float(np.median(seconds)), float(cosines.mean()), error, bias / size, math.sqrt(variance) / size, expected


def expect(method: Any, n_weights: int) -> float:
    """Return the deviation of estimates relative to the gradient, to first order in the nudge; nan without a form."""
    if isinstance(method, Backprop | Perturbation):
        return 0.0 if getattr(method, "fraction", 1.0) == 1.0 else math.nan
    of_weights = isinstance(method, RandomDirections) or (
        isinstance(method, ForwardGradient) and method.of == "weights"
    )
    if not of_weights or getattr(method, "shaping", None) is not None:
        return math.nan
    q = method.q
    if method.directions == "coordinate":
        return math.sqrt(n_weights / q - 1)
    if method.directions == "walsh":
        n_rows = 1 << (n_weights - 1).bit_length()
        return math.sqrt((n_weights - 1) / q * (n_rows - q) / (n_rows - 1)) if n_rows > 1 else 0.0
    return math.sqrt((n_weights + (1 if method.directions == "gaussian" else -1)) / q)


def expect_noise(method: Any, n_weights: int, readout: Readout | None) -> float:
    """Return what a readout's noise adds to an estimate, its length on average; nan without a form."""
    if readout is None:
        return 0.0
    if readout.bits is not None or isinstance(method, NodePerturbation):
        return math.nan
    times = 0.5 if method.scheme == "central" else 2.0  # two readings, over twice the nudge or once
    share = 1.0
    if isinstance(method, RandomDirections):
        share = n_weights / method.q if method.directions == "coordinate" else 1.0 / method.q
    return float(readout.noise / method.eps * math.sqrt(times * share * n_weights / readout.repeats))
