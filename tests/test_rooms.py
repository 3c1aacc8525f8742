"""Each activation, loss and optimiser is complete: what its file lacks, or a list beside it, is named here."""

import dataclasses
import inspect
import re
from pathlib import Path

import conftest
import naive
import numba
import numpy as np
import pytest
import test_schemes
from wide import narrow, widen

import fastnn
from fastnn.interop import imports
from fastnn.interop.kinds import KINDS
from fastnn.kernels import activations, losses, optimizers, schemes
from fastnn.kernels.activations import Activation
from fastnn.kernels.estimators import Estimator
from fastnn.kernels.losses import Loss
from fastnn.kernels.optimizers import Optimizer
from fastnn.model.initializers import INITIALIZERS
from fastnn.model.layers import LAYERS
from fastnn.model.metrics import METRICS, MODES
from fastnn.training.gradients import METHODS, make_recipe
from fastnn.training.optimizers import OPTIMIZERS


def public(module):
    """Return what a file defines, its imports of other files apart."""
    return {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}


NEEDED = {
    "activation": (
        *("DERIVATIVE_BOUNDS", "KINKS", "SLOPE_BELOW", "HAS_LOOPS"),
        *("residual", "value_and_slope", "change", "large_change", "taylor"),
    ),
    "loss": (
        *("OUTPUTS", "TARGETS", "KINK", "sample_loss", "count_correct", "output_delta", "curve_outputs"),
        *("residual_scale", "add_change", "add_loss_curvature", "bound_loss"),
    ),
    "optimizer": ("RATES", "N_MOMENTS", "IS_FUSED", "move"),
    "scheme": ("UNITS", "STEM_UNITS", "REPLACES"),
}
FILES = [
    *(("activation", code, module) for code, module in activations.MODULES.items()),
    *(("loss", code, module) for code, module in losses.MODULES.items()),
    *(("optimizer", code, module) for code, module in optimizers.MODULES.items()),
    *(("scheme", code, module) for code, module in schemes.MODULES.items()),
]


@pytest.mark.parametrize(("kind", "code", "module"), FILES, ids=lambda value: getattr(value, "name", ""))
def test_a_file_has_all_that_the_others_have_in_their_order(kind, code, module):
    assert module.__name__.endswith(code.name.lower())
    assert set(NEEDED[kind]) <= public(module)
    assert [name for name in vars(module) if name in NEEDED[kind]] == list(NEEDED[kind])  # in the same order


def test_every_code_has_a_file_and_a_definition():
    assert set(activations.MODULES) == set(Activation) - {Activation.SOFTMAX}
    assert set(losses.MODULES) == set(Loss)
    assert set(optimizers.MODULES) == set(Optimizer) - {Optimizer.NONE}
    assert set(naive.ACTIVATIONS) == {code.name.lower() for code in Activation}
    assert set(naive.OPTIMIZERS) == {code.name.lower() for code in optimizers.MODULES}
    # What the tests of gradients, series and precision run over.
    assert set(conftest.ELEMENTWISE) == set(naive.ACTIVATIONS) - {"softmax"}
    assert {loss for loss, _ in conftest.HEADS} == {loss.name.lower() for loss in Loss}
    assert {output for loss, output in conftest.HEADS if loss == "squared_error"} == set(naive.ACTIVATIONS)
    for loss, output in conftest.HEADS:
        assert output in (losses.MODULES[Loss[loss.upper()]].OUTPUTS or naive.ACTIVATIONS)


def test_layers_that_go_to_other_libraries_come_back():
    assert set(KINDS) == set(LAYERS)
    there = [
        "TORCH",
        "PARAMETERS",
        "shape",
        "to_others",
        "from_others",
        "to_torch",
        "from_torch",
        "to_onnx",
        "carry_error",
    ]
    for kind, module in KINDS.items():
        missing = {"from_others", "from_torch"} if kind is fastnn.Flatten else set()
        needed = [name for name in there if name not in missing]
        assert [name for name in vars(module) if name in needed] == needed


@pytest.mark.parametrize("decays", [False, True])
def test_every_optimiser_is_tested(decays):
    """By `test_optimizers.py`, `test_resume.py`: every code, and every class."""
    tested = [optimizer for optimizer in conftest.OPTIMIZERS if bool(optimizer.weight_decay) == decays]
    assert {optimizer.code for optimizer in tested} == set(optimizers.MODULES)
    assert {type(optimizer) for optimizer in tested} == set(OPTIMIZERS)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimiser_is_public(kind):
    """With all its file's rates as fields, in the reference, and in the README's list."""
    assert getattr(fastnn, kind.__name__) is kind
    fields = [field.name for field in dataclasses.fields(kind)]
    for optimizer in conftest.OPTIMIZERS:
        if type(optimizer) is kind:
            assert {"lr", "weight_decay", *optimizers.MODULES[optimizer.code].RATES} <= set(fields)
    root = Path(__file__).parent.parent
    assert f".. autoclass:: {kind.__name__}\n" in (root / "docs/api/training.rst").read_text()
    assert f"`{kind.__name__}({', '.join(fields)})`" in (root / "README.md").read_text()


def test_every_estimate_is_tested_and_public():
    """By `test_schemes.py` against plain NumPy; every way to find a gradient is in the reference and in the README."""
    network = fastnn.mlp(2, 2)
    recipes = [make_recipe(network, method) for method in test_schemes.METHODS]
    assert {recipe.estimator for recipe in recipes} == set(Estimator) == set(schemes.MODULES)
    root = Path(__file__).parent.parent
    reference = "".join(path.read_text() for path in root.glob("docs/api/*.rst"))
    for kind in METHODS:
        assert getattr(fastnn, kind.__name__) is kind
        assert f".. autoclass:: {kind.__name__}\n" in reference
        assert f"`{kind.__name__}(" in (root / "README.md").read_text()
        assert kind.__name__ in words(fastnn.Trainer.__doc__)
        assert kind.__name__ in words(fastnn.gradient.__doc__)


def words(text):
    return set(re.findall(r"\w+", text))


def test_every_list_that_users_read_names_it():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): words(row) for row in readme.splitlines() if row.startswith("| ")}
    for name in naive.ACTIVATIONS:
        assert name in words(fastnn.Dense.__doc__)
        assert name in words(fastnn.Network.__doc__)  # what its initial weights go by
        assert name in rows["hidden activations"] | {"softmax"}
    for kind in [*imports.FROM_TORCH, *(kind.TORCH for kind in KINDS.values())]:
        assert kind in words(fastnn.from_torch.__doc__)
    for loss in Loss:
        assert loss.name.lower() in words(fastnn.Trainer.__doc__)
        assert loss.name.lower() in words(fastnn.gradient.__doc__)
        assert loss.name.lower() in rows["losses"]


def test_every_metric_and_initializer_is_named():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): words(row) for row in readme.splitlines() if row.startswith("| ")}
    assert set(METRICS) <= rows["metrics"] & words(fastnn.Trainer.__doc__) & set(MODES)
    assert set(INITIALIZERS) <= rows["initial weights"] & words(fastnn.Network.__doc__)


def test_the_estimators_name_every_activation():
    estimators = pytest.importorskip("fastnn.sklearn", exc_type=ImportError)
    for name in conftest.ELEMENTWISE:
        assert name in words(estimators.PerturbationClassifier.__doc__)
        assert name in words(estimators.PerturbationRegressor.__doc__)


@numba.njit
def derivatives(code, z):
    """Return the kernel's f, f', f'' / 2 and f''' / 6, element by element, (n, 4)."""
    result = np.empty((z.size, 4))
    for k in range(z.size):
        a, slope = activations.value_and_slope(code, z[k])
        second, third = activations.taylor(code, z[k], a, slope)
        result[k, 0], result[k, 1], result[k, 2], result[k, 3] = a, slope, second, third
    return result


@pytest.mark.late(kept=5)
@pytest.mark.parametrize("code", activations.MODULES, ids=lambda code: code.name)
def test_taylor_coefficients_and_their_bounds(code):
    """By differences in eighty digits, on a grid; the bounds from both sides."""
    z = np.concatenate([np.arange(-12.0, 12.0, 0.03) + 0.004, [-1e-6, 1e-6]])  # no kink within the differences' reach
    h = 1e-10
    f = [
        naive.ACTIVATIONS[code.name.lower()](widen(z + 0.0) + widen(np.full(z.size, step * h))) for step in range(-2, 3)
    ]
    scale = widen(np.full(z.size, h))
    first = (f[3] - f[1]) / (2 * scale)
    second = (f[3] - 2 * f[2] + f[1]) / (2 * scale * scale)
    third = (f[4] - 2 * f[3] + 2 * f[1] - f[0]) / (12 * scale * scale * scale)
    fourth = (f[4] - 4 * f[3] + 6 * f[2] - 4 * f[1] + f[0]) / (24 * scale * scale * scale * scale)
    truth = np.stack([narrow(x) for x in (f[2], first, second, third, fourth)], axis=1)
    # The differences are off by h**2 times a higher derivative; the kernels by a dozen roundings of numbers of about 1.
    np.testing.assert_allclose(derivatives(code, z), truth[:, :4], rtol=1e-14, atol=1e-14)
    for order, bound in enumerate(activations.MODULES[code].DERIVATIVE_BOUNDS, start=1):
        largest = np.abs(truth[:, order]).max()
        # A step of 0.03 misses a maximum of these functions by less than a thousandth of it; leaks at 0.01 by 0.
        assert largest <= bound + 1e-15
        assert largest >= 0.998 * bound - 1e-15


@pytest.mark.parametrize("code", Activation, ids=lambda code: code.name)
def test_initial_weights_know_the_slope_below(code):
    """Deviations by He's rule, with the slope that the activation has far below zero."""
    n_units = 1 if code == Activation.SOFTMAX else 400
    weights = fastnn.Network(400, [fastnn.Dense(max(n_units, 2), code.name.lower())], seed=0).weights[0]
    below = 1.0
    if code != Activation.SOFTMAX:
        far = naive.ACTIVATIONS[code.name.lower()](np.array([-41.0, -40.0]))
        # What saturates on both sides is drawn as if it were linear.
        below = far[1] - far[0] if code.name.lower() not in ("sigmoid", "tanh", "hard_sigmoid") else 1.0
    expected = np.sqrt(2.0 / ((1.0 + below**2) * 400))
    # The deviation of so many numbers is off by 1 / sqrt(2 n) of itself: five times that.
    assert weights.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * weights.size))


@numba.njit
def change(code, z, t):
    """Return the kernel's f(z + t) - f(z), and the same from the loop over nudges."""
    a, slope = activations.value_and_slope(code, z)
    nudges = np.full(1, t)
    activations.change_block(code, z, a, slope, nudges)
    return activations.change(code, z, a, slope, t), nudges[0]


@pytest.mark.parametrize("code", activations.MODULES, ids=lambda code: code.name)
def test_one_change_is_that_of_the_loop(code):
    for t in (1e-6, -0.3, 2.0, -2.0):
        alone, looped = change(code, 0.25, t)
        assert alone == looped


def test_the_citation_is_of_this_version():
    lines = (Path(__file__).parent.parent / "CITATION.cff").read_text().splitlines()
    assert f"version: {fastnn.__version__}" in lines
