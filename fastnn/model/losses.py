"""Which loss goes with which output, how targets are given, and how much each sample counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.kernels.losses import MODULES, Loss


def find_loss(name: str, output: Activation) -> Loss:
    """Return the loss of that name, if it goes with the output layer's activation."""
    # Of two that a misspelt name may mean, the one that goes with it comes first.
    known = sorted(Loss, key=lambda member: not _goes_with(member, output))
    loss = Loss[validate.choice("loss", name, (member.name.lower() for member in known)).upper()]
    if not _goes_with(loss, output):
        needed = " or ".join(MODULES[loss].OUTPUTS)
        able = ", ".join(member.name.lower() for member in Loss if _goes_with(member, output))
        raise ValueError(
            f"loss {name!r} needs a {needed} output layer, and this network ends in {output.name.lower()}; "
            f"change that layer, or use one of: {able}"
        )
    return loss


def _goes_with(loss: Loss, output: Activation) -> bool:
    """Return if a loss goes with the output layer's activation."""
    outputs = MODULES[loss].OUTPUTS
    return outputs is None or output.name.lower() in outputs


def encode_targets(
    loss: Loss, y: ArrayLike, n_samples: int, outputs: tuple[int, ...], to: np.dtype[Any], advice: str = ""
) -> Array:
    """Return y as rows of a sample's outputs, integer labels one-hot; outputs is (n_outputs,) or (n_steps, n_outputs).

    Each step of a sequence has a row. The advice is for whoever has more axes than these.
    """
    hint = "; number the classes 0, 1, ..." if loss.classifies else ""
    result = validate.array("y", y, to, hint=hint)
    if result.ndim and len(result) != n_samples:
        raise ValueError(f"X has {n_samples} samples and y has {len(result)}")
    targets = MODULES[loss].TARGETS
    rows, n_outputs = (n_samples, *outputs[:-1]), outputs[-1]
    if targets == "distributions" and n_outputs == 1:
        raise ValueError(
            "this network ends in one softmax unit, which is always 1: for two classes, end in Dense(2, 'softmax'), "
            "or in Dense(1, 'sigmoid') with loss 'binary_cross_entropy'"
        )
    if targets == "distributions" and result.shape == rows:
        return _one_hot(result.ravel(), n_outputs)
    if result.shape == rows and n_outputs == 1:
        result = result.reshape(*rows, 1)
    if result.shape != (n_samples, *outputs):
        advice = advice if result.ndim > len(rows) else ""
        if targets == "distributions":
            advice = f", or integer labels of shape {rows}{advice}"
        elif result.ndim == len(rows):
            advice = "; integer labels go with loss 'categorical_cross_entropy' and a softmax output layer"
            advice += ", or as one-hot rows" if not loss.classifies else "; sigmoids each have a column of 0 and 1"
        raise ValueError(f"y must have shape {(n_samples, *outputs)}, got {result.shape}{advice}")
    if loss.classifies and (result.min() < 0 or result.max() > 1):
        advice = "; an output's target is 0 or 1, or a probability between"
        if targets == "distributions":
            advice = f"; rows of y are one-hot or sum to 1, and integer labels have shape {rows}"
        elif n_outputs == 1 and result.min() >= 0 and len(np.unique(result)) > 2:
            advice = "; more classes than two have an output each, in a softmax layer with loss "
            advice += "'categorical_cross_entropy'"
        raise ValueError(
            f"y must lie between 0 and 1 for {loss.name.lower()}, "
            f"got values from {result.min():g} to {result.max():g}{advice}"
        )
    if targets == "counts" and result.min() < 0:
        raise ValueError(f"y must not be negative for {loss.name.lower()}, got {result.min():g}")
    if targets == "distributions":
        # A row that was normalised in float32 is off by at most n_outputs roundings.
        off = np.abs(result.sum(axis=-1, dtype=np.float64) - 1.0) > n_outputs * np.finfo(np.float32).eps
        if off.any():
            first = tuple(int(k) for k in np.argwhere(off)[0])
            row = first[0] if len(first) == 1 else first
            raise ValueError(f"rows of y must be one-hot or sum to 1; row {row} sums to {result[first].sum():g}")
    return result.reshape(-1, n_outputs)


def weigh(
    loss: Loss,
    y: Array,
    sample_weight: ArrayLike | None,
    class_weight: object,
    n_steps: int | None = None,
    which: str = "the samples",
) -> Array:
    """Return encoded targets with one more column if samples are weighted: how much each counts, on the average 1.

    Of sequences, a row a step, it is on the average n_steps: a sample's loss is their sum. One more column has what
    counts at all: accuracy is of the steps whose weight is not 0. Which samples they are is for the message.
    """
    if sample_weight is None and class_weight is None and n_steps is None:
        return y
    weights = np.ones(len(y))
    if sample_weight is not None:
        given = validate.array("sample_weight", sample_weight, weights.dtype)
        n_samples = len(y) // (n_steps or 1)
        if given.shape == (n_samples,):
            weights = np.repeat(given, n_steps or 1)
        elif n_steps is not None and given.shape == (n_samples, n_steps):
            weights = given.ravel()
        else:
            wanted = f"({n_samples},), one number a sample"
            wanted += f", or ({n_samples}, {n_steps}), one a step" if n_steps is not None else ""
            raise ValueError(f"sample_weight must have shape {wanted}, got {given.shape}")
        if weights.min() < 0:
            raise ValueError(f"sample_weight must not be negative, got {weights.min():g}")
    if class_weight is not None:
        weights = weights * _weigh_classes(loss, y, class_weight, weights)
    largest = weights.max()
    if largest == 0:
        raise ValueError(f"the weights of {which} are all 0: none of them counts")
    weights = weights / largest  # which keeps their sum from overflowing
    weights = weights / weights.mean()
    if n_steps is None:
        return np.column_stack([y, weights]).astype(y.dtype)
    return np.column_stack([y, n_steps * weights, weights > 0]).astype(y.dtype)


def count_rows(y: Array, n_outputs: int) -> float:
    """Return of how many rows that `weigh` returns the predictions count."""
    return float(y[:, n_outputs + 1].sum(dtype=np.float64)) if y.shape[1] > n_outputs + 1 else len(y)


def find_counted(y: Array, n_outputs: int) -> Array | slice:
    """Return the rows that `weigh` returns of which the predictions count."""
    return y[:, n_outputs + 1] > 0 if y.shape[1] > n_outputs + 1 else slice(None)


def find_strata(loss: Loss, y: Array) -> Array:
    """Return the class of each row of encoded targets, 0 where classes do not exclude each other, or there are none."""
    if not _has_classes(loss, y):
        return np.zeros(len(y), np.int64)
    strata: Array = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)
    return strata


def _has_classes(loss: Loss, y: Array) -> bool:
    """Return whether each row of encoded targets is of one class: not where several sigmoids stand for themselves."""
    return loss.classifies and not (MODULES[loss].TARGETS == "probabilities" and y.shape[1] > 1)


def _weigh_classes(loss: Loss, y: Array, class_weight: object, counted: Array) -> Array:
    """Return the weight of each sample's class, (n_samples,), where samples count as given besides."""
    if not _has_classes(loss, y):
        raise ValueError("class_weight goes with classes that exclude each other: use sample_weight here")
    if not ((y == 0) | (y == 1)).all():
        raise ValueError("class_weight needs y to be labels or one-hot rows, got fractions: use sample_weight here")
    labels = find_strata(loss, y)
    n_classes = max(y.shape[1], 2)
    weights = np.ones(n_classes)
    if isinstance(class_weight, str):
        validate.choice("class_weight", class_weight, ["balanced"])
        shares = counted / (counted.max() or 1.0)  # whose sum does not overflow
        # A class of which no sample counts has a weight, too, so that 0 times it is 0.
        weights /= np.maximum(np.bincount(labels, shares, n_classes), np.finfo(np.float64).tiny)
        class_weight = {}
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be a mapping of classes to numbers, or 'balanced', got {class_weight!r}")
    for label, weight in class_weight.items():
        if label not in range(n_classes):
            raise ValueError(f"class_weight must have keys from 0 to {n_classes - 1}, got {label!r}")
        weights[int(label)] = validate.number(f"class_weight[{label}]", weight, low=0.0)
    chosen: Array = weights[labels]
    return chosen


def _one_hot(labels: Array, n_classes: int) -> Array:
    """Return integer labels (n,) as one-hot rows (n, n_classes)."""
    if labels.min() < 0 or labels.max() >= n_classes:
        low, high = labels.min(), labels.max()
        advice = f"; the network needs {high + 1:g} outputs" if low >= 0 else "; number the classes 0, 1, ..."
        if (low, high) == (1, n_classes):
            advice = "; subtract 1"
        raise ValueError(
            f"labels in y must be 0 to {n_classes - 1} for {n_classes} outputs, "
            f"got values from {low:g} to {high:g}{advice}"
        )
    codes = labels.astype(np.int64)
    if not np.array_equal(codes, labels):
        raise ValueError("y must be integer labels or one-hot rows, got fractions in a vector")
    encoded = np.zeros((codes.size, n_classes), labels.dtype)
    encoded[np.arange(codes.size), codes] = 1
    return encoded
