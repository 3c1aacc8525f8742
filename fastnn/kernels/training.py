"""What Python calls: a run of training steps, and the forward pass alone.

The package's one parallel region is here. It deals out chunks, and what a chunk
does is the same on one thread, bit for bit. One region with the phase as its
argument, and one entry point for training, gradients and losses alike: another
of either would double the time of a first call, since each compiles everything
that it reaches.
"""

import math
from enum import IntEnum

import numpy as np
from numba import prange

from fastnn._jit import entry_point, kernel
from fastnn.kernels.backprop import add_backprop, backward
from fastnn.kernels.direct import add_direct, transpose
from fastnn.kernels.forward import forward, load, measure
from fastnn.kernels.series import add_series, choose, expand
from fastnn.kernels.updates import clear, update
from fastnn.kernels.work import Block, Method, span


class Phase(IntEnum):
    """The parts of a step; all chunks finish one before the next begins."""

    FORWARD = 0  # chunks share the samples
    EXPAND = 1  # the same; needs every transposed weight
    GRADIENT = 2  # chunks share the parameters, which are only read
    UPDATE = 3  # chunks share the parameters


@kernel(inline=True)
def _run_chunk(phase, step, layout, theta, data, block, task, optimizer, work, chunk):
    """Do one chunk's share of a phase."""
    if phase == Phase.FORWARD:
        if block.opens:
            clear(chunk, task.n_chunks, work.gradient)
        first, last = span(block.n_samples, chunk, task.n_chunks)
        load(layout, data, block, first, last, work)
        forward(layout, theta, block.n_samples, first, last, work)
        measure(layout, task.loss, block.n_samples, first, last, work)
        if task.method == Method.BACKPROP:
            backward(layout, theta, task.loss, block, first, last, work)
        elif task.method != Method.NONE:
            transpose(layout, theta, chunk, task.n_chunks, work)
    elif phase == Phase.EXPAND:
        expand(layout, block, task, chunk, work)
    elif phase == Phase.GRADIENT:
        if task.method == Method.BACKPROP:
            add_backprop(layout, block, chunk, task.n_chunks, work)
        else:
            if task.method == Method.SERIES:
                add_series(layout, block, task, chunk, work)
            add_direct(layout, block, task, chunk, work)
    else:
        update(optimizer, step, chunk, task.n_chunks, work.gradient, theta)


@entry_point(parallel=True)
def run_steps(layout, theta, data, batch_size, first, last, done, task, optimizer, work, totals):
    """Take training steps first to last; return how far that went, and if series were fit for it.

    That is `last`, or the step whose loss is not finite, or, with a strict task,
    the step with a sample whose series leaves too much out. That step is not taken.

    Steps count through the batches of one epoch after another; `done` steps were
    taken before step 0. totals (n_epochs, 2) gathers each epoch's summed loss and
    number of right decisions, measured before each step. With Optimizer.NONE the
    gradient of the mean loss is left in work.gradient.
    """
    n = data.order.shape[1]
    n_batches = (n + batch_size - 1) // batch_size
    for step in range(first, last):
        epoch = step // n_batches
        row = epoch % data.order.shape[0]
        begin = (step - epoch * n_batches) * batch_size
        end = min(begin + batch_size, n)
        n_blocks = (end - begin + work.y.shape[0] - 1) // work.y.shape[0]
        loss = 0.0
        for turn in range(3 * n_blocks + 1):
            phase = turn % 3 if turn < 3 * n_blocks else Phase.UPDATE
            start = begin + turn // 3 * work.y.shape[0]
            block = Block(row, start, min(work.y.shape[0], end - start), end - begin, turn < 3)
            if phase == Phase.EXPAND and task.method != Method.SERIES:
                continue
            if phase == Phase.GRADIENT and task.method == Method.NONE:
                continue
            if phase != Phase.FORWARD and not math.isfinite(loss):
                return step, True
            if task.n_chunks == 1:
                _run_chunk(phase, done + step + 1, layout, theta, data, block, task, optimizer, work, np.int64(0))
            else:
                for chunk in prange(task.n_chunks):
                    _run_chunk(
                        phase, done + step + 1, layout, theta, data, block, task, optimizer, work, np.int64(chunk)
                    )
            if phase == Phase.FORWARD:
                for sample in range(block.n_samples):
                    loss += work.measured[sample, 0]
                    totals[epoch, 1] += work.measured[sample, 1]
            elif phase == Phase.EXPAND and not choose(layout, block, task, work) and task.strict:
                return step, False
        totals[epoch, 0] += loss
    return last, True


@entry_point
def run_forward(layout, theta, n_samples, work):
    """Write z and a of every level for the inputs that stand in level 0."""
    forward(layout, theta, n_samples, 0, n_samples, work)
