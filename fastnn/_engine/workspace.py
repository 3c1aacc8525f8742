"""What kernels are handed, allocated: layouts and workspaces."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._compiler.jit import ADDRESS
from fastnn._engine.plan import (
    StemLayout,
    StemPlan,
    count_steps,
    find_plan,
    find_pulled,
    has_series,
    is_pulled,
    list_places,
)
from fastnn._engine.recipe import Recipe, count_bytes, make_scheme
from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.kernels.layers import FUNCTIONS, Kind
from fastnn.kernels.layers.maps import (
    CHANNELS,
    DOUBTS,
    DOWN,
    FIRST,
    HEIGHT,
    LANES,
    PITCH,
    WIDTH,
    Geometry,
    Stem,
    make_table,
)
from fastnn.kernels.layout import KEY, PRESENT, SHARED_BIAS, TRAITS, WHOLE, Layout
from fastnn.kernels.optimizers import Update
from fastnn.kernels.stem_series import CHECKED, Q
from fastnn.kernels.work import (
    CHECKS,
    KINDS,
    MEASURED,
    PERTURBATIONS,
    A,
    Data,
    Method,
    Task,
    Work,
    scratch_size,
    taylor_size,
)

if TYPE_CHECKING:
    from fastnn.kernels.schemes.scheme import Below, Scheme

# Samples are taken in blocks so that the space for their values stays below this.
BUDGET = 64 * 2**20
# Workspaces that are kept for the next call, and their bytes, in all.
N_KEPT = 8
KEPT = 2 * BUDGET

_kept: dict[tuple[Any, ...], Work] = {}


class WideWork(Work):
    """Workspace with more than dense layers need. Kernels are handed a `Work`, and the rest."""

    stem: Stem | tuple[()] = ()
    scheme: "Scheme | None" = None
    below: "Below | tuple[()]" = ()


def make_layout(
    sizes: Sequence[int],
    activations: Sequence[Activation],
    shared_biases: Sequence[bool] = (),
    levels: Sequence[Geometry] = (),
    kinds: Sequence[Kind] = (),
    n_steps: int = 0,
) -> Layout:
    """Return the layout of a network; `shared_biases` says in which layers all units have one.

    With layers of some kinds below the dense ones, `levels` are the inputs and what they make of them. With n_steps,
    the last is a sequence of so many, and the dense layers work on each.
    """
    plan = None
    if kinds or n_steps:
        plan = StemPlan(tuple(kinds), tuple(levels), *make_table(list(levels)), n_steps or 1)
        n_columns = -(-(sizes[1] + DOUBTS) // LANES) * LANES
        if 8 * plan.sizes.n_listed * n_columns <= BUDGET:
            plan = plan._replace(pulled=find_pulled(plan, sizes[1]), n_columns=n_columns)
    parameters = [(n_in + 1) * n_out for n_in, n_out in pairwise(sizes)]
    begin = plan.sizes.n_weights if plan else 0
    traits = np.zeros((TRAITS, len(activations)), np.int64)
    traits[SHARED_BIAS] = shared_biases or False
    layout = Layout(
        sizes=np.array(sizes, np.int64),
        starts=np.array([[0, *accumulate(sizes[:-1])], [*accumulate(parameters, initial=begin)]], np.int64),
        activations=np.array(activations, np.int64),
        traits=traits,
    )
    return add_plan(layout, plan)


def add_plan(layout: Layout, plan: StemPlan | None) -> Layout:
    """Return a layout with layers below the dense ones, if there are any."""
    if plan is None:
        return layout
    whole = StemLayout(*layout)
    whole.plan = plan
    return whole


def drop_units(layout: Layout, rates: Sequence[float], key: int) -> Layout:
    """Return a layout where of each dense layer's inputs such a share is dropped in a step, as a key has them drawn."""
    traits = layout.traits.copy()
    traits[PRESENT] = [int((1.0 - rate) * WHOLE) if rate else 0 for rate in rates]
    traits[KEY] = key
    return add_plan(layout._replace(traits=traits), find_plan(layout))


def has_dropout(layout: Layout) -> bool:
    """Return whether units are dropped."""
    return bool(layout.traits[PRESENT].any())


def identify(layout: Layout) -> tuple[bytes, ...]:
    """Return what tells a layout from others."""
    plan = find_plan(layout)
    below = plan.table.tobytes() + bytes(plan.kinds) if plan else b""
    return layout.sizes.tobytes(), layout.activations.tobytes(), layout.traits[PRESENT].tobytes(), below


def hand_over(layout: Layout, work: Work) -> tuple[Layout, Work, Stem | tuple[()]]:
    """Return what kernels are handed: the dense layers and their workspace, and that of the layers below, if any."""
    if isinstance(work, WideWork):
        return Layout(*layout), Work(*work), work.stem
    return layout, work, ()


def hand_scheme(work: Work, update: Update, recipe: Recipe | None) -> "tuple[Scheme, Below | tuple[()]] | tuple[()]":
    """Return what units of an estimate are handed besides, if there is one."""
    if recipe and isinstance(work, WideWork) and work.scheme:
        return work.scheme._replace(plan=recipe.plan, reading=recipe.reading, update=update), work.below
    return ()


def count_parameters(layout: Layout) -> int:
    """Return how many weights and biases a network has."""
    return int(layout.starts[1, -1])


def parameter_shapes(layout: Layout) -> list[tuple[int, ...]]:
    """Return the shapes of W1, b1, W2, b2, ..."""
    return [shape for shapes in layer_shapes(layout) for shape in shapes]


def layer_shapes(layout: Layout) -> list[list[tuple[int, ...]]]:
    """Return the shapes of each layer's parameters; those that have none are left out."""
    plan = find_plan(layout)
    shapes = [list(level.shapes) for level in plan.levels if level.shapes] if plan else []
    return shapes + [[(n_in, n_out), (n_out,)] for n_in, n_out in pairwise(layout.sizes.tolist())]


def layer_sizes(layout: Layout) -> tuple[int, ...]:
    """Return how many weights and biases each layer has; those that have none are left out."""
    return tuple(sum(math.prod(shape) for shape in shapes) for shapes in layer_shapes(layout))


def split(layout: Layout, theta: Array) -> list[Array]:
    """Return a flat vector as ``[W1, b1, W2, b2, ...]``, views of it."""
    arrays = []
    start = 0
    for shape in parameter_shapes(layout):
        end = start + math.prod(shape)
        arrays.append(theta[start:end].reshape(shape))
        start = end
    return arrays


def make_stem(
    plan: StemPlan, widest: int, block: int, method: Method, dtype: np.dtype[Any], n_chunks: int, n_noisy: int = 0
) -> Stem:
    """Return workspace of the layers below the dense ones for blocks of so many samples; no unit is in it yet.

    So many of the samples have noise, all or none.
    """
    sizes, n_levels = plan.sizes, len(plan.levels)
    n_chunks = n_chunks if method in (Method.DIRECT, Method.SERIES) else 0
    n_together = max(LANES, min(PERTURBATIONS, BUDGET // (16 * sizes.widest)) // LANES * LANES)
    most = max(level.channels for level in plan.levels)
    by_series = has_series(plan, method)
    n_kinds = 4 if method == Method.BACKPROP or by_series else 3
    top = plan.levels[-1]
    n_second, n_slots, n_slot = 0, 0, 0
    if by_series and top.is_recurrent and top.n_filters == top.channels:
        n_second = (top.n_inputs + 1) * top.channels
        n_steps = plan.levels[-2].width
        n_slot = max(n_second, n_steps * (top.n_inputs + 1), widest * max(widest, 4))
        n_slots = Q + -(-n_steps * top.channels**2 // n_slot)
    by_pull = is_pulled(plan, method)
    verdicts = np.zeros((n_chunks, n_levels - 1), np.int64)
    verdicts[:, plan.pulled if by_pull else ()] = DOWN
    n_widest = max(sizes.widest, DOUBTS) if by_pull else sizes.widest
    return Stem(
        table=plan.table,
        units=np.zeros((n_levels - 1, len(FUNCTIONS)), ADDRESS),
        values=np.zeros((n_kinds, block, sizes.n_units), dtype),  # zeros around images stay zero
        transposed=np.empty(sizes.n_weights if method != Method.NONE else 0, dtype),
        norms=np.empty(sizes.n_norms, np.float64),
        reach=np.empty((n_chunks, 4 if by_pull else 2, n_levels, most), np.float64),
        listed=np.empty((n_chunks, sizes.n_listed, 3), np.int64),
        counts=np.empty((n_chunks, n_levels), np.int64),
        behind=np.empty((n_chunks, sizes.n_listed), np.float64),
        candidates=np.empty((n_chunks, sizes.n_listed), np.int64),
        moved=np.empty((n_chunks, 2 * n_widest * n_together), np.float64),
        verdicts=verdicts,
        checked=np.empty((n_chunks, 4, CHECKED), np.float64),
        bent=np.empty((n_chunks, n_slots, n_slot), np.float32),
        second=np.empty((block, n_second), np.float32),
        pulled=np.empty((n_chunks, sizes.n_listed * plan.n_columns if by_pull else 0), np.float64),
        margins=np.empty((n_chunks, DOUBTS), np.float64),
        n_doubts=np.empty(n_chunks, np.int64),
        found=np.empty((block, sizes.n_weights if by_pull else 0), np.float64),
        noise=np.zeros((n_noisy, sizes.n_units), dtype),
        n_together=n_together,
        n_steps=plan.n_steps,
    )


def make_work(
    layout: Layout, n_samples: int, method: Method, dtype: np.dtype[Any], n_chunks: int, recipe: Recipe | None = None
) -> Work:
    """Return a workspace for blocks of up to n_samples samples."""
    plan = find_plan(layout)
    n_layers = len(layout.activations)
    widest = int(layout.sizes.max())
    n_units, n_outputs = int(layout.sizes.sum()), int(layout.sizes[-1])
    n_parameters = count_parameters(layout) if method != Method.NONE or recipe else 0
    n_kinds = {Method.NONE: 3, Method.BACKPROP: 4, Method.DIRECT: 5, Method.SERIES: KINDS}[method] + has_dropout(layout)
    n_steps = count_steps(layout)
    n_found = plan.sizes.n_weights if plan and is_pulled(plan, method) else 0
    n_below = (4 if method in (Method.BACKPROP, Method.SERIES) else 3) * plan.sizes.n_units if plan else 0
    per_sample = dtype.itemsize * (n_steps * (n_kinds * n_units + n_outputs) + n_below)
    per_sample += 8 * n_found + n_steps * count_bytes(recipe, layout, dtype, n_chunks)
    runs_below = plan is not None and recipe is not None and recipe.is_carried
    if plan and runs_below:
        per_sample += 8 * (n_steps * (3 * n_units + n_outputs + int(layout.sizes[1])) + 4 * plan.sizes.n_units)
    n_whole = max(1, min(n_samples, BUDGET // per_sample))
    block = n_whole * n_steps
    perturbs = method in (Method.DIRECT, Method.SERIES) or (recipe is not None and recipe.is_carried)
    # Only these can be curved above the next level: see `series.is_curved_above`.
    deep = method == Method.SERIES and (n_layers > 2 or layout.activations[-1] == Activation.SOFTMAX)
    work = Work(
        y=np.empty((block, n_outputs), dtype),
        values=np.empty((n_kinds, block * n_units), dtype),
        ones=np.ones((1, block), dtype),
        measured=np.empty((MEASURED, block), np.float64),
        gradient=np.zeros(n_parameters, dtype),
        transposed=np.empty((3 if method == Method.SERIES else 1, n_parameters), dtype),
        norms=np.empty((2, n_units), np.float64),
        checks=np.empty((CHECKS, n_layers, block), np.float64),
        taylor=np.empty((n_chunks, taylor_size(widest) if deep else 0), dtype),
        scratch=np.zeros((n_chunks, scratch_size(widest if perturbs else 0)), np.float64),
        listed=np.empty((n_chunks, 4, widest + PERTURBATIONS), np.int64),
        stop=np.zeros(1, np.int64),
        carry=np.zeros(1, ADDRESS),
    )
    if plan is None and recipe is None:
        return work
    whole = WideWork(*work)
    if plan:
        whole.stem = make_stem(plan, widest, n_whole, method, dtype, n_chunks)
    if recipe:
        places = list_places(plan) if plan else np.empty((0, 3), np.int64)
        whole.scheme = make_scheme(recipe, layout, layer_shapes(layout), block, dtype, n_chunks, n_steps, places)
    if plan and recipe and runs_below:
        whole.below = make_below(layout, plan, widest, n_whole, n_chunks, n_whole if recipe.of_units else 0)
    return whole


def make_below(layout: Layout, plan: StemPlan, widest: int, n_samples: int, n_chunks: int, n_noisy: int) -> "Below":
    """Return workspace to run the layers below the dense ones with other weights, or noise; no unit is in it yet."""
    from fastnn.kernels.schemes.scheme import Below

    wide, block = np.dtype(float), n_samples * plan.n_steps
    return Below(
        work=make_work(Layout(*layout), block, Method.NONE, wide, n_chunks),
        stem=make_stem(plan, widest, n_samples, Method.NONE, wide, n_chunks, n_noisy),
        theta=np.empty((n_chunks, count_parameters(layout))),
        base=np.empty((block, int(layout.sizes[1]))),
        units=np.zeros(1, ADDRESS),
    )


def list_arrays(work: Work) -> list[Array]:
    """Return all that a workspace consists of."""
    more: list[Any] = []
    if isinstance(work, WideWork):
        more = [*work.stem, *(work.scheme or ()), *work.below]
        more += [array for part in work.below if isinstance(part, tuple) for array in part]
    return [*work, *(part for part in more if isinstance(part, np.ndarray))]


@contextlib.contextmanager
def borrow_work(
    layout: Layout, n_samples: int, method: Method, dtype: np.dtype[Any], n_chunks: int, recipe: Recipe | None = None
) -> Iterator[Work]:
    """Lend what `make_work` makes; it is kept for the next call, and nobody else has it meanwhile.

    Whoever leaves by an exception does not give it back: somebody may still write there.
    """
    key = *identify(layout), n_samples, BUDGET, method, dtype, n_chunks, recipe.room if recipe else None
    work = _kept.pop(key, None) or make_work(layout, n_samples, method, dtype, n_chunks, recipe)
    if isinstance(work, WideWork) and work.scheme:
        work.scheme.held[:] = -1
    yield work
    _kept[key] = work
    while (
        len(_kept) > N_KEPT or sum(array.nbytes for kept in list(_kept.values()) for array in list_arrays(kept)) > KEPT
    ):
        _kept.pop(next(iter(list(_kept)), key), None)


def make_plain_task(loss: int, method: Method, n_chunks: int) -> Task:
    """Return what kernels are told where nothing is perturbed: a loss (-1 for none), and perhaps its slope."""
    return Task(loss, int(method), False, 1.0, 1, 0.0, 0.0, False, False, n_chunks)


def make_data(x: Array, y: Array, order: Array | None = None) -> Data:
    """Return samples for kernels, in the order given or as they stand; y has a row for each, or for each of its steps.

    Read-only views: kernels have no business writing there, and the user's own
    read-only arrays need no second compilation. Sparse rows stay as they are; `sparse.list_inputs` sees to them.
    """
    if order is None:
        order = np.arange(x.shape[0]).reshape(1, -1)
    n_steps = len(y) // x.shape[0]
    if n_steps > 1:
        order = (order[..., None] * n_steps + np.arange(n_steps)).reshape(len(order), -1)
    views = [array.view() if isinstance(array, np.ndarray) else array for array in (x, y, order)]
    for array in views:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return Data(*views)


def view(layout: Layout, work: Work, kind: int, level: int, n_samples: int) -> Array:
    """Return one kind of a level's values, (n_samples, n_units)."""
    start = int(layout.starts[0, level]) * n_samples
    n_units = int(layout.sizes[level])
    values: Array = work.values[kind, start : start + n_samples * n_units].reshape(n_samples, n_units)
    return values


def view_below(layout: Layout, work: Work, kind: int, level: int, n_samples: int) -> Array:
    """Return one kind of the values of a level below the dense layers, (n_samples, height, width, channels)."""
    assert isinstance(work, WideWork)
    assert work.stem
    assert isinstance(layout, StemLayout)
    here = layout.plan.table[level].tolist()
    height, width, channels = here[HEIGHT], here[WIDTH], here[CHANNELS]
    stem = work.stem.values[kind if layout.plan.levels[level].has_z else A, :n_samples, here[FIRST] :]
    rows = np.lib.stride_tricks.sliding_window_view(stem, width * channels, axis=1)[:, :: here[PITCH]]
    return rows[:, :height].reshape(n_samples, height, width, channels)
