"""The dense product against NumPy's in extended precision, at the edges of its tiles, panels and blocks."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from llvmlite import binding

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


# Processors: numba's settings, the registers that a tile is to be in, and how many of them its sums take at least.
PROCESSORS = {
    "SSE": ("nehalem", "sse4.2", "xmm", 12),
    "AVX2": ("haswell", "avx avx2 fma", "ymm", 12),
    "AVX-512": ("skylake-avx512", "avx avx2 fma avx512f avx512vl avx512dq avx512bw", "zmm", 24),
}
COMPILE = """
import sys
from numba import types
sys.path[:0] = sys.argv[2:]
import test_products
array = types.Array(getattr(types, sys.argv[1]), 2, "C")
test_products.multiply.compile((array, array, types.intp, types.intp, array))
"""


def run_for(processor, tmp_path, *command, **environment):
    name, features, _, _ = PROCESSORS[processor]
    environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": "+" + features.replace(" ", ",+")}
    environment |= {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, *command]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=Path(__file__).parents[1]
    )


@pytest.mark.exhaustive
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no machine code")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another family of processors")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_tiles_are_in_the_registers_of_the_processor(processor, dtype, tmp_path):
    here = Path(__file__).parent
    done = run_for(processor, tmp_path, "-c", COMPILE, dtype, str(here), str(here.parent), NUMBA_DUMP_ASSEMBLY="1")
    assert done.returncode == 0, done.stderr
    suffix = "pd" if dtype == "float64" else "ps"
    multiplications = re.findall(rf"^\s+v?(?:mul|fmadd\d+){suffix}\s+(.*)$", done.stdout, re.MULTILINE)
    registers = re.findall(r"%([xyz]mm)(\d+)", " ".join(multiplications))
    _, _, kind, n_sums = PROCESSORS[processor]
    assert {name for name, _ in registers} == {kind}
    assert len({number for _, number in registers}) > n_sums


@pytest.mark.exhaustive
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no machine code")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_products_on_the_processor(processor, tmp_path):
    has = binding.get_host_cpu_features()
    if not all(has.get(feature) for feature in PROCESSORS[processor][1].split()):
        pytest.skip(f"this one has no {processor}")
    tests = (test_products, test_series_of_products, test_bits_do_not_depend_on_which_rows_are_asked_for)
    done = run_for(processor, tmp_path, "-m", "pytest", "-q", *(f"{__file__}::{test.__name__}" for test in tests))
    assert done.returncode == 0, done.stdout
