"""Images: weights, filters, and what filters make of an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.model.layers import Conv2D
from fastnn.model.network import Network
from fastnn.plot._base import BLUE, RED, find_axes, fit_texts, ground, write


def weights(network: Network, layer: int, image_shape: tuple[int, int], ax: Axes | None = None) -> Axes:
    """Draw the weights that lead into each unit of a layer as an image.

    Parameters
    ----------
    network : Network
    layer : int
        0 is the first one, whose inputs may be pixels.
    image_shape : (int, int)
        Rows and columns of one image: as many pixels as the layer has inputs.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all images; red is negative, blue positive, on one scale.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, or its inputs do not make such an image.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> ax = fastnn.plot.weights(fastnn.mlp(64, 12, 10, seed=0), 0, (8, 8))
    """
    validate.instance("network", network, (Network,))
    choose_layer(network.dense_layers("plot.weights"), layer)
    w = network.weights[2 * layer]
    rows, columns = check_image_shape(image_shape, w.shape[0], f"layer {layer}")
    return _draw_weight_images(w.T.reshape(-1, rows, columns), near_square(w.shape[1]), ax)


def filters(network: Network, layer: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the filters of a convolution as images.

    Parameters
    ----------
    network : Network
    layer : int, default 0
        Which of `network.layers`, a Conv2D.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all filters; red is negative, blue positive, on one scale. Over one channel they stand
        side by side, over more each in a column, a row a channel.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, or it is no Conv2D.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> layers = [fastnn.Conv2D(8, 3, "relu"), fastnn.Dense(10, "softmax")]
    >>> ax = fastnn.plot.filters(fastnn.Network((8, 8, 1), layers, seed=0))
    """
    validate.instance("network", network, (Network,))
    chosen = choose_layer(network.layers, layer)
    if not isinstance(chosen, Conv2D):
        raise ValueError(f"layer {layer} is {chosen}, which has no filters: those of a Conv2D are drawn")
    n_before = sum(hasattr(other, "activation") for other in network.layers[:layer])
    w = network.weights[2 * n_before]
    images = w.transpose(2, 3, 0, 1).reshape(-1, *w.shape[:2])
    return _draw_weight_images(images, w.shape[3] if w.shape[2] > 1 else near_square(w.shape[3]), ax)


def feature_maps(network: Network, x: ArrayLike, layer: int = 0, ax: Axes | None = None) -> Axes:
    """Draw what a layer over images makes of one.

    Parameters
    ----------
    network : Network
    x : array_like, shape (height, width, channels)
        One sample.
    layer : int, default 0
        Which of `network.layers`, a Conv2D or a pool.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all channels; the brighter, the larger, on one scale.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, it puts out no images, or x is no sample.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> layers = [fastnn.Conv2D(8, 3, "relu"), fastnn.Dense(10, "softmax")]
    >>> network = fastnn.Network((8, 8, 1), layers, seed=0)
    >>> ax = fastnn.plot.feature_maps(network, [[[k * j / 49] for k in range(8)] for j in range(8)])
    """
    validate.instance("network", network, (Network,))
    chosen = choose_layer(network.layers, layer)
    maps = network.forward(sample_of_images(network, x)[None]).activations[layer][0]
    if maps.ndim < 3:
        raise ValueError(f"layer {layer} is {chosen}, which puts out no images")
    mosaic = lay_out(np.moveaxis(maps, -1, 0), near_square(maps.shape[-1]))
    return show_mosaic(mosaic, "activation", ax, cmap="gray")


def sample_of_images(network: Network, x: ArrayLike) -> Array:
    """Return one sample, (height, width, channels); one channel need not be said."""
    sample = validate.array("x", x, network.dtype)
    shape = network.input_shape
    if sample.shape not in (shape, *([shape[:-1]] if shape[-1] == 1 else [])):
        raise ValueError(f"x must be one sample of shape {shape}, got {sample.shape}")
    return sample.reshape(shape)


def choose_layer(layers: Sequence[Any], layer: int) -> Any:
    """Return a layer by its number."""
    if validate.integer("layer", layer, low=0) >= len(layers):
        raise ValueError(f"layer must be 0 to {len(layers) - 1}, got {layer}")
    return layers[layer]


def near_square(n_images: int) -> int:
    """Return how many images stand side by side where the whole is to be half as wide again as it is high."""
    return int(np.ceil(np.sqrt(n_images * 1.5)))


def find_corner(k: int, across: int, rows: int, columns: int) -> tuple[int, int]:
    """Return how far from the left and from above image k of a mosaic begins, so many being side by side."""
    gap = max(1, columns // 10)
    return k % across * (columns + gap), k // across * (rows + gap)


def lay_out(images: Array, across: int) -> Array:
    """Return a mosaic of images (n, rows, columns), so many side by side, with gaps of nan."""
    n_images, rows, columns = images.shape
    down = -(-n_images // across)
    right, bottom = find_corner(down * across - 1, across, rows, columns)
    mosaic = np.full((bottom + rows, right + columns), np.nan)
    for k, image in enumerate(images):
        left, top = find_corner(k, across, rows, columns)
        mosaic[top : top + rows, left : left + columns] = image
    return mosaic


def check_image_shape(image_shape: object, n_inputs: int, whose: str) -> tuple[int, int]:
    """Return the rows and columns of an image, if so many inputs make it."""
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 2:
        raise TypeError(f"image_shape must be (rows, columns), got {validate.show(image_shape)}")
    rows, columns = (validate.integer("image_shape", length, low=1) for length in image_shape)
    if rows * columns != n_inputs:
        raise ValueError(f"image_shape {image_shape} has {rows * columns} pixels, and {whose} {n_inputs} inputs")
    return rows, columns


def _draw_weight_images(images: Array, across: int, ax: Axes | None) -> Axes:
    """Draw weights (n, rows, columns), red where negative and blue where positive, each with its number."""
    largest = float(np.abs(images).max()) or 1.0
    ax = _find_axes_for(lay_out(images, across), ax)
    # Zero is the colour behind: on black, white would glare.
    shades = LinearSegmentedColormap.from_list("weights", [RED, ground(ax), BLUE])
    show_mosaic(lay_out(images, across), "weight", ax, cmap=shades, vmin=-largest, vmax=largest)
    _, rows, columns = images.shape
    size = min(9.0, 0.3 * 72 * ax.get_window_extent().width / ax.figure.dpi / across)
    for k in range(len(images)):
        left, top = find_corner(k, across, rows, columns)
        write(
            ax, (left - 0.3, top - 0.3), str(k), size, color=ax.xaxis.label.get_color(), ha="left", va="top", alpha=0.8
        )
    return ax


def _find_axes_for(mosaic: Array, ax: Axes | None) -> Axes:
    """Return the Axes that are given, or new ones of the proportions of a mosaic."""
    return find_axes(ax, 7.2, 7.2 * mosaic.shape[0] / mosaic.shape[1] * 0.9)


def show_mosaic(mosaic: Array, label: str | None, ax: Axes | None, **scale: Any) -> Axes:
    """Draw a mosaic, with its scale beside it if that has a label."""
    ax = _find_axes_for(mosaic, ax)
    shown = ax.imshow(mosaic, interpolation="nearest", **scale)
    if label:
        bar = ax.figure.colorbar(shown, ax=ax, shrink=0.8, label=label)
        fit_texts(ax, bar.ax)
    ax.set_axis_off()
    return ax
