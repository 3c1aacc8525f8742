"""sum_k |a_k - y_k|.

Its slope jumps where a_k is y_k: perturbations that may take an error across are measured directly.
"""

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import MODULES, change_block, derivative_bounds, residual, taylor_units
from fastnn.kernels.elementary import compose
from fastnn.kernels.vectors import add_curvature

OUTPUTS = tuple(code.name.lower() for code in MODULES)
TARGETS = "numbers"
KINK = 0.0


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    total = 0.0
    for k in range(y.size):
        total += abs(residual(code, a[k], slope[k], y[k]))
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return 0: numbers are not right or wrong."""
    return 0


@kernel
def sign(e):
    """Return the slope with an error: 1 or -1, and 0 at the kink; nan stays nan."""
    return 1.0 if e > 0.0 else -1.0 if e < 0.0 else e


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    for k in range(y.size):
        delta[k] = scale * sign(residual(code, a[k], slope[k], y[k])) * slope[k]


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients, on either side of a kink: those of the activation."""
    taylor_units(code, z, a, slope, second, third)
    for k in range(y.size):
        side = scale * sign(residual(code, a[k], slope[k], y[k]))
        second[k] *= side
        third[k] *= side


@kernel
def residual_scale(code, a, slope, y):
    """Return the largest slope with an output; not finite where one is none."""
    most = 0.0
    for k in range(y.size):
        size = abs(sign(residual(code, a[k], slope[k], y[k])))
        most = size if not size <= most else most
    return most


@kernel
def change(e, d):
    """Return |e + d| - |e|: d or -d, but where it crosses the kink."""
    if e < 0.0:
        e, d = -e, -d
    return -(d + 2.0 * e) if d < -e else d


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
    """Return what bounds the next coefficient on either side of a kink, where the loss is straight in an output."""
    g1, g2, g3, g4 = derivative_bounds(code)
    _, _, v3, v4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
    most = n_moved * (v3 if n_terms < 3 else v4)
    return most, most, 0.0, 0.0
