"""Dropout: in each step some units of a level put out nothing, and the others so much more that the mean stays.

A sample's mask, 0 or one over the share that is kept, multiplies what activations make of z: values and slopes as they
are written, and Taylor coefficients, so that whatever goes by those needs to know no more. What activations make of
their own values and slopes is found without it, and multiplied then. It is a function of the key, the step, the
sample's place and the unit, so the same whoever draws it, and in all that a step measures.
"""

from numpy import float64, int64, uint64

from fastnn._compiler.jit import kernel, unit, unpack
from fastnn.kernels.activations import change_block, derivative_bounds
from fastnn.kernels.counter import draw_words
from fastnn.kernels.estimators import DROPOUT
from fastnn.kernels.layout import KEY, PRESENT, WHOLE
from fastnn.kernels.vectors import clear, multiply
from fastnn.kernels.work import SLOPE, A, span, stretch, values

# A word of 32 bits as one of WHOLE.
SHIFT = 21


@kernel
def is_dropped(layout, level):
    """Return if units of a level are dropped: never the outputs."""
    return level < layout.activations.size and layout.traits[PRESENT, level] != 0


@kernel(returns_view=True)
def masks(layout, work, level, n_samples):
    """Return what a level's values are multiplied by, (n_samples, n_units): the workspace's last kind, if it is."""
    return values(layout, work, work.values.shape[0] - 1, level, n_samples)


@kernel(returns_view=True)
def line_masks(layout, work, level, n_samples, first, last):
    """Return the masks of samples first to last as a vector."""
    return stretch(layout, work, work.values.shape[0] - 1, level, n_samples, first, last)


@kernel
def kept_scale(layout, level, work):
    """Return what the values of units that are kept are multiplied by, in their dtype."""
    return work.values.dtype.type(WHOLE / layout.traits[PRESENT, level])


@kernel
def draw_mask(layout, level, step, place, scale, mask):
    """Write the mask of a level's units, (n_units,), of the sample at a place in a step, counted from 0."""
    key, kept = uint64(layout.traits[KEY, level]), layout.traits[PRESENT, level]
    first = layout.starts[0, level]  # units are numbered through all levels
    for block in range(first // 4, (first + mask.size + 3) // 4):
        words = draw_words(key, DROPOUT, step, place, block)
        for k in range(max(4 * block, first), min(4 * block + 4, first + mask.size)):
            mask[k - first] = scale if int64(words[k - 4 * block]) << SHIFT < kept else 0.0


@unit
def run_masks(packed, block, task, step, chunk):
    """Draw the masks of this chunk's samples."""
    layout, _, _, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    for level in range(layout.activations.size):
        if is_dropped(layout, level):
            mask, scale = masks(layout, work, level, block.n_samples), kept_scale(layout, level, work)
            for n in range(first, last):
                draw_mask(layout, level, step - 1, block.start + n, scale, mask[n])


@kernel(inline=True)
def mask_level(layout, level, n_samples, first, last, work):
    """Multiply a and slope of a level by the masks, for samples first to last."""
    mask = line_masks(layout, work, level, n_samples, first, last)
    multiply(mask, stretch(layout, work, A, level, n_samples, first, last))
    multiply(mask, stretch(layout, work, SLOPE, level, n_samples, first, last))


@kernel
def mask_inputs(layout, n, begin, end, n_samples, work):
    """Multiply those inputs of sample n that stand from begin to end by the mask, if there is one."""
    if is_dropped(layout, 0):
        mask, x = masks(layout, work, 0, n_samples)[n], values(layout, work, A, 0, n_samples)[n]
        multiply(mask[begin:end], x[begin:end])


@kernel
def mask_rows(layout, n, first, step, n_samples, work, out):
    """Multiply rows of out (n_inputs, n), of sample n's inputs from the first on in steps, by the mask, if any is."""
    if is_dropped(layout, 0):
        mask = masks(layout, work, 0, n_samples)[n]
        for i in range(out.shape[0]):
            row, factor = out[i], float64(mask[first + i * step])
            for b in range(row.size):
                row[b] *= factor


@kernel
def unmask(mask, masked, out):
    """Write what a mask has multiplied, and 0 where that is lost; all (n,)."""
    for k in range(out.size):
        out[k] = masked[k] / mask[k] if mask[k] > 0.0 else 0.0


@kernel
def mask_changes(mask, out):
    """Multiply what activations make of z by a mask, both (n,), whatever they make of a unit that is dropped."""
    for k in range(out.size):
        out[k] = mask[k] * out[k] if mask[k] > 0.0 else 0.0


@kernel
def change_unit(layout, level, z, a, slope, mask, k, t):
    """Replace moves t (n,) of z of a level's unit k by the changes of a; z, a, slope, mask (n_units,) of a sample."""
    code = layout.activations[level - 1]
    if not is_dropped(layout, level):
        change_block(code, z[k], a[k], slope[k], t)
    elif mask[k] > 0.0:
        change_block(code, z[k], a[k] / mask[k], slope[k] / mask[k], t)
        for b in range(t.size):
            t[b] *= mask[k]
    else:
        clear(t)


@kernel
def level_bounds(layout, level, work):
    """Return `derivative_bounds` of what units of a level put out, over all masks."""
    f1, f2, f3, f4 = derivative_bounds(layout.activations[level - 1])
    if not is_dropped(layout, level):
        return f1, f2, f3, f4
    scale = float64(kept_scale(layout, level, work))
    return scale * f1, scale * f2, scale * f3, scale * f4
