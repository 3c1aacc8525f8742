"""The layers below the dense ones, as Python knows them."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn._support.validate import Array
from fastnn.kernels.activations import MODULES as ACTIVATIONS
from fastnn.kernels.activations import Activation
from fastnn.kernels.layers import MODULES, Kind
from fastnn.kernels.layers.maps import FIRST, LANES, PITCH, Geometry, Sizes
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import Method


class StemPlan(NamedTuple):
    """The layers below the dense ones: what they are, the inputs and what each makes of them, and where that stands."""

    kinds: tuple[Kind, ...]
    levels: tuple[Geometry, ...]
    table: Array
    sizes: Sizes
    n_steps: int  # samples of the dense layers that one makes
    pulled: tuple[int, ...] = ()  # layers whose perturbations meet what is pulled down, see `find_pulled`
    n_columns: int = 0  # that are pulled down at most


class StemLayout(Layout):
    """The layout of dense layers with others below them. Kernels are handed a `Layout`, and a `Stem`."""

    plan: StemPlan


def find_plan(layout: Layout) -> StemPlan | None:
    """Return the layers below the dense ones, if there are any."""
    return getattr(layout, "plan", None)


def count_steps(layout: Layout) -> int:
    """Return how many samples of the dense layers a sample makes: the steps of a sequence that they work on, or 1."""
    plan = find_plan(layout)
    return plan.n_steps if plan else 1


def has_series(plan: StemPlan, method: Method) -> bool:
    """Return whether weights below the dense layers have a series: recurrent ones, and those below them."""
    return method == Method.SERIES and any(level.is_recurrent for level in plan.levels)


def find_pulled(plan: StemPlan, n_columns: int) -> tuple[int, ...]:
    """Return the layers whose perturbations cost least by pulling z of the first dense layer down to just above them.

    Carried up, a perturbation moves a channel of what the next convolution takes in, and all further up. With all that
    pulled down, once a sample, the channel is multiplied by a column for each z. Of a window that a pool selects from,
    one unit is computed either way. What is above must be straight between kinks.
    """
    levels, n_top = plan.levels, len(plan.kinds)
    computed = [level.size for level in levels]
    for k in range(n_top, 0, -1):
        if levels[k].selects:
            computed[k - 1] = computed[k]
    width = n_columns + LANES  # the last, half of them for kinks
    pulled: list[int] = []
    best: tuple[int, ...] = ()
    most, saved, products_above, above = 0, 0, levels[-1].size * n_columns, 0
    for k in range(n_top, 0, -1):
        level, kind = levels[k], plan.kinds[k - 1]
        if above and kind == Kind.CONV:
            below = levels[above - 1]
            up = computed[above] * levels[above].n_inputs // below.channels + products_above
            products_above += computed[above] * levels[above].n_inputs
            saved -= computed[above] * levels[above].n_inputs * width
            gain = level.n_weights * (up - below.height * below.width * width)
            if gain > 0:
                saved += gain
                pulled.insert(0, k - 1)
                if saved > most:
                    most, best = saved, tuple(pulled)
        bend = ACTIVATIONS[Activation(level.activation)].DERIVATIVE_BOUNDS[1]
        if bend > 0.0 or not hasattr(MODULES[kind], "pull"):
            break
        above = k if kind == Kind.CONV else above
    # A sample is one of the dense layers', and what is recurrent has ways of its own.
    return best if plan.n_steps == 1 and not any(level.is_recurrent for level in levels) else ()


def is_pulled(plan: StemPlan, method: Method) -> bool:
    """Return whether perturbations of weights meet what is pulled down: not where all are to be carried up."""
    return method == Method.SERIES and bool(plan.pulled)


def list_places(plan: StemPlan) -> Array:
    """Return where the sums of layers with weights, which are counted, stand in a sample's values: see `units.LAYER`.

    A recurrent layer has them at all steps, one behind another; a `Conv2D` has rows of them.
    """
    places = []
    having = [(level, here) for level, here in zip(plan.levels, plan.table, strict=True) if level.n_inputs]
    for layer, (level, here) in enumerate(having):
        first, size = level.sums if level.is_recurrent else (0, level.width * level.channels)
        places += [(layer, here[FIRST] + first + y * here[PITCH], size) for y in range(level.height)]
    return np.array(places, np.int64).reshape(-1, 3)


def count_stem(layout: Layout, method: Method) -> tuple[int, int]:
    """Return what a sample costs in the layers below the dense ones at most: multiplications and additions, values.

    A perturbation moves one channel, then all those of the next convolution and whatever is above; one of a recurrent
    layer all its channels, at every step.
    """
    plan = find_plan(layout)
    if plan is None:
        return 0, 0
    passes = 1 if method == Method.NONE else 3
    products = [count_products(below, level) for below, level in pairwise(plan.levels)]
    n_products = passes * sum(products)
    n_values = passes * sum(level.size for level in plan.levels)
    if method in (Method.DIRECT, Method.SERIES):
        dense: list[int] = layout.sizes.tolist()
        products_above = plan.n_steps * sum(n_in * n_out for n_in, n_out in pairwise(dense[1:]))
        for k, (below, level) in enumerate(pairwise(plan.levels), 1):
            if not level.n_inputs:
                continue
            is_alone = not level.is_recurrent
            n_moved = level.size // (level.channels if is_alone else 1)
            own = 0 if is_alone else products[k - 1]
            per_weight, values = own + products_above, plan.n_steps * sum(dense[1:])
            for above, count in zip(plan.levels[k + 1 :], products[k:], strict=True):
                values += n_moved
                per_weight += count // (level.channels if is_alone else 1)
                is_alone = is_alone and not above.mixes
                n_moved = above.size // (above.channels if is_alone else 1)
            n_met = below.width if level.looks_up else level.n_inputs + level.n_biases
            n_weights = n_met * level.n_filters
            n_products += n_weights * (per_weight + n_moved * dense[1])
            n_values += n_weights * (values + n_moved)
    return n_products, n_values


def count_products(below: Geometry, level: Geometry) -> int:
    """Return how many multiplications and additions a layer takes a sample."""
    if level.looks_up:
        return 0
    return (below.width if level.is_recurrent else level.height * level.width) * level.n_inputs * level.n_filters
