"""Loops over vectors that stand for nothing in particular."""

import numpy as np

from fastnn._compiler.jit import kernel, line, order_by_size, size_in_order


@kernel
def clear(out):
    """Set a vector to zero; products add to what is there."""
    for k in range(out.size):
        out[k] = 0.0


@kernel
def clear_all(out):
    """Set a matrix to zero."""
    clear(line(out, 0, out.size))


@kernel
def copy(row, out):
    """Copy the start of one vector, as much as fits, to another.

    One that is no part of a matrix: loops over a matrix's columns from a variable on test each index for its sign.
    """
    for k in range(min(row.size, out.size)):
        out[k] = row[k]


@kernel
def multiply(factors, out):
    """Multiply a vector by another of its size."""
    for k in range(out.size):
        out[k] *= factors[k]


@kernel
def add_scaled(factor, row, out):
    """Add a vector times a factor to another."""
    factor = out.dtype.type(factor)
    for k in range(out.size):
        out[k] += factor * row[k]


@kernel
def largest_size(row):
    """Return the largest absolute value of a vector, 0 of an empty one; not finite where nan is among them."""
    largest = order_by_size(row.dtype.type(0.0))
    for k in range(row.size):
        order = order_by_size(row[k])
        largest = order if order > largest else largest
    return size_in_order(largest)


@kernel(fastmath={"reassoc"})
def sum_sizes(row):
    """Return the sum of a vector's absolute values, for bounds: in what order is the compiler's choice."""
    total = 0.0
    for k in range(row.size):
        total += abs(np.float64(row[k]))
    return total


@kernel(fastmath={"reassoc", "contract"})
def dot(a, b):
    """Return the product of two vectors, in which order is the compiler's choice; one for all numbers of threads."""
    total = 0.0
    for k in range(a.size):
        total += float(a[k]) * float(b[k])
    return total


@kernel
def add_curvature(p2, p3, both, u1, u2, d2, d3):
    """Add p2 u1**2 to d2, and, if both, 2 p2 u1 u2 + p3 u1**3 to d3; all (n_perturbations,)."""
    p2, p3 = d2.dtype.type(p2), d2.dtype.type(p3)
    if both:
        for b in range(d2.size):
            square = u1[b] * u1[b]
            d2[b] += p2 * square
            d3[b] += u1[b] * ((p2 + p2) * u2[b] + p3 * square)
    else:
        for b in range(d2.size):
            d2[b] += p2 * u1[b] * u1[b]
