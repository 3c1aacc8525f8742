"""What all estimates share: what they are handed, the directions that are drawn, the changes that are carried."""

from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel, line, unit, unpack_scheme, view
from fastnn.kernels.activations import change_units
from fastnn.kernels.direct import carry
from fastnn.kernels.directions import fill_entries, find_place, find_scale, prepare
from fastnn.kernels.dropout import is_dropped, line_masks, mask_changes, masks, unmask
from fastnn.kernels.estimators import Kind, Plan, Reading
from fastnn.kernels.layers.maps import Stem
from fastnn.kernels.layout import biases, weights
from fastnn.kernels.optimizers import Update, is_fused, move
from fastnn.kernels.products import add_product, add_scaled_product
from fastnn.kernels.vectors import add_scaled, clear, copy
from fastnn.kernels.work import PERTURBATIONS, SLOPE, A, Work, Z, change_scratch, count_parts, total_scratch, values

# Directions are put together so many entries at a time, whole blocks of random words.
PART = 1024
# Words of random bits make so many signs.
BLOCK = 128
HOLDER = 1  # in Scheme.held


class Scheme(NamedTuple):
    """An estimate of the gradient, and workspace for a block of samples."""

    plan: Plan
    reading: Reading
    redraw: int  # steps that the same weights are perturbed in
    rescales: bool  # differences of some weights, so that their mean is the gradient
    update: Update  # what moves the weights where the scheme does
    edges: ndarray  # (n_arrays + 1,) int64: where each array of parameters begins in theta, and where the last ends
    are_biases: ndarray  # (n_arrays,) int64: 1 for those that no decay shrinks
    quotas: ndarray  # (n_layers, 3) int64, see `differences.BEGIN`; no rows where all weights are perturbed
    order: ndarray  # (n_rows,) int64: see `directions.prepare`, as of the next two; or as many as the largest layer has
    held: ndarray  # (2,) int64: of which sweep, or mask, what is drawn is; the chunk that drew the last direction
    columns: ndarray  # (n_parameters,) float64; empty unless of a code
    drawn: ndarray  # (n_chunks, n) in the network's dtype: a direction, of the weights or a sample's units; a mask
    scales: ndarray  # (q,) float64, see `find_scale`
    weights: ndarray  # (n_chunks, q) float64: what each direction is weighed by
    changes: ndarray  # (block, n_readings) float64: of each sample's loss
    readings: ndarray  # (n_chunks, n_readings + 1) float64: of the mean loss, how it differs from that at the weights
    base: ndarray  # (n_chunks,) float64: the mean loss at the weights
    moved: ndarray  # (n_chunks, n) in the network's dtype, see `moved_values`
    nudged: ndarray  # (n_chunks, n) in the network's dtype: the weights of a layer with a direction added
    parts: ndarray  # (n_chunks, PART) in the network's dtype
    outputs: ndarray  # (n_chunks, n) float64, see `moved_outputs`
    sums: ndarray  # (n_chunks, PART) in the network's dtype
    noise: ndarray  # (n_chunks, PART) float32
    places: ndarray  # (n, 3) int64: where a sample's units below the dense layers have their sums, see `units.LAYER`


class Below(NamedTuple):
    """What layers below the dense ones are run with that are perturbed: all in float64, forward alone."""

    work: Work
    stem: Stem
    theta: ndarray  # (n_chunks, n_parameters) the weights, nudged or not
    base: ndarray  # (block, n) the first dense layer's z without
    units: ndarray  # (1,) the address of `stem.run_stem_forward`


@kernel(returns_view=True)
def moved_values(layout, scheme, chunk, turn, sign, level, n_samples):
    """Return a chunk's changes of a level, (n_samples, n_units); levels take turns with two arrays for each sign."""
    each = scheme.moved.shape[1] // 4
    return view(scheme.moved, (chunk * 4 + 2 * turn + sign) * each, n_samples, layout.sizes[level])


@kernel(returns_view=True)
def moved_outputs(layout, scheme, chunk, n, n_readings):
    """Return a chunk's changes of sample n's outputs, (n_outputs, n_readings)."""
    n_outputs = layout.sizes[layout.activations.size]
    start = chunk * scheme.outputs.shape[1] + n * n_outputs * PERTURBATIONS
    return view(scheme.outputs, start, n_outputs, n_readings)


@unit
def run_order(packed, block, task, step, chunk):
    """Draw the order of the sweep that a step is of."""
    _, (scheme, _) = unpack_scheme(packed)
    if chunk == 0:
        prepare(scheme.plan, step - 1, scheme)


@kernel(inline=True)
def draw(scheme, step, index, first, out):
    """Write entries `first` and on, whole blocks, of a direction of a step; a sphere's as they are before it is scaled.

    A step is counted from 1 here.
    """
    plan = scheme.plan
    row = scheme.order[find_place(plan, step - 1) + index] if plan.n_rows > 0 else 0
    columns = line(scheme.columns, first, out.size if plan.kind == Kind.WALSH else 0)
    fill_entries(plan, step - 1, index, row, columns, first, out)


@kernel(inline=True)
def scale_entries(plan, scale, out):
    """Scale what was drawn."""
    if plan.kind == Kind.SPHERE:
        for k in range(out.size):
            out[k] *= scale


@kernel(inline=True)
def hold(scheme, index, chunk, scale):
    """Note what a direction was scaled by, and who has the last."""
    scheme.scales[index] = scale
    if index == scheme.plan.q - 1:
        scheme.held[HOLDER] = chunk  # others may hold it as well


@kernel(inline=True)
def draw_whole(scheme, step, index, chunk, out):
    """Write a direction of a step into a chunk's row."""
    draw(scheme, step, index, 0, out)
    scale = find_scale(scheme.plan, out)
    hold(scheme, index, chunk, scale)
    scale_entries(scheme.plan, scale, out)


@kernel(inline=True)
def draw_units(scheme, step, index, out):
    """Write what a sample's units are perturbed by, or one of such."""
    plan = scheme.plan
    fill_entries(plan, step - 1, index, 0, scheme.columns, 0, out)
    scale_entries(plan, find_scale(plan, out), out)


@kernel(inline=True)
def change_level(layout, scheme, level, turn, n_signs, n_samples, first, last, chunk, work):
    """Replace changes of a level's z, of samples first to last, by those of a."""
    n_units = layout.sizes[level]
    start, size = first * n_units, (last - first) * n_units
    z = line(values(layout, work, Z, level, n_samples), start, size)
    a = line(values(layout, work, A, level, n_samples), start, size)
    slope = line(values(layout, work, SLOPE, level, n_samples), start, size)
    code = layout.activations[level - 1]
    if not is_dropped(layout, level):
        for sign in range(n_signs):
            moved = moved_values(layout, scheme, chunk, turn, sign, level, n_samples)
            change_units(code, z, a, slope, line(moved, start, size))
        return
    mask = line_masks(layout, work, level, n_samples, first, last)
    for begin in range(0, size, PART // 2):
        n = min(PART // 2, size - begin)
        own_a = line(scheme.parts, chunk * PART, n)
        own_slope = line(scheme.parts, chunk * PART + PART // 2, n)
        unmask(line(mask, begin, n), line(a, begin, n), own_a)
        unmask(line(mask, begin, n), line(slope, begin, n), own_slope)
        for sign in range(n_signs):
            changes = line(moved_values(layout, scheme, chunk, turn, sign, level, n_samples), start + begin, n)
            change_units(code, line(z, begin, n), own_a, own_slope, changes)
            mask_changes(line(mask, begin, n), changes)


@kernel(inline=True)
def gather(layout, scheme, turn, n_signs, column, n_readings, n_samples, first, last, chunk):
    """Put changes of the outputs' z where those of other readings of a sample are: in columns `column` and on."""
    top = layout.activations.size
    for sign in range(n_signs):
        moved = moved_values(layout, scheme, chunk, turn, sign, top, n_samples)
        for n in range(first, last):
            outputs = moved_outputs(layout, scheme, chunk, n, n_readings)
            for k in range(moved.shape[1]):
                outputs[k, column + sign] = moved[n, k]


@kernel(inline=True)
def change_loss(packed, layout, scheme, loss, n, n_readings, n_samples, chunk, work):
    """Write the changes of sample n's loss, of what was gathered, into the chunk's sums (n_readings,)."""
    top = layout.activations.size
    size = layout.sizes[top] * n_readings
    gathered = moved_outputs(layout, scheme, chunk, n, n_readings)
    moved = change_scratch(work, chunk, 0, layout.sizes[top], n_readings)
    copy(line(gathered, 0, size), line(moved, 0, size))
    clear(total_scratch(work, chunk, n_readings))
    carry(packed, work, top, n, n_samples, 1.0, loss, n_readings, chunk)


@kernel(inline=True)
def nudge_level(layout, theta, scheme, layer, turn, n_signs, has_moved, eps, n_samples, first, last, chunk, work):
    """Write changes of the z above a layer whose weights and biases are nudged by eps times the direction.

    With W + s c D, s a sign, and inputs a that have moved by d, that is s c (a D) + d (W + s c D): no difference of
    two values. The first term is that of both signs.
    """
    d = line(scheme.drawn, chunk * scheme.drawn.shape[1], theta.size)
    n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
    above = moved_values(layout, scheme, chunk, 1 - turn, 0, layer + 1, n_samples)
    bias = biases(layout, d, layer)
    for n in range(first, last):
        for k in range(n_out):
            above[n, k] = eps * bias[k]
    inputs = values(layout, work, A, layer, n_samples)
    add_scaled_product(inputs, weights(layout, d, layer), first, last, eps, above)
    if n_signs == 2:
        other = moved_values(layout, scheme, chunk, 1 - turn, 1, layer + 1, n_samples)
        for n in range(first, last):
            for k in range(n_out):
                other[n, k] = -above[n, k]
    if has_moved:
        w, direction = weights(layout, theta, layer), weights(layout, d, layer)
        flat, flat_direction = line(w, 0, n_in * n_out), line(direction, 0, n_in * n_out)
        for sign in range(n_signs):
            nudge = eps if sign == 0 else -eps
            nudged = line(scheme.nudged, chunk * scheme.nudged.shape[1], n_in * n_out)
            for k in range(nudged.size):
                nudged[k] = flat[k] + nudge * flat_direction[k]
            below = moved_values(layout, scheme, chunk, turn, sign, layer, n_samples)
            out = moved_values(layout, scheme, chunk, 1 - turn, sign, layer + 1, n_samples)
            add_product(below, view(nudged, 0, n_in, n_out), first, last, out)


@kernel(inline=True)
def hand_masks(layout, below, n_samples, first, last, work):
    """Have layers below that are perturbed drop what the others do of the dense layers' inputs, of samples."""
    if is_dropped(layout, 0):
        for n in range(first, last):
            copy(masks(layout, work, 0, n_samples)[n], masks(layout, below.work, 0, n_samples)[n])


@kernel(inline=True)
def take_first(layout, below, n_samples, first, last, base, out):
    """Write the first dense layer's z, as layers below that are perturbed have it, less a base."""
    z, other = values(layout, below.work, Z, 1, n_samples), values(layout, below.work, A, 1, n_samples)
    in_parts = count_parts(layout) > 1
    for n in range(first, last):
        for k in range(z.shape[1]):
            out[n, k] = z[n, k] + (other[n, k] if in_parts else 0.0) - base[n, k]


@kernel(inline=True)
def own_entries(n, chunk, n_chunks):
    """Return the first and last of n entries that are this chunk's, in whole blocks."""
    blocks = (n + BLOCK - 1) // BLOCK
    return blocks * chunk // n_chunks * BLOCK, min(blocks * (chunk + 1) // n_chunks * BLOCK, n)


@kernel(inline=True)
def is_held(scheme):
    """Return whether a direction is kept once it is drawn: signs are drawn again in less time than they are read."""
    return scheme.plan.kind != Kind.RADEMACHER


@kernel(inline=True)
def move_part(scheme, block, step, start, out, gradient, theta):
    """Move the weights from `start` on along `out`, which is a part of the gradient but for plain SGD."""
    if is_fused(scheme.update, block):
        add_scaled(-scheme.update.lr, out, line(theta, start, out.size))
    else:
        move(scheme.update, step, scheme.edges, scheme.are_biases, start, start + out.size, gradient, theta)


@kernel(inline=True)
def combine(scheme, block, step, chunk, n_chunks, gradient, theta):
    """Add this chunk's entries of the directions, each times what it is weighed by, and move the weights along them.

    The last direction is there still, if it is one that is held. An entry is moved while what it is moved by is in the
    cache; plain SGD leaves no gradient behind.
    """
    plan, size = scheme.plan, gradient.size
    first, last = own_entries(size, chunk, n_chunks)
    n_drawn = plan.q - 1 if is_held(scheme) else plan.q
    for start in range(first, last, PART):
        n = min(PART, last - start)
        part = line(scheme.parts, chunk * PART, n)
        out = line(scheme.sums, chunk * PART, n) if is_fused(scheme.update, block) else line(gradient, start, n)
        clear(out)
        for index in range(n_drawn):
            draw(scheme, step, index, start, part)
            scale_entries(plan, scheme.scales[index], part)
            add_scaled(scheme.weights[chunk, index], part, out)
        if n_drawn < plan.q:
            there = line(scheme.drawn, scheme.held[HOLDER] * size + start, n)
            add_scaled(scheme.weights[chunk, n_drawn], there, out)
        move_part(scheme, block, step, start, out, gradient, theta)
