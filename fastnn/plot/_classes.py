"""What a network takes samples for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.model.network import Network
from fastnn.plot._base import LEGIBLE, LETTER, add_legend, find_axes, fit_texts
from fastnn.plot._images import check_image_shape, find_corner, lay_out, near_square, show_mosaic

N_GRID = 200  # points along a side of what `decision_regions` colours
# The order of matplotlib's own colours, of which the first ten can be told apart.
COLOURS = tuple(f"C{k}" for k in range(10))
# Of an image that is read wrongly, rows above it for what it is and what it is taken for, in its height.
CAPTION = 0.35


def decision_regions(network: Network, X: ArrayLike, y: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw which class a network with two inputs takes each point of the plane for, and the samples.

    Parameters
    ----------
    network : Network
        With two inputs, and a softmax layer or one sigmoid at its end.
    X : array_like, shape (n_samples, 2)
    y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        Their classes, as labels or as one-hot rows.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If the network has other inputs or outputs, or the samples do not fit it.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> network = fastnn.mlp(2, 8, 3, output="softmax", seed=0)
    >>> ax = fastnn.plot.decision_regions(network, [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 2])
    """
    labels, _ = _check_labels(network, X, y)
    if network.input_shape != (2,):
        raise ValueError(f"decision_regions needs a network with 2 inputs, and this one takes {network.input_shape}")
    x = validate.dense(network.check_inputs(X))
    ax = find_axes(ax, 5.6, 4.4)
    low, high = x.min(axis=0), x.max(axis=0)
    reach = 0.15 * (high - low) + 1e-9
    sides = [np.linspace(a, b, N_GRID) for a, b in zip(low - reach, high + reach, strict=True)]
    across, up = np.meshgrid(*sides)
    found = network.predict_labels(np.column_stack([across.ravel(), up.ravel()])).reshape(across.shape)
    n_classes = max(int(labels.max()), int(found.max())) + 1
    shades = [COLOURS[k % len(COLOURS)] for k in range(n_classes)]
    scale: dict[str, Any] = {"cmap": ListedColormap(shades), "vmin": -0.5, "vmax": n_classes - 0.5}
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    ax.imshow(found, origin="lower", extent=extent, aspect="auto", alpha=0.35, interpolation="nearest", **scale)
    dots = [
        ax.scatter(
            x[labels == k, 0],
            x[labels == k, 1],
            s=18,
            color=shades[k],
            edgecolor="white",
            linewidth=0.5,
            label=f"class {k}",
        )
        for k in np.unique(labels)
    ]
    ax.set(xlabel="first input", ylabel="second input")
    add_legend(ax, dots, 4, fit_texts(ax))
    return ax


def confusion(
    network: Network, X: ArrayLike, y: ArrayLike, ax: Axes | None = None, *, class_names: Sequence[str] | None = None
) -> Axes:
    """Draw how many samples of each class are taken for each class, by scikit-learn's display (the extra ``sklearn``).

    Parameters
    ----------
    network : Network
        With a softmax layer or one sigmoid at its end.
    X : array_like, shape (n_samples,) + input_shape
    y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        Their classes, as labels or as one-hot rows.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.
    class_names : sequence of str, optional
        Default their numbers.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without scikit-learn.
    TypeError, ValueError
        If the network puts out no classes, or the samples do not fit it.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> network = fastnn.mlp(2, 8, 3, output="softmax", seed=0)
    >>> ax = fastnn.plot.confusion(network, [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 2])
    """
    with validate.optional("plot.confusion", "sklearn"):
        from sklearn.metrics import ConfusionMatrixDisplay

    labels, n_classes = _check_labels(network, X, y)
    names = _name_classes(class_names, n_classes)
    found = network.predict_labels(X)
    ax = find_axes(ax, 1.4 + 0.5 * n_classes, 1.2 + 0.5 * n_classes)
    size = fit_texts(ax) or 10.0
    inches = ax.get_window_extent().height / ax.figure.dpi / n_classes
    fitting = 72 * inches / (3 * LETTER)  # three digits a cell
    options: dict[str, Any] = {"colorbar": False, "cmap": "Blues", "ax": ax, "include_values": fitting >= LEGIBLE}
    if fitting >= LEGIBLE:
        options["text_kw"] = {"fontsize": min(size, fitting)}
    ConfusionMatrixDisplay.from_predictions(labels, found, labels=range(n_classes), display_labels=names, **options)
    ax.set(xlabel="taken for", ylabel="is")
    fit_texts(ax)
    if LETTER * size * max(map(len, names)) > 72 * inches:
        ax.tick_params(axis="x", labelrotation=90)
    return ax


def misclassified(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    image_shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
    *,
    at_most: int = 24,
    class_names: Sequence[str] | None = None,
) -> Axes:
    """Draw images that a network takes for what they are not, each with what it is taken for and what it is.

    Parameters
    ----------
    network : Network
        With a softmax layer or one sigmoid at its end.
    X : array_like, shape (n_samples,) + input_shape
    y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        Their classes, as labels or as one-hot rows.
    image_shape : (int, int), optional
        Rows and columns of one image; default those of the network's inputs. Of several channels the mean is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.
    at_most : int, default 24
        The first so many.
    class_names : sequence of str, optional
        Default their numbers.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of the images.

    Raises
    ------
    TypeError, ValueError
        If the network puts out no classes, the samples do not fit it, or none is taken for something else.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> network = fastnn.mlp(4, 3, output="softmax", seed=0)
    >>> ax = fastnn.plot.misclassified(network, [[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]], [0, 1, 2], (2, 2))
    """
    labels, n_classes = _check_labels(network, X, y)
    names = _name_classes(class_names, n_classes)
    at_most = validate.integer("at_most", at_most, low=1)
    x = validate.dense(network.check_inputs(X))
    if image_shape is None and len(network.input_shape) == 3:
        x, image_shape = x.reshape(len(x), -1, network.input_shape[2]).mean(axis=2), network.input_shape[:2]
    rows, columns = check_image_shape(image_shape, x.shape[1], "a sample")
    found = network.predict_labels(X)
    wrong = np.flatnonzero(found != labels)[:at_most]
    if not len(wrong):
        raise ValueError("every sample is taken for what it is: there is nothing to draw")
    caption = int(np.ceil(CAPTION * rows))
    images = np.concatenate([np.full((len(wrong), caption, columns), np.nan), x[wrong].reshape(-1, rows, columns)], 1)
    across = near_square(len(wrong))
    ax = show_mosaic(lay_out(images, across), None, ax, cmap="gray")
    unit = ax.get_window_extent().width / ax.figure.dpi * 72 / across
    for k, place in enumerate(wrong):
        text = f"{names[found[place]]}, is {names[labels[place]]}"
        size = min(10.0, unit / (LETTER * len(text)))
        if size >= LEGIBLE:
            left, top = find_corner(k, across, rows + caption, columns)
            spot = left + columns / 2 - 0.5, top + caption - 0.7
            ax.text(*spot, text, size=size, ha="center", va="bottom", color=ax.xaxis.label.get_color())
    return ax


def check_names(what: str, names: Sequence[str] | None, n: int) -> list[str]:
    """Return names, if they are so many, or none."""
    if names is None:
        return []
    if isinstance(names, str) or len(names) != n:
        raise ValueError(f"{what} must be a list of {n} names, got {validate.show(names)}")
    return list(map(str, names))


def _name_classes(class_names: Sequence[str] | None, n_classes: int) -> list[str]:
    """Return what classes are called, by default their numbers."""
    return check_names("class_names", class_names, n_classes) or list(map(str, range(n_classes)))


def _check_labels(network: Network, X: ArrayLike, y: ArrayLike) -> tuple[Array, int]:
    """Return the class of each sample, and how many classes there are."""
    validate.instance("network", network, (Network,))
    n_outputs = network.output_layer.n_units
    is_one = network.output_layer.code == Activation.SIGMOID and n_outputs == 1
    if len(network.output_shape) > 1 or not (is_one or network.output_layer.code == Activation.SOFTMAX):
        raise ValueError(
            "this needs a network that ends in a softmax layer or in one sigmoid, and takes whole samples "
            f"for a class; this one ends in {network.output_layer}"
        )
    n_classes = 2 if is_one else n_outputs
    given = validate.array("y", y, np.dtype(np.float64), hint="; number the classes 0, 1, ...")
    labels = given.argmax(axis=1) if given.ndim == 2 and given.shape[1] == n_classes else given.ravel()
    n_samples = network.check_inputs(X).shape[0]
    if labels.shape != (n_samples,):
        raise ValueError(f"X has {n_samples} samples and y has {labels.size} classes")
    if labels.min() < 0 or labels.max() >= n_classes or (labels != np.floor(labels)).any():
        raise ValueError(f"classes in y must be whole numbers from 0 to {n_classes - 1}")
    return labels.astype(np.int64), n_classes
