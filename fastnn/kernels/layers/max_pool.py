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
    PITCH,
    REACH_A,
    REACH_Z,
    STRIDE_HEIGHT,
    STRIDE_WIDTH,
    WIDTH,
    Geometry,
    doubt,
    is_still,
    list_unit,
    meets_same,
    moved_units,
    pulled_rows,
    reach_of,
    sample_values,
    slide,
    unit_at,
)
from fastnn.kernels.vectors import clear, clear_all, copy
from fastnn.kernels.work import A, Z


def shape(below: Geometry, pool_size: tuple[int, int], strides: tuple[int, int]) -> Geometry:
    """Return (to Python) what it makes of a level."""
    height, width = slide(below.height, pool_size[0], strides[0]), slide(below.width, pool_size[1], strides[1])
    return Geometry(height, width, below.channels, kernel_size=pool_size, strides=strides, selects=True)


@kernel
def find_largest(below, here, z, y, x, c):
    """Return row and column of the largest of a window's units below, which `forward` has found."""
    place = int(z[unit_at(here, y, x, c)])
    return (
        y * here[STRIDE_HEIGHT] + place // here[KERNEL_WIDTH],
        x * here[STRIDE_WIDTH] + place % here[KERNEL_WIDTH],
    )


@unit
def forward(packed, part):
    """Write a of a sample, and as z which of its window's units it is, the first of the largest; a nan is the largest.

    Found once: looking again where changes are carried was a quarter of the time of five convolutions' step.
    """
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    z, a = sample_values(stem, Z, part.sample), sample_values(stem, A, part.sample)
    height, width, n_channels = here[KERNEL_HEIGHT], here[KERNEL_WIDTH], here[CHANNELS]
    pitch, first, step = below[PITCH], unit_at(below, 0, 0, 0), here[STRIDE_WIDTH] * n_channels
    for y in range(here[HEIGHT]):
        out = unit_at(here, y, 0, 0)
        corner = first + y * here[STRIDE_HEIGHT] * pitch
        for x in range(here[WIDTH]):
            for c in range(n_channels):
                start = corner + x * step + c
                largest, place = a[start], 0
                for ky in range(height):
                    for kx in range(width):
                        value = a[start + ky * pitch + kx * n_channels]
                        if value > largest or value != value:
                            largest, place = value, ky * width + kx
                a[out + x * n_channels + c] = largest
                z[out + x * n_channels + c] = place


@unit
def back(packed, part):
    """Hand on each gradient to the first of its window's largest units."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    z, gradient = sample_values(stem, Z, part.sample), sample_values(stem, GRADIENT, part.sample)
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(here[CHANNELS]):
                row, column = find_largest(below, here, z, y, x, c)
                gradient[unit_at(below, row, column, c)] += gradient[unit_at(here, y, x, c)]


@unit
def reach(packed, part):
    """Write how far perturbations move a: not farther than what is below."""
    _, stem = unpack_stem(packed)
    source = reach_of(stem, part.chunk, REACH_A, part.layer)
    copy(source, reach_of(stem, part.chunk, REACH_Z, part.layer + 1))
    copy(source, reach_of(stem, part.chunk, REACH_A, part.layer + 1))


@unit
def want(packed, part):
    """List what each window that is listed may pass on, one after another: its largest, and what may overtake that.

    Where it is by its own weights that the layer below moves, what meets the same as the largest moves with it and
    is left out: nearly all of a flat background.
    """
    _, stem = unpack_stem(packed)
    layer, sample, chunk = part.layer, part.sample, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    z, a = sample_values(stem, Z, sample), sample_values(stem, A, sample)
    reaches = reach_of(stem, chunk, REACH_A, layer)
    count = 0
    for i in range(stem.counts[chunk, layer + 1]):
        window = here[LIST] + i
        y, x, c = stem.listed[chunk, window, 0], stem.listed[chunk, window, 1], stem.listed[chunk, window, 2]
        first_y, first_x = find_largest(below, here, z, y, x, c)
        largest = a[unit_at(below, first_y, first_x, c)]
        before = count
        for row in range(y * here[STRIDE_HEIGHT], y * here[STRIDE_HEIGHT] + here[KERNEL_HEIGHT]):
            for column in range(x * here[STRIDE_WIDTH], x * here[STRIDE_WIDTH] + here[KERNEL_WIDTH]):
                k = unit_at(below, row, column, c)
                behind = largest - a[k]
                if is_still(stem, layer, sample, chunk, k, c):  # at 0, below which no other falls
                    continue
                ties = part.first == 1 and behind == 0.0 and not (row == first_y and column == first_x)
                if ties and meets_same(stem, layer - 1, sample, row, column, first_y, first_x):
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
    clear_all(out)
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
