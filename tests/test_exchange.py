"""Models that went out, or came in, predict what they predicted before."""

import re

import numpy as np
import pytest
from conftest import BODIES, ELEMENTWISE

import fastnn
from fastnn.interop import exports

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


# Kernels, windows, strides and images that are not square; odd zeros, even ones, and "same" where none are wanted.
Conv, Max, Average, Dense = fastnn.Conv2D, fastnn.MaxPool2D, fastnn.AveragePool2D, fastnn.Dense
STACKS = {
    "valid": ((7, 6, 2), [Conv(3, (3, 2), "tanh"), Max(2), Dense(4, "relu")]),
    "strides": ((8, 9, 1), [Conv(2, (2, 3), "elu", strides=(2, 1)), Average((2, 3), (1, 2)), fastnn.Flatten()]),
    "even zeros": ((6, 5, 2), [Conv(3, 3, "leaky_relu", padding="same"), Max((3, 2), 1)]),
    "odd zeros": ((6, 5, 3), [Conv(2, (2, 4), "softplus", padding="same"), Conv(2, 3, "silu", 2, "same")]),
    "larger": ((2, 3, 1), [Average(1), Conv(2, (3, 4), "identity", padding="same"), Dense(3, "sigmoid")]),
    "flat": ((3, 2, 2), [Dense(3, "tanh")]),
    "nothing": ((3, 4, 2), [Max((2, 1))]),
}


def make_stack(stack, dtype, output="softmax"):
    shape, layers = STACKS[stack]
    network = fastnn.Network(shape, [*layers, Dense(2, output)], seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    for b in network.weights[1::2]:
        b[:] = rng.normal(size=b.shape)
    return network, rng.normal(size=(7, *shape)).astype(dtype) * 5


RNN, GRU, LSTM = fastnn.RNN, fastnn.GRU, fastnn.LSTM
SEQUENCES = {
    "rnn": ((5, 3), [RNN(4, "tanh", return_sequences=True), RNN(2, "relu")]),
    "relu": ((2, 3), [RNN(4, "relu", return_sequences=True), Dense(3, "elu"), RNN(3, "tanh", return_sequences=True)]),
    "gru": ((4, 2), [GRU(3, return_sequences=True), GRU(4)]),
    "lstm": ((4, 2), [LSTM(3, return_sequences=True), LSTM(4), Dense(3, "tanh")]),
    "steps": ((3, 4), [Dense(2, "silu")]),
    "flattened": ((3, 2), [GRU(2, return_sequences=True), fastnn.Flatten(), Dense(2, "tanh")]),
    "tokens": ((4,), [fastnn.Embedding(6, 3), LSTM(2), fastnn.Repeat(3), GRU(3, return_sequences=True)]),
    "vector": ((3,), [fastnn.Repeat(2), RNN(3, "tanh", return_sequences=True)]),
    "place": ((1, 1, 3), [fastnn.Flatten(), fastnn.Repeat(2), GRU(3)]),
}


def make_sequence(name, dtype):
    shape, layers = SEQUENCES[name]
    network = fastnn.Network(shape if len(shape) > 1 else shape[0], [*layers, Dense(2, "softmax")], seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    for array in network.weights:
        array[:] = rng.normal(size=array.shape) / 2
    if isinstance(layers[0], fastnn.Embedding):
        return network, rng.integers(0, layers[0].n_tokens, (7, *shape))
    return network, rng.normal(size=(7, *shape)).astype(dtype)


def run_onnx(network, x, path):
    """Return what onnxruntime makes of a network's file, which onnx has checked."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network.to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n_samples in (1, 7):
        (y,) = session.run(["Y"], {"X": x[:n_samples]})
        assert_same(y, network.predict(x[:n_samples]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
def test_onnx(tmp_path, dtype, output):
    for hidden, depth in BODIES:
        network = make(hidden, depth, output, dtype)
        if dtype == "float64" and "gelu" in (hidden, output):
            pytest.importorskip("onnx")
            with pytest.raises(TypeError, match="gelu goes to no ONNX file in float64"):
                network.to_onnx(tmp_path / "gelu.onnx")
            assert not (tmp_path / "gelu.onnx").exists()
        else:
            run_onnx(network, X.astype(dtype), tmp_path / "network.onnx")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", STACKS)
def test_onnx_of_images(tmp_path, stack, dtype):
    """The file takes images as the network does, with their channels last."""
    run_onnx(*make_stack(stack, dtype), tmp_path / "network.onnx")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SEQUENCES)
def test_onnx_of_sequences(tmp_path, name, dtype):
    """The file takes sequences as the network does, samples first, and tokens as int64."""
    run_onnx(*make_sequence(name, dtype), tmp_path / "network.onnx")


def test_what_has_no_counterpart_elsewhere_is_refused():
    layer = type("Other", (), {"__str__": lambda self: "Other(3)"})()
    for shape, layers, what in [
        ((4,), [layer], r"Other\(3\)"),
        ((4, 2), [RNN(2, "elu"), Dense(1, "tanh")], r"RNN\(2, elu\)"),
    ]:
        with pytest.raises(TypeError, match=f"networks with {what} go to no other library; those of Dense, .* tanh or"):
            list(exports.walk(shape, layers, []))


def test_onnx_refuses_weights_that_are_not_finite(tmp_path):
    pytest.importorskip("onnx")
    network = make("tanh", 1, "identity", "float64")
    network.weights[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        network.to_onnx(tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_onnx_on_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    make("tanh", 1, "identity", "float64").to_onnx(tmp_path / "network.onnx")
    before = (tmp_path / "network.onnx").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastnn._support.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        make("relu", 1, "identity", "float64").to_onnx(tmp_path / "network.onnx")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


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

    with pytest.raises(TypeError, match=r"MLPClassifier or MLPRegressor, .* got LinearRegression\(\)"):
        fastnn.from_sklearn(LinearRegression())
    with pytest.raises(ValueError, match="is not fitted"):
        fastnn.from_sklearn(MLPRegressor())
    model = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs").fit([[0.0], [1.0]], [0.0, 1.0])
    model.out_activation_ = "exp"
    with pytest.raises(ValueError, match="output activation 'exp', which fastnn does not have"):
        fastnn.from_sklearn(model)


def spoil_coefs(change):
    """Return a function that changes the weights of a fitted model."""

    def spoil(model):
        model.coefs_ = change(model.coefs_)
        return model

    return spoil


def subclass(model):
    """Return the same as an instance of a class that was made from the model's."""
    made = type(type(model).__name__, (type(model),), {"predict": lambda self, X: np.zeros(len(X))})
    made.__module__ = type(model).__module__
    other = made()
    other.__dict__.update(model.__dict__)
    return other


def assign(**values):
    def spoil(model):
        model.__dict__.update(values)
        return model

    return spoil


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (subclass, TypeError, "and no class made from it, got MLPRegressor"),
        (lambda model: type(model), TypeError, "got <class 'sklearn.neural_network"),
        (lambda model: type("MLPRegressor", (), {"coefs_": []})(), TypeError, "must be an MLPClassifier or"),
        (assign(predict=lambda X: X), ValueError, "has a predict of its own"),
        (assign(_forward_pass_fast=lambda *_, **__: 0), ValueError, "has a _forward_pass_fast of its own"),
        (assign(coefs_=None), ValueError, "(?s)coefs_ and intercepts_ of .* are not what its fit leaves"),
        (assign(coefs_=[], intercepts_=[]), ValueError, "are not what its fit leaves"),
        (assign(intercepts_=[]), ValueError, "are not what its fit leaves"),
        (assign(activation="gelo"), ValueError, "activation must be one of"),
        (assign(n_layers_=2), ValueError, "computes something else"),
        (assign(n_features_in_=7), ValueError, "cannot be called with samples of 2 inputs: X has 2 features"),
        (spoil_coefs(lambda coefs: [w.tolist() for w in coefs]), ValueError, "several dtypes or shapes: W1 or its"),
        (spoil_coefs(lambda coefs: [coefs[0], coefs[1].astype("f4")]), ValueError, "dtypes or shapes: W2 or its bias"),
        (spoil_coefs(lambda coefs: [coefs[0], coefs[1].ravel()]), ValueError, "dtypes or shapes: W2 or its bias"),
        (spoil_coefs(lambda coefs: [coefs[0].astype("f2"), coefs[1]]), ValueError, "dtypes or shapes: W1 or its bias"),
        (spoil_coefs(lambda coefs: [coefs[0] * np.nan, coefs[1]]), ValueError, "has NaN or infinity"),
        (spoil_coefs(lambda coefs: [coefs[0][:, :-1], coefs[1]]), ValueError, "must have shape"),
    ],
)
def test_from_sklearn_takes_nothing_for_what_it_is_named(spoil, kind, message):
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=5, random_state=0)
    model.fit(X[:, :2], X[:, 2])
    assert fastnn.from_sklearn(model).n_parameters == 13
    with pytest.raises(kind, match=message):
        fastnn.from_sklearn(spoil(model))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_from_sklearn_of_a_frame_does_not_warn():
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=5, random_state=0)
    model.fit(pandas.DataFrame(X, columns=["a", "b", "c"]), X[:, 2])
    assert_same(
        fastnn.from_sklearn(model).predict(X)[:, 0], model.predict(pandas.DataFrame(X, columns=["a", "b", "c"]))
    )


def test_without_scikit_learn_nothing_is_its_model(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.neural_network", None)
    with pytest.raises(
        TypeError, match="must be an MLPClassifier or MLPRegressor, and no class made from it, got None"
    ):
        fastnn.from_sklearn(None)


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
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stack", STACKS)
def test_images_to_torch_and_back(stack, dtype):
    import torch

    network, x = make_stack(stack, dtype)
    module = network.to_torch()
    assert_same(module(torch.from_numpy(x).movedim(-1, 1)).detach().numpy(), network.predict(x))
    back = fastnn.from_torch(module, network.input_shape)
    layers = tuple(layer for layer in network.layers if layer != fastnn.Flatten())  # which goes without saying
    assert (back.layers, back.input_shape, back.dtype) == (layers, network.input_shape, network.dtype)
    for one, two in zip(back.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in SEQUENCES if name != "place"])
def test_sequences_to_torch_and_back(name, dtype):
    import torch

    network, x = make_sequence(name, dtype)
    module = network.to_torch()
    assert_same(module(torch.from_numpy(x)).detach().numpy(), network.predict(x))
    shape = network.input_shape
    back = fastnn.from_torch(module, shape if len(shape) > 1 else shape[0])
    assert (back.layers, back.input_shape, back.dtype) == (network.layers, shape, network.dtype)
    for one, two in zip(back.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.torch
def test_modules_of_long_sequences_are_saved_and_read_whole():
    import pickle

    network = fastnn.Network(
        (60, 2), [LSTM(3, return_sequences=True), GRU(3), fastnn.Repeat(2), Dense(2, "tanh")], seed=0
    )
    for array in network.weights:
        array *= 10
    back = fastnn.from_torch(pickle.loads(pickle.dumps(network.to_torch())), (60, 2))
    assert back.layers == network.layers


@pytest.mark.torch
def test_a_vector_of_an_image_goes_to_torch_as_steps():
    import torch

    network, x = make_sequence("place", "float64")
    module = network.to_torch()
    assert_same(module(torch.from_numpy(x).movedim(-1, 1)).detach().numpy(), network.predict(x))
    assert str(module[1]) == "Repeat(2)"


@pytest.mark.torch
def test_from_torch_reads_recurrent_layers_as_they_are_written_there():
    """With both biases, of which fastnn's RNN and LSTM have the sum, and without."""
    import torch
    from torch import nn

    from fastnn.interop.steps import AllSteps, LastStep

    torch.manual_seed(0)
    for bias in (True, False):
        module = nn.Sequential(
            nn.Embedding(5, 3),
            nn.LSTM(3, 4, batch_first=True, bias=bias),
            AllSteps(),
            nn.GRU(4, 2, batch_first=True, bias=bias),
            AllSteps(),
            nn.RNN(2, 3, nonlinearity="relu", batch_first=True, bias=bias),
            LastStep(),
            nn.Linear(3, 2),
        ).double()
        network = fastnn.from_torch(module, 6)
        x = np.random.default_rng(0).integers(0, 5, (7, 6))
        assert_same(module(torch.from_numpy(x)).detach().numpy(), network.predict(x))


@pytest.mark.torch
def test_from_torch_names_what_it_does_not_have_over_sequences():
    from torch import nn

    from fastnn.interop.steps import AllSteps, LastStep, Repeat

    def gru(**settings):
        return nn.GRU(2, 3, **{"batch_first": True, **settings})

    head, last = nn.Linear(3, 2), LastStep()
    for modules, shape, message in [
        ([gru(), last, head], None, "which needs a sequence: say input_shape=(steps, features), or put AllSteps()"),
        ([gru(), last, gru(), last, head], (4, 2), "module[2] is GRU(2, 3, batch_first=True), which needs a sequence"),
        ([gru(batch_first=False), last, head], (4, 2), "make it with batch_first=True"),
        ([gru(num_layers=2), last, head], (4, 2), "put several of num_layers=1, each with AllSteps() behind it"),
        ([gru(bidirectional=True), last, head], (4, 2), "one direction, no dropout and no projection"),
        ([nn.LSTM(2, 3, batch_first=True, proj_size=2), last, head], (4, 2), "no dropout and no projection"),
        ([gru(), last, head], (4, 3), "and what comes in has 3 features, the last of input_shape (steps, features)"),
        ([gru(), head], (4, 2), "module[0] is GRU(2, 3, batch_first=True), and behind each RNN or GRU or LSTM, whose"),
        ([gru()], (4, 2), "and there alone, stands AllSteps() or LastStep() of fastnn.interop.steps"),
        ([head, AllSteps()], (4, 3), "module[1] is AllSteps(), and behind each"),
        ([gru(), last, nn.Tanh(), head], (4, 2), "and fastnn has one activation after each Linear or Conv2d"),
        ([head, Repeat(3), nn.Linear(3, 2)], (4, 3), "which repeats a vector: say input_shape=features"),
        ([nn.Embedding(4, 3), head], None, "which takes the inputs: say input_shape=steps, and put it first"),
        ([nn.Linear(2, 2), nn.Embedding(4, 3), head], 2, "and put it first"),
        ([nn.Embedding(4, 3, padding_idx=0), head], 2, "Embedding has no max_norm and no padding_idx"),
        ([nn.Embedding(4, 2), gru().double(), last, head], 4, "of several dtypes or shapes: W2 or its bias"),
        ([head, nn.Softmax(dim=1)], (4, 3), "softmax is over the features: dim 2 or -1"),
        ([nn.Linear(4, 3)], (4, 3), "and what comes in has 3 features"),
        ([nn.MaxPool2d(2), head], (4, 3), "which needs an image: say input_shape=(height, width, channels)"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            fastnn.from_torch(nn.Sequential(*modules), shape)
    assert fastnn.from_torch(nn.Sequential(head, nn.Softmax(dim=2)), (4, 3)).output_shape == (4, 2)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["rnn", "relu", "gru", "lstm", "flattened", "tokens"])
def test_from_torch_compares_outputs_of_sequences(name, monkeypatch):
    from fastnn.interop import steps

    network, _ = make_sequence(name, "float64")
    module = network.to_torch()
    shape = network.input_shape if name != "tokens" else network.input_shape[0]
    for kind in (steps.AllSteps, steps.LastStep):
        real = kind.forward
        monkeypatch.setattr(kind, "forward", lambda self, outputs, real=real: real(self, outputs) * (1 + 1e-6))
    with pytest.raises(ValueError, match="module computes something else than its layers and weights say"):
        fastnn.from_torch(module, shape)


@pytest.mark.torch
@pytest.mark.parametrize("embeds", [False, True])
def test_from_torch_compares_outputs_of_long_sequences(embeds, monkeypatch):
    """Over fifty steps, a bound on the rounding of this layer is above 1e50."""
    from fastnn.interop import steps

    below, shape = ([fastnn.Embedding(5, 4)], 50) if embeds else ([], (50, 4))
    module = fastnn.Network(shape, [*below, LSTM(16), Dense(1, "identity")], seed=0).to_torch()
    assert len(fastnn.from_torch(module, shape).layers) == 2 + embeds
    monkeypatch.setattr(steps.LastStep, "forward", lambda self, outputs: outputs[0][:, -1] * (1 + 1e-6))
    with pytest.raises(ValueError, match="module computes something else than its layers and weights say"):
        fastnn.from_torch(module, shape)


@pytest.mark.torch
def test_from_torch_reads_images_as_they_are_written_there():
    import torch
    from torch import nn

    module = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(2, 3, 3, padding=(1, 0), bias=False),
        nn.Tanh(),
        nn.Conv2d(3, 4, (4, 3), padding="same"),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 2, 1, padding="valid"),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(2, 3),
    ).double()
    module[0].padding = (0, 1, 0, 1)
    with pytest.raises(
        ValueError, match=r"with \[1, 2, 0, 1\] zeros above, below, left and right, and fastnn has none"
    ):
        fastnn.from_torch(module, (4, 5, 2))
    module[0].padding = (1, 1, 0, 0)  # of the two, a row each above and below
    network = fastnn.from_torch(module, (4, 5, 2))
    assert [str(layer) for layer in network.layers] == [
        "Conv2D(3, 3, tanh, padding=same)",
        "Conv2D(4, (4, 3), identity, padding=same)",
        "MaxPool2D(2)",
        "Conv2D(2, 1, identity)",
        "AveragePool2D(2, strides=1)",
        "Dense(3, identity)",
    ]
    x = np.random.default_rng(0).normal(size=(7, 4, 5, 2))
    assert_same(module(torch.from_numpy(x).movedim(-1, 1)).detach().numpy(), network.predict(x))
    assert fastnn.from_torch(nn.Linear(3, 2), 3).input_shape == (3,)


@pytest.mark.torch
def test_from_torch_names_what_it_does_not_have_over_images():
    from torch import nn

    conv, pad = nn.Conv2d(1, 2, 2), nn.ZeroPad2d(1)
    head = nn.Flatten(), nn.Linear(18, 2)
    for modules, message in [
        (
            [nn.Linear(4, 2)],
            "module[0] is Linear(in_features=4, out_features=2, bias=True), and over an image there must",
        ),
        ([conv, nn.Flatten(), nn.Linear(9, 2)], "and what comes in has 3 x 3 x 2 numbers"),
        (
            [nn.Flatten(), conv],
            "which needs an image: say input_shape=(height, width, channels), and put it before any",
        ),
        ([*head, nn.AvgPool2d(2)], "what comes in has 4 x 4 x 1 numbers"),
        ([nn.Conv2d(3, 2, 2)], "and what comes in has 1 channels, the last of input_shape (height, width, channels)"),
        ([nn.Conv2d(1, 2, 2, dilation=2)], "and fastnn's Conv2D has no dilation, no groups and no padding but zeros"),
        ([nn.Conv2d(2, 2, 2, groups=2)], "no groups"),
        ([nn.Conv2d(1, 2, 2, padding=1, padding_mode="reflect")], "no padding but zeros"),
        (
            [nn.Conv2d(1, 2, 2, padding=1)],
            "with [1, 1, 1, 1] zeros above, below, left and right, and fastnn has none, or ",
        ),
        ([nn.Conv2d(1, 2, 5)], "a kernel of 5 x 5 does not fit into an image of 4 x 4"),
        ([nn.MaxPool2d(2, padding=1)], "MaxPool2D has no padding and no dilation"),
        ([nn.MaxPool2d(2, dilation=2)], "MaxPool2D has no padding and no dilation"),
        ([nn.MaxPool2d(3, ceil_mode=True)], "MaxPool2D has no ceil_mode and no return_indices"),
        ([nn.MaxPool2d(3, return_indices=True)], "MaxPool2D has no ceil_mode and no return_indices"),
        ([nn.AvgPool2d(2, padding=1)], "AveragePool2D has no padding, no ceil_mode and no divisor_override"),
        ([nn.AvgPool2d(2, divisor_override=3)], "AveragePool2D has no padding"),
        ([pad, nn.MaxPool2d(2)], "and what is behind a ZeroPad2d must be a Conv2d"),
        ([conv, nn.MaxPool2d(2), nn.ReLU()], "and fastnn has one activation after each Linear or Conv2d"),
        ([conv, nn.Softmax(dim=1), *head], "softmax is for the output layer only"),
        ([conv], "the last layer must be a fastnn.Dense"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            fastnn.from_torch(nn.Sequential(*modules), (4, 4, 1))
    with pytest.raises(ValueError, match="needs an image: say input_shape"):
        fastnn.from_torch(nn.Sequential(conv, *head))
    with pytest.raises(TypeError, match="which from_torch does not take"):
        fastnn.from_torch(nn.Sequential(conv, nn.Flatten(2), nn.Linear(9, 2)), (4, 4, 1))
    with pytest.raises(TypeError, match="which from_torch does not take"):
        fastnn.from_torch(nn.Sequential(conv, nn.Flatten(), nn.Flatten()), (4, 4, 1))


@pytest.mark.torch
def test_backprop_of_images_is_pytorchs():
    """Both sum up to 70 products a sum, in another order, and the sums of up to 7 x 56 places."""
    import torch

    for stack in STACKS:
        network, x = make_stack(stack, "float64")
        labels = np.arange(7) % 2
        ours = fastnn.gradient(network, x, labels, loss="categorical_cross_entropy", method=fastnn.Backprop())
        module = network.to_torch()
        outputs = module[:-1](torch.from_numpy(x).movedim(-1, 1))
        torch.nn.functional.cross_entropy(outputs, torch.from_numpy(labels)).backward()
        for parameter in module.parameters():
            parameter.data = parameter.grad
        theirs = fastnn.from_torch(module, network.input_shape).weights  # gradients in the places of the weights
        largest = max(np.abs(gradient).max() for gradient in ours)
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=400 * np.finfo(float).eps * largest)


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
        ([linear, nn.Mish()], TypeError, "module[1] is Mish(), which from_torch does not take"),
        ([linear, nn.GELU("tanh")], ValueError, "gelu is exact: approximate='none'"),
        ([linear, nn.Sequential(nn.Conv1d(1, 1, 1))], TypeError, "module[1][0] is Conv1d(1, 1"),
        ([linear, nn.Flatten()], TypeError, "module[1] is Flatten("),
        ([nn.ReLU(), linear], ValueError, "module[0] is ReLU(), and fastnn has one activation after each Linear or"),
        ([linear, nn.ReLU(), nn.Tanh()], ValueError, "module[2] is Tanh(), and fastnn has one activation"),
        ([linear, nn.LeakyReLU(0.2)], ValueError, "leaky_relu has slope 0.01"),
        ([linear, nn.Softplus(2.0)], ValueError, "softplus has beta 1"),
        ([linear, nn.ELU(0.5)], ValueError, "elu has alpha 1"),
        ([linear, nn.Softmax(dim=0)], ValueError, "softmax is over the features"),
        ([linear, nn.Softmax(dim=1), linear], ValueError, "softmax, which is for the output layer only"),
        ([], ValueError, "module has no Linear layer"),
    ]:
        with pytest.raises(kind) as caught:
            fastnn.from_torch(nn.Sequential(*modules))
        assert message in str(caught.value)


def hostile_modules():
    """Return modules that are not what they are named or look like, each with what is said of it."""
    import types

    import torch
    from torch import nn
    from torch.nn.utils import parametrizations, prune, weight_norm

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Linear(nn.Module):  # merely called so
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(3, 3)), None

        def forward(self, x):
            return x

    class ReLU(nn.Module):
        def forward(self, x):
            return x

    class Flatten(nn.Identity):
        pass

    class Sequential(nn.Sequential):
        def forward(self, x):
            return -super().forward(x)

    def around(*middle):
        return nn.Sequential(nn.Linear(3, 3), *middle)

    def changed(change, place=0):
        module = around(nn.Tanh(), nn.Linear(3, 2))
        change(module if place is None else module[place])
        return module

    def itself(module):
        module.append(module)

    def in_a_ring(module):
        module.append(nn.Sequential(nn.Sequential(module)))

    def without_parameter(layer):
        weight = layer.weight
        del layer.weight
        layer.weight = 2 * weight

    def nested(depth):
        module = nn.Linear(3, 2)
        for _ in range(depth):
            module = nn.Sequential(module)
        return module

    def skewed(layer):
        layer.weight = nn.Parameter(layer.weight.detach().to_sparse())

    double = dict.fromkeys([1], lambda module, x, y: 2 * y)[1]
    return [
        (around(Doubled(3, 2)), TypeError, "module[1] is Doubled("),
        (
            around(Linear()),
            TypeError,
            "module[1] is Linear(), which from_torch does not take; it takes Linear, Identity",
        ),
        (around(ReLU()), TypeError, "module[1] is ReLU(), which from_torch does not take"),
        (
            nn.Sequential(Flatten(), nn.Linear(3, 3)),
            TypeError,
            "module[0] is Flatten(), which from_torch does not take",
        ),
        (Sequential(nn.Linear(3, 3)), TypeError, "module is Sequential("),
        (around(nn.ReLU6()), TypeError, "module[1] is ReLU6()"),
        (around(nn.LazyLinear(2)), TypeError, "module[1] is LazyLinear("),
        (around(parametrizations.weight_norm(nn.Linear(3, 2))), TypeError, "module[1] is ParametrizedLinear("),
        (around(parametrizations.orthogonal(nn.Linear(3, 2))), TypeError, "module[1] is ParametrizedLinear("),
        (changed(lambda layer: weight_norm(layer)), ValueError, "module[0] has a forward hook, <torch.nn.utils.weight"),
        (changed(lambda layer: prune.l1_unstructured(layer, "weight", 3)), ValueError, "module[0] has a forward hook"),
        (changed(lambda layer: layer.register_forward_hook(double)), ValueError, "module[0] has a forward hook"),
        (changed(lambda layer: layer.register_forward_hook(double), 1), ValueError, "module[1] has a forward hook"),
        (changed(lambda layer: layer.register_forward_hook(double), None), ValueError, "module has a forward hook"),
        (
            changed(lambda layer: layer.register_forward_pre_hook(lambda module, x: (2 * x[0],))),
            ValueError,
            "module[0] has a forward hook",
        ),
        (changed(lambda layer: setattr(layer, "forward", lambda x: x)), ValueError, "module[0] has a forward of its"),
        (
            changed(lambda layer: setattr(layer, "forward", types.MethodType(lambda self, x: x, layer)), None),
            ValueError,
            "module has a forward of its own",
        ),
        (changed(lambda layer: setattr(layer, "_call_impl", lambda x: x)), ValueError, "module[0] has a _call_impl of"),
        (
            changed(lambda module: setattr(module, "_compiled_call_impl", abs), None),
            ValueError,
            "module has a _compiled_call_impl of its own",
        ),
        (changed(itself, None), ValueError, "module[3] is a Sequential that contains itself"),
        (changed(in_a_ring, None), ValueError, "module[3][0][0] is a Sequential that contains itself"),
        (around(nn.Linear(3, 2, device="meta")), ValueError, "whose weights are no numbers in memory but"),
        (changed(without_parameter), ValueError, "whose weights are no numbers in memory but"),
        (changed(lambda layer: delattr(layer, "weight")), ValueError, "no numbers in memory but None"),
        (changed(skewed), ValueError, "whose weights are no numbers in memory but"),
        (around(nn.Linear(3, 2, dtype=torch.bfloat16)), ValueError, "with weights of torch.bfloat16: make it float64"),
        (around(nn.Linear(3, 2, dtype=torch.float64)), ValueError, "of several dtypes or shapes: W2 or its bias"),
        (changed(lambda layer: layer.bias.data.fill_(torch.nan)), ValueError, "weights[1] has NaN or infinity"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 3)), ValueError, "and what comes in has 3 numbers"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(3, 3)), TypeError, "module[0] is Flatten(start_dim=0"),
        (nested(2000), ValueError, "module cannot be called with samples of 3 inputs: maximum recursion depth"),
        (nn.ModuleList([nn.Linear(3, 3)]), TypeError, "module is ModuleList("),
        (nn.Linear, TypeError, "module is <class 'torch.nn.modules.linear.Linear'>, which from_torch does not take"),
        (None, TypeError, "module is None, which from_torch does not take"),
    ]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of what is deprecated in PyTorch
def test_from_torch_takes_nothing_for_what_it_is_named():
    for module, kind, message in hostile_modules():
        with pytest.raises(kind) as caught:
            fastnn.from_torch(module)
        assert message in str(caught.value)


@pytest.mark.torch
def test_from_torch_compares_outputs(monkeypatch):
    """Where nothing can be seen on the module: classes of torch.nn were changed."""
    from torch import nn

    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    real = nn.Linear.forward
    for change, message in [
        (lambda self, x: real(self, x) * (1 + 1e-9), "module computes something else than its layers and weights say"),
        (lambda self, x: real(self, x)[:1], "module computes something else"),
        (lambda self, x: real(self, x) * float("nan"), "module computes something else"),
        (lambda self, x: 1 / 0, "module cannot be called with samples of 3 inputs: division by zero"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(nn.Linear, "forward", change)
            with pytest.raises(ValueError, match=message):
                fastnn.from_torch(module)
    assert fastnn.from_torch(module).n_parameters == 26


@pytest.mark.torch
@pytest.mark.parametrize("register", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_from_torch_refuses_hooks_of_all_modules(register):
    from torch import nn

    hook = getattr(nn.modules.module, register)(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="hooks are registered for the forward pass of all modules"):
            fastnn.from_torch(nn.Linear(3, 2))
    finally:
        hook.remove()


@pytest.mark.torch
def test_from_torch_takes_what_changes_no_output():
    """Hooks of the way back, shared layers, weights pruned for good, deep nesting, outputs that overflow."""
    from torch import nn
    from torch.nn.utils import prune

    shared = nn.Linear(3, 3)
    shared.register_full_backward_hook(lambda *_: None)
    prune.l1_unstructured(shared, "weight", 3)
    prune.remove(shared, "weight")
    module = nn.Sequential(shared, nn.Tanh(), shared, nn.ReLU(inplace=True), nn.Linear(3, 2))
    for _ in range(50):
        module = nn.Sequential(module)
    network = fastnn.from_torch(module)
    assert [layer.activation for layer in network.layers] == ["tanh", "relu", "identity"]
    np.testing.assert_array_equal(network.weights[0], network.weights[2])
    assert (network.weights[0] == 0).sum() == 3
    wide = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(300, 300), nn.Softplus())]).double()
    assert len(fastnn.from_torch(wide).layers) == 6
    wide[0].weight.data.fill_(1e308)
    assert len(fastnn.from_torch(wide).layers) == 6


def test_fastnn_alone_does_not_import_the_others():
    import subprocess
    import sys

    code = "import sys, fastnn; sys.exit(bool({'sklearn', 'torch', 'onnx', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
