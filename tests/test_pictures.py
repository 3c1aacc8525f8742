"""Pictures look as they did: drawn anew and compared with those in `tests/baseline`, pixel by pixel.

`python tests/test_pictures.py` draws the baseline anew, after a change that is meant: look at it before committing.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

# 3.11 came with another font library, whose letters differ: nothing to compare with before.
pytest.importorskip("matplotlib", minversion="3.11")

import matplotlib
from matplotlib import pyplot
from matplotlib.testing.compare import compare_images

import fastnn
import fastnn.plot
from fastnn._compiler.jit import JIT_DISABLED
from fastnn.plot import _base, _curves, _ideas, _network, _steps

HERE = Path(__file__).parent
BASELINE = HERE / "baseline"
# Root mean square of the differences, of 255. Rounding on another machine moves the curves of `gradient_check` by
# 0.15; a missing axis label makes 2.1, missing arrow heads 2.0, biases 3.0, weights 4.9, exchanged colours 6.
TOLERANCE = 1.0


def network(ax):
    """Weights of each sign, biases and values."""
    small = fastnn.mlp(2, 3, 1, hidden="leaky_relu", output="sigmoid", seed=0)
    small.weights = [[[0.5, -1, 2], [0.25, 0, 1]], [0, 0.125, -0.75], [[1], [-2], [3]], [0.5]]
    fastnn.plot.network(small, x=[1.0, -1.5], ax=ax)


def grouped(ax):
    """More units than are drawn."""
    fastnn.plot.network(fastnn.mlp(784, 100, 10, output="softmax", seed=0), ax=ax)


def make_images():
    """Return a network over images, and one."""
    layers = [fastnn.Conv2D(6, 3, "tanh"), fastnn.MaxPool2D((2, 3)), fastnn.Conv2D(3, 2, "leaky_relu")]
    made = fastnn.Network(
        (9, 8, 1), [*layers, fastnn.Flatten(), fastnn.Dense(4, "tanh"), fastnn.Dense(9, "softmax")], 0
    )
    for k, w in enumerate(made.weights):
        w[:] = np.sin(np.arange(w.size) * (k + 2.0)).reshape(w.shape)
    return made, np.cos(np.outer(np.arange(9), np.arange(8)) / 9)


def images(ax):
    """Images, what becomes of them, and units above."""
    made, x = make_images()
    fastnn.plot.network(made, x, ax=ax)


def stacks(ax):
    """The same without a sample."""
    fastnn.plot.network(make_images()[0], ax=ax)


def filters(ax):
    """A column for each filter, a row for each channel."""
    fastnn.plot.filters(make_images()[0], 2, ax=ax)


def feature_maps(ax):
    """What the first convolution makes of an image."""
    fastnn.plot.feature_maps(*make_images(), ax=ax)


def history(ax):
    """Losses and accuracies, with and without validation."""
    t = np.arange(30)
    loss, accuracy = 2 * 0.8**t + 0.05, 1 - 0.6 * 0.9**t
    fastnn.plot.history(fastnn.History(loss, accuracy, loss + 0.1, accuracy - 0.05, 0 * t), ax=ax)
    for axes in ax.figure.axes:
        axes.set(yticks=[0.1, 1] if axes is ax else [0.5, 1])  # releases choose different ones
        axes.tick_params(which="minor", left=False, labelleft=False)


def range_test(ax):
    """A loss that falls, rises, and jitters, and where it falls steepest."""
    rates = np.geomspace(1e-4, 1, 40)
    smoothed = 2 - 1.5 / (1 + (0.02 / rates) ** 2) + 4 * rates**2
    losses = smoothed + 0.1 * np.sin(np.arange(40) * 2.0)
    fastnn.plot.range_test(fastnn.RangeTest(rates, losses, smoothed, 0.0125), ax)
    ax.set(xticks=[1e-3, 1e-1], yticks=[0, 1, 2])


def metrics(ax):
    """A panel for each metric of one's own."""
    t = np.arange(30)
    found = {"validation_f1": 0.9 - 0.6 * 0.9**t}
    loss, accuracy = 2 * 0.8**t + 0.05, 1 - 0.6 * 0.9**t
    fastnn.plot.history(fastnn.History(loss, accuracy, loss + 0.1, accuracy - 0.05, 0 * t, metrics=found), ax)
    for axes in ax.figure.axes:
        axes.set(yticks=[0.1, 1] if axes is ax else [0.5, 1])
        axes.tick_params(which="minor", left=False, labelleft=False)


def gradient_check(ax):
    """Truncation and rounding."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    fastnn.plot.gradient_check(fastnn.mlp(3, 4, 2, hidden="tanh", seed=0), X, y, ax=ax)
    ax.set(xticks=[1e-8, 1e-4, 1], yticks=[1e-15, 1e-10, 1e-5, 1])


def weights(ax):
    """Waves of every sign."""
    waves = fastnn.mlp(64, 7, 1, seed=0)
    waves.weights[0][:] = np.sin(np.outer(np.arange(64), np.arange(1, 8)) / 5)
    fastnn.plot.weights(waves, 0, (8, 8), ax=ax)


def named(ax):
    """An image as a vector, and outputs with names."""
    made = fastnn.mlp(64, 5, 3, hidden="tanh", output="softmax", seed=0)
    for k, w in enumerate(made.weights):
        w[:] = np.sin(np.arange(w.size) * (k + 2.0)).reshape(w.shape)
    x = np.cos(np.outer(np.arange(8), np.arange(8)) / 9).ravel()
    fastnn.plot.network(made, x, ax=ax, image_shape=(8, 8), class_names=["cat", "dog", "bird"])


def steps(ax):
    """A network over sequences."""
    layers = [fastnn.GRU(4, return_sequences=True), fastnn.RNN(3, "tanh"), fastnn.Dense(2, "softmax")]
    fastnn.plot.network(fastnn.Network((9, 2), layers, seed=0), ax=ax)


def comparison(ax):
    """A line, and points with their bars."""
    queries, cosine, error = np.array([[1e3, 2e4, np.nan], [0.3, 0.8, 0.95], [0.05, 0.02, 0.01]])
    names = ("RandomDirections", "Perturbation", "ForwardGradient")
    nothing = np.zeros(3)
    found = fastnn.Comparison(names, queries, nothing, cosine, error, nothing, nothing, nothing)
    fastnn.plot.comparison(found, ax)
    ax.set(xticks=[1e3, 1e4], yticks=[0.5, 1])


def loss_along(ax):
    """A nudge, the difference and the derivative."""
    made = fastnn.mlp(1, 2, 1, hidden="sigmoid", seed=0)
    made.weights = [[[1.0, -2.0]], [0.5, 0.25], [[2.0], [1.0]], [0.0]]
    fastnn.plot.loss_along(made, [[1.0], [2.0]], [0.5, 1.5], (0, 0, 0), eps=1.5, ax=ax)
    ax.set(xticks=[-1, 1, 3], yticks=[2, 3, 4])


def approach(ax):
    """Three lines and their points."""
    networks = {epochs: fastnn.mlp(1, 1, seed=0) for epochs in (0, 10, 100)}
    for made, slope in zip(networks.values(), (0.5, 2.0, 3.0), strict=True):
        made.weights = [[[slope]], [0.0]]
    fastnn.plot.approach(networks, [[1], [3], [4], [8], [10]], [3, 9, 12, 24, 30], ax)
    ax.set(xticks=[0, 5, 10], yticks=[0, 15, 30])


def make_classes():
    """Return a network of two inputs and three classes, samples and their classes."""
    made = fastnn.mlp(2, 3, output="softmax", seed=0)
    made.weights = [[[2.0, -1.0, 0.0], [0.0, 1.0, -2.0]], [0.0, 0.1, 0.0]]
    angle = np.arange(24) * 2.4
    X = np.column_stack([np.cos(angle), np.sin(angle)]) * np.sqrt(np.arange(24) / 24)[:, None]
    return made, X, made.predict_labels(X * [1, 0.6])


def decision_regions(ax):
    """Three classes in the plane."""
    fastnn.plot.decision_regions(*make_classes(), ax)
    ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])


def confusion(ax):
    """How many of each class are taken for which."""
    made, X, labels = make_classes()
    fastnn.plot.confusion(made, X * [1, -0.6], labels, ax)


def misclassified(ax):
    """Images with what they are taken for."""
    made = fastnn.mlp(16, 3, output="softmax", seed=0)
    made.weights[0][:] = np.sin(np.arange(48) * 2.0).reshape(16, 3)
    X = np.cos(np.outer(np.arange(12), np.arange(16)) / 9)
    fastnn.plot.misclassified(made, X, (made.predict_labels(X) + 1) % 3, (4, 4), ax, at_most=6)


NETWORKS = [network, grouped, images, stacks, named, steps]
CURVES = [history, metrics, range_test, comparison, gradient_check, loss_along, approach, decision_regions]
DRAWINGS = [*NETWORKS, *CURVES, weights, filters, feature_maps, confusion, misclassified]


def draw(drawing, path):
    """Write a picture to a file."""
    with matplotlib.rc_context():
        pyplot.style.use("default")
        figure = pyplot.figure(figsize=(6, 3.6), dpi=100)
        # A fixed place: a layout fitted to the texts would move with their sizes.
        ax = figure.add_axes((0, 0, 1, 1) if drawing in NETWORKS else (0.15, 0.15, 0.7, 0.65))
        drawing(ax)
        figure.savefig(path)
        pyplot.close(figure)


def compare(expected, found):
    assert compare_images(expected, found, TOLERANCE) is None


@pytest.fixture(autouse=True)
def backend():
    """Draw into memory."""
    before = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.switch_backend(before)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.__name__)
def test_pictures(drawing, tmp_path):
    if JIT_DISABLED and drawing is gradient_check:
        pytest.skip("its curves end in rounding, which in plain Python is another")
    name = f"{drawing.__name__}.png"
    draw(drawing, tmp_path / name)
    compare(BASELINE / name, tmp_path / name)


@pytest.mark.parametrize(
    ("drawing", "change"),
    [
        (network, {_base: {"BLUE": "green"}}),
        (network, {_network: {"MAX_LABELLED": 0}}),
        (network, {_base: {"LEGIBLE": 12}}),
        (named, {_network: {"_draw_outputs": lambda *_: None}}),
        (grouped, {_network: {"sign": lambda weight: _base.RED}}),
        (stacks, {_network: {"MAX_IMAGES": 3}}),
        (images, {_network: {"_write_titles": lambda *_: None}}),
        (steps, {_steps: {"BLUE": "green"}}),
        (history, {_curves: {"ORANGE": _base.BLUE}}),
        (history, {_curves: {"add_legend": lambda *_: None}}),
        (metrics, {_curves: {"GAP": 0.2}}),
        (range_test, {_curves: {"ORANGE": _base.BLUE}}),
        (comparison, {_curves: {"add_legend": lambda *_: None}}),
        (gradient_check, {_curves: {"add_legend": lambda *_: None}}),
        (loss_along, {_ideas: {"ORANGE": _base.BLUE}}),
    ],
)
def test_what_is_missing_or_of_another_colour_is_seen(monkeypatch, tmp_path, drawing, change):
    for module, values in change.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    name = f"{drawing.__name__}.png"
    draw(drawing, tmp_path / name)
    with pytest.raises(AssertionError):
        compare(BASELINE / name, tmp_path / name)


def test_the_picture_of_the_readme(tmp_path):
    docs = HERE.parent / "docs"
    runpy.run_path(str(docs / "draw.py"))["draw"](tmp_path)
    compare(docs / "network.png", tmp_path / "network.png")


if __name__ == "__main__":
    matplotlib.use("agg")
    for drawing in DRAWINGS:
        draw(drawing, BASELINE / f"{drawing.__name__}.png")
