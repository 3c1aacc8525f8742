"""The layers below the dense ones, as Python knows them."""

from itertools import pairwise
from typing import NamedTuple

from fastnn._support.validate import Array
from fastnn.kernels.layers import Kind
from fastnn.kernels.layers.maps import Geometry, Sizes
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import Method


class StemPlan(NamedTuple):
    """The layers below the dense ones: what they are, the image and what each makes of it, and where that stands."""

    kinds: tuple[Kind, ...]
    levels: tuple[Geometry, ...]
    table: Array
    sizes: Sizes


class StemLayout(Layout):
    """The layout of dense layers with others below them. Kernels are handed a `Layout`, and a `Stem`."""

    plan: StemPlan


def find_plan(layout: Layout) -> StemPlan | None:
    """Return the layers below the dense ones, if there are any."""
    return getattr(layout, "plan", None)


def count_stem(layout: Layout, method: Method) -> tuple[int, int]:
    """Return what a sample costs in the layers below the dense ones at most: multiplications and additions, values.

    A perturbation moves one channel, then all those of the next convolution and whatever is above.
    """
    plan = find_plan(layout)
    if plan is None:
        return 0, 0
    passes = 1 if method == Method.NONE else 3
    n_products = passes * sum(level.size * level.n_inputs for level in plan.levels)
    n_values = passes * sum(level.size for level in plan.levels)
    if method in (Method.DIRECT, Method.SERIES):
        dense: list[int] = layout.sizes.tolist()
        products_above = sum(n_in * n_out for n_in, n_out in pairwise(dense[1:]))
        for k, level in enumerate(plan.levels):
            if not level.n_inputs:
                continue
            n_moved, products, values = level.height * level.width, products_above, sum(dense[1:])
            is_alone = True
            for above in plan.levels[k + 1 :]:
                values += n_moved
                products += above.size * above.n_inputs // (plan.levels[k].channels if is_alone else 1)
                is_alone = is_alone and not above.mixes
                n_moved = above.height * above.width if is_alone else above.size
            n_weights = (level.n_inputs + 1) * level.channels
            n_products += n_weights * (products + n_moved * dense[1])
            n_values += n_weights * (values + n_moved)
    return n_products, n_values
