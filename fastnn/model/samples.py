"""Which samples are trained on, and which are held out."""

import numpy as np

from fastnn._support.validate import Array


def split_rows(strata: Array, fraction: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return which rows to train on and which to validate with, sorted; each stratum is shared out alike."""
    shuffled = rng.permutation(len(strata))
    ordered = shuffled[np.argsort(strata[shuffled], kind="stable")]
    steps = np.floor(np.arange(len(strata) + 1) * fraction)
    is_taken = np.diff(steps) > 0
    return np.sort(ordered[~is_taken]), np.sort(ordered[is_taken])


def hold_out(strata: Array, fraction: float, is_drawn: bool) -> tuple[Array, Array]:
    """Return `split_rows`, drawn alike for as many rows of these strata; or, not drawn, the last ones held out."""
    if is_drawn:
        train, held = split_rows(strata, fraction, np.random.default_rng(0))
    else:
        train, held = np.split(np.arange(len(strata)), [len(strata) - int(len(strata) * fraction)])
    if not len(train) or not len(held):
        raise ValueError(
            f"validation_split={fraction:g} of {len(strata)} samples leaves {len(train)} to train on and {len(held)} "
            "to validate with, and both need one"
        )
    return train, held
