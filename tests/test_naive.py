"""The reference itself, against numbers worked out elsewhere."""

import ast
from pathlib import Path

import naive
import numpy as np
import pytest


def test_naive_knows_nothing_of_fastnn():
    tree = ast.parse(Path(naive.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_worked_forward_pass():
    # Input (1, 1): sums 1.0, 1.3 and 0.8, sigmoids 0.731, 0.786 and 0.690, output 1.2332.
    weights = [np.array([[0.8, 0.4, 0.3], [0.2, 0.9, 0.5]]), np.zeros(3), np.array([[0.3], [0.5], [0.9]]), np.zeros(1)]
    z, a = naive.forward(weights, ["sigmoid", "identity"], np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(z[0], [[1.0, 1.3, 0.8]], rtol=1e-15)
    np.testing.assert_allclose(a[1], [[1.2332121]], atol=5e-8)
    np.testing.assert_allclose(naive.sample_losses("squared_error", z[1], a[1], np.zeros((1, 1))), 1.5208121, atol=5e-8)


def test_worked_training():
    x = np.array([[1.0], [3.0], [4.0], [8.0], [10.0]])
    weights = [np.array([[2.269]]), np.array([[1.01]])]
    for _ in range(1000):
        weights = naive.train_step(weights, ["identity"], "squared_error", x, 3 * x)
    assert weights[0].item() == pytest.approx(2.9993365176819, abs=1e-10)
    assert weights[1].item() == pytest.approx(0.0044551669243, abs=1e-10)


def test_losses():
    z = np.array([[0.0, np.log(3.0)]])
    p = naive.softmax(z)
    np.testing.assert_allclose(p, [[0.25, 0.75]], rtol=1e-15)
    y = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(naive.sample_losses("categorical_cross_entropy", z, p, y), -np.log(0.75), rtol=1e-15)
    np.testing.assert_allclose(
        naive.sample_losses("binary_cross_entropy", z, naive.ACTIVATIONS["sigmoid"](z), y), -np.log(0.5) - np.log(0.75)
    )
    with pytest.raises(KeyError):
        naive.sample_losses("hinge", z, p, y)
