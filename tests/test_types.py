"""Texts of which there are a few are types; `typed.py` beside this is what a type checker makes of them."""

from typing import get_args

from fastnn._support import choices
from fastnn.kernels.activations import MODULES, Activation
from fastnn.kernels.estimators import Kind, Shaping
from fastnn.kernels.losses import Loss
from fastnn.model.initializers import INITIALIZERS
from fastnn.model.metrics import METRICS


def test_texts_are_those_that_there_are():
    """Types are written out; what is added elsewhere is added there."""
    names = {code.name.lower() for code in Activation}
    assert set(get_args(choices.ActivationName)) == names
    assert set(get_args(choices.HiddenName)) == {code.name.lower() for code in MODULES} == names - {"softmax"}
    assert set(get_args(choices.LossName)) == {loss.name.lower() for loss in Loss}
    assert set(get_args(choices.InitName)) == set(INITIALIZERS)
    assert set(get_args(choices.MetricName)) == {"accuracy", *METRICS}
    assert set(get_args(choices.DirectionsName)) == {kind.name.lower() for kind in Kind}
    assert set(get_args(choices.ShapingName)) == {shaping.name.lower() for shaping in Shaping} - {"none"}
