"""The dense product against NumPy's in extended precision, at the edges of its tiles, panels and blocks."""

import numba
import numpy as np
import pytest

from fastnn.kernels.products import add_product, add_series_product

# Rows beside tiles of 8, 4, 2 and 1, and more than panels are not copied for; inner dimensions
# around a block of 256 (128 with three terms); columns around one to four registers.
SHAPES = [(1, 1, 1), (7, 3, 5), (8, 257, 16), (9, 256, 25), (33, 130, 40), (47, 600, 33), (100, 20, 100), (3, 0, 4)]


@numba.njit
def multiply(a, b, first, last, out):
    """Call the kernel."""
    add_product(a, b, first, last, out)


@numba.njit
def multiply_series(a, b1, b2, b3, n_terms, scale, out):
    """Call the kernel."""
    add_series_product(a, b1, b2, b3, n_terms, 0, out.shape[0], scale, out)


def make(shape, dtype):
    rng = np.random.default_rng(0)
    n, m, p = shape
    return [rng.normal(size=size).astype(dtype) for size in ((n, m), (m, p), (m, p), (m, p), (n, p))]


def wide(*arrays):
    return [array.astype(np.longdouble) for array in arrays]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, dtype):
    a, b, _, _, out = make(shape, dtype)
    result = out.copy()
    multiply(a, b, 0, len(out), result)
    a, b, out = wide(a, b, out)
    # As many roundings as there are additions, each of what is summed by then at most.
    allowed = (shape[1] + 1) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(out))
    assert (np.abs(result - (out + a @ b)) <= allowed).all()


@pytest.mark.grid
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_terms", [1, 2, 3])
def test_series_of_products(shape, dtype, n_terms):
    a, *terms, out = make(shape, dtype)
    a = np.asfortranarray(a)  # samples are the inner dimension, their rows contiguous
    result = out.copy()
    multiply_series(a, *terms, n_terms, 0.5, result)
    a, out, *terms = wide(a, out, *terms)
    products = [(a ** (k + 1)) @ terms[k] / 2 for k in range(n_terms)]
    sizes = [np.abs(a ** (k + 1)) @ np.abs(terms[k]) / 2 for k in range(n_terms)]
    # Each term's power and bracket take two roundings more a power.
    allowed = (shape[1] + 2 * n_terms) * np.finfo(dtype).eps * (sum(sizes) + np.abs(out))
    assert (np.abs(result - (out + sum(products))) <= allowed).all()


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="BLAS's bits vary with the shape")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bits_do_not_depend_on_which_rows_are_asked_for(shape, dtype):
    a, b, _, _, out = make(shape, dtype)
    whole = out.copy()
    multiply(a, b, 0, len(out), whole)
    for cut in (1, len(out) // 2, len(out) - 1):
        parts = out.copy()
        multiply(a, b, 0, cut, parts)
        multiply(a, b, cut, len(out), parts)
        np.testing.assert_array_equal(parts, whole)
