"""Series of weights below the dense layers that no bound is proved of: recurrent ones, and those below them.

Such a weight is met at every step, and its own input moves with it. How much a series leaves out is measured: each
step, some weights of a sample are nudged by eps, -eps and half of both, directly, and

    d(eps) - c1          is what one term leaves out,
    d(eps) - c1 - eps c2 what two do: with S the mean of d(eps) and d(-eps), 4/3 (S(eps) - S(eps / 2)),

neither of which knows the rounding of back-propagation. Where one term is enough the gradient is that of
back-propagation; where two are, and it is the topmost layer, a simple recurrent one, its second term is found;
else all its weights are measured directly.

With a_t = (x_t, h_(t-1), 1), g_t the slope of the loss with z_t, M_t = dz_(t+1) / dz_t, Phi(t, s) = M_(t-1) ... M_s and
Q_t the quadratic form of all that bends from z_t on,

    c1[i, j] = sum_t a_i^t g_j^t
    c2[i, j] = sum_t [ a_i^t (a_i^t Q_t[j, j] + 2 sum_(s<t) a_i^s (Q_t Phi(t, s))[j, j])
                     + g_j^t f'_i^(t-1) sum_(s<t) Phi(t-1, s)[i, j] a_i^s ]

the last for recurrent i only, whose input moves as well. All pairs (t, s) are products with U, and serve all weights.
They are in float32: c2 weighs eps.
"""

import math

from numpy import float64, int64, uint64

from fastnn._compiler.jit import call_part, kernel, line, unit, unpack_stem, view
from fastnn.kernels.activations import has_kink, taylor_units
from fastnn.kernels.counter import draw_words
from fastnn.kernels.dropout import is_dropped, masks
from fastnn.kernels.layers import ADD
from fastnn.kernels.layers.maps import (
    ACTIVATION,
    CHANNELS,
    FILTERS,
    GRADIENT,
    LANES,
    MEASURED,
    N_INPUTS,
    N_MET,
    ONE_TERM,
    RECURRENT,
    SELECTS,
    SHARES,
    TWO_TERMS,
    WEIGHTS,
    map_rows,
)
from fastnn.kernels.layers.recurrent import below_rows, count_steps, filter_rows, states_start
from fastnn.kernels.layout import weights
from fastnn.kernels.losses import add_loss_curvature, loss_kink
from fastnn.kernels.products import add_product
from fastnn.kernels.stem import add_changes, list_channel, make_part, set_reach
from fastnn.kernels.vectors import clear, clear_all
from fastnn.kernels.work import (
    CURVATURE2,
    CURVATURE3,
    DELTA,
    GRAD_A,
    SLOPE,
    TAYLOR2,
    WEIGHT,
    A,
    Z,
    share,
    span,
    total_scratch,
    values,
)

# Weights that are measured directly each step: a millisecond's work for 64 units and 28 steps.
CHECKED = 4 * LANES
# Of Stem.bent, scratch in float32: U, transposed too, the inputs of every step, what `add_second` takes, matrices of
# the dense layers, and, from the last on, every Q_t. PHI has two.
U, UT, PHI, _, CROSS, INPUTS, G, SLOPES, BENDS, HESS, PART, SQUARE, STRIP, ACROSS, BACK, TOTAL, Q = range(17)
STREAM = 255  # of the counter, see `counter.draw_words`: which weights these are


@kernel
def scale_both(factors, out):
    """Multiply rows and columns of a matrix (n, n) by factors (n,)."""
    for i in range(out.shape[0]):
        row = out[i]
        for j in range(row.size):
            row[j] *= factors[i] * factors[j]


@kernel
def curve_loss(layout, row, block, task, work, pairs, centered, total, out):
    """Write half the second derivatives of a row's share of the loss with the outputs' z, (n, n).

    By `add_loss_curvature` along one output, and two at once. pairs and centered are scratch like out, total (4, n).
    """
    top, n_samples = layout.activations.size, block.n_samples
    code, scale, n = layout.activations[top - 1], share(block, work, row), out.shape[0]
    a, slope = values(layout, work, A, top, n_samples)[row], values(layout, work, SLOPE, top, n_samples)[row]
    second = values(layout, work, CURVATURE2, top, n_samples)[row]
    third = values(layout, work, CURVATURE3, top, n_samples)[row]
    alone, both, mean, unused = total[0], total[1], total[2], total[3]
    for k in range(-1, n):
        clear_all(pairs)
        for m in range(n):
            pairs[m, m] = 1.0
            if k >= 0:
                pairs[k, m] += 1.0
        found = alone if k < 0 else both
        clear(found)
        add_loss_curvature(
            *(task.loss, code, a, slope, work.y[row], scale, second, third, False),
            *(pairs, pairs, centered, centered, mean, found, unused),
        )
        if k >= 0:
            for m in range(n):
                out[k, m] = 0.5 * (both[m] - alone[m] - alone[k])


@kernel
def curve_head(layout, theta, row, block, task, stem, chunk, work, out):
    """Write half the second derivatives of a row's share of the loss with the dense layers' inputs, (n_in, n_in)."""
    n_layers = layout.activations.size
    n = layout.sizes[n_layers]
    pairs, centered = slot(stem, chunk, ACROSS, n, n), slot(stem, chunk, BACK, n, n)
    curve_loss(
        layout, row, block, task, work, pairs, centered, slot(stem, chunk, TOTAL, 4, n), slot(stem, chunk, SQUARE, n, n)
    )
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
        through = weights(layout, theta, layer)
        across, back = slot(stem, chunk, ACROSS, n_in, n_out), slot(stem, chunk, BACK, n_out, n_in)
        for i in range(n_in):
            for j in range(n_out):
                across[i, j] = through[i, j]
                back[j, i] = through[i, j]
        product = slot(stem, chunk, STRIP, n_in, n_out)
        clear_all(product)
        add_product(across, slot(stem, chunk, SQUARE, n_out, n_out), 0, n_in, product)
        here = out if layer == 0 else slot(stem, chunk, SQUARE, n_in, n_in)
        clear_all(here)
        add_product(product, back, 0, n_in, here)
        if layer > 0:
            slope = values(layout, work, SLOPE, layer, block.n_samples)[row]
            grad_a = values(layout, work, GRAD_A, layer, block.n_samples)[row]
            taylor = values(layout, work, TAYLOR2, layer, block.n_samples)[row]
            scale_both(slope, here)
            for k in range(n_in):
                here[k, k] += grad_a[k] * taylor[k]
        elif is_dropped(layout, 0):
            scale_both(masks(layout, work, 0, block.n_samples)[row], here)


@kernel
def take_down(u, ut, slopes, bends, q, scratch):
    """Write every Q_t, (n_steps * n, n) in all, from what the loss itself bends at h_t, which stands there.

    u and ut (n, n) are U and its transpose, bends (n_steps, n) what each activation's second coefficient adds.
    """
    n_steps, n = slopes.shape
    for t in range(n_steps - 1, -1, -1):
        here = view(q, t * n * n, n, n)
        if t + 1 < n_steps:
            clear_all(scratch)
            add_product(u, view(q, (t + 1) * n * n, n, n), 0, n, scratch)
            add_product(scratch, ut, 0, n, here)
        scale_both(slopes[t], here)
        for j in range(n):
            here[j, j] += bends[t, j]


@kernel
def pass_row(slope, q, phi, g, hess, cross):
    """Take a row of Phi(t, s) from z_t to h_t; add what it makes of Q_t, and of the moved input a step later."""
    for j in range(phi.size):
        hess[j] += q[j] * phi[j]
        phi[j] *= slope
        cross[j] += g[j] * phi[j]


@kernel
def add_second(n_inputs, a, g, slopes, ut, q, phi, cross, hess, part, out):
    """Add a sample's second coefficients to out (n_inputs + n + 1, n).

    a (n_steps, n_inputs + n + 1), g, slopes and hess (n_steps, n), q (n_steps * n, n), phi, two of Phi, (2 * n, n),
    cross (n, n), part like out.
    """
    n_steps, n = g.shape
    for s in range(n_steps):
        clear_all(cross)
        for j in range(n):
            hess[s, j] = 0.5 * q[s * n + j, j]
            if s + 1 < n_steps:
                cross[j, j] = slopes[s, j] * g[s + 1, j]
        for t in range(s + 1, n_steps):
            here, last = view(phi, (t % 2) * n * n, n, n), view(phi, (1 - t % 2) * n * n, n, n)
            if t == s + 1:
                for v in range(n):
                    for j in range(n):
                        here[v, j] = ut[v, j] * slopes[s, j]
            else:
                clear_all(here)
                add_product(ut, last, 0, n, here)
            clear(hess[t])
            after = min(t + 1, n_steps - 1)
            for v in range(n):
                pass_row(slopes[t, v], q[t * n + v], here[v], g[after], hess[t], cross[v])
            if after == t:  # there is no step later
                for v in range(n):
                    for j in range(n):
                        cross[v, j] -= g[t, j] * here[v, j]
        clear_all(part)
        add_product(a[s:].T, hess[s:], 0, part.shape[0], part)
        for i in range(part.shape[0]):
            twice = a.dtype.type(2.0) * a[s, i]
            for j in range(n):
                out[i, j] += twice * part[i, j]
        for i in range(n):
            for j in range(n):
                out[n_inputs + i, j] += a[s, n_inputs + i] * cross[i, j]


@kernel
def is_smooth(layout, stem, layer, loss):
    """Return if a layer is recurrent, or below one that is, and nothing from it up to the loss has a kink."""
    recurrent = False
    for above in range(layer, stem.units.shape[0]):
        here = stem.table[above + 1]
        recurrent |= here[RECURRENT] != 0
        if here[SELECTS] != 0 or has_kink(here[ACTIVATION]):
            return False
    for code in layout.activations:
        if has_kink(code):
            return False
    return recurrent and loss_kink(loss) == math.inf


@kernel
def has_second(layout, stem, layer):
    """Return if a layer's second term is known: a simple recurrent one whose states are what the dense layers take."""
    here = stem.table[layer + 1]
    is_top = layer + 1 == stem.units.shape[0] and layout.sizes[0] == here[CHANNELS]
    return is_top and here[RECURRENT] != 0 and here[FILTERS] == here[CHANNELS]


@kernel
def counts(stem, n, work):
    """Return if any step of a sample counts."""
    largest = 0.0
    for row in range(n * stem.n_steps, (n + 1) * stem.n_steps):
        largest = max(largest, work.measured[WEIGHT, row])
    return largest > 0.0


@kernel
def judge(packed, layout, stem, layer, block, task, step, chunk, work):
    """Return how a layer's differences are found, by what a sample of them leaves out."""
    here = stem.table[layer + 1]
    drawn = draw_words(uint64(0), uint64(STREAM), step, layer, block.start)
    n_all, count = block.n_samples // stem.n_steps, min(CHECKED, stem.n_together)
    n, channel = int64(drawn[0]) % n_all, int64(drawn[1]) % here[FILTERS]
    asked = 0
    while asked < n_all and not counts(stem, n, work):
        asked, n = asked + 1, (n + 1) % n_all
    last = (here[N_MET] - 1) // count
    part = int64(drawn[2]) % (last + 1)
    set_reach(packed, stem, layer, n, task.eps, chunk)
    list_channel(packed, stem, n, channel, layer, chunk)
    found = view(stem.checked, chunk * 4 * CHECKED, 4, count)
    largest, one, two = 0.0, 0.0, 0.0
    for first in (part * count, last * count):  # the biases stand last, where inputs are zero
        for k in range(4):
            total = total_scratch(work, chunk, count)
            clear(total)
            size = 1.0 if k < 2 else 0.5
            sign = size if k % 2 == 0 else -size
            add_changes(packed, layout, stem, layer, n, channel, first, sign, block, task, chunk, work, count)
            for b in range(count):
                found[k, b] = total[b] / (size * size)
        for b in range(min(count, here[N_MET] - first)):
            whole, half = 0.5 * (found[0, b] + found[1, b]), 0.5 * (found[2, b] + found[3, b])
            left = 4.0 / 3.0 * (whole - half)
            largest = max(largest, abs(whole))
            two = max(two, abs(left))
            one = max(one, abs((0.0 if task.central else 0.5 * (found[0, b] - found[1, b])) + left))
        if largest > 0.0:
            break
    allowed = task.tolerance * largest
    if one <= allowed:
        return ONE_TERM
    return TWO_TERMS if two <= allowed and has_second(layout, stem, layer) else MEASURED


@kernel(returns_view=True)
def slot(stem, chunk, which, n_rows, n_columns):
    """Return one of this chunk's SLOTS, or the start of several, (n_rows, n_columns)."""
    _, n_slots, each = stem.bent.shape
    return view(stem.bent, (chunk * n_slots + which) * each, n_rows, n_columns)


@kernel
def load_second(layout, theta, stem, layer, n, block, chunk, work):
    """Copy what a sample's second coefficients are made of."""
    n_in, n_units, n_steps = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS], count_steps(stem, layer)
    states = states_start(stem, layer)
    u, ut = slot(stem, chunk, U, n_units, n_units), slot(stem, chunk, UT, n_units, n_units)
    a = slot(stem, chunk, INPUTS, n_steps, n_in + n_units + 1)
    g, slopes = slot(stem, chunk, G, n_steps, n_units), slot(stem, chunk, SLOPES, n_steps, n_units)
    bends, third = slot(stem, chunk, BENDS, n_steps, n_units), slot(stem, chunk, HESS, n_steps, n_units)
    through = filter_rows(stem, theta, layer, n_in, n_units)
    for i in range(n_units):
        for j in range(n_units):
            u[i, j] = through[i, j]
            ut[j, i] = through[i, j]
    inputs = below_rows(stem, A, layer, n)
    before = map_rows(stem, A, n, states, n_steps, n_units)
    gradient = map_rows(stem, GRADIENT, n, states + n_units, n_steps, n_units)
    slope = map_rows(stem, SLOPE, n, states + n_units, n_steps, n_units)
    for t in range(n_steps):
        for i in range(n_in):
            a[t, i] = inputs[t, i]
        for i in range(n_units):
            a[t, n_in + i] = before[t, i]
            g[t, i] = gradient[t, i]
            slopes[t, i] = slope[t, i]
        a[t, n_in + n_units] = 1.0
    size = n_steps * n_units
    taylor_units(
        stem.table[layer + 1, ACTIVATION],
        line(map_rows(stem, Z, n, states + n_units, n_steps, n_units), 0, size),
        line(map_rows(stem, A, n, states + n_units, n_steps, n_units), 0, size),
        line(slope, 0, size),
        line(bends, 0, size),
        line(third, 0, size),
    )
    outputs = values(layout, work, DELTA, 0, block.n_samples)
    for t in range(n_steps):
        row = t + stem.n_steps - n_steps  # of the dense layers' samples that this one makes
        for i in range(n_units):
            pull = float64(outputs[n * stem.n_steps + row, i]) if row >= 0 else 0.0
            if t + 1 < n_steps:
                for j in range(n_units):
                    pull += u[i, j] * g[t + 1, j]
            bends[t, i] *= pull


@kernel
def find_second(layout, theta, stem, layer, n, block, task, chunk, work):
    """Write a sample's second coefficients into its row of Stem.second."""
    n_in, n_units, n_steps = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS], count_steps(stem, layer)
    n_met = n_in + n_units + 1
    load_second(layout, theta, stem, layer, n, block, chunk, work)
    q = view(stem.bent, (chunk * stem.bent.shape[1] + Q) * stem.bent.shape[2], n_steps * n_units, n_units)
    for t in range(n_steps):
        row = t + stem.n_steps - n_steps
        here = q[t * n_units : (t + 1) * n_units]
        if row >= 0:
            curve_head(layout, theta, n * stem.n_steps + row, block, task, stem, chunk, work, here)
        else:
            clear_all(here)
    u, ut = slot(stem, chunk, U, n_units, n_units), slot(stem, chunk, UT, n_units, n_units)
    slopes, bends = slot(stem, chunk, SLOPES, n_steps, n_units), slot(stem, chunk, BENDS, n_steps, n_units)
    take_down(u, ut, slopes, bends, q, slot(stem, chunk, CROSS, n_units, n_units))
    out = view(stem.second, n * stem.second.shape[1], n_met, n_units)
    clear_all(out)
    add_second(
        n_in,
        slot(stem, chunk, INPUTS, n_steps, n_met),
        slot(stem, chunk, G, n_steps, n_units),
        slopes,
        ut,
        q,
        slot(stem, chunk, PHI, 2 * n_units, n_units),
        slot(stem, chunk, CROSS, n_units, n_units),
        slot(stem, chunk, HESS, n_steps, n_units),
        slot(stem, chunk, PART, n_met, n_units),
        out,
    )


@unit
def run_recurrent(packed, block, task, step, chunk):
    """Say how the differences of recurrent layers, and those below, are found; find what series there are.

    First terms of this chunk's shares of the weights, second ones of its samples.
    """
    (layout, theta, _, _, work), stem = unpack_stem(packed)
    turn, n_all = 0, block.n_samples // stem.n_steps
    for layer in range(stem.units.shape[0]):
        verdict = MEASURED
        if stem.table[layer + 1, N_MET] > 0 and is_smooth(layout, stem, layer, task.loss):
            verdict = judge(packed, layout, stem, layer, block, task, step, chunk, work)
        stem.verdicts[chunk, layer] = verdict
        if verdict == MEASURED:
            continue
        for part in range(stem.table[layer + 1, SHARES]):
            if turn % task.n_chunks == chunk:
                for n in range(n_all):
                    call_part(stem.units[layer, ADD], packed, make_part(layer, n, -1, part, 0, 0.0, chunk))
            turn += 1
        if verdict == TWO_TERMS:
            for n in range(chunk, n_all, task.n_chunks):
                if work.stop[0] != 0:
                    return
                find_second(layout, theta, stem, layer, n, block, task, chunk, work)


@unit
def run_second(packed, block, task, step, chunk):
    """Add the second terms of this chunk's share of the weights that `run_stem_descent` moves."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    layer = stem.units.shape[0] - 1
    if stem.verdicts[chunk, layer] != TWO_TERMS:
        return
    here = stem.table[layer + 1]
    n_weights, n_all = here[N_INPUTS] * here[FILTERS], here[N_MET] * here[FILTERS]
    first, last = span(n_weights, chunk, task.n_chunks)
    for n in range(block.n_samples // stem.n_steps):
        second = line(stem.second, n * stem.second.shape[1], n_all)
        for k in range(first, last):
            work.gradient[here[WEIGHTS] + k] += task.eps * second[k]
        if layer % task.n_chunks == chunk:
            for k in range(n_weights, n_all):
                work.gradient[here[WEIGHTS] + k] += task.eps * second[k]
