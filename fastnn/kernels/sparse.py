"""Inputs most of which are zero: which ones are not is listed, and the products with the first weights go by the lists.

Nothing else changes, nor do any bits: what is left out would have added zero. A zero stays +0 where the dense way
might have made -0 of it, and a first weight that is not finite is not met by inputs that are zero.
"""

from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel, line, unit, unpack_listed
from fastnn.kernels.descent import descend, take_coefficients
from fastnn.kernels.dropout import mask_inputs
from fastnn.kernels.forward import begin_inputs, prepare, share_of_part
from fastnn.kernels.layout import weights
from fastnn.kernels.optimizers import target
from fastnn.kernels.products import add_listed_product, add_listed_series
from fastnn.kernels.vectors import clear
from fastnn.kernels.work import A, Method, Z, count_parts, span, values


class Listed(NamedTuple):
    """Which inputs are not zero. Samples that come as sparse rows have their numbers, (n_numbers, 1), in Data.x."""

    starts: ndarray  # (n + 1,) int64, where each sample's numbers begin there; empty where Data.x has all inputs
    columns: ndarray  # (n_numbers,) int32, which inputs they are
    inputs: ndarray  # (block, n_inputs) int32: of each sample, those that are not zero, from where a part begins
    n_inputs: ndarray  # (2, block) int64: how many of each part; they stand where the part's inputs do
    samples: ndarray  # (n_inputs, block) int32: of each input, the samples in which it is not zero
    n_samples: ndarray  # (n_inputs,) int64: how many


@kernel
def list_inputs(row, out, listed):
    """Copy a part of a sample's inputs, and list those that are not zero; return how many. All (n,)."""
    count = 0
    for k in range(row.size):
        out[k] = row[k]
        listed[count] = k
        count += row[k] != 0.0
    return count


@kernel
def spread_inputs(columns, numbers, begin, out, listed):
    """Write a part of a sample's inputs, from its numbers, rising by column, and list them as `list_inputs` does."""
    clear(out)
    count = 0
    for i in range(columns.size):
        k = columns[i] - begin
        if 0 <= k < out.size and numbers[i] != 0.0:
            out[k] = numbers[i]
            listed[count] = k
            count += 1
    return count


@kernel(inline=True)
def list_samples(layout, listed, n_samples, first, last):
    """List in which samples each input from first to last is not zero."""
    n_in = layout.sizes[0]
    for k in range(first, last):
        listed.n_samples[k] = 0
    for n in range(n_samples):
        for part in range(count_parts(layout)):
            begin, end = span(n_in, part, count_parts(layout))
            if begin < last and first < end:
                inputs = line(listed.inputs, n * n_in + begin, listed.n_inputs[part, n])
                low, high = 0, inputs.size
                while low < high:  # the first that is not below this chunk's
                    middle = (low + high) // 2
                    if begin + inputs[middle] < first:
                        low = middle + 1
                    else:
                        high = middle
                while low < inputs.size and begin + inputs[low] < last:
                    k = begin + inputs[low]
                    listed.samples[k, listed.n_samples[k]] = n
                    listed.n_samples[k] += 1
                    low += 1


@unit
def run_sparse_inputs(packed, block, task, step, chunk):
    """Do what `forward.run_inputs` does, by lists."""
    (layout, theta, data, optimizer, work), listed = unpack_listed(packed)
    n_in = layout.sizes[0]
    x = values(layout, work, A, 0, block.n_samples)
    for part in range(count_parts(layout)):
        first, last = share_of_part(layout, block.n_samples, part, chunk, task.n_chunks)
        begin, end = span(n_in, part, count_parts(layout))
        for n in range(first, last):
            source = data.order[block.row, block.start + n]
            out, inputs = line(x, n * n_in + begin, end - begin), line(listed.inputs, n * n_in + begin, end - begin)
            if listed.starts.size > 0:
                start, size = listed.starts[source], listed.starts[source + 1] - listed.starts[source]
                columns, numbers = line(listed.columns, start, size), line(data.x, start, size)
                listed.n_inputs[part, n] = spread_inputs(columns, numbers, begin, out, inputs)
            else:
                listed.n_inputs[part, n] = list_inputs(line(data.x, source * n_in + begin, end - begin), out, inputs)
            mask_inputs(layout, n, begin, end, block.n_samples, work)
        begin_inputs(layout, theta, block.n_samples, part, first, last, work)
        z = values(layout, work, Z if part == 0 else A, 1, block.n_samples)
        lists, counts = listed.inputs[:, begin:end], listed.n_inputs[part]
        add_listed_product(x[:, begin:end], lists, counts, weights(layout, theta, 0)[begin:end], first, last, z)
    prepare(layout, theta, 1, optimizer, block, task, chunk, work)


@unit
def run_sparse_descent(packed, block, task, step, chunk):
    """Do what `descent.run_descent` does, by lists."""
    (layout, theta, _, optimizer, work), listed = unpack_listed(packed)
    if task.method != Method.DIRECT:
        out, scale = target(optimizer, block, theta, work.gradient)
        first, last = span(layout.sizes[0], chunk, task.n_chunks)
        list_samples(layout, listed, block.n_samples, first, last)
        before, w = values(layout, work, A, 0, block.n_samples).T, weights(layout, out, 0)
        c1, c2, c3 = take_coefficients(layout, 0, block, task, work)
        lists, counts = listed.samples, listed.n_samples
        add_listed_series(before, lists, counts, c1, c2, c3, task.n_terms, first, last, scale, w)
    descend(layout, theta, optimizer, block, task, step, chunk, True, work)
