"""sum_k h(a_k - y_k), with h(e) = e**2 / 2 for |e| up to 1 and |e| - 1/2 beyond (Huber 1964, section 4).

Its second derivative jumps where |e| is 1: perturbations that may take an error across are measured directly.
"""

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import MODULES, change_block, derivative_bounds, residual, taylor_units
from fastnn.kernels.elementary import compose
from fastnn.kernels.vectors import add_curvature

OUTPUTS = tuple(code.name.lower() for code in MODULES)
TARGETS = "numbers"
KINK = 1.0


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    total = 0.0
    for k in range(y.size):
        size = abs(residual(code, a[k], slope[k], y[k]))
        total += 0.5 * size * size if size <= KINK else KINK * (size - 0.5 * KINK)
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return 0: numbers are not right or wrong."""
    return 0


@kernel
def clip(e):
    """Return h'(e); nan stays nan."""
    return KINK if e > KINK else -KINK if e < -KINK else e


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    for k in range(y.size):
        delta[k] = scale * clip(residual(code, a[k], slope[k], y[k])) * slope[k]


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients, on either side of a kink."""
    taylor_units(code, z, a, slope, second, third)
    for k in range(y.size):
        error, f1, f2 = residual(code, a[k], slope[k], y[k]), slope[k], second[k]
        inside = 1.0 if abs(error) <= KINK else 0.0
        second[k] = scale * (clip(error) * f2 + inside * 0.5 * f1 * f1)
        third[k] = scale * (clip(error) * third[k] + inside * f1 * f2)


@kernel
def residual_scale(code, a, slope, y):
    """Return the largest slope with an output; not finite where one is none."""
    most = 0.0
    for k in range(y.size):
        size = abs(clip(residual(code, a[k], slope[k], y[k])))
        most = size if not size <= most else most
    return most


@kernel
def change(e, d):
    """Return h(e + d) - h(e): the part of d on each side of the kinks by itself, and none a difference."""
    if e < 0.0:
        e, d = -e, -d
    if e > KINK:  # down the slope to the kink, or not so far
        straight = max(d, KINK - e)
        return KINK * straight if straight == d else KINK * straight + change_inside(KINK, d - straight)
    return change_inside(e, d)


@kernel
def change_inside(e, d):
    """Return `change` from an error between the kinks."""
    curved = min(max(d, -KINK - e), KINK - e)
    return curved * (e + 0.5 * curved) + KINK * abs(d - curved)


@kernel
def add_change(code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor times the change of the loss for each perturbation."""
    for k in range(y.size):
        d = moved[k]
        change_block(code, z[k], a[k], slope[k], d)
        error = residual(code, a[k], slope[k], y[k])
        for b in range(total.size):
            total[b] += factor * change(error, d[b])


@kernel
def add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add each output's curvature."""
    for k in range(y.size):
        add_curvature(curvature2[k], curvature3[k], both, u1[k], u2[k], d2, d3)


@kernel
def bound_loss(code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient on either side of a kink: h has a slope up to 1, and half its square."""
    g1, g2, g3, g4 = derivative_bounds(code)
    v1, v2, v3, v4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
    _, _, cap3, cap4 = compose(KINK, 0.5, 0.0, 0.0, v1, v2, v3, v4)
    if n_terms < 3:
        return n_moved * cap3, n_moved * v1 * v2, n_moved * v3, v1
    return n_moved * cap4, n_moved * (v1 * v3 + 0.5 * v2 * v2), n_moved * v4, v1
