"""What is drawn is what the network holds, and nothing covers anything else."""

import dataclasses
import itertools

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib import colors, pyplot
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

import fastnn
import fastnn.plot
from fastnn.plot import _base, _curves, _network


@pytest.fixture(autouse=True)
def figures():
    """Draw into memory, and close what was drawn."""
    backend = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(backend)


@pytest.fixture
def small():
    """Return the tutorial's network of 2, 3 and 1 units, with biases and a weight of each sign."""
    network = fastnn.mlp(2, 3, 1, hidden="leaky_relu", output="sigmoid", seed=0)
    network.weights = [[[0.5, -1, 2], [0.25, 0, 1]], [0, 0.125, -0.75], [[1], [-2], [3]], [0.5]]
    return network


def circles(ax):
    return [patch for patch in ax.patches if isinstance(patch, Circle)]


def arrows(ax):
    return [text.arrow_patch for text in ax.texts if getattr(text, "arrow_patch", None)]


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def boxes(ax):
    """Return where the texts are, in pixels, without the frames behind them."""
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    return {id(text): matplotlib.text.Text.get_window_extent(text, renderer) for text in ax.texts if text.get_text()}


def assert_titles_are_free(ax, n_titles):
    found = boxes(ax)
    titles = [found[id(text)] for text in ax.texts if text.get_text().split(" ")[-1] in TITLES]
    assert len(titles) == n_titles
    for title in titles:
        for circle in circles(ax):
            assert not title.overlaps(circle.get_window_extent())
        assert sum(title.overlaps(box) for box in found.values()) == 1  # itself
        window = ax.figure.bbox
        assert window.x0 <= title.x0
        assert title.x1 <= window.x1
        assert title.y1 <= window.y1


KEY = ["positive", "negative"]
TITLES_OF_SMALL = ["2 inputs", "3 leaky relu", "1 sigmoid"]
TITLES = {"inputs", "input", "relu", "sigmoid", "softmax", "identity"}


def test_network_holds_its_weights(small):
    ax = fastnn.plot.network(small)
    assert len(circles(ax)) == 6
    assert len(arrows(ax)) == 9
    assert all(isinstance(arrow, FancyArrowPatch) for arrow in arrows(ax))
    weights = ["0.5", "-1", "2", "0.25", "0", "1", "1", "-2", "3"]
    biases = ["+0.12", "-0.75", "+0.5"]
    assert sorted(texts(ax)) == sorted([*weights, *biases, *KEY, "2 inputs", "3 leaky relu", "1 sigmoid"])
    # Negative ones in red, and 3 with the widest arrow of its layer.
    for text in ax.texts:
        if text.get_text().startswith("-"):
            assert text.get_color() == _base.RED
    widths = [arrow.get_linewidth() for arrow in arrows(ax)[6:]]
    assert widths == sorted(widths)
    assert_titles_are_free(ax, 3)


@pytest.mark.parametrize("x", [[1.0, -1.5], [-1.234e-9, -0.00888], [123456, -123456]])
def test_network_holds_the_values_of_a_sample(small, x):
    ax = fastnn.plot.network(small, x)
    z, a = small.forward([x])
    filled = [text for text in ax.texts if text.get_text()]
    inside = {text.get_text() for text in filled if any(c.contains_point(_pixel(ax, text)) for c in circles(ax))}
    values = [*x, *z[0][0], *a[0][0], *z[1][0], *a[1][0]]
    assert inside == {_network._short(value) for value in values}
    # Texts inside a circle stay inside, and cover no other text.
    found = boxes(ax)
    for text in ax.texts:
        for circle in circles(ax):
            if text.get_text() in inside and circle.contains_point(_pixel(ax, text)):
                frame, box = circle.get_window_extent(), found[id(text)]
                assert frame.x0 < box.x0
                assert box.x1 < frame.x1
    assert_titles_are_free(ax, 3)


def _pixel(ax, text):
    return ax.transData.transform(text.get_position())


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_large_network_is_abridged(style):
    with pyplot.style.context(style):
        network = fastnn.mlp(784, 100, 10, output="softmax", seed=0)
        ax = fastnn.plot.network(network, x=np.zeros(784))
        assert len(circles(ax)) == 3 * 7
        assert len(arrows(ax)) == 2 * 7 * 7
        assert len(ax.lines) == 3 * 3 + 2  # the dots, and the key's
        assert {"784 inputs", "100 sigmoid", "10 softmax", "777 more", "93 more", "3 more", *KEY} <= set(texts(ax))
        # No weights on the arrows: they are told by colour, and the faint ones are small.
        assert len(texts(ax)) == 3 + 7 + 2 * 14 + 3 + 2
        assert "-0" not in texts(ax)
        assert len({arrow.get_alpha() for arrow in arrows(ax)}) > 50
        ink, ground = (colors.to_rgb(c) for c in (circles(ax)[0].get_edgecolor(), ax.figure.get_facecolor()))
        assert np.abs(np.subtract(ink, ground)).min() > 0.9
        assert_titles_are_free(ax, 3)


def test_network_in_given_axes_and_without_weights():
    network = fastnn.mlp(1, 1, seed=0)
    network.weights[0][:] = 0
    _, axes = pyplot.subplots(1, 2)
    assert fastnn.plot.network(network, ax=axes[1]) is axes[1]
    assert not axes[0].patches
    assert "1 input" in texts(axes[1])
    assert axes[1].get_aspect() == 1


@pytest.mark.parametrize(("inches", "n_texts"), [(1.2, 0), (2.0, 17), (3.0, 20), (8.0, 23)])
def test_letters_too_small_to_read_are_left_out(small, inches, n_texts):
    """In a picture of two inches there are titles, weights, biases and those values that fit."""
    ax = pyplot.figure(figsize=(inches, inches)).add_axes((0, 0, 1, 1))
    fastnn.plot.network(small, x=[1.0, -1.5], ax=ax)
    assert len(texts(ax)) >= n_texts
    assert bool(texts(ax)) == bool(n_texts)
    assert all(text.get_size() >= _base.LEGIBLE for text in ax.texts if text.get_text())
    assert len(circles(ax)) == 6
    assert len(arrows(ax)) == 9
    if n_texts:
        assert_titles_are_free(ax, 3)


def test_a_value_without_its_sum_is_in_the_middle():
    ax = pyplot.figure(figsize=(2, 2)).add_axes((0, 0, 1, 1))  # room for one text a circle
    fastnn.plot.network(fastnn.mlp(2, 3, 1, seed=0), x=[1.0, 1.0], ax=ax)
    (value,) = [text for text in ax.texts if text.get_text() == "0.67"]
    assert value.get_position() == pytest.approx(circles(ax)[-2].center)
    assert len([text for text in texts(ax) if text == "1"]) == 2


def test_network_refuses(small):
    with pytest.raises(TypeError, match=r"network must be a fastnn\.Network"):
        fastnn.plot.network([1, 2])
    with pytest.raises(ValueError, match=r"x must be one sample of shape \(2,\), got \(1, 2\)"):
        fastnn.plot.network(small, x=[[1, 2]])
    small.weights[0][:] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fastnn.plot.network(small)


def fit(epochs, *, classes=False, held=False):
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 1.0])
    network = fastnn.mlp(1, 1, output="sigmoid" if classes else "identity", seed=0)
    trainer = fastnn.Trainer(
        network,
        loss="binary_cross_entropy" if classes else "squared_error",
        gradient=fastnn.Backprop(),
        optimizer=fastnn.SGD(0.01),
    )
    return trainer.fit(X, y, epochs=epochs, validation_data=(X, y) if held else None)


def curves(ax):
    """Return a picture's curves by their labels, without the dots at the best epoch."""
    return {
        line.get_label(): line for axes in ax.figure.axes for line in axes.lines if "best" not in str(line.get_label())
    }


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_history(classes, held):
    """Loss and accuracy in panels of their own, the best epoch marked in each."""
    history = fit(6, classes=classes, held=held)
    ax = fastnn.plot.history(history)
    wanted = [("loss", ax), ("validation loss", ax)][: 1 + held]
    above = [other for other in ax.figure.axes if other is not ax]
    assert len(above) == classes
    if classes:
        wanted += [("accuracy", above[0]), ("validation accuracy", above[0])][: 1 + held]
    lines = curves(ax)
    assert list(lines) == [label for label, _ in wanted]
    for label, axes in wanted:
        np.testing.assert_array_equal(lines[label].get_ydata(), getattr(history, label.replace(" ", "_")))
        np.testing.assert_array_equal(lines[label].get_xdata(), np.arange(1, 7))
        assert lines[label] in axes.lines
    for axes in ax.figure.axes:
        (best,) = [line for line in axes.lines if line.get_label() == "best: epoch 6"]
        last = [line for line in axes.lines if line is not best][-1]
        assert best.get_xydata().tolist() == [[6, last.get_ydata()[5]]]
    ax.figure.canvas.draw()
    legend = [axes.get_legend() for axes in ax.figure.axes][-1]
    assert (legend is not None) == (classes or held)
    if legend:  # within the figure
        box = legend.get_window_extent()
        assert box.y1 <= ax.figure.bbox.y1
        assert not any(box.overlaps(axes.get_window_extent().shrunk(1, 0.999)) for axes in ax.figure.axes)
    if classes:
        assert above[0].get_ylim()[1] <= 1
        assert above[0].get_window_extent().y0 >= ax.get_window_extent().y1


@pytest.mark.parametrize(
    ("last", "most", "ticks"),
    [
        (1, 3, [1]),
        (6, 9, [1, 2, 3, 4, 5, 6]),
        (8, 5, [1, 3, 5, 7]),
        (30, 6, [1, 5, 10, 15, 20, 25, 30]),
        (100, 5, [1, 20, 40, 60, 80, 100]),
        (1234, 3, [1, 500, 1000]),
    ],
)
def test_ticks_are_round_and_begin_at_1(last, most, ticks):
    assert _curves._find_ticks(last, most) == ticks
    ax = fastnn.plot.history(fit(6))
    assert ax.get_xticks().tolist() == [1, 2, 3, 4, 5, 6]


def test_axes_that_are_given_are_split():
    """Whether a grid of Axes has placed them or not."""
    history = fit(3, classes=True)
    for ax in (pyplot.figure().add_subplot(2, 2, 3), pyplot.figure().add_axes((0.2, 0.1, 0.6, 0.8))):
        place = ax.get_position()
        assert fastnn.plot.history(history, ax) is ax
        (above,) = [other for other in ax.figure.axes if other is not ax]
        both = [axes.get_position() for axes in (ax, above)]
        assert both[0].y0 == pytest.approx(place.y0)
        assert both[1].y1 == pytest.approx(place.y1)
        assert both[0].y1 < both[1].y0
        assert above.get_ylim()[1] <= 1


@pytest.mark.parametrize("classes", [False, True])
def test_own_metrics_have_a_panel_each(classes):
    found = {"validation_f1": np.linspace(0.1, 0.9, 6), "validation_my_own": np.linspace(5, 1, 6)}
    history = dataclasses.replace(fit(6, classes=classes, held=True), metrics=found)
    for given in (None, pyplot.figure().add_axes((0.2, 0.1, 0.6, 0.8))):
        ax = fastnn.plot.history(history, given)
        panels = sorted(ax.figure.axes, key=lambda axes: axes.get_position().y0)
        assert panels[0] is ax
        names = ["loss", *["accuracy"] * classes, "f1", "my_own"]
        assert [panel.get_ylabel() for panel in panels] == names
        for low, high in itertools.pairwise(panels):
            assert low.get_position().y1 < high.get_position().y0
        lines = curves(ax)
        np.testing.assert_array_equal(lines["validation my_own"].get_ydata(), found["validation_my_own"])
        assert lines["validation f1"] in panels[-2].lines
        assert len({panel.yaxis.label.get_color() for panel in panels}) == len(panels)
        (best,) = [line for line in panels[-1].lines if line.get_label() == "best: epoch 6"]
        assert best.get_xydata().tolist() == [[6, 1.0]]


def test_history_of_one_epoch_is_visible():
    ax = pyplot.figure().add_subplot()
    assert fastnn.plot.history(fit(1), ax=ax) is ax
    assert ax.lines[0].get_marker() == "o"


@pytest.mark.parametrize("x", ["epoch", "seconds", "queries"])
def test_what_a_history_is_drawn_against(x):
    history = dataclasses.replace(fit(6, classes=True, held=True), queries=np.arange(6) * 100.0)
    ax = fastnn.plot.history(history, x=x)
    wanted = {"epoch": np.arange(1, 7), "seconds": np.cumsum(history.seconds), "queries": history.queries}[x]
    assert ax.get_xlabel() == x
    for line in curves(ax).values():
        np.testing.assert_array_equal(line.get_xdata(), wanted)


def test_comparison():
    """Where there are queries, a point with bars of two standard errors; else a line across."""
    schemes = [fastnn.Perturbation(), fastnn.RandomDirections(3), fastnn.Backprop()]
    network = fastnn.mlp(2, 3, 1, hidden="tanh", seed=0)
    found = fastnn.compare(network, [[1.0, 2.0]], [1.0], methods=schemes, repeats=4)
    ax = fastnn.plot.comparison(found)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(found.methods)
    assert (ax.get_xlabel(), ax.get_xscale()) == ("queries", "log")
    points = [container.lines[0] for container in ax.containers]
    for k, point in enumerate(points):
        assert point.get_xydata().tolist() == [[found.queries[k], found.cosine[k]]]
        low, high = ax.containers[k].lines[2][0].get_segments()[0][:, 1]
        assert high - low == pytest.approx(4 * found.cosine_error[k])
    assert len(points) == 2
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert list(line.get_ydata()) == [found.cosine[2]] * 2
    (own,) = pyplot.figure().subplots(1, 1, squeeze=False)[0]
    assert fastnn.plot.comparison(found, own) is own
    with pytest.raises(TypeError, match=r"comparison must be a fastnn\.Comparison"):
        fastnn.plot.comparison(3)


def test_history_refuses():
    with pytest.raises(ValueError, match="history has no queries: they are counted where"):
        fastnn.plot.history(fit(1), x="queries")
    with pytest.raises(ValueError, match="x must be one of 'epoch', 'seconds', 'queries'"):
        fastnn.plot.history(fit(1), x="loss")
    with pytest.raises(TypeError, match=r"history must be a fastnn\.History"):
        fastnn.plot.history([1.0])
    with pytest.raises(ValueError, match="no epochs"):
        fastnn.plot.history(fit(0))


def test_gradient_check_shows_truncation_and_rounding():
    rng = np.random.default_rng(0)
    network = fastnn.mlp(3, 4, 2, hidden="tanh", seed=0)
    before = [w.copy() for w in network.weights]
    ax = pyplot.figure().add_subplot()
    assert fastnn.plot.gradient_check(network, rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), ax=ax) is ax
    for one, two in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(one, two)
    *drawn, default = ax.lines
    assert default.get_xdata()[0] == fastnn.Perturbation().eps
    lines = {line.get_label(): line.get_ydata() for line in drawn}
    eps = ax.lines[0].get_xdata()
    slope = {label: np.log10(y[21] / y[18]) / np.log10(eps[21] / eps[18]) for label, y in lines.items()}  # 1e-4 to 1e-3
    assert slope["forward"] == pytest.approx(1, abs=0.1)
    assert slope["central"] == pytest.approx(2, abs=0.1)
    assert slope["subtracting losses"] == pytest.approx(1, abs=0.1)
    # eps = 1e-10: a loss of size 1 is known to 1e-16, so that its difference is known to 1e-6; ours to 1e-10.
    assert lines["subtracting losses"][0] > 1e-8
    assert lines["forward"][0] < 1e-9
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*lines, "the default, 1e-06"]


@pytest.mark.parametrize(("inches", "columns", "size"), [(1.5, 0, 5), (3, 1, None), (6.4, 3, 10), (12, 4, 10)])
def test_the_legend_covers_no_curve(inches, columns, size):
    ax = pyplot.figure(figsize=(inches, 0.75 * inches), layout="constrained").add_subplot()
    fastnn.plot.gradient_check(fastnn.mlp(1, 2, 1, seed=0), [[1.0], [2.0]], [0.5, 1.0], ax=ax)
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    if not columns:
        assert legend is None
        return
    assert legend._ncols == columns
    assert not legend.get_window_extent().overlaps(ax.get_window_extent().shrunk(1, 0.999))
    assert ax.figure.bbox.y1 >= legend.get_window_extent().y1
    letters = [label for axis in (ax.xaxis, ax.yaxis) for label in [axis.label, *axis.get_ticklabels("both")]]
    sizes = [text.get_size() for text in letters + legend.get_texts()]
    np.testing.assert_allclose(sizes, size or sizes[0])


def test_no_legend_where_it_would_take_the_room_of_the_curves():
    _, (low, high) = pyplot.subplots(2, 1, figsize=(1.5, 4), height_ratios=(1, 3))
    history = fit(6, classes=True, held=True)
    for ax, has_legend in ((low, False), (high, True)):
        before = [*ax.figure.axes]
        fastnn.plot.history(history, ax)
        (above,) = [axes for axes in ax.figure.axes if axes not in before]
        assert (above.get_legend() is not None) == has_legend
        assert {label.get_size() for label in above.get_yticklabels()} == {above.yaxis.label.get_size()} == {5.0}


def test_gradient_check_measures_some_of_many_weights(monkeypatch):
    monkeypatch.setattr(_curves, "MAX_CHECKED", 4)
    ax = fastnn.plot.gradient_check(fastnn.mlp(3, 4, 2, seed=0), [[1.0, 2.0, 3.0]], [[1.0, 2.0]])
    assert len(ax.lines) == 3 + 1  # the default's


def test_gradient_check_refuses_a_gradient_of_zero():
    network = fastnn.mlp(1, 1, seed=0)
    network.weights = [[[0.0]], [0.0]]
    with pytest.raises(ValueError, match="the gradient is 0"):
        fastnn.plot.gradient_check(network, [[1.0]], [[0.0]])


def test_weights_are_images():
    network = fastnn.mlp(6, 4, 1, seed=0)
    ax = fastnn.plot.weights(network, 0, (2, 3))
    (image,) = ax.images
    w = network.weights[0]
    mosaic = np.ma.filled(image.get_array().astype(float), np.nan)
    assert mosaic.shape == (2 + 1 + 2, 3 + 1 + 3 + 1 + 3)  # 3 images, and 1 beneath
    np.testing.assert_array_equal(mosaic[:2, 4:7], w[:, 1].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[3:, :3], w[:, 3].reshape(2, 3))
    assert np.isnan(mosaic[:, 3]).all()
    assert np.isnan(mosaic[3:, 4:]).all()
    assert image.get_clim() == (-np.abs(w).max(), np.abs(w).max())
    ax = pyplot.figure(figsize=(1.5, 1.5)).add_subplot()
    assert fastnn.plot.weights(network, 1, (2, 2), ax) is ax
    assert {label.get_size() for label in ax.figure.axes[1].get_yticklabels()} == {5.0}


def test_weights_refuses():
    network = fastnn.mlp(6, 4, 1, seed=0)
    with pytest.raises(ValueError, match="layer must be 0 to 1, got 2"):
        fastnn.plot.weights(network, 2, (2, 3))
    with pytest.raises(ValueError, match=r"image_shape \(2, 2\) has 4 pixels, and layer 0 6 inputs"):
        fastnn.plot.weights(network, 0, (2, 2))


LAYERS = [fastnn.Conv2D(5, 3, "relu"), fastnn.MaxPool2D(2), fastnn.Conv2D(2, 2, "tanh"), fastnn.AveragePool2D(1)]


def make_images():
    return fastnn.Network((8, 7, 1), [*LAYERS, fastnn.Flatten(), fastnn.Dense(9, "softmax")], seed=0)


def frames(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_a_network_over_images_is_stacks_of_them():
    network = make_images()
    ax = fastnn.plot.network(network)
    titles = ["8 x 7 x 1 input", "6 x 5 x 5 relu", "3 x 2 x 5 max pool", "2 x 1 x 2 tanh", "2 x 1 x 2 average pool"]
    assert [text for text in texts(ax) if " x " in text and len(text) > 5] == titles
    assert [text for text in texts(ax) if len(text) == 5] == ["3 x 3", "2 x 2", "2 x 2", "1 x 1"]
    assert len(frames(ax)) == 1 + 4 + 4 + 2 + 2  # of five, the first four
    assert len(circles(ax)) == 7  # of nine
    assert len(arrows(ax)) == 4 + 7
    assert not ax.images
    x = np.random.default_rng(0).normal(size=(8, 7))
    network.weights[-1][:] = 0.5
    drawn = fastnn.plot.network(network, x, ax=pyplot.figure(figsize=(15, 5)).add_axes((0, 0, 1, 1)))
    maps = network.forward(x[None]).activations[0][0]
    assert len(drawn.images) == len(frames(drawn)) - 2 * 7  # bars of probabilities
    np.testing.assert_array_equal(drawn.images[0].get_array(), x)
    for image, k in zip(drawn.images[1:5], (3, 2, 1, 0), strict=True):  # the first in front
        np.testing.assert_array_equal(image.get_array(), maps[:, :, k])
        assert image.get_clim() == (maps.min(), maps.max())
    assert texts(drawn).count("+0.5") == 7
    assert any("\n" not in text and text.startswith("0.") for text in texts(drawn))


def test_a_network_over_images_and_two_dense_layers():
    layers = fastnn.Conv2D(2, 3, "relu"), fastnn.Dense(3, "tanh"), fastnn.Dense(2, "softmax")
    network = fastnn.Network((8, 7, 1), layers, seed=0)
    ax = fastnn.plot.network(network, np.zeros((8, 7, 1)))
    assert len(circles(ax)) == 5
    assert len(arrows(ax)) == 1 + 3 + 6
    assert {"3 tanh", "2 softmax"} <= set(texts(ax))


def test_filters_and_feature_maps_are_images():
    network = make_images()
    ax = fastnn.plot.filters(network)
    (image,) = ax.images
    mosaic = np.ma.filled(image.get_array().astype(float), np.nan)
    w = network.weights[0]
    assert mosaic.shape == (3 + 1 + 3, 3 + 1 + 3 + 1 + 3)
    np.testing.assert_array_equal(mosaic[4:, :3], w[:, :, 0, 3])
    assert image.get_clim() == (-np.abs(w).max(), np.abs(w).max())
    mosaic = np.ma.filled(fastnn.plot.filters(network, 2).images[0].get_array().astype(float), np.nan)
    assert mosaic.shape == (5 * 3 - 1, 2 * 3 - 1)  # a row a channel
    np.testing.assert_array_equal(mosaic[6:8, 3:], network.weights[2][:, :, 2, 1])
    x = np.random.default_rng(0).normal(size=(8, 7, 1))
    ax = pyplot.figure().add_subplot()
    assert fastnn.plot.feature_maps(network, x, 1, ax) is ax
    maps = network.forward(x[None]).activations[1][0]
    mosaic = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(mosaic[:3, 3:5], maps[:, :, 1])


def test_what_has_no_filters_and_no_maps_is_refused():
    network, x = make_images(), np.zeros((8, 7, 1))
    with pytest.raises(ValueError, match=r"layer 1 is MaxPool2D\(2\), which has no filters"):
        fastnn.plot.filters(network, 1)
    with pytest.raises(ValueError, match="layer must be 0 to 5, got 6"):
        fastnn.plot.filters(network, 6)
    with pytest.raises(ValueError, match=r"layer 4 is Flatten\(\), which puts out no images"):
        fastnn.plot.feature_maps(network, x, 4)
    for call in (fastnn.plot.feature_maps, fastnn.plot.network):
        with pytest.raises(ValueError, match=r"x must be one sample of shape \(8, 7, 1\), got \(1, 8, 7\)"):
            call(network, x[None, ..., 0])
    with pytest.raises(ValueError, match=r"x must be one sample of shape \(2, 2, 3\), got \(2, 2\)"):
        fastnn.plot.network(fastnn.Network((2, 2, 3), [fastnn.Dense(1, "tanh")]), np.zeros((2, 2)))


def narrow(width, height):
    """Return axes of so many inches."""
    figure = pyplot.figure(figsize=(width + 1, height + 1))
    return figure.add_axes((0.5 / (width + 1), 0.5 / (height + 1), width / (width + 1), height / (height + 1)))


def test_network_in_small_axes_leaves_out_what_nobody_could_read(small):
    large, middling, tiny = (fastnn.plot.network(small, x=[1, 1], ax=narrow(w, w)) for w in (8, 1.7, 1))
    assert len(texts(large)) > len(texts(middling)) > len(texts(tiny)) == 0
    assert all(text.get_fontsize() >= _base.LEGIBLE for text in [*large.texts, *middling.texts] if text.get_text())


def test_texts_beside_curves_fit_small_axes():
    history = fit(3, classes=True, held=True)
    wide, slim, tiny = (fastnn.plot.history(history, ax=narrow(w, w)) for w in (5, 2, 0.8))
    assert wide.xaxis.label.get_fontsize() > slim.xaxis.label.get_fontsize() > tiny.xaxis.label.get_fontsize()
    assert tiny.xaxis.label.get_fontsize() == _base.LEGIBLE
    for ax, has_legend in ((wide, True), (slim, True), (tiny, False)):
        above = ax.figure.axes[-1]
        assert (above.get_legend() is not None) == has_legend
        if has_legend:
            legend = above.get_legend().get_window_extent()
            assert legend.width <= ax.get_window_extent().width
            assert legend.y0 >= above.get_window_extent().y1


def covers(box, circle):
    """Return whether a text lies on a circle, be it in part."""
    middle = np.array([circle.x0 + circle.x1, circle.y0 + circle.y1]) / 2
    nearest = np.clip(middle, (box.x0, box.y0), (box.x1, box.y1))
    return np.hypot(*(nearest - middle)) < circle.width / 2


def test_few_arrows_have_their_weights():
    """4 x 5 of them, and not 8 x 3; no text on a circle."""
    for sizes, labelled in (((4, 5), True), ((8, 3), False), ((5, 5), False), ((2, 8), True)):
        network = fastnn.mlp(*sizes, seed=0)
        ax = fastnn.plot.network(network)
        w = [_network._round(value, 2) for value in network.weights[0].ravel()]
        found = [text for text in ax.texts if text.get_text() in w]
        assert [text.get_text() for text in found] == (w if labelled else [])
        where = boxes(ax)
        for text in found:
            assert not any(covers(where[id(text)], circle.get_window_extent()) for circle in circles(ax))
        pyplot.close(ax.figure)


def test_zero_has_no_sign(small):
    small.weights[0][:] = -0.0
    small.weights[1][:] = [-0.0, 0.0, -1e-30]
    ax = fastnn.plot.network(small, [-0.0, 1])
    assert "-0" not in texts(ax)
    assert not any(text.startswith(("+0", "-0")) for text in texts(ax) if "." not in text)
    assert (_network._round(-0.0, 2), _network._short(-1e-320)) == ("0", "-1e-320")


def test_biases_are_clear_of_the_heads_of_arrows(small):
    ax = fastnn.plot.network(fastnn.mlp(8, 8, seed=0))
    network = fastnn.mlp(8, 8, seed=0)
    network.weights[1][:] = 0.25
    ax = fastnn.plot.network(network, np.ones(8))
    where = boxes(ax)
    biases = [where[id(text)] for text in ax.texts if text.get_text() == "+0.25"]
    assert len(biases) == 8
    for arrow in arrows(ax):
        tip = arrow.get_path().vertices
        assert not any(box.contains(*point) for box in biases for point in arrow.get_transform().transform(tip[-4:]))


def test_inputs_and_outputs_have_names():
    network = fastnn.mlp(3, 2, output="softmax", seed=0)
    names = ["length", "width", "height"], ["cat", "dog"]
    ax = fastnn.plot.network(network, [1, 2, 3], feature_names=names[0], class_names=names[1])
    assert {*names[0], *names[1]} <= set(texts(ax))
    where = {text.get_text(): text.get_position()[0] for text in ax.texts}
    assert where["length"] < 0 < where["cat"]
    bars = [patch for patch in frames(ax) if patch.get_facecolor()[3]]
    widths = np.array([bar.get_width() for bar in bars])
    np.testing.assert_allclose(widths / widths.sum(), network.predict([[1, 2, 3]])[0])
    with pytest.raises(ValueError, match="class_names must be a list of 2 names, got 'ab'"):
        fastnn.plot.network(network, class_names="ab")
    with pytest.raises(ValueError, match="feature_names must be a list of 3 names"):
        fastnn.plot.network(network, feature_names=["a"])


def test_an_image_as_a_vector_is_drawn_as_one():
    network, x = fastnn.mlp(6, 4, 1, seed=0), np.arange(6.0)
    ax = fastnn.plot.network(network, x, image_shape=(2, 3))
    np.testing.assert_array_equal(ax.images[0].get_array(), x.reshape(2, 3))
    assert len(circles(ax)) == 5
    assert len(arrows(ax)) == 4 + 4
    assert "6 inputs" in texts(ax)
    assert not fastnn.plot.network(network, image_shape=(2, 3)).images
    with pytest.raises(ValueError, match="has 4 pixels, and the network 6 inputs"):
        fastnn.plot.network(network, image_shape=(2, 2))
    with pytest.raises(TypeError, match=r"image_shape must be \(rows, columns\), got 6"):
        fastnn.plot.network(network, image_shape=6)


@pytest.mark.parametrize(
    ("network", "boxes", "n_arrows"),
    [
        (fastnn.Network((3, 2), [fastnn.RNN(4, "tanh"), fastnn.Dense(1, "identity")]), "x1x2x3h1h2h31", 3 + 2 + 1),
        (fastnn.Network((3, 2), [fastnn.GRU(4, True), fastnn.Dense(2, "identity")]), "x1x2x3h1h2h3222", 3 + 2 + 3),
        (
            fastnn.Network(
                2, [fastnn.Dense(4, "tanh"), fastnn.Repeat(3), fastnn.LSTM(5, True), fastnn.Dense(1, "tanh")]
            ),
            "x4444h1h2h3111",
            1 + 3 + 3 + 2 + 3,
        ),
        (
            fastnn.Network(9, [fastnn.Embedding(5, 2), fastnn.RNN(3, "tanh"), fastnn.Dense(1, "tanh")]),
            "x1x2x3x92222h1h2h3h91",
            4 + 4 + 3 + 1,
        ),
        (fastnn.Network((3, 2), [fastnn.Flatten(), fastnn.Dense(1, "tanh")]), "x1x2x361", 3 + 1),
    ],
    ids=["many-to-one", "many-to-many", "one-to-many", "tokens", "flat"],
)
def test_a_network_over_sequences_is_drawn_step_by_step(network, boxes, n_arrows):
    ax = fastnn.plot.network(network)
    patches = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    inside = [text.get_text() for text in ax.texts if text.get_zorder() == 4]
    assert "".join(inside) == boxes
    assert len(patches) == len(inside)
    assert len(arrows(ax)) == n_arrows
    assert ("..." in texts(ax)) == ("x9" in boxes)
    tiny = fastnn.plot.network(network, ax=pyplot.figure(figsize=(1.2, 1.0)).add_axes((0, 0, 1, 1)))
    assert len(texts(tiny)) >= len(inside)
    with pytest.raises(ValueError, match="drawn step by step, without a sample and without names"):
        fastnn.plot.network(network, np.zeros((3, 2)))


def test_images_have_no_feature_names():
    with pytest.raises(ValueError, match="feature_names are of single inputs"):
        fastnn.plot.network(make_images(), feature_names=[str(k) for k in range(56)])


def test_loss_along_a_weight():
    """The curve is the loss, the difference and the derivative are those of `gradient`."""
    network, X, y = fastnn.mlp(1, 2, 1, seed=0), [[1.0], [2.0]], [3.0, 6.0]
    before = [w.copy() for w in network.weights]
    for weight, name in (((0, 0, 1), "W1[0, 1]"), ((3, 0), "b2[0]")):
        ax = fastnn.plot.loss_along(network, X, y, weight, eps=0.25)
        assert ax.get_xlabel() == name
        curve, difference, derivative, *_ = ax.lines
        which, place = weight[0], weight[1:]
        found = [fastnn.gradient(network, X, y, method=fastnn.Perturbation(0.25))[which][place]]
        found.append(fastnn.gradient(network, X, y, method=fastnn.Backprop())[which][place])
        for line, slope in zip((difference, derivative), found, strict=True):
            across, up = line.get_data()
            assert (up[-1] - up[0]) / (across[-1] - across[0]) == pytest.approx(slope, rel=1e-9)
            assert f"{slope:.3g}" in line.get_label()
        middle = len(curve.get_xdata()) // 2
        assert curve.get_ydata()[middle] == pytest.approx(fastnn.Trainer(network).evaluate(X, y).loss, rel=1e-12)
        assert "nudge 0.25" in texts(ax)
    own = pyplot.figure().add_subplot()
    assert fastnn.plot.loss_along(network, X, [-9.0, -9.0], ax=own) is own  # uphill
    for one, two in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(one, two)
    for weight in ((), (4, 0), (0, 1, 0), (0, 0)):
        with pytest.raises(ValueError, match="weight must be .array, row, column."):
            fastnn.plot.loss_along(network, X, y, weight)


def test_a_line_approaches_its_points():
    networks = {epochs: fastnn.mlp(1, 1, seed=epochs) for epochs in (10, 0)}
    X, y = np.array([[1.0], [3.0]]), np.array([3.0, 9.0])
    ax = fastnn.plot.approach(networks, X, y)
    first, last, points = ax.lines
    assert [line.get_label() for line in ax.lines] == ["0 epochs", "10 epochs", "samples"]
    np.testing.assert_array_equal(points.get_xydata(), np.column_stack([X, y]))
    for line, epochs in ((first, 0), (last, 10)):
        np.testing.assert_array_equal(line.get_ydata(), networks[epochs].predict(line.get_xdata()[:, None])[:, 0])
    own = pyplot.figure().add_subplot()
    assert fastnn.plot.approach({1: networks[0]}, X, y, own) is own
    with pytest.raises(
        TypeError, match=r"networks must be a dict of copies by their epochs, such as {0: network}, got"
    ):
        fastnn.plot.approach([networks[0]], X, y)
    with pytest.raises(ValueError, match="networks is empty"):
        fastnn.plot.approach({}, X, y)
    with pytest.raises(ValueError, match=r"networks\[3\] must have one input and one output"):
        fastnn.plot.approach({3: fastnn.mlp(2, 1)}, X, y)
    with pytest.raises(ValueError, match="X has 2 points and y 3"):
        fastnn.plot.approach(networks, X, [1.0, 2.0, 3.0])


def make_classes(n_outputs=3, output="softmax"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    return fastnn.mlp(2, n_outputs, output=output, seed=0), X, np.arange(30) % (3 if n_outputs == 3 else 2)


@pytest.mark.parametrize("one", [False, True])
def test_decision_regions(one):
    network, X, y = make_classes(1, "sigmoid") if one else make_classes()
    ax = fastnn.plot.decision_regions(network, X, y)
    (image,) = ax.images
    left, right, low, high = image.get_extent()
    corner = network.predict_labels([[left, low], [right, high]])
    np.testing.assert_array_equal(image.get_array()[[0, -1], [0, -1]], corner)
    assert sum(len(dots.get_offsets()) for dots in ax.collections) == 30
    assert len(ax.get_legend().get_texts()) == 2 + (not one)
    if not one:
        own = pyplot.figure().add_subplot()
        assert fastnn.plot.decision_regions(network, X, np.eye(3)[y], own) is own
        np.testing.assert_array_equal(own.collections[1].get_offsets(), X[y == 1])


def test_confusion():
    pytest.importorskip("sklearn")
    network, X, y = make_classes()
    ax = fastnn.plot.confusion(network, X, y, class_names=["cat", "dog", "a long name of a bird"])
    counts = np.zeros((3, 3))
    np.add.at(counts, (y, network.predict_labels(X)), 1)
    np.testing.assert_array_equal(ax.images[0].get_array(), counts)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "a long name of a bird"]
    assert ax.get_xticklabels()[0].get_rotation() == 90
    tiny = pyplot.figure(figsize=(0.6, 0.6)).add_axes((0.1, 0.1, 0.5, 0.5))
    assert fastnn.plot.confusion(network, X, y, tiny) is tiny
    assert not texts(tiny)  # nobody could read them


@pytest.mark.parametrize("picture", [fastnn.plot.confusion, fastnn.plot.misclassified, fastnn.plot.decision_regions])
def test_pictures_of_classes_take_sparse_samples(picture):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    network = fastnn.mlp(2, 3, 2, output="softmax", seed=0)
    y = 1 - network.predict_labels(x)
    options = {"image_shape": (1, 2)} if picture is fastnn.plot.misclassified else {}
    drawn = []
    for samples in (x, sparse.csr_array(x)):
        ax = picture(network, samples, y, **options)
        drawn.append([text.get_text() for text in ax.texts] + [image.get_array().tolist() for image in ax.images])
    assert drawn[0] == drawn[1]


def test_what_is_misclassified():
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 6)), np.arange(20) % 3
    network = fastnn.mlp(6, 3, output="softmax", seed=0)
    found = network.predict_labels(X)
    wrong = np.flatnonzero(found != y)
    ax = fastnn.plot.misclassified(network, X, y, (2, 3), at_most=4)
    wanted = [f"{found[k]}, is {y[k]}" for k in wrong[:4]]
    assert texts(ax) == wanted
    mosaic = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(mosaic[1:3, :3], X[wrong[0]].reshape(2, 3))
    tiny = pyplot.figure(figsize=(0.8, 0.8)).add_subplot()
    assert not texts(fastnn.plot.misclassified(network, X, y, (2, 3), tiny))
    with pytest.raises(ValueError, match="every sample is taken for what it is"):
        fastnn.plot.misclassified(network, X, found, (2, 3))
    with pytest.raises(TypeError, match=r"image_shape must be \(rows, columns\), got None"):
        fastnn.plot.misclassified(network, X, y)
    images = make_images()
    pixels = rng.random((5, 8, 7, 1))
    ax = fastnn.plot.misclassified(images, pixels, (images.predict_labels(pixels) + 1) % 9)
    mosaic = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(mosaic[3:11, :7], pixels[0, :, :, 0])


def test_what_is_no_class_is_refused():
    network, X, y = make_classes()
    for call in (fastnn.plot.decision_regions, fastnn.plot.confusion, fastnn.plot.misclassified):
        with pytest.raises(ValueError, match="ends in Dense.1, identity."):
            call(fastnn.mlp(2, 1), X, y)
        with pytest.raises(ValueError, match="X has 30 samples and y has 29 classes"):
            call(network, X, y[1:])
        with pytest.raises(ValueError, match="classes in y must be whole numbers from 0 to 2"):
            call(network, X, y + 1)
    with pytest.raises(ValueError, match=r"needs a network with 2 inputs, and this one takes \(3,\)"):
        fastnn.plot.decision_regions(fastnn.mlp(3, 2, output="softmax"), np.zeros((2, 3)), [0, 1])


def test_weights_have_their_units_numbers_and_no_glare():
    with pyplot.style.context("dark_background"):
        ax = fastnn.plot.weights(fastnn.mlp(16, 6, 1, seed=0), 0, (4, 4))
        assert texts(ax) == [str(k) for k in range(6)]
        assert colors.to_rgb(ax.images[0].get_cmap()(0.5)) == pytest.approx((0, 0, 0), abs=0.02)


def test_axes_that_are_none():
    network, plane = fastnn.mlp(1, 2, 1, seed=0), fastnn.mlp(2, 2, output="softmax", seed=0)
    pictures = fastnn.Network((4, 4, 1), [fastnn.Conv2D(2, 3, "relu"), fastnn.Dense(2, "softmax")], seed=0)
    steps = fastnn.Network((3, 2), [fastnn.RNN(2, "tanh"), fastnn.Dense(1, "identity")], seed=0)
    trainer = fastnn.Trainer(network)
    X, y, points = [[1.0], [2.0]], [3.0, 6.0], [[0.0, 1.0], [1.0, 0.0]]
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 1))
    wrong = 1 - pictures.predict_labels(images)
    for draw in (
        lambda ax: fastnn.plot.approach({0: network}, X, y, ax=ax),
        lambda ax: fastnn.plot.comparison(fastnn.compare(network, X, y, methods=[fastnn.Perturbation()]), ax=ax),
        lambda ax: fastnn.plot.confusion(plane, points, [0, 1], ax=ax),
        lambda ax: fastnn.plot.decision_regions(plane, points, [0, 1], ax=ax),
        lambda ax: fastnn.plot.feature_maps(pictures, images[0], ax=ax),
        lambda ax: fastnn.plot.filters(pictures, ax=ax),
        lambda ax: fastnn.plot.gradient_check(network, X, y, ax=ax),
        lambda ax: fastnn.plot.history(trainer.fit(X, y), ax=ax),
        lambda ax: fastnn.plot.loss_along(network, X, y, ax=ax),
        lambda ax: fastnn.plot.misclassified(pictures, images, wrong, ax=ax),
        lambda ax: fastnn.plot.network(network, ax=ax),
        lambda ax: fastnn.plot.network(pictures, ax=ax),
        lambda ax: fastnn.plot.network(steps, ax=ax),
        lambda ax: fastnn.plot.range_test(fastnn.learning_rate_range_test(trainer, X, y), ax=ax),
        lambda ax: fastnn.plot.weights(fastnn.mlp(4, 2, seed=0), 0, (2, 2), ax=ax),
    ):
        for ax in ("a", pyplot):
            with pytest.raises(TypeError, match=r"ax must be matplotlib's Axes, such as figure, ax = pyplot.subplots"):
                draw(ax)
