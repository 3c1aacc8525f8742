"""What Python calls: a run of training steps, or, without a loss or a gradient, the forward pass alone.

The package's one parallel region is here. It deals out chunks, and what a chunk
does is the same on one thread, bit for bit.
"""

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from fastnn._compiler.jit import call, entry_point, pack
from fastnn.kernels.series import choose, is_curved_above
from fastnn.kernels.work import CORRECT, LOSS, Block, Method, Task, sum_direct


class Phase(IntEnum):
    """The parts of a step; all chunks finish one before the next begins."""

    INPUTS = 0  # chunks share the first weights' rows, and the samples
    SAMPLES = 1  # chunks share the samples
    DIRECT = 2  # chunks share the parameters
    DESCENT = 3  # the same


N_PHASES = len(Phase)


class Units(NamedTuple):
    """What runs in the phases, in this order, as `unit.address` gives it; `run_steps` counts on it."""

    inputs: Any  # of Phase.INPUTS
    forward: Any  # of Phase.SAMPLES, like the next two
    backward: Any
    above: Any
    direct: Any  # of Phase.DIRECT
    descent: Any  # of Phase.DESCENT


class End(IntEnum):
    """Why a run ends."""

    DONE = 0
    DIVERGED = 1  # the loss of the step that was not taken is not finite
    REFUSED = 2  # a strict task, and a sample whose series leaves too much out
    NEEDS_DIRECT = 3  # there are perturbations to be measured directly, and no unit that does
    STOPPED = 4  # Work.stop was set; gradient and parameters may be anything
    LATE = 5  # steps take longer than those before may have: see MOST_DIRECT


# What may be measured directly before a run ends early, by `count_direct`: about a tenth of a second. How many
# steps a run has goes by what earlier ones took, and one that measures all directly takes a hundred times as long.
MOST_DIRECT = 2e7


@entry_point(parallel=True)
def run_steps(units, needs_direct, layout, theta, data, batch_size, first, last, done, task, optimizer, work, totals):
    """Take training steps first to last; return how far that went, and why no further.

    A step that an end prevents is not taken: parameters are as before it.

    Steps count through the batches of one epoch after another; `done` steps were
    taken before step 0. totals (n_epochs, 2) gathers each epoch's summed loss and
    number of correct predictions, measured before each step. With Optimizer.NONE the
    gradient of the mean loss is left in work.gradient.
    """
    n = data.order.shape[1]
    n_batches = (n + batch_size - 1) // batch_size
    packed = pack((layout, theta, data, optimizer, work))
    has_backward = task.method == Method.BACKPROP or task.method == Method.SERIES
    deep = task.method == Method.SERIES and is_curved_above(layout, task.loss, 0)
    before = sum_direct(work)
    for step in range(first, last):
        epoch = step // n_batches
        row = epoch % data.order.shape[0]
        begin = (step - epoch * n_batches) * batch_size
        end = min(begin + batch_size, n)
        size = work.measured.shape[0]
        n_blocks = (end - begin + size - 1) // size
        loss = 0.0
        correct = 0.0
        marked = task.method == Method.DIRECT
        # The second term knows a deep network's curvature, also where it is none of a central difference.
        fewest = max(task.n_terms, 2) if deep else task.n_terms
        n_terms = fewest
        again = False  # the way back, with more terms
        turn = 0
        while turn < N_PHASES * n_blocks:
            if work.stop[0] != 0:
                return step, End.STOPPED.value
            phase = turn % N_PHASES
            start = begin + turn // N_PHASES * size
            block = Block(row, start, min(size, end - start), end - begin, start == begin, start + size >= end)
            if phase == Phase.INPUTS:
                first_unit, last_unit = 0, 1
                n_terms = fewest
            elif phase == Phase.SAMPLES:
                first_unit, last_unit = 2 if again else 1, 2 + has_backward + deep
            elif phase == Phase.DIRECT:
                first_unit, last_unit = 4, 5
                if needs_direct:
                    return step, End.NEEDS_DIRECT.value
            else:
                first_unit, last_unit = 5, 5 + (task.method != Method.NONE)
            # Built here, from one place: the parallel region takes no other named tuple.
            plan = Task(
                task.loss, task.method, task.central, task.eps, n_terms, task.tolerance, task.strict, task.n_chunks
            )
            if task.n_chunks == 1:
                for unit in range(first_unit, last_unit):
                    call(units[unit], packed, block, plan, done + step + 1, np.int64(0))
            else:
                for chunk in prange(task.n_chunks):
                    for unit in range(first_unit, last_unit):
                        call(units[unit], packed, block, plan, done + step + 1, np.int64(chunk))
            if phase == Phase.SAMPLES and not again and task.loss >= 0:
                for sample in range(block.n_samples):
                    loss += work.measured[sample, LOSS]
                    correct += work.measured[sample, CORRECT]
                if not math.isfinite(loss):
                    return step, End.DIVERGED.value
            if phase == Phase.SAMPLES and task.method == Method.SERIES:
                held, marked = choose(layout, block, plan, work)
                again = not held and n_terms < 3
                if again:  # for this block, all of them: cheaper than the direct kernel
                    n_terms = 3
                    continue
                if task.strict and not held:
                    return step, End.REFUSED.value
            turn += 2 if phase == Phase.SAMPLES and not marked else 1  # past Phase.DIRECT
        totals[epoch, 0] += loss
        totals[epoch, 1] += correct
        if step + 1 < last and sum_direct(work) - before > MOST_DIRECT:
            return step + 1, End.LATE.value
    return last, End.DONE.value
