"""What an estimate of a gradient is made by, as Python knows it, and its workspace."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._support.validate import Array
from fastnn.kernels.estimators import Estimator, Kind, Plan, Reading
from fastnn.kernels.layout import Layout
from fastnn.kernels.optimizers import Optimizer, Update
from fastnn.kernels.work import PERTURBATIONS

if TYPE_CHECKING:
    from fastnn.kernels.schemes.scheme import Scheme


class Recipe(NamedTuple):
    """How a gradient is estimated: numbers only, so that equal ones are known."""

    estimator: Estimator
    plan: Plan
    reading: Reading
    counts: tuple[int, ...] = ()  # weights that are perturbed, of each layer; none: all
    redraw: int = 1
    rescales: bool = False

    @property
    def room(self) -> "Recipe":
        """One that takes the same room, whatever is drawn: the same for all seeds."""
        zero = np.uint64(0)
        return self._replace(plan=self.plan._replace(key=zero), reading=self.reading._replace(key=zero))

    @property
    def moves(self) -> bool:
        """Whether the estimate's own unit moves the weights."""
        return not self.of_units

    @property
    def of_units(self) -> bool:
        """Whether a sample's units are perturbed, not weights."""
        return self.estimator in (Estimator.NODES, Estimator.UNIT_SLOPES)

    @property
    def is_carried(self) -> bool:
        """Whether changes are carried up to the loss."""
        return self.estimator in (Estimator.DIRECTIONS, Estimator.NODES)

    @property
    def n_changes(self) -> int:
        """Changes of the loss that a step carries up."""
        return self.plan.q * (1 + self.plan.is_central) if self.is_carried else 0


def rest(theta: Array) -> Update:
    """Return the optimiser that leaves the parameters as they are."""
    return Update(int(Optimizer.NONE), 0.0, 0.0, math.inf, np.zeros(0), np.zeros((0, 0), theta.dtype))


def find_edges(shapes: list[tuple[int, ...]]) -> tuple[Array, Array]:
    """Return where arrays of such shapes begin in theta and the last ends, and which are biases, 1 or 0."""
    edges = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    return edges.astype(np.int64), np.array([len(shape) == 1 for shape in shapes], np.int64)


def count_bytes(recipe: Recipe | None, layout: Layout, dtype: np.dtype[Any], n_chunks: int) -> int:
    """Return how much workspace an estimate takes of each sample."""
    if recipe is None:
        return 0
    n_outputs, widest = int(layout.sizes[-1]), int(layout.sizes[1:].max())
    return 8 * recipe.n_changes + n_chunks * (8 * n_outputs * PERTURBATIONS + 4 * widest * dtype.itemsize)


def make_scheme(
    recipe: Recipe,
    layout: Layout,
    shapes: list[list[tuple[int, ...]]],
    block: int,
    dtype: np.dtype[Any],
    n_chunks: int,
    n_steps: int,
    places: Array,
) -> "Scheme":
    """Return workspace of an estimate for blocks of so many samples; the optimiser in it rests.

    Shapes are those of each layer's parameters; n_steps samples are one, whose units below have their sums at `places`.
    """
    from fastnn.kernels.schemes.scheme import PART, Scheme  # kernels of schemes are imported when one is used

    plan, sizes = recipe.plan, layout.sizes
    edges, are_biases = find_edges([shape for layer in shapes for shape in layer])
    totals = [sum(math.prod(shape) for shape in layer) for layer in shapes]
    quotas = zip(np.cumsum([0, *totals]), totals, recipe.counts, strict=False)
    n_parameters, n_units = int(edges[-1]), int(places[:, 2].sum()) + n_steps * int(sizes[1:].sum())
    return Scheme(
        plan=plan,
        update=rest(np.empty(0, dtype)),
        reading=recipe.reading,
        redraw=recipe.redraw,
        rescales=recipe.rescales,
        edges=edges,
        are_biases=are_biases,
        quotas=np.array(list(quotas), np.int64).reshape(-1, 3),
        order=np.arange(max(totals) if recipe.counts else plan.n_rows),
        held=np.full(2, -1),
        columns=np.ones(n_parameters if plan.kind == Kind.WALSH else 0),
        drawn=np.ones((n_chunks, n_units if recipe.of_units else n_parameters), dtype),
        scales=np.ones(plan.q),
        weights=np.empty((n_chunks, plan.q)),
        changes=np.empty((block, recipe.n_changes)),
        readings=np.empty((n_chunks, recipe.n_changes + 1)),
        base=np.zeros(n_chunks),
        moved=np.empty((n_chunks, 4 * block * int(sizes[1:].max()) if recipe.is_carried else 2 * n_units), dtype),
        nudged=np.empty((n_chunks, int((sizes[1:-1] * sizes[2:]).max(initial=0))), dtype),
        parts=np.empty((n_chunks, PART), dtype),
        outputs=np.empty((n_chunks, block * int(sizes[-1]) * PERTURBATIONS if recipe.is_carried else 0)),
        sums=np.empty((n_chunks, PART), dtype),
        noise=np.empty((n_chunks, PART), np.float32),
        places=places,
    )
