"""Finite differences by power series: every weight's own, at the price of a few products.

A nudge of W[i, j] moves z[n, j] by t = eps * a[n, i], and the loss of sample n by
phi(t) = c1 t + c2 t**2 + c3 t**3 + R, whose coefficients depend on n and j alone.
So with powers taken entry by entry, the differences of a whole layer are

    D = (1 / N) sum_k eps**(k - 1) (A**k)' C_k

a product of the stacked powers with the stacked coefficients; central differences
are the odd terms. The coefficients come from carrying three Taylor coefficients
("jets") of every unit's change up to the loss (Griewank, Walther, "Evaluating
Derivatives", 2nd ed., 2008, chapter 13).

**The remainder.** By Taylor's theorem |R| <= t**4 max |phi''''| / 24 over the
nudge. That maximum is bounded by carrying majorants up the same way: in place of
each activation's coefficients their suprema over all z, in place of weights the
largest absolute value (for the one unit that moves) or absolute row sum. A sample
keeps its series in a layer while eps**3 max|a|**4 times the bound is at most
`Task.tolerance` times the layer's size: the mean over the samples of the largest
first-order difference max|c1| max|a|. So truncation adds at most the tolerance times
that size to any entry. Other samples are measured by the direct kernel, and so are those whose
nudge can reach the kink of a rectifier, here or further up; between kinks a
rectifier is linear and its series exact.
"""

from fastnn._jit import kernel
from fastnn.kernels.activations import Activation, activate_jets, taylor
from fastnn.kernels.direct import transposed_weights
from fastnn.kernels.layout import biases, level_values, weights
from fastnn.kernels.losses import Loss, add_loss_series
from fastnn.kernels.products import add_product
from fastnn.kernels.work import (
    BOUND,
    DIRECT,
    NUDGES,
    SIZE,
    SLOPE,
    A,
    Z,
    moved_room,
    norm_room,
    span,
    values,
)


@kernel
def suprema(code):
    """Return bounds of |f'|, |f''| / 2, |f'''| / 6 and |f''''| / 24 over all z; a rectifier's hold between kinks."""
    if code == Activation.SIGMOID:
        return 0.25, 0.0481126, 0.0208334, 0.00532021
    if code == Activation.TANH:  # 2 sigmoid(2 z) - 1
        return 1.0, 0.384901, 0.333334, 0.170247
    if code == Activation.SOFTPLUS:  # its slope is the sigmoid
        return 1.0, 0.125, 0.0160376, 0.00520834
    return 1.0, 0.0, 0.0, 0.0


@kernel
def compose(g1, g2, g3, g4, u1, u2, u3, u4):
    """Return the first four coefficients of g(u(t))."""
    return (
        g1 * u1,
        g1 * u2 + g2 * u1 * u1,
        g1 * u3 + 2.0 * g2 * u1 * u2 + g3 * u1 * u1 * u1,
        g1 * u4 + g2 * (2.0 * u1 * u3 + u2 * u2) + 3.0 * g3 * u1 * u1 * u2 + g4 * u1 * u1 * u1 * u1,
    )


@kernel
def n_terms(task):
    """Return how many powers are kept: 1, 2, 3, or for central differences 1, 3."""
    return 2 if task.central else 3


@kernel
def take_norms(layout, chunk, work):
    """Write the largest entry and the largest row sum, absolute, of every transposed W but the first."""
    n_layers = layout.activations.size
    norms = norm_room(work, chunk, n_layers)
    for layer in range(1, n_layers):
        w = transposed_weights(layout, work, layer)
        norms[0, layer] = 0.0
        norms[1, layer] = 0.0
        for k in range(w.shape[0]):
            row_sum = 0.0
            for j in range(w.shape[1]):
                norms[0, layer] = max(norms[0, layer], abs(w[k, j]))
                row_sum += abs(w[k, j])
            norms[1, layer] = max(norms[1, layer], row_sum)


@kernel
def judge(layout, layer, n, n_samples, task, chunk, work):
    """Write the remainder's bound of sample n in this layer, and whether its nudges can reach a kink."""
    n_layers = layout.activations.size
    norms = norm_room(work, chunk, n_layers)
    largest = 1.0  # a bias's
    before = values(layout, work, A, layer, n_samples)[n]
    for i in range(before.size):
        largest = max(largest, abs(before[i]))
    reach = task.eps * largest
    u1, u2, u3, u4 = 1.0, 0.0, 0.0, 0.0
    kinked = False
    for level in range(layer + 1, n_layers + 1):
        code = layout.activations[level - 1]
        if code == Activation.RELU or code == Activation.LEAKY_RELU:
            z = values(layout, work, Z, level, n_samples)[n]
            for k in range(z.size):
                kinked |= abs(z[k]) <= u1 * reach
        if level < n_layers:
            g1, g2, g3, g4 = suprema(code)
            u1, u2, u3, u4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
            norm = norms[0 if level == layer + 1 else 1, level]
            u1, u2, u3, u4 = norm * u1, norm * u2, norm * u3, norm * u4
    top = values(layout, work, A, n_layers, n_samples)[n]
    error = 0.0
    for k in range(top.size):
        error = max(error, abs(top[k] - work.y[n, k]))
    fourth = bound_loss(task.loss, layout.activations[n_layers - 1], error, top.size, reach, u1, u2, u3, u4)
    work.checks[SIZE, layer, n] = largest  # times max|c1|, when that is known
    work.checks[BOUND, layer, n] = task.eps * task.eps * task.eps * largest * largest * largest * largest * fourth
    work.checks[DIRECT, layer, n] = 1.0 if kinked else 0.0


@kernel
def bound_loss(loss, code, error, n_outputs, reach, u1, u2, u3, u4):
    """Return a bound of the fourth coefficient of a sample's loss when z of each output has coefficients up to u.

    error is the largest |a - y| before the nudge, which is at most `reach`.
    """
    if loss == Loss.BINARY_CROSS_ENTROPY:  # softplus(z) - y z, slope at most 1
        g1, g2, g3, g4 = suprema(Activation.SOFTPLUS)
        return n_outputs * compose(g1, g2, g3, g4, u1, u2, u3, u4)[3]
    if code == Activation.SOFTMAX:
        # exp(d) - 1, averaged with whatever probabilities hold in mid-nudge
        e1, e2, e3, e4 = compose(1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, u1, u2, u3, u4)
        if loss == Loss.CATEGORICAL_CROSS_ENTROPY:
            return compose(1.0, 0.5, 1.0 / 3.0, 0.25, e1, e2, e3, e4)[3] + u4  # log(1 + e), and y d
        i1, i2, i3, i4 = compose(1.0, 1.0, 1.0, 1.0, e1, e2, e3, e4)  # 1 / (1 + e)
        v1, v2 = e1 + i1, e2 + e1 * i1 + i2
        v3 = e3 + e2 * i1 + e1 * i2 + i3
        v4 = e4 + e3 * i1 + e2 * i2 + e1 * i3 + i4
        return 2.0 * (error + 1.0) * v4 + 2.0 * v1 * v3 + v2 * v2
    g1, g2, g3, g4 = suprema(code)
    v1, v2, v3, v4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
    return n_outputs * (2.0 * (error + v1 * reach) * v4 + 2.0 * v1 * v3 + v2 * v2)


@kernel
def expand(layout, block, task, chunk, work):
    """Write powers and coefficients of every layer for this chunk's samples, and judge their remainders."""
    n_samples = block.n_samples
    terms = n_terms(task)
    first, last = span(n_samples, chunk, task.n_chunks)
    take_norms(layout, chunk, work)
    for layer in range(layout.activations.size):
        before = values(layout, work, A, layer, n_samples)
        powers = level_values(layout, work.series[0], layer, terms * n_samples)
        coefficients = level_values(layout, work.series[1], layer + 1, terms * n_samples)
        n_units = coefficients.shape[1]
        for n in range(first, last):
            for i in range(before.shape[1]):
                scaled = task.eps * before[n, i]
                powers[n, i] = before[n, i]
                if terms == 3:
                    powers[n_samples + n, i] = before[n, i] * scaled
                powers[(terms - 1) * n_samples + n, i] = before[n, i] * scaled * scaled
            judge(layout, layer, n, n_samples, task, chunk, work)
            slope = 0.0
            for start in range(0, n_units, NUDGES):
                n_nudges = min(NUDGES, n_units - start)
                _start_jets(layout, layer, n, n_samples, start, n_nudges, chunk, work)
                total = _carry_jets(
                    layout, min(layer + 2, layout.activations.size), n, n_samples, n_nudges, task.loss, chunk, work
                )
                for b in range(n_nudges):
                    slope = max(slope, abs(total[0, b]))
                    coefficients[n, start + b] = total[0, b] / block.batch_size
                    if terms == 3:
                        coefficients[n_samples + n, start + b] = total[1, b] / block.batch_size
                    coefficients[(terms - 1) * n_samples + n, start + b] = total[2, b] / block.batch_size
            work.checks[SIZE, layer, n] *= slope


@kernel
def choose(layout, block, task, work):
    """Mark the samples of each layer that go to the direct kernel, and drop their series; return if all bounds held."""
    n_samples = block.n_samples
    held = True
    for layer in range(layout.activations.size):
        size = 0.0
        for n in range(n_samples):
            size += work.checks[SIZE, layer, n]
        size /= n_samples
        coefficients = level_values(layout, work.series[1], layer + 1, n_terms(task) * n_samples)
        for n in range(n_samples):
            if not work.checks[BOUND, layer, n] <= task.tolerance * size:
                work.checks[DIRECT, layer, n] = 1.0
                held = False
            if work.checks[DIRECT, layer, n] != 0.0:
                for term in range(n_terms(task)):
                    for j in range(coefficients.shape[1]):
                        coefficients[term * n_samples + n, j] = 0.0
    return held


@kernel
def add_series(layout, block, task, chunk, work):
    """Add the block's differences to work.gradient: this chunk's rows of every W, and whole biases in turn."""
    n_samples = block.n_samples
    terms = n_terms(task)
    for layer in range(layout.activations.size):
        powers = level_values(layout, work.series[0], layer, terms * n_samples)
        coefficients = level_values(layout, work.series[1], layer + 1, terms * n_samples)
        first, last = span(powers.shape[1], chunk, task.n_chunks)
        add_product(powers.T, coefficients, first, last, weights(layout, work.gradient, layer))
        if layer % task.n_chunks == chunk:
            out = biases(layout, work.gradient, layer)
            for n in range(n_samples):
                for k in range(out.size):
                    out[k] += coefficients[n, k]
                    if terms == 3:
                        out[k] += task.eps * coefficients[n_samples + n, k]
                    out[k] += task.eps * task.eps * coefficients[(terms - 1) * n_samples + n, k]


@kernel
def _start_jets(layout, layer, n, n_samples, first, n_nudges, chunk, work):
    """Leave in rooms 0 to 2 the jets of z that units `first` and on, each alone, cause.

    One level up, or, on the output layer, there.
    """
    level = layer + 1
    top = level == layout.activations.size
    n_rows = layout.sizes[level if top else level + 1]
    jet1 = moved_room(work, chunk, 0, n_rows, n_nudges)
    jet2 = moved_room(work, chunk, 1, n_rows, n_nudges)
    jet3 = moved_room(work, chunk, 2, n_rows, n_nudges)
    if top:
        for k in range(n_rows):
            for b in range(n_nudges):
                jet1[k, b] = 1.0 if k == first + b else 0.0
                jet2[k, b] = 0.0
                jet3[k, b] = 0.0
        return
    unit = moved_room(work, chunk, 3, 3, n_nudges)
    a = values(layout, work, A, level, n_samples)[n]
    slope = values(layout, work, SLOPE, level, n_samples)[n]
    for b in range(n_nudges):
        unit[0, b] = slope[first + b]
        unit[1, b], unit[2, b] = taylor(layout.activations[layer], a[first + b], slope[first + b])
    through = transposed_weights(layout, work, level)
    for k in range(n_rows):
        row = through[k, first:]
        for b in range(n_nudges):
            jet1[k, b] = row[b] * unit[0, b]
            jet2[k, b] = row[b] * unit[1, b]
            jet3[k, b] = row[b] * unit[2, b]


@kernel
def _carry_jets(layout, level, n, n_samples, n_nudges, loss, chunk, work):
    """Carry the jets of z at `level`, in rooms 0 to 2, up to the loss; return its coefficients (3, n_nudges)."""
    top = layout.activations.size
    here = 0
    while level < top:
        n_units = layout.sizes[level]
        jet1 = moved_room(work, chunk, here, n_units, n_nudges)
        jet2 = moved_room(work, chunk, here + 1, n_units, n_nudges)
        jet3 = moved_room(work, chunk, here + 2, n_units, n_nudges)
        a = values(layout, work, A, level, n_samples)[n]
        slope = values(layout, work, SLOPE, level, n_samples)[n]
        for k in range(n_units):
            g2, g3 = taylor(layout.activations[level - 1], a[k], slope[k])
            activate_jets(slope[k], g2, g3, jet1[k], jet2[k], jet3[k])
        through = transposed_weights(layout, work, level)
        for term in range(3):
            jet = moved_room(work, chunk, here + term, n_units, n_nudges)
            above = moved_room(work, chunk, 3 - here + term, through.shape[0], n_nudges)
            for k in range(above.shape[0]):
                for b in range(n_nudges):
                    above[k, b] = 0.0
            add_product(through, jet, 0, above.shape[0], above)
        here = 3 - here
        level += 1
    n_outputs = layout.sizes[top]
    z1 = moved_room(work, chunk, here, n_outputs, n_nudges)
    z2 = moved_room(work, chunk, here + 1, n_outputs, n_nudges)
    z3 = moved_room(work, chunk, here + 2, n_outputs, n_nudges)
    total = moved_room(work, chunk, 6, 3, n_nudges)
    a = values(layout, work, A, top, n_samples)[n]
    slope = values(layout, work, SLOPE, top, n_samples)[n]
    add_loss_series(loss, layout.activations[top - 1], a, slope, work.y[n], z1, z2, z3, total)
    return total
