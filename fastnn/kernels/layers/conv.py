"""A convolution (as in every library, a cross-correlation): z = b + its kernel's weights times what is below it.

W is (height, width, channels below, filters), its rows read as one those of a dense layer. A perturbation of one
weight moves z wherever the kernel is laid, by eps times the input there, in one channel.
"""

import numpy as np

from fastnn._compiler.jit import kernel, line, rows, unit, unpack_stem, view
from fastnn.kernels.activations import activate, derivative_bounds, kink_distance
from fastnn.kernels.layers.maps import (
    ACTIVATION,
    CHANNELS,
    GRADIENT,
    HEIGHT,
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    LEFT,
    LIST,
    NORMS,
    PITCH,
    REACH_A,
    REACH_Z,
    STRIDE_HEIGHT,
    STRIDE_WIDTH,
    TOP,
    WEIGHTS,
    WIDTH,
    Geometry,
    add_noise,
    change_unit,
    corner,
    doubt,
    is_doubtful,
    is_still,
    map_rows,
    moved_channels,
    moved_units,
    pulled_rows,
    reach_of,
    sample_values,
    slide,
    unit_at,
)
from fastnn.kernels.products import add_product, add_taps
from fastnn.kernels.vectors import clear, multiply
from fastnn.kernels.work import SLOPE, A, Z


def shape(
    below: Geometry,
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    n_filters: int,
    activation: int,
) -> Geometry:
    """Return (to Python) what it makes of a level; "same" has a place for each stride begun, the odd zero last."""
    lengths = below.height, below.width
    zeros = [0, 0]
    if padding == "same":
        zeros = [
            max((length - 1) // stride * stride + size - length, 0)
            for length, size, stride in zip(lengths, kernel_size, strides, strict=True)
        ]
    height, width = (
        slide(length + more, size, stride)
        for length, more, size, stride in zip(lengths, zeros, kernel_size, strides, strict=True)
    )
    around = (zeros[0] // 2, zeros[0] - zeros[0] // 2, zeros[1] // 2, zeros[1] - zeros[1] // 2)
    return Geometry(
        *(height, width, n_filters, activation, kernel_size, strides, around),
        n_inputs=kernel_size[0] * kernel_size[1] * below.channels,
        n_filters=n_filters,
        n_biases=1,
        shapes=((*kernel_size, below.channels, n_filters), (n_filters,)),
        n_shares=kernel_size[0],
        has_z=True,
        mixes=True,
    )


@kernel
def met_taps(below, here, y, x):
    """Return the taps of a place that meet the image, the zeros around it left out.

    The first and last row, the first and last column, and how many units of a channel are before the first of them.
    """
    top, left = y * here[STRIDE_HEIGHT] - below[TOP], x * here[STRIDE_WIDTH] - below[LEFT]
    first_y, last_y = max(0, -top), min(here[KERNEL_HEIGHT], below[HEIGHT] - top)
    first_x, last_x = max(0, -left), min(here[KERNEL_WIDTH], below[WIDTH] - left)
    return first_y, last_y, first_x, last_x, (top + first_y) * below[WIDTH] + left + first_x


@kernel(returns_view=True)
def input_rows(stem, layer, sample, y, ky):
    """Return what row ky of the kernel meets along row y of its places, (width, taps)."""
    below, here = stem.table[layer], stem.table[layer + 1]
    offset = (A * stem.values.shape[1] + sample) * stem.values.shape[2]
    start = offset + corner(below, here, y, 0) + ky * below[PITCH]
    n_taps, step = here[KERNEL_WIDTH] * below[CHANNELS], here[STRIDE_WIDTH] * below[CHANNELS]
    return rows(stem.values, start, here[WIDTH], n_taps, step)


@unit
def forward(packed, part):
    """Write z, a and slope of a sample."""
    (_, theta, _, _, _), stem = unpack_stem(packed)
    layer, sample = part.layer, part.sample
    below, here = stem.table[layer], stem.table[layer + 1]
    n_taps, n_filters, width = here[KERNEL_WIDTH] * below[CHANNELS], here[CHANNELS], here[WIDTH]
    bias = line(theta, here[WEIGHTS] + here[KERNEL_HEIGHT] * n_taps * n_filters, n_filters)
    for y in range(here[HEIGHT]):
        start = unit_at(here, y, 0, 0)
        z = map_rows(stem, Z, sample, start, width, n_filters)
        for x in range(width):
            for c in range(n_filters):
                z[x, c] = bias[c]
        for ky in range(here[KERNEL_HEIGHT]):
            w = view(theta, here[WEIGHTS] + ky * n_taps * n_filters, n_taps, n_filters)
            add_product(input_rows(stem, layer, sample, y, ky), w, 0, width, z)
        size = width * n_filters
        add_noise(stem, Z, sample, start, size)
        activate(
            here[ACTIVATION],
            line(z, 0, size),
            line(sample_values(stem, A, sample), start, size),
            line(sample_values(stem, SLOPE, sample), start, size),
        )


@unit
def back(packed, part):
    """Turn the gradient with respect to a into that with respect to z, and hand on what the level below gets of it."""
    _, stem = unpack_stem(packed)
    layer = part.layer
    below, here = stem.table[layer], stem.table[layer + 1]
    n_taps, n_filters, width = here[KERNEL_WIDTH] * below[CHANNELS], here[CHANNELS], here[WIDTH]
    gradient, slope = sample_values(stem, GRADIENT, part.sample), sample_values(stem, SLOPE, part.sample)
    for y in range(here[HEIGHT]):
        start, size = unit_at(here, y, 0, 0), width * n_filters
        own = line(gradient, start, size)
        multiply(line(slope, start, size), own)
        for k in range(0 if here[WEIGHTS] == 0 else size):  # the lowest weights have none below
            if own[k] == 0.0:
                continue
            x, c = k // n_filters, k % n_filters
            for ky in range(here[KERNEL_HEIGHT]):
                w = line(stem.transposed, here[WEIGHTS] + (c * here[KERNEL_HEIGHT] + ky) * n_taps, n_taps)
                out = line(gradient, corner(below, here, y, x) + ky * below[PITCH], n_taps)
                for i in range(n_taps):
                    out[i] += own[k] * w[i]


@unit
def add(packed, part):
    """Add a sample's gradient with respect to the weights in a row of the kernel; with the first, that of b."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    layer, sample, ky = part.layer, part.sample, part.first
    below, here = stem.table[layer], stem.table[layer + 1]
    n_taps, n_filters, width = here[KERNEL_WIDTH] * below[CHANNELS], here[CHANNELS], here[WIDTH]
    out = view(work.gradient, here[WEIGHTS] + ky * n_taps * n_filters, n_taps, n_filters)
    bias = line(work.gradient, here[WEIGHTS] + here[KERNEL_HEIGHT] * n_taps * n_filters, n_filters)
    for y in range(here[HEIGHT]):
        gradient = map_rows(stem, GRADIENT, sample, unit_at(here, y, 0, 0), width, n_filters)
        add_product(input_rows(stem, layer, sample, y, ky).T, gradient, 0, n_taps, out)
        if ky == 0:
            for x in range(width):
                for c in range(n_filters):
                    bias[c] += gradient[x, c]


@unit
def reach(packed, part):
    """Write how far perturbations move z and a, from how far they move what is below: one channel, or all of them."""
    _, stem = unpack_stem(packed)
    here = stem.table[part.layer + 1]
    source = reach_of(stem, part.chunk, REACH_A, part.layer)
    z = reach_of(stem, part.chunk, REACH_Z, part.layer + 1)
    a = reach_of(stem, part.chunk, REACH_A, part.layer + 1)
    steepest = derivative_bounds(here[ACTIVATION])[0]
    for c in range(z.size):
        total = 0.0
        for i in range(source.size):
            size = stem.norms[here[NORMS] + i * z.size + c] * source[i]
            total = total + size if part.channel < 0 else max(total, size)
        z[c] = total
        a[c] = steepest * total


@unit
def start(packed, part):
    """Write by how much perturbations of a channel's weights move each unit that is listed, (n_listed, count)."""
    _, stem = unpack_stem(packed)
    layer, sample, chunk = part.layer, part.sample, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    n_taps = here[KERNEL_WIDTH] * below[CHANNELS]
    n_inputs = here[KERNEL_HEIGHT] * n_taps
    a = sample_values(stem, A, sample)
    n_listed = stem.counts[chunk, layer + 1]
    moved = moved_units(stem, chunk, layer, n_listed, part.size)
    for i in range(n_listed):
        entry = here[LIST] + i
        y, x = stem.listed[chunk, entry, 0], stem.listed[chunk, entry, 1]
        k = unit_at(here, y, x, part.channel)
        row = moved[i]
        if is_still(stem, layer + 1, sample, chunk, k, part.channel):
            clear(row)
            continue
        place = corner(below, here, y, x)
        for ky in range(here[KERNEL_HEIGHT]):
            first = max(part.first, ky * n_taps)
            last = min(part.first + part.size, (ky + 1) * n_taps)
            inputs = line(a, place + ky * below[PITCH] + first - ky * n_taps, max(last - first, 0))
            out = line(row, first - part.first, inputs.size)
            for b in range(inputs.size):
                out[b] = part.eps * inputs[b]
        for b in range(max(n_inputs - part.first, 0), part.size):
            row[b] = part.eps if part.first + b == n_inputs else 0.0
        change_unit(stem, layer + 1, sample, chunk, k, part.channel, row)


@unit
def carry(packed, part):
    """Write by how much each unit that is listed moves, (n_listed, count), when one or all channels below do."""
    _, stem = unpack_stem(packed)
    layer, sample, chunk, count = part.layer, part.sample, part.chunk, part.size
    below, here = stem.table[layer], stem.table[layer + 1]
    n_channels, n_moved = below[CHANNELS], moved_channels(below, part.channel)
    source = moved_units(stem, chunk, layer - 1, below[HEIGHT] * below[WIDTH] * n_moved, count)
    n_listed = stem.counts[chunk, layer + 1]
    moved = moved_units(stem, chunk, layer, n_listed, count)
    flat = line(source, 0, source.size)
    n_weights = here[KERNEL_HEIGHT] * here[KERNEL_WIDTH] * n_channels
    for i in range(n_listed):
        entry = here[LIST] + i
        y, x, c = stem.listed[chunk, entry, 0], stem.listed[chunk, entry, 1], stem.listed[chunk, entry, 2]
        k = unit_at(here, y, x, c)
        row = moved[i]
        clear(row)
        if is_still(stem, layer + 1, sample, chunk, k, c):
            continue
        first_y, last_y, first_x, last_x, before = met_taps(below, here, y, x)
        place = c * n_weights + (first_y * here[KERNEL_WIDTH] + first_x) * n_channels + max(part.channel, 0)
        weights = line(stem.transposed, here[WEIGHTS] + place, n_weights)
        begin = before * n_moved * count
        add_taps(
            weights,
            here[KERNEL_WIDTH] * n_channels,
            np.int64(1) if part.channel < 0 else n_channels,
            line(flat, begin, flat.size),
            below[WIDTH] * n_moved * count,
            last_y - first_y,
            (last_x - first_x) * n_moved,
            row,
        )
        change_unit(stem, layer + 1, sample, chunk, k, c, row)


@unit
def pull(packed, part):
    """Write the slopes with all units below of what is pulled down, from those with the units that are listed.

    Only for activations that are straight lines between kinks. Of a unit that a perturbation may take across its
    kink, z itself is pulled down as well.
    """
    _, stem = unpack_stem(packed)
    layer, sample, chunk, width = part.layer, part.sample, part.chunk, part.size
    below, here = stem.table[layer], stem.table[layer + 1]
    z, slope = sample_values(stem, Z, sample), sample_values(stem, SLOPE, sample)
    source, out = pulled_rows(stem, chunk, layer + 1, width), pulled_rows(stem, chunk, layer, width)
    flat = line(out, 0, out.size)
    clear(flat)
    n_channels = below[CHANNELS]
    for i in range(source.shape[0]):
        entry = here[LIST] + i
        y, x, c = stem.listed[chunk, entry, 0], stem.listed[chunk, entry, 1], stem.listed[chunk, entry, 2]
        k = unit_at(here, y, x, c)
        row = source[i]
        for m in range(width):
            row[m] *= slope[k]
        if is_doubtful(stem, layer + 1, sample, chunk, k, c):
            row[part.first + doubt(stem, chunk, kink_distance(here[ACTIVATION], np.float64(z[k])))] = 1.0
        elif slope[k] == 0.0:
            continue
        first_y, last_y, first_x, last_x, before = met_taps(below, here, y, x)
        n_taps = (last_x - first_x) * n_channels
        for ky in range(first_y, last_y):
            tap = ((c * here[KERNEL_HEIGHT] + ky) * here[KERNEL_WIDTH] + first_x) * n_channels
            w = view(stem.transposed, here[WEIGHTS] + tap, n_taps, 1)
            place = (before + (ky - first_y) * below[WIDTH]) * n_channels
            add_product(w, view(row, 0, 1, width), 0, n_taps, view(flat, place * width, n_taps, width))
