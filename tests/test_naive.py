"""The reference itself, against numbers worked out elsewhere."""

import ast
from pathlib import Path

import naive
import numpy as np
import pytest


def test_naive_knows_nothing_of_fastnn():
    tree = ast.parse(Path(naive.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"numpy", "typing"}
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


def test_worked_convolution():
    # The image 0 1 2 / 3 4 5 / 6 7 8 under the taps 1 2 / 3 4: top left 0 + 2 + 9 + 16, and 10 more a column, 30 a row.
    image = np.arange(9.0).reshape(1, 3, 3, 1)
    w, b = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1), np.array([0.5])
    z, _ = naive.apply(naive.Conv2D("identity"), [w, b], image)
    assert z[0, :, :, 0].tolist() == [[27.5, 37.5], [57.5, 67.5]]
    # An even kernel's odd zeros stand last: behind the image.
    z, _ = naive.apply(naive.Conv2D("identity", padding="same"), [w, b], image)
    assert z[0, :, :, 0].tolist() == [[27.5, 37.5, 17.5], [57.5, 67.5, 29.5], [20.5, 23.5, 8.5]]
    # By two, a 3 x 3 image has 2 x 2 places: rows 0 and 2.
    z, _ = naive.apply(naive.Conv2D("identity", (2, 2), "same"), [w, b], image)
    assert z[0, :, :, 0].tolist() == [[27.5, 17.5], [20.5, 8.5]]
    # Two channels into two filters: each its own sum.
    pair = np.concatenate([image, 10 * image], axis=3)
    w = np.stack([np.ones((1, 1, 2)), np.full((1, 1, 2), 2.0)], axis=3)
    z, _ = naive.apply(naive.Conv2D("identity"), [w, np.zeros(2)], pair)
    assert z[0, 1, 1].tolist() == [44.0, 88.0]


def test_worked_pooling():
    image = np.array([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 9.0, 8.0], [7.0, 6.0, 1.0, 1.0]]).reshape(1, 3, 4, 1)
    largest, _ = naive.apply(naive.MaxPool2D((2, 2), (2, 2)), [], image)
    assert largest[0, :, :, 0].tolist() == [[5.0, 9.0]]  # the last row is in no window
    largest, _ = naive.apply(naive.MaxPool2D((2, 2), (1, 1)), [], image)
    assert largest[0, :, :, 0].tolist() == [[5.0, 9.0, 9.0], [7.0, 9.0, 9.0]]
    mean, _ = naive.apply(naive.AveragePool2D((3, 1), (1, 3)), [], image)
    assert mean[0, :, :, 0].tolist() == [[11.0 / 3.0, 3.0]]
    flat, _ = naive.apply(naive.Flatten(), [], image)
    assert flat.tolist() == [image.ravel().tolist()]


def test_a_shared_weight_is_perturbed_wherever_it_is_used():
    # Four windows of one tap w into their sum s = w (1 + 2 + 3 + 4): J = s**2 = 100 w**2.
    layers = [naive.Conv2D("identity"), naive.Flatten(), "identity"]
    weights = [np.full((1, 1, 1, 1), 2.0), np.zeros(1), np.ones((4, 1)), np.zeros(1)]
    x = np.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    found, _ = naive.differences(weights, layers, "squared_error", x, np.zeros((1, 1)), eps=0.5)
    assert found[0].item() == 100 * (2.5**2 - 2**2) / 0.5
    found, _ = naive.differences(weights, layers, "squared_error", x, np.zeros((1, 1)), eps=0.5, scheme="central")
    assert found[0].item() == 400.0


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
