"""Pictures look as they did: drawn anew and compared with those in `tests/baseline`, pixel by pixel.

`python tests/test_pictures.py` draws the baseline anew, after a change that is meant: look at it before committing.
"""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib import pyplot
from matplotlib.testing.compare import calculate_rms

import fastnn
import fastnn.plot

HERE = Path(__file__).parent
BASELINE = HERE / "baseline"


def network(ax):
    """Weights of each sign, biases and values."""
    small = fastnn.mlp(2, 3, 1, hidden="leaky_relu", output="sigmoid", seed=0)
    small.weights = [[[0.5, -1, 2], [0.25, 0, 1]], [0, 0.125, -0.75], [[1], [-2], [3]], [0.5]]
    fastnn.plot.network(small, x=[1.0, -1.5], ax=ax)


def grouped(ax):
    """More units than are drawn."""
    fastnn.plot.network(fastnn.mlp(784, 100, 10, output="softmax", seed=0), ax=ax)


def history(ax):
    """Losses and accuracies, with and without validation."""
    t = np.arange(30)
    loss, accuracy = 2 * 0.8**t + 0.05, 1 - 0.6 * 0.9**t
    fastnn.plot.history(fastnn.trainer.History(loss, accuracy, loss + 0.1, accuracy - 0.05, 0 * t), ax=ax)


def gradient_check(ax):
    """Truncation and rounding."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    fastnn.plot.gradient_check(fastnn.mlp(3, 4, 2, hidden="tanh", seed=0), X, y, ax=ax)


def weights(ax):
    """Waves of every sign."""
    waves = fastnn.mlp(64, 7, 1, seed=0)
    waves.weights[0][:] = np.sin(np.outer(np.arange(64), np.arange(1, 8)) / 5)
    fastnn.plot.weights(waves, 0, (8, 8), ax=ax)


DRAWINGS = [network, grouped, history, gradient_check, weights]


def draw(drawing):
    """Return a picture as an array of numbers 0 to 255, (rows, columns, 3)."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        pyplot.style.use("default")
        matplotlib.rcParams |= {"text.hinting": "none"}
        figure = pyplot.figure(figsize=(6, 4), dpi=70)
        # A fixed place: a layout fitted to the texts would move with every release of the font library.
        ax = figure.add_axes((0.15, 0.15, 0.7, 0.65))
        drawing(ax)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        pyplot.close(figure)
    return pixels
