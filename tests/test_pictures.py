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
TILE = 10
# matplotlib 3.9 is up to 1 off 3.11, and 3.4 of the tiles of `weights`; what goes missing is at least 2.5.
TOLERANCE = 2.0
TOLERANCE_OF_WEIGHTS = 5.0


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


def weights(ax, sign=1):
    """Waves of every sign."""
    waves = fastnn.mlp(64, 7, 1, seed=0)
    waves.weights[0][:] = sign * np.sin(np.outer(np.arange(64), np.arange(1, 8)) / 40)
    fastnn.plot.weights(waves, 0, (8, 8), ax=ax)


DRAWINGS = [network, grouped, history, gradient_check, weights]


def draw(drawing):
    """Return a picture as an array of numbers 0 to 255, (rows, columns, 3)."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        pyplot.style.use("default")
        matplotlib.rcParams |= {"text.hinting": "none"}
        figure = pyplot.figure(figsize=(6, 4), dpi=70)
        drawing(figure.add_axes((0.12, 0.15, 0.74, 0.7)))  # a layout would follow the letters' sizes
        for ax in figure.axes:  # versions of matplotlib choose other numbers
            ax.tick_params(which="both", **dict.fromkeys(("left", "right", "bottom", "labelleft"), False))
            ax.tick_params(which="both", labelright=False, labelbottom=False)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        pyplot.close(figure)
    return pixels


def distance(pixels, picture):
    """Return the root of the mean squared difference from a picture in a file, of numbers 0 to 255.

    Of tiles' means: versions of matplotlib put lines and letters a pixel apart.
    """
    return calculate_rms(blur(pixels.astype(float)), blur(pyplot.imread(picture)[..., :3] * 255.0))


def blur(pixels):
    """Return the means of tiles, each TILE pixels wide and high."""
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    tiles = pixels[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
    return tiles.mean(axis=(1, 3))


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.__name__)
def test_looks_as_it_did(drawing):
    tolerance = TOLERANCE_OF_WEIGHTS if drawing is weights else TOLERANCE
    assert distance(draw(drawing), BASELINE / f"{drawing.__name__}.png") < tolerance


def test_other_weights_are_seen():
    assert distance(draw(lambda ax: weights(ax, -1)), BASELINE / "weights.png") > TOLERANCE_OF_WEIGHTS


@pytest.mark.parametrize(
    ("drawing", "name"),
    [
        (network, "_draw_weights"),
        (network, "_draw_unit"),
        (network, "_write"),
        (grouped, "_draw_weights"),
        (history, "_add_legend"),
        (gradient_check, "_add_legend"),
    ],
)
def test_what_goes_missing_is_seen(monkeypatch, drawing, name):
    monkeypatch.setattr(fastnn.plot, name, lambda *_, **__: None)
    assert distance(draw(drawing), BASELINE / f"{drawing.__name__}.png") > TOLERANCE


@pytest.mark.parametrize("drawing", [network, history, gradient_check])
def test_other_colours_are_seen(monkeypatch, drawing):
    monkeypatch.setattr(fastnn.plot, "BLUE", "green")
    assert distance(draw(drawing), BASELINE / f"{drawing.__name__}.png") > TOLERANCE


def test_the_picture_of_the_readme_is_the_one_drawn(tmp_path):
    folder = HERE.parent / "docs"
    if not folder.exists():
        pytest.skip("no repository around the tests")
    runpy.run_path(str(folder / "draw.py"))["draw"](tmp_path)
    assert distance(pyplot.imread(tmp_path / "network.png")[..., :3] * 255, folder / "network.png") < TOLERANCE


if __name__ == "__main__":
    matplotlib.use("agg")
    BASELINE.mkdir(exist_ok=True)
    for drawing in DRAWINGS:
        pyplot.imsave(BASELINE / f"{drawing.__name__}.png", draw(drawing))
