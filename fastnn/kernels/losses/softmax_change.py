"""What the losses of a softmax share: changes measured from that of one class."""

from fastnn._compiler.jit import kernel
from fastnn.kernels.vectors import clear

# Where one logit gains more than this on another, exp may overflow, and what was no probability be one.
FAR = 300.0


@kernel
def farthest(moved, b, k):
    """Return by how much more than output k's z perturbation b moves any other; moved (n_outputs, n_perturbations)."""
    largest = 0.0
    for m in range(moved.shape[0]):
        largest = max(largest, moved[m, b] - moved[k, b])
    return largest


@kernel
def center(p, top, u, mean, out):
    """Write u (n_outputs, n_perturbations) less its mean under p into out; mean (n_perturbations,) is scratch.

    Both from the row `top` of the likeliest class, whose own rest is then as exact as its probability is sure.
    """
    clear(mean)
    for k in range(p.size):
        weight, row, centered, own = mean.dtype.type(p[k]), u[k], out[k], u[top]
        for b in range(mean.size):
            centered[b] = row[b] - own[b]
            mean[b] += weight * centered[b]
    for k in range(p.size):
        centered = out[k]
        for b in range(mean.size):
            centered[b] -= mean[b]
