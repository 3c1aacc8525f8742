"""What is drawn is what the network holds, and nothing covers anything else."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib import colors, pyplot
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

import fastnn
import fastnn.plot


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


TITLES_OF_SMALL = ["2 inputs", "3 leaky relu", "1 sigmoid"]
TITLES = {"inputs", "input", "relu", "sigmoid", "softmax", "identity"}


def test_network_holds_its_weights(small):
    ax = fastnn.plot.network(small)
    assert len(circles(ax)) == 6
    assert len(arrows(ax)) == 9
    assert all(isinstance(arrow, FancyArrowPatch) for arrow in arrows(ax))
    weights = ["0.5", "-1", "2", "0.25", "0", "1", "1", "-2", "3"]
    biases = ["+0.12", "-0.75", "+0.5"]
    assert sorted(texts(ax)) == sorted([*weights, *biases, "2 inputs", "3 leaky relu", "1 sigmoid"])
    # Negative ones in red, and 3 with the widest arrow of its layer.
    for text in ax.texts:
        if text.get_text().startswith("-"):
            assert text.get_color() == fastnn.plot.RED
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
    assert inside == {fastnn.plot._short(value) for value in values}
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
        assert len(ax.lines) == 3 * 3  # the dots
        assert {"784 inputs", "100 sigmoid", "10 softmax"} <= set(texts(ax))
        # No weights on the arrows: they are told by colour, and the faint ones are small.
        assert len(texts(ax)) == 3 + 7 + 2 * 14
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


@pytest.mark.parametrize(("inches", "written"), [(1.2, []), (2.0, TITLES_OF_SMALL), (3.0, TITLES_OF_SMALL)])
def test_letters_too_small_to_read_are_left_out(small, inches, written):
    ax = pyplot.figure(figsize=(inches, 0.75 * inches)).add_axes((0, 0, 1, 1))
    fastnn.plot.network(small, x=[1.0, -1.5], ax=ax)
    assert texts(ax) == written
    assert all(text.get_size() >= fastnn.plot.LEGIBLE for text in ax.texts if text.get_text())
    assert len(circles(ax)) == 6
    assert len(arrows(ax)) == 9
    if written:
        assert_titles_are_free(ax, 3)


def test_a_value_without_its_sum_is_in_the_middle(small):
    ax = pyplot.figure(figsize=(4.2, 3)).add_axes((0, 0, 1, 1))  # room for letters of 0.16 units and more
    fastnn.plot.network(small, x=[1.0, -1.5], ax=ax)
    assert "0.635" not in texts(ax)  # the output's sum
    (value,) = [text for text in ax.texts if text.get_text() == "0.654"]
    assert value.get_position() == pytest.approx(circles(ax)[-1].center)


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


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_history(classes, held):
    history = fit(6, classes=classes, held=held)
    ax = fastnn.plot.history(history)
    wanted = [("loss", ax), ("validation loss", ax)][: 1 + held]
    right = [other for other in ax.figure.axes if other is not ax]
    assert len(right) == classes
    if classes:
        wanted += [("accuracy", right[0]), ("validation accuracy", right[0])][: 1 + held]
    lines = {line.get_label(): line for axes in ax.figure.axes for line in axes.lines}
    assert list(lines) == [label for label, _ in wanted]
    for label, axes in wanted:
        np.testing.assert_array_equal(lines[label].get_ydata(), getattr(history, label.replace(" ", "_")))
        np.testing.assert_array_equal(lines[label].get_xdata(), np.arange(1, 7))
        assert lines[label] in axes.lines
    assert (ax.get_legend() is not None) == (classes or held)
    if ax.get_legend():  # within the figure
        ax.figure.canvas.draw()
        box = ax.get_legend().get_window_extent()
        assert box.y1 <= ax.figure.bbox.y1
        assert not box.overlaps(ax.get_window_extent().shrunk(1, 0.999))


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
    for axes in ax.figure.axes:
        for line in axes.lines:
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
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    eps = ax.lines[0].get_xdata()
    slope = {label: np.log10(y[21] / y[18]) / np.log10(eps[21] / eps[18]) for label, y in lines.items()}  # 1e-4 to 1e-3
    assert slope["forward"] == pytest.approx(1, abs=0.1)
    assert slope["central"] == pytest.approx(2, abs=0.1)
    assert slope["subtracting losses"] == pytest.approx(1, abs=0.1)
    # eps = 1e-10: a loss of size 1 is known to 1e-16, so that its difference is known to 1e-6; ours to 1e-10.
    assert lines["subtracting losses"][0] > 1e-8
    assert lines["forward"][0] < 1e-9
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)


@pytest.mark.parametrize(
    ("inches", "columns", "size"), [(1.5, 1, 5), (3, 2, 0.775 * 3 / 3.5 * 10), (6.4, 3, 10), (12, 3, 10)]
)
def test_the_legend_covers_no_curve(inches, columns, size):
    ax = pyplot.figure(figsize=(inches, 0.75 * inches), layout="constrained").add_subplot()
    fastnn.plot.gradient_check(fastnn.mlp(1, 2, 1, seed=0), [[1.0], [2.0]], [0.5, 1.0], ax=ax)
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert legend._ncols == columns
    assert not legend.get_window_extent().overlaps(ax.get_window_extent().shrunk(1, 0.999))
    assert ax.figure.bbox.y1 >= legend.get_window_extent().y1
    letters = [label for axis in (ax.xaxis, ax.yaxis) for label in [axis.label, *axis.get_ticklabels("both")]]
    np.testing.assert_allclose([text.get_size() for text in letters + legend.get_texts()], size)


def test_no_legend_where_it_would_take_the_room_of_the_curves():
    _, (low, high) = pyplot.subplots(2, 1, figsize=(1.5, 4), height_ratios=(1, 3))
    history = fit(6, classes=True, held=True)
    assert fastnn.plot.history(history, low).get_legend() is None
    assert fastnn.plot.history(history, high).get_legend() is not None
    right = low.figure.axes[-1]
    assert {label.get_size() for label in right.get_yticklabels()} == {right.yaxis.label.get_size()} == {5.0}


def test_gradient_check_measures_some_of_many_weights(monkeypatch):
    monkeypatch.setattr(fastnn.plot, "MAX_CHECKED", 4)
    ax = fastnn.plot.gradient_check(fastnn.mlp(3, 4, 2, seed=0), [[1.0, 2.0, 3.0]], [[1.0, 2.0]])
    assert len(ax.lines) == 3


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
    assert len(drawn.images) == len(frames(drawn))
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
    large, middling, tiny = (fastnn.plot.network(small, x=[1, 1], ax=narrow(w, w)) for w in (8, 3.5, 1))
    assert len(texts(large)) > len(texts(middling)) > len(texts(tiny)) == 0
    assert all(
        text.get_fontsize() >= fastnn.plot.LEGIBLE for text in [*large.texts, *middling.texts] if text.get_text()
    )


def test_texts_beside_curves_fit_small_axes():
    history = fit(3, classes=True, held=True)
    wide, slim, tiny = (fastnn.plot.history(history, ax=narrow(w, w)) for w in (5, 2, 0.8))
    assert wide.xaxis.label.get_fontsize() > slim.xaxis.label.get_fontsize() > tiny.xaxis.label.get_fontsize()
    assert tiny.xaxis.label.get_fontsize() == fastnn.plot.LEGIBLE
    for ax in (wide, slim):
        legend = ax.get_legend().get_window_extent()
        assert legend.width <= ax.get_window_extent().width
        assert legend.y0 >= ax.get_window_extent().y1
    assert tiny.get_legend() is None
