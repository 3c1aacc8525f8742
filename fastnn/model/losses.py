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
    loss = Loss[validate.choice("loss", name, (member.name.lower() for member in Loss)).upper()]
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


def encode_targets(loss: Loss, y: ArrayLike, n_samples: int, n_outputs: int, to: np.dtype[Any]) -> Array:
    """Return y as (n_samples, n_outputs), integer labels one-hot."""
    hint = "; number the classes 0, 1, ..." if loss.classifies else ""
    result = validate.array("y", y, to, hint=hint)
    if result.ndim and len(result) != n_samples:
        raise ValueError(f"X has {n_samples} samples and y has {len(result)}")
    targets = MODULES[loss].TARGETS
    if targets == "distributions" and result.ndim == 1:
        return _one_hot(result, n_outputs)
    if result.ndim == 1 and n_outputs == 1:
        result = result.reshape(-1, 1)
    if result.shape != (n_samples, n_outputs):
        advice = ""
        if targets == "distributions":
            advice = f", or integer labels of shape ({n_samples},)"
        elif result.ndim == 1 and not loss.classifies:
            advice = "; integer labels go with loss 'categorical_cross_entropy', or as one-hot rows"
        raise ValueError(f"y must have shape ({n_samples}, {n_outputs}), got {result.shape}{advice}")
    if loss.classifies and (result.min() < 0 or result.max() > 1):
        raise ValueError(
            f"y must lie between 0 and 1 for {loss.name.lower()}, got values from {result.min():g} to {result.max():g}"
        )
    if targets == "distributions":
        # A row that was normalised in float32 is off by at most n_outputs roundings.
        off = np.abs(result.sum(axis=1, dtype=np.float64) - 1.0) > n_outputs * np.finfo(np.float32).eps
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(f"rows of y must be one-hot or sum to 1; row {row} sums to {result[row].sum():g}")
    return result


def weigh(loss: Loss, y: Array, sample_weight: ArrayLike | None, class_weight: object) -> Array:
    """Return encoded targets with one more column if samples are weighted: how much each counts, on the average 1."""
    if sample_weight is None and class_weight is None:
        return y
    weights = np.ones(len(y))
    if sample_weight is not None:
        weights = validate.array("sample_weight", sample_weight, weights.dtype)
        if weights.shape != (len(y),):
            raise ValueError(f"sample_weight must have shape ({len(y)},), one number a sample, got {weights.shape}")
        if weights.min() < 0:
            raise ValueError(f"sample_weight must not be negative, got {weights.min():g}")
    if class_weight is not None:
        weights = weights * _weigh_classes(loss, y, class_weight)
    largest = weights.max()
    if largest == 0:
        raise ValueError("the weights of the samples are all 0: there is nothing to train on")
    weights = weights / largest  # which keeps their sum from overflowing
    return np.column_stack([y, weights / weights.mean()]).astype(y.dtype)


def _weigh_classes(loss: Loss, y: Array, class_weight: object) -> Array:
    """Return the weight of each sample's class, (n_samples,)."""
    if not loss.classifies or (MODULES[loss].TARGETS == "probabilities" and y.shape[1] > 1):
        raise ValueError("class_weight goes with classes that exclude each other: use sample_weight here")
    if not ((y == 0) | (y == 1)).all():
        raise ValueError("class_weight needs y to be labels or one-hot rows, got fractions: use sample_weight here")
    labels = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
    n_classes = max(y.shape[1], 2)
    weights = np.ones(n_classes)
    if isinstance(class_weight, str):
        validate.choice("class_weight", class_weight, ["balanced"])
        weights /= np.maximum(np.bincount(labels, minlength=n_classes), 1)
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
    """Return integer labels (n_samples,) as one-hot rows (n_samples, n_classes)."""
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"labels in y must be 0 to {n_classes - 1} for {n_classes} outputs, "
            f"got values from {labels.min():g} to {labels.max():g}"
        )
    codes = labels.astype(np.int64)
    if not np.array_equal(codes, labels):
        raise ValueError("y must be integer labels or one-hot rows, got fractions in a vector")
    encoded = np.zeros((codes.size, n_classes), labels.dtype)
    encoded[np.arange(codes.size), codes] = 1
    return encoded
