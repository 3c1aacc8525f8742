"""The forward pass over a block of samples: the first part of every step."""

from fastnn._compiler.jit import kernel, unit, unpack
from fastnn.kernels.activations import Activation, activate
from fastnn.kernels.activations.softmax import softmax
from fastnn.kernels.dropout import is_dropped, mask_inputs, mask_level
from fastnn.kernels.layout import biases, weights
from fastnn.kernels.losses import count_correct, sample_loss
from fastnn.kernels.optimizers import is_fused
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear, copy, largest_size, sum_sizes
from fastnn.kernels.work import (
    CORRECT,
    LARGEST,
    LARGEST_INPUT,
    LOSS,
    SLOPE,
    SUM,
    WEIGHT,
    A,
    Method,
    Z,
    count_parts,
    is_weighted,
    span,
    stretch,
    transposed_weights,
    unit_norms,
    values,
)


@kernel(inline=True)
def begin_inputs(layout, theta, n_samples, part, first, last, work):
    """Note how large a part of the inputs of samples first to last is, and begin with what it adds to.

    That is the first layer's z, (n_samples, n_units), and of the second part z in place of a.
    """
    x = values(layout, work, A, 0, n_samples)
    b = biases(layout, theta, 0)
    begin, end = span(x.shape[1], part, count_parts(layout))
    z = values(layout, work, Z if part == 0 else A, 1, n_samples)
    for n in range(first, last):
        work.measured[LARGEST_INPUT + part, n] = largest_size(x[n, begin:end])
        for k in range(b.size):
            z[n, k] = b[k] if part == 0 else z.dtype.type(0.0)


@kernel(inline=True)
def add_inputs(layout, theta, n_samples, part, first, last, work):
    """Write what a part of the inputs of samples first to last adds to the first layer's z, and how large they are.

    Of the second part, z is left in place of a.
    """
    begin_inputs(layout, theta, n_samples, part, first, last, work)
    x = values(layout, work, A, 0, n_samples)
    begin, end = span(x.shape[1], part, count_parts(layout))
    z = values(layout, work, Z if part == 0 else A, 1, n_samples)
    add_product(x[:, begin:end], weights(layout, theta, 0)[begin:end], first, last, z)


@kernel
def share_of_part(layout, n_samples, part, chunk, n_chunks):
    """Return the first and last of the samples whose part of the inputs is this chunk's."""
    n_parts = count_parts(layout)
    tiles = (n_samples + 7) // 8
    first = min(max(n_parts * tiles * chunk // n_chunks - part * tiles, 0) * 8, n_samples)
    last = min(max(n_parts * tiles * (chunk + 1) // n_chunks - part * tiles, 0) * 8, n_samples)
    return first, last


@kernel(inline=True)
def take_inputs(layout, theta, data, block, chunk, n_chunks, work):
    """Copy this chunk's share of the samples, some samples' part of the inputs, and take it into the first layer."""
    x = values(layout, work, A, 0, block.n_samples)
    for part in range(count_parts(layout)):
        first, last = share_of_part(layout, block.n_samples, part, chunk, n_chunks)
        begin, end = span(x.shape[1], part, count_parts(layout))
        for n in range(first, last):
            source = data.order[block.row, block.start + n]
            copy(data.x[source, begin:end], x[n, begin:end])
            mask_inputs(layout, n, begin, end, block.n_samples, work)
        add_inputs(layout, theta, block.n_samples, part, first, last, work)


@kernel(inline=True)
def load_targets(data, block, first, last, work):
    """Copy targets and weights of samples first to last of the block, and whether they are counted."""
    weight = work.y.shape[1]
    for n in range(first, last):
        source = data.order[block.row, block.start + n]
        copy(data.y[source], work.y[n])
        work.measured[CORRECT, n] = data.y[source, weight + 1] if data.y.shape[1] > weight + 1 else 1.0
        work.measured[WEIGHT, n] = data.y[source, weight] if is_weighted(data, work) else 1.0


@kernel(inline=True)
def propagate(layout, theta, n_samples, first, last, work):
    """Write z, a and slope of every level for samples first to last, from what `take_inputs` left."""
    for layer in range(layout.activations.size):
        z = values(layout, work, Z, layer + 1, n_samples)
        a = values(layout, work, A, layer + 1, n_samples)
        if layer > 0:
            b = biases(layout, theta, layer)
            for n in range(first, last):
                for k in range(b.size):
                    z[n, k] = b[k]
            before = values(layout, work, A, layer, n_samples)
            add_product(before, weights(layout, theta, layer), first, last, z)
        elif count_parts(layout) > 1:
            for n in range(first, last):
                for k in range(z.shape[1]):
                    z[n, k] += a[n, k]
        if layout.activations[layer] == Activation.SOFTMAX:
            slope = values(layout, work, SLOPE, layer + 1, n_samples)
            for n in range(first, last):
                softmax(z[n], a[n], slope[n])
        else:
            activate(
                layout.activations[layer],
                stretch(layout, work, Z, layer + 1, n_samples, first, last),
                stretch(layout, work, A, layer + 1, n_samples, first, last),
                stretch(layout, work, SLOPE, layer + 1, n_samples, first, last),
            )
            if is_dropped(layout, layer + 1):
                mask_level(layout, layer + 1, n_samples, first, last, work)


@kernel(inline=True)
def measure(layout, loss, n_samples, first, last, work):
    """Write the loss and the number of correct predictions of samples first to last."""
    top = layout.activations.size
    z = values(layout, work, Z, top, n_samples)
    a = values(layout, work, A, top, n_samples)
    slope = values(layout, work, SLOPE, top, n_samples)
    code = layout.activations[top - 1]
    for n in range(first, last):
        work.measured[LOSS, n] = work.measured[WEIGHT, n] * sample_loss(loss, code, z[n], a[n], slope[n], work.y[n])
        work.measured[CORRECT, n] *= count_correct(loss, a[n], work.y[n])


@kernel(inline=True)
def transpose(layout, theta, lowest, n_powers, chunk, n_chunks, work):
    """Write this chunk's rows of every W transposed, and of its powers, from the lowest on that is gone back."""
    for layer in range(lowest, layout.activations.size):
        w = weights(layout, theta, layer)
        out = transposed_weights(layout, work, layer, 0)
        first, last = span(out.shape[0], chunk, n_chunks)
        # Eight rows of the result at a time: whole cache lines of W are read.
        for start in range(first, last, 8):
            stop = min(start + 8, last)
            for j in range(out.shape[1]):
                for k in range(start, stop):
                    out[k, j] = w[j, k]
        for power in range(1, n_powers):
            below = transposed_weights(layout, work, layer, power - 1)
            raised = transposed_weights(layout, work, layer, power)
            for k in range(first, last):
                for j in range(out.shape[1]):
                    raised[k, j] = below[k, j] * out[k, j]


@kernel(inline=True)
def take_norms(layout, chunk, n_chunks, work):
    """Write the largest and the sum of the absolute weights into this chunk's units of every level past the first.

    By rows of `transpose`, so that each result is written once: its neighbours may be another core's.
    """
    for layer in range(1, layout.activations.size):
        through = transposed_weights(layout, work, layer, 0)
        largest = unit_norms(layout, work, LARGEST, layer + 1)
        total = unit_norms(layout, work, SUM, layer + 1)
        first, last = span(total.size, chunk, n_chunks)
        for k in range(first, last):
            largest[k] = largest_size(through[k])
            total[k] = sum_sizes(through[k])


@kernel(inline=True)
def prepare(layout, theta, lowest, optimizer, block, task, chunk, work):
    """Prepare this chunk's share of what the way back needs, which ends at the lowest layer given."""
    if task.method != Method.NONE and block.opens:
        n_powers = 3 if task.method == Method.SERIES else 1
        transpose(layout, theta, lowest, n_powers, chunk, task.n_chunks, work)
        if task.method == Method.SERIES:
            take_norms(layout, chunk, task.n_chunks, work)
        if not is_fused(optimizer, block):
            first, last = span(work.gradient.size, chunk, task.n_chunks)
            clear(work.gradient[first:last])


@unit
def run_inputs(packed, block, task, step, chunk):
    """Take this chunk's share of the inputs into the first layer, and prepare its share of what the way back needs."""
    layout, theta, data, optimizer, work = unpack(packed)
    take_inputs(layout, theta, data, block, chunk, task.n_chunks, work)
    prepare(layout, theta, 1, optimizer, block, task, chunk, work)


@unit
def run_forward(packed, block, task, step, chunk):
    """Take this chunk's samples from the first layer's z up to the loss."""
    layout, theta, data, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    load_targets(data, block, first, last, work)
    propagate(layout, theta, block.n_samples, first, last, work)
    if task.loss >= 0:
        measure(layout, task.loss, block.n_samples, first, last, work)
