"""What Python calls: a run of training steps, or, without a loss or a gradient, the forward pass alone.

A step is data: a `Program` of units, a list for each phase, which `fastnn._engine.program` builds for
what is to be done. The package's one parallel region is here. It deals out chunks, and
what a chunk does is the same on one thread, bit for bit.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy import ndarray

from fastnn._compiler.jit import call, entry_point, pack
from fastnn.kernels.series.decision import Verdict, decide
from fastnn.kernels.work import CORRECT, LOSS, Block, Method, Task, sum_direct


class Phase(IntEnum):
    """The parts of a step on a block of samples, in order. How chunks share the work is the units' own affair."""

    MASKS = 0  # samples; only where units are dropped
    INPUTS = 1  # the samples' parts, and the first weights' rows
    FORWARD = 2  # samples
    BACK = 3  # samples: in one go with the phase before, all samples of a chunk in its core's cache
    DIRECT = 4  # parameters; only where some are to be measured
    BELOW = 5  # samples, which may be many of the dense layers' each: further back, below these
    SHARED = 6  # parameters: those that are shared, of the layers below the dense ones
    DESCENT = 7  # parameters
    READ = 8  # directions, or parameters; only with a scheme, as are the next two
    MOVE = 9  # parameters
    NORM = 10  # parts of the gradient; only where it is clipped, as is the next one
    CLIP = 11  # parameters
    WRITE = 12  # parameters; only on devices


N_PHASES = len(Phase)


class Program(NamedTuple):
    """What runs in a step."""

    units: ndarray  # (n_units,), as `unit.address` gives them
    starts: ndarray  # (N_PHASES + 1,) int64, each phase's first among them; the last is their number


class End(IntEnum):
    """Why a run ends."""

    DONE = 0
    DIVERGED = 1  # the loss of the step that was not taken is not finite
    REFUSED = 2  # a strict task, and a sample whose series leaves too much out
    NEEDS_DIRECT = 3  # there are weights to be measured directly, and the program has no unit that does
    STOPPED = 4  # Work.stop was set; gradient and parameters may be anything
    LATE = 5  # steps take longer than those before may have: see MOST_DIRECT


# What may be measured directly before a run ends early, by `count_direct`: about a tenth of a second. How many
# steps a run has goes by what earlier ones took, and one that measures all directly takes a hundred times as long.
MOST_DIRECT = 2e7


@entry_point(parallel=True)
def run_steps(
    program, layout, theta, data, batch_size, first, last, done, task, optimizer, stem, scheme, listed, work, totals
):
    """Take training steps first to last; return how far that went, and why no further.

    A step that an end prevents is not taken: parameters are as before it.

    Steps count through the batches of one epoch after another; `done` steps were
    taken before step 0. totals (n_epochs, 2) gathers each epoch's summed loss and
    number of correct predictions, measured before each step. With Optimizer.NONE the
    gradient of the mean loss is left in work.gradient. Without layers below the dense ones, stem is an empty tuple;
    scheme is one where the task's method says all, else a `schemes.scheme.Scheme` and what it has below; and listed
    is one unless the inputs are mostly zero, else a `sparse.Listed`.
    """
    n = data.order.shape[1]
    n_batches = (n + batch_size - 1) // batch_size
    packed = pack(((layout, theta, data, optimizer, work), stem, scheme, listed))
    starts = program.starts
    before = sum_direct(work)
    for step in range(first, last):
        epoch = step // n_batches
        row = epoch % data.order.shape[0]
        begin = (step - epoch * n_batches) * batch_size
        end = min(begin + batch_size, n)
        size = work.measured.shape[1]
        loss = 0.0
        correct = 0.0
        for start in range(begin, end, size):
            block = Block(row, start, min(size, end - start), end - begin, start == begin, start + size >= end)
            n_terms = task.n_terms
            verdict = Verdict.MEASURE.value if task.method == Method.DIRECT else Verdict.KEEP.value
            phase = Phase.MASKS.value if starts[Phase.INPUTS] > 0 else Phase.INPUTS.value
            while phase < N_PHASES:
                if work.stop[0] != 0:
                    return step, End.STOPPED.value
                following = Phase.DIRECT.value if phase == Phase.FORWARD else phase + 1
                # Built here, from one place: the parallel region takes no other named tuple.
                plan = Task(
                    task.loss,
                    task.method,
                    task.central,
                    task.eps,
                    n_terms,
                    task.tolerance,
                    task.enough,
                    task.strict,
                    task.together,
                    task.n_chunks,
                )
                if task.n_chunks == 1:
                    for k in range(starts[phase], starts[following]):
                        call(program.units[k], packed, block, plan, done + step + 1, np.int64(0))
                else:
                    for chunk in prange(task.n_chunks):
                        for k in range(starts[phase], starts[following]):
                            call(program.units[k], packed, block, plan, done + step + 1, np.int64(chunk))
                if phase == Phase.FORWARD and task.loss >= 0:
                    for sample in range(block.n_samples):
                        loss += work.measured[LOSS, sample]
                        correct += work.measured[CORRECT, sample]
                    if not math.isfinite(loss):
                        return step, End.DIVERGED.value
                phase = following
                if phase == Phase.DIRECT:
                    if task.method == Method.SERIES:
                        verdict = decide(layout, block, plan, work)
                    if verdict == Verdict.REFUSE:
                        return step, End.REFUSED.value
                    if verdict == Verdict.EXTEND:
                        n_terms = 3
                        phase = Phase.BACK.value
                    elif verdict == Verdict.KEEP:
                        phase = Phase.BELOW.value
                    elif starts[Phase.DIRECT] == starts[Phase.BELOW]:
                        return step, End.NEEDS_DIRECT.value
                while Phase.BELOW <= phase < N_PHASES and starts[phase] == starts[phase + 1]:
                    phase += 1
        totals[epoch, 0] += loss
        totals[epoch, 1] += correct
        if step + 1 < last and sum_direct(work) - before > MOST_DIRECT:
            return step + 1, End.LATE.value
    return last, End.DONE.value
