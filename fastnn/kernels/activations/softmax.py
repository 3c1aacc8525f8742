"""f(z)_k = exp(z_k) / sum_m exp(z_m): for the output layer, whose units it ties to one another."""

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import decay, logistic_residual

residual = logistic_residual


@kernel
def softmax(z, a, slope):
    """Write the softmax of one sample's z, (n_units,), and the slope a (1 - a) of each with its own z.

    One that is nearly 1 is found by what the others leave of it, so that its slope keeps its digits.
    """
    top = np.argmax(z)
    rest = 0.0
    for k in range(z.size):
        e = decay(np.float64(z[k] - z[top]))[0]
        a[k] = e
        rest += 0.0 if k == top else e
    r = 1.0 / (1.0 + rest)
    for k in range(z.size):
        a[k] *= r
        slope[k] = a[k] * (1.0 - a[k])
    slope[top] = rest * r * r
