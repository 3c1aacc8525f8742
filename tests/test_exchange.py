"""Models that went out, or came in, predict what they predicted before."""

import numpy as np
import pytest
from conftest import BODIES, ELEMENTWISE

import fastnn

X = np.random.default_rng(0).normal(size=(7, 3)) * 5
# Outputs are sums of a few products of numbers of size 1 to 10, in another order, and
# activations from another library's exp: some tens of roundings of the largest.
TOLERANCE = {"float64": 1e-14, "float32": 1e-5}


def make(hidden, depth, output, dtype):
    network = fastnn.mlp(3, *[4, 5, 4][:depth], 2, hidden=hidden, output=output, seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    for b in network.weights[1::2]:
        b[:] = rng.normal(size=b.shape)
    return network


def assert_same(one, two):
    assert one.dtype == two.dtype
    np.testing.assert_allclose(one, two, rtol=0, atol=TOLERANCE[one.dtype.name] * max(1.0, np.abs(two).max()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
def test_onnx(tmp_path, dtype, output):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    for hidden, depth in BODIES:
        network = make(hidden, depth, output, dtype)
        path = tmp_path / "network.onnx"
        network.to_onnx(path)
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for n_samples in (1, 7):
            x = X[:n_samples].astype(dtype)
            (y,) = session.run(["Y"], {"X": x})
            assert_same(y, network.predict(x))


def test_onnx_refuses_weights_that_are_not_finite(tmp_path):
    pytest.importorskip("onnx")
    network = make("tanh", 1, "identity", "float64")
    network.weights[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        network.to_onnx(tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


# Stopped while the weights are of size 1.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", ["number", "two numbers", "two classes", "three classes"])
def test_from_sklearn(activation, target):
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    rng = np.random.default_rng(0)
    x, number = rng.normal(size=(40, 3)), rng.normal(size=40)
    y = {
        "number": number,
        "two numbers": np.column_stack([number, -number]),
        "two classes": number > 0,
        "three classes": np.digitize(number, [-0.5, 0.5]),
    }[target]
    kind = MLPClassifier if "classes" in target else MLPRegressor
    model = kind(hidden_layer_sizes=(4, 3), activation=activation, max_iter=20, random_state=0)
    network = fastnn.from_sklearn(model.fit(x, y))
    theirs = model.predict_proba(x) if "classes" in target else model.predict(x).reshape(40, -1)
    assert_same(network.predict(x), theirs[:, 1:] if target == "two classes" else theirs)


def test_from_sklearn_refuses_what_it_cannot_represent():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression
    from sklearn.neural_network import MLPRegressor

    with pytest.raises(TypeError, match=r"MLPClassifier or MLPRegressor, got LinearRegression\(\)"):
        fastnn.from_sklearn(LinearRegression())
    with pytest.raises(ValueError, match="is not fitted"):
        fastnn.from_sklearn(MLPRegressor())
    model = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs").fit([[0.0], [1.0]], [0.0, 1.0])
    model.out_activation_ = "exp"
    with pytest.raises(ValueError, match="output activation 'exp', which fastnn does not have"):
        fastnn.from_sklearn(model)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
def test_to_torch_and_back(dtype, output):
    import torch

    for hidden, depth in BODIES:
        network = make(hidden, depth, output, dtype)
        module = network.to_torch()
        x = X.astype(dtype)
        assert_same(module(torch.from_numpy(x)).detach().numpy(), network.predict(x))
        back = fastnn.from_torch(module)
        assert back.layers == network.layers
        assert back.dtype == network.dtype
        for one, two in zip(back.weights, network.weights, strict=True):
            np.testing.assert_array_equal(one, two)
        before = module[0].weight.clone()
        back.weights[0][:] = 0  # a copy: neither the module nor the network sees this
        network.weights[0][:] = 0
        assert torch.equal(module[0].weight, before)


@pytest.mark.torch
def test_from_torch_reads_nested_modules_without_bias():
    import torch
    from torch import nn

    inner = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Softplus())
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), inner, nn.Linear(5, 2), nn.Softmax(dim=1))
    network = fastnn.from_torch(module)
    assert [layer.activation for layer in network.layers] == ["identity", "softplus", "softmax"]
    x = X.astype("float32")
    assert_same(network.predict(x), module(torch.from_numpy(x)).detach().numpy())
    assert fastnn.from_torch(nn.Linear(3, 2)).n_parameters == 8


@pytest.mark.torch
def test_from_torch_names_what_it_does_not_have():
    from torch import nn

    linear = nn.Linear(3, 3)
    for modules, kind, message in [
        ([linear, nn.GELU()], TypeError, r"module[1] is GELU(approximate='none'), which fastnn does not have"),
        ([linear, nn.Sequential(nn.Conv1d(1, 1, 1))], TypeError, "module[1][0] is Conv1d(1, 1"),
        ([linear, nn.Flatten()], TypeError, "module[1] is Flatten("),
        ([nn.ReLU(), linear], ValueError, "module[0] is ReLU(), and fastnn has one activation after each Linear"),
        ([linear, nn.ReLU(), nn.Tanh()], ValueError, "module[2] is Tanh(), and fastnn has one activation"),
        ([linear, nn.LeakyReLU(0.2)], ValueError, "leaky_relu has slope 0.01"),
        ([linear, nn.Softplus(2.0)], ValueError, "softplus has beta 1"),
        ([linear, nn.Softmax(dim=0)], ValueError, "softmax is over the features"),
        ([linear, nn.Softmax(dim=1), linear], ValueError, "softmax, which is for the output layer only"),
        ([], ValueError, "module has no Linear layer"),
    ]:
        with pytest.raises(kind) as caught:
            fastnn.from_torch(nn.Sequential(*modules))
        assert message in str(caught.value)


def test_fastnn_alone_does_not_import_the_others():
    import subprocess
    import sys

    code = "import sys, fastnn; sys.exit(bool({'sklearn', 'torch', 'onnx', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
