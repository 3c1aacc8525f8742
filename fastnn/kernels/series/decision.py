"""Which differences come from their series, and which are measured directly: the one place that says so.

| decides | about | what follows |
|---|---|---|
| `Perturbation.make_task` | a run | how many terms to begin with, the tolerance, whether to refuse |
| `certificate.judge`, `carried.curve_above` | a sample in a layer | BOUND of what is left out, and SIZE |
| `kinks` | a unit of a sample | DIRECT, how large an input must be to be measured directly |
| `decide` | a block | a `Verdict`; REACH, as DIRECT but for all units of a sample in a layer |
| `training.run_steps` | a block | coefficients again, the direct kernel, or the end of the run |
| `direct.run_direct` | a weight of a sample | what its series gave is taken off, what is measured put in |
| `loop.take_steps` | a run | the direct kernel is compiled when a first weight needs it |

A sample keeps its series in a layer while eps**K max|a|**(K + 1) times the bound, or the
mean of that over the samples, is at most `Task.tolerance` times the layer's size: the
mean of the largest first-order difference max|c1| max|a|. Without a third term it is `Task.enough` times that, else
the block gets one. Elsewhere its inputs do that are
small enough: with L times what is allowed, those up to max|a| / L**(1 / K), since the
bound of a smaller perturbation is less by the power K + 1 at least, and its own difference by
the first. So truncation adds at most the tolerance times that size to any entry, and beside a
large input that times their own size to the others.
"""

import math
from enum import IntEnum

from fastnn._compiler.jit import kernel
from fastnn.kernels.series.kinks import ROUNDED, has_kinks
from fastnn.kernels.work import (
    BOUND,
    COEFFICIENTS,
    DIRECT,
    LARGEST_MOVE,
    REACH,
    SIZE,
    values,
)

# Of inputs that are measured directly the series is taken off again, unless it is this many times the
# largest first term of its sample: then their rounding would be too much, and nothing is put in.
CANCELLED = 2.0


class Verdict(IntEnum):
    """What becomes of a block's series."""

    KEEP = 0  # all differences come from them
    EXTEND = 1  # by a third term, for the whole block: cheaper than the direct kernel
    MEASURE = 2  # some weights directly
    REFUSE = 3  # a strict task, and a sample whose series leaves out too much


@kernel
def decide(layout, block, task, work):
    """Return the verdict, and write how large an input must be to be measured directly."""
    n_samples = block.n_samples
    holds, marked = True, False
    kinked = False
    for layer in range(layout.activations.size):
        kinked |= has_kinks(layout, task.loss, layer + 1)
    for layer in range(layout.activations.size):
        size, bound = 0.0, 0.0
        for n in range(n_samples):
            size += work.checks[SIZE, layer, n]
            bound += work.checks[BOUND, layer, n]
        allowed = (task.tolerance if task.n_terms > 2 else task.enough) * size
        for n in range(n_samples):
            left_out = n_samples * work.checks[BOUND, layer, n]
            kept = min(bound, left_out) <= allowed
            holds &= kept
            work.checks[REACH, layer, n] = math.inf
            if not kept:
                part = (allowed / left_out) ** (1.0 / max(task.n_terms, 2))
                largest = work.checks[LARGEST_MOVE, layer, n] / task.eps
                work.checks[REACH, layer, n] = largest * (1.0 - ROUNDED) * part if part > 0.0 else 0.0
            if not kept or kinked:
                marked |= take_off_large(layout, layer, n, not kept, n_samples, task, work)
    if not holds and task.n_terms < 3:
        return Verdict.EXTEND.value
    if not holds and task.strict:
        return Verdict.REFUSE.value
    return Verdict.MEASURE.value if marked else Verdict.KEEP.value


@kernel
def take_off_large(layout, layer, n, all_units, n_samples, task, work):
    """Clear what is too large to be taken off again of sample n's series in a layer; return if any unit is marked."""
    largest = work.checks[LARGEST_MOVE, layer, n] / task.eps
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    marked = False
    for j in range(direct.size):
        if all_units or direct[j] < math.inf:
            marked = True
            most = 0.0
            for term in range(task.n_terms):
                coefficient = values(layout, work, COEFFICIENTS[term], layer + 1, n_samples)[n, j]
                most += abs(coefficient) * largest ** (term + 1)
            if not most <= CANCELLED * work.checks[SIZE, layer, n]:
                direct[j] = 0.0
                for term in range(task.n_terms):
                    values(layout, work, COEFFICIENTS[term], layer + 1, n_samples)[n, j] = 0.0
    return marked
