"""The mean of each window, channel by channel."""

from fastnn._compiler.jit import unit, unpack_stem
from fastnn.kernels.layers import max_pool
from fastnn.kernels.layers.maps import (
    CHANNELS,
    GRADIENT,
    HEIGHT,
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    LIST,
    STRIDE_HEIGHT,
    STRIDE_WIDTH,
    WIDTH,
    Geometry,
    moved_channels,
    moved_units,
    pulled_rows,
    sample_values,
    slide,
    unit_at,
)
from fastnn.kernels.vectors import clear, clear_all
from fastnn.kernels.work import A


def shape(below: Geometry, pool_size: tuple[int, int], strides: tuple[int, int]) -> Geometry:
    """Return (to Python) what it makes of a level."""
    height, width = slide(below.height, pool_size[0], strides[0]), slide(below.width, pool_size[1], strides[1])
    return Geometry(height, width, below.channels, kernel_size=pool_size, strides=strides)


@unit
def forward(packed, part):
    """Write a of a sample."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    a = sample_values(stem, A, part.sample)
    size = here[KERNEL_HEIGHT] * here[KERNEL_WIDTH]
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(here[CHANNELS]):
                total = 0.0
                for ky in range(here[KERNEL_HEIGHT]):
                    for kx in range(here[KERNEL_WIDTH]):
                        total += a[unit_at(below, y * here[STRIDE_HEIGHT] + ky, x * here[STRIDE_WIDTH] + kx, c)]
                a[unit_at(here, y, x, c)] = total / size


@unit
def back(packed, part):
    """Hand on each gradient to all of its window, in equal shares."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    gradient = sample_values(stem, GRADIENT, part.sample)
    size = here[KERNEL_HEIGHT] * here[KERNEL_WIDTH]
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(here[CHANNELS]):
                each = gradient[unit_at(here, y, x, c)] / size
                for ky in range(here[KERNEL_HEIGHT]):
                    for kx in range(here[KERNEL_WIDTH]):
                        gradient[unit_at(below, y * here[STRIDE_HEIGHT] + ky, x * here[STRIDE_WIDTH] + kx, c)] += each


reach = max_pool.reach  # a mean moves no farther than the largest does


@unit
def carry(packed, part):
    """Write by how much each window that is listed moves, (n_listed, count)."""
    _, stem = unpack_stem(packed)
    layer, chunk, count = part.layer, part.chunk, part.size
    below, here = stem.table[layer], stem.table[layer + 1]
    n_moved = moved_channels(below, part.channel)
    source = moved_units(stem, chunk, layer - 1, below[HEIGHT] * below[WIDTH] * n_moved, count)
    moved = moved_units(stem, chunk, layer, stem.counts[chunk, layer + 1], count)
    share = 1.0 / (here[KERNEL_HEIGHT] * here[KERNEL_WIDTH])
    for i in range(moved.shape[0]):
        entry = here[LIST] + i
        c = stem.listed[chunk, entry, 2] if part.channel < 0 else 0
        top = stem.listed[chunk, entry, 0] * here[STRIDE_HEIGHT]
        left = stem.listed[chunk, entry, 1] * here[STRIDE_WIDTH]
        row = moved[i]
        clear(row)
        for y in range(top, top + here[KERNEL_HEIGHT]):
            for x in range(left, left + here[KERNEL_WIDTH]):
                change = source[(y * below[WIDTH] + x) * n_moved + c]
                for b in range(count):
                    row[b] += share * change[b]


@unit
def pull(packed, part):
    """Write the slopes with all units below of what is pulled down, from those with the windows that are listed."""
    _, stem = unpack_stem(packed)
    layer, chunk = part.layer, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    source, out = pulled_rows(stem, chunk, layer + 1, part.size), pulled_rows(stem, chunk, layer, part.size)
    clear_all(out)
    share = 1.0 / (here[KERNEL_HEIGHT] * here[KERNEL_WIDTH])
    for i in range(source.shape[0]):
        entry = here[LIST] + i
        top = stem.listed[chunk, entry, 0] * here[STRIDE_HEIGHT]
        left = stem.listed[chunk, entry, 1] * here[STRIDE_WIDTH]
        row = source[i]
        for y in range(top, top + here[KERNEL_HEIGHT]):
            for x in range(left, left + here[KERNEL_WIDTH]):
                each = out[(y * below[WIDTH] + x) * below[CHANNELS] + stem.listed[chunk, entry, 2]]
                for m in range(row.size):
                    each[m] += share * row[m]
