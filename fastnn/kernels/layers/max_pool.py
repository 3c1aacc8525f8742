"""The largest of each window, channel by channel.

Each window passes on one unit of those below. A perturbation may have another one win: whatever lags behind the largest
by no more than perturbations reach is carried as well, so that the change is exact, also where units tie.
"""

from fastnn._compiler.jit import kernel, unit, unpack_stem
from fastnn.kernels.layers.maps import (
    CHANNELS,
    GRADIENT,
    HEIGHT,
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    LIST,
    REACH_A,
    REACH_Z,
    STRIDE_HEIGHT,
    STRIDE_WIDTH,
    WIDTH,
    Geometry,
    clear_rows,
    doubt,
    is_still,
    list_unit,
    moved_units,
    pulled_rows,
    reach_of,
    sample_values,
    slide,
    unit_at,
)
from fastnn.kernels.vectors import clear, copy
from fastnn.kernels.work import A


def shape(below: Geometry, pool_size: tuple[int, int], strides: tuple[int, int]) -> Geometry:
    """Return (to Python) what it makes of a level."""
    height, width = slide(below.height, pool_size[0], strides[0]), slide(below.width, pool_size[1], strides[1])
    return Geometry(height, width, below.channels, kernel_size=pool_size, strides=strides, selects=True)


@kernel
def find_largest(below, here, a, y, x, c):
    """Return where the first of a window's largest units stands in a sample's values; a nan is the largest."""
    top, left = y * here[STRIDE_HEIGHT], x * here[STRIDE_WIDTH]
    largest = unit_at(below, top, left, c)
    for ky in range(here[KERNEL_HEIGHT]):
        for kx in range(here[KERNEL_WIDTH]):
            k = unit_at(below, top + ky, left + kx, c)
            if a[k] > a[largest] or a[k] != a[k]:
                largest = k
    return largest


@unit
def forward(packed, part):
    """Write a of a sample."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    a = sample_values(stem, A, part.sample)
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(here[CHANNELS]):
                a[unit_at(here, y, x, c)] = a[find_largest(below, here, a, y, x, c)]


@unit
def back(packed, part):
    """Hand on each gradient to the first of its window's largest units."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    a, gradient = sample_values(stem, A, part.sample), sample_values(stem, GRADIENT, part.sample)
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(here[CHANNELS]):
                gradient[find_largest(below, here, a, y, x, c)] += gradient[unit_at(here, y, x, c)]


@unit
def reach(packed, part):
    """Write how far perturbations move a: not farther than what is below."""
    _, stem = unpack_stem(packed)
    source = reach_of(stem, part.chunk, REACH_A, part.layer)
    copy(source, reach_of(stem, part.chunk, REACH_Z, part.layer + 1))
    copy(source, reach_of(stem, part.chunk, REACH_A, part.layer + 1))


@unit
def want(packed, part):
    """List what each window that is listed may pass on, one after another: its largest, and what may overtake that."""
    _, stem = unpack_stem(packed)
    layer, sample, chunk = part.layer, part.sample, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    a = sample_values(stem, A, sample)
    reaches = reach_of(stem, chunk, REACH_A, layer)
    count = 0
    for i in range(stem.counts[chunk, layer + 1]):
        window = here[LIST] + i
        y, x, c = stem.listed[chunk, window, 0], stem.listed[chunk, window, 1], stem.listed[chunk, window, 2]
        largest = a[find_largest(below, here, a, y, x, c)]
        before = count
        for row in range(y * here[STRIDE_HEIGHT], y * here[STRIDE_HEIGHT] + here[KERNEL_HEIGHT]):
            for column in range(x * here[STRIDE_WIDTH], x * here[STRIDE_WIDTH] + here[KERNEL_WIDTH]):
                k = unit_at(below, row, column, c)
                behind = largest - a[k]
                if is_still(stem, layer, sample, chunk, k, c):  # at 0, below which no other falls
                    continue
                if not behind > 2.0 * reaches[c]:  # one up, the other down; nothing is ruled out by a reach that is nan
                    list_unit(stem, layer, chunk, count, row, column, c)
                    stem.behind[chunk, below[LIST] + count] = behind
                    count += 1
        stem.candidates[chunk, window] = count - before
    stem.counts[chunk, layer] = count


@unit
def carry(packed, part):
    """Write by how much each window that is listed moves, (n_listed, count): the most that any candidate comes to."""
    _, stem = unpack_stem(packed)
    layer, chunk, count = part.layer, part.chunk, part.size
    below, here = stem.table[layer], stem.table[layer + 1]
    source = moved_units(stem, chunk, layer - 1, stem.counts[chunk, layer], count)
    moved = moved_units(stem, chunk, layer, stem.counts[chunk, layer + 1], count)
    entry = 0
    for i in range(moved.shape[0]):
        row = moved[i]
        n_candidates = stem.candidates[chunk, here[LIST] + i]
        if n_candidates == 0:
            clear(row)
        for candidate in range(n_candidates):
            change = source[entry]
            behind = stem.behind[chunk, below[LIST] + entry]
            if candidate == 0:
                for b in range(count):
                    row[b] = change[b] - behind
            else:
                for b in range(count):
                    row[b] = max(row[b], change[b] - behind)
            entry += 1


@unit
def pull(packed, part):
    """Write the slopes of what is pulled down: those with a window go to its largest, the others have none.

    How far they get ahead of the largest is pulled down as well.
    """
    _, stem = unpack_stem(packed)
    layer, chunk = part.layer, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    source, out = pulled_rows(stem, chunk, layer + 1, part.size), pulled_rows(stem, chunk, layer, part.size)
    clear_rows(out)
    entry = 0
    for i in range(source.shape[0]):
        last = entry + stem.candidates[chunk, here[LIST] + i]
        largest = entry
        while largest < last - 1 and stem.behind[chunk, below[LIST] + largest] > 0.0:
            largest += 1
        if largest < last:
            copy(source[i], out[largest])
        for candidate in range(entry, last):
            if candidate != largest:
                column = part.first + doubt(stem, chunk, stem.behind[chunk, below[LIST] + candidate])
                out[candidate, column] = 1.0
                out[largest, column] = -1.0
        entry = last
