"""Texts of which there are a few, as types: a type checker finds one that is misspelt before anything runs."""

from typing import Literal, TypeAlias

HiddenName: TypeAlias = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "elu", "silu", "gelu", "hard_sigmoid"
]
ActivationName: TypeAlias = Literal[HiddenName, "softmax"]
LossName: TypeAlias = Literal[
    "squared_error", "absolute_error", "huber", "poisson", "binary_cross_entropy", "categorical_cross_entropy"
]
InitName: TypeAlias = Literal[
    "fan_in",
    "standard_normal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "uniform",
    "orthogonal",
]
PaddingName: TypeAlias = Literal["valid", "same"]
SchemeName: TypeAlias = Literal["forward", "central"]
EvaluationName: TypeAlias = Literal["auto", "series", "direct"]
DirectionsName: TypeAlias = Literal["rademacher", "gaussian", "sphere", "walsh", "coordinate"]
NoiseName: TypeAlias = Literal["rademacher", "gaussian", "sphere"]
LayersName: TypeAlias = Literal["together", "each"]
SlopesName: TypeAlias = Literal["weights", "units"]
RoundingName: TypeAlias = Literal["nearest", "stochastic"]
ShapingName: TypeAlias = Literal["sign", "ranks"]
MetricName: TypeAlias = Literal["accuracy", "r2", "mae", "f1"]
ModeName: TypeAlias = Literal["auto", "min", "max"]
TaskName: TypeAlias = Literal["auto", "classes", "numbers"]
PolicyName: TypeAlias = Literal["refuse", "drop", "fill"]
