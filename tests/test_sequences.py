"""Networks over sequences: what they take, what they say, and that they learn. Their numbers: `test_layers.py`."""

from pathlib import Path

import naive
import numpy as np
import pytest
from test_layers import GRU, LSTM, RNN, Case, Conv, Dense, Embedding, Flatten, Max, Repeat

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine.plan import count_stem, count_steps
from fastnn._engine.threads import count_chunks
from fastnn.kernels.work import Method

MANY = {"return_sequences": True}
SEQUENCE = (4, 3)
CROSS_ENTROPY = "categorical_cross_entropy"


def many_to_many(n_outputs=2, output="softmax"):
    return fastnn.Network(SEQUENCE, [RNN(2, "tanh", **MANY), Dense(n_outputs, output)], seed=0)


def test_repr_and_html_tell_each_level():
    layers = [RNN(64, "tanh"), Repeat(10), RNN(8, "relu", return_sequences=True), Dense(30, "softmax")]
    network = fastnn.Network((20, 30), layers)
    assert repr(network).splitlines() == [
        "Network: 20 x 30 inputs, 6,934 parameters, float64",
        "  RNN(64, tanh)                        (64,)     W (30, 64)  U (64, 64)  b (64,)  6,080",
        "  Repeat(10)                           (10, 64)",
        "  RNN(8, relu, return_sequences=True)  (10, 8)   W (64, 8)   U (8, 8)    b (8,)     584",
        "  Dense(30, softmax)                   (10, 30)  W (8, 30)               b (30,)    270",
    ]
    assert '<th scope="col">U</th>' in network._repr_html_()
    assert str(LSTM(2)) == "LSTM(2)"
    assert str(GRU(2, return_sequences=True)) == "GRU(2, return_sequences=True)"
    assert str(Embedding(3, 2)) == "Embedding(3, 2)"
    assert network.input_shape == (20, 30)
    assert network.output_shape == (10, 30)
    assert network.n_inputs == 600
    assert network.shared_layers() == tuple(layers[:3])
    shapes = [(30, 64), (64, 64), (64,), (64, 8), (8, 8), (8,), (8, 30), (30,)]
    assert [w.shape for w in network.weights] == shapes
    forward = network.forward(np.zeros((2, 20, 30)))
    assert [a.shape[1:] for a in forward.activations] == [(64,), (10, 64), (10, 8), (10, 30)]


def test_initial_weights_go_by_what_a_unit_takes_of_either():
    network = fastnn.Network((2, 400), [RNN(200, "tanh"), Dense(1, "identity")], seed=0)
    w, u, b = network.weights[:3]
    assert w.var() * 400 == pytest.approx(1, rel=4 * np.sqrt(2 / w.size))
    assert u.var() * 200 == pytest.approx(1, rel=4 * np.sqrt(2 / u.size))
    assert not b.any()


@pytest.mark.parametrize(
    ("shape", "layers", "target"),
    [
        ((6, 3), [RNN(8, "tanh")], lambda x: x[:, -2, 0] > 0),
        ((6, 3), [RNN(8, "tanh", **MANY)], lambda x: np.pad(x[:, :-1, 0], [(0, 0), (1, 0)]) > 0),
        (3, [Repeat(3), RNN(8, "tanh", **MANY)], lambda x: x > 0),
        ((3, 2), [RNN(8, "tanh"), Repeat(2), RNN(8, "tanh", **MANY)], lambda x: x[:, :2, 0] > 0),
    ],
    ids=["many to one", "many to many", "one to many", "translate"],
)
def test_all_architectures_learn(shape, layers, target):
    x = np.random.default_rng(0).normal(size=(64, *np.atleast_1d(shape)))
    y = target(x).astype(int)
    network = fastnn.Network(shape, [*layers, Dense(2, "softmax")], seed=0)
    trainer = fastnn.Trainer(network, loss=CROSS_ENTROPY, optimizer=fastnn.Adam(0.02))
    history = trainer.fit(x, y, epochs=2 if JIT_DISABLED else 150, validation_data=(x, y))
    assert history.loss[-1] < history.loss[0]
    assert network.predict(x).shape == (*y.shape, 2)
    if not JIT_DISABLED:
        assert trainer.evaluate(x, y).accuracy > 0.95


def test_a_loss_is_the_sum_over_steps_and_the_mean_over_samples():
    case = Case("every", n_samples=5)
    trainer = fastnn.Trainer(case.network, loss=case.loss)
    p = case.network.predict(case.x)
    evaluation = trainer.evaluate(case.x, case.y)
    # A dozen roundings of each term.
    assert evaluation.loss == pytest.approx(-np.log(p[case.y == 1]).sum() / 5, rel=1e-14)
    assert evaluation.accuracy == (p.argmax(axis=-1) == case.y.argmax(axis=-1)).mean()
    weights = np.random.default_rng(0).integers(0, 3, (5, 4))
    losses = -np.log(p[case.y == 1]).reshape(5, 4)
    for given in (weights, weights[:, 0] + 1.0):
        evaluation = trainer.evaluate(case.x, case.y, given)
        assert evaluation.loss == pytest.approx(naive.mean(losses, given), rel=1e-14)
    right = p.argmax(axis=-1) == case.y.argmax(axis=-1)
    evaluation = trainer.evaluate(case.x, case.y, weights)
    assert evaluation.accuracy == pytest.approx(right[weights > 0].mean(), rel=1e-15)


def test_history_leaves_out_what_has_no_weight():
    case = Case("every", n_samples=5)
    weights = np.random.default_rng(0).integers(0, 2, (5, 4))
    trainer = fastnn.Trainer(case.network, loss=case.loss, optimizer=fastnn.SGD(0.0), batch_size=2)
    expected = trainer.evaluate(case.x, case.y, weights)
    history = trainer.fit(case.x, case.y, sample_weight=weights, validation_data=(case.x, case.y, weights))
    assert history.accuracy[0] == history.validation_accuracy[0] == expected.accuracy
    assert history.loss[0] == pytest.approx(expected.loss, rel=1e-14)


def test_several_probabilities_a_step_are_counted_each():
    case = Case("every", ("binary_cross_entropy", "sigmoid"))
    right = (case.network.predict(case.x) > 0.5) == case.y
    assert fastnn.Trainer(case.network, loss=case.loss).evaluate(case.x, case.y).accuracy == right.mean()


def test_targets_in_their_short_forms():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, *SEQUENCE)), rng.integers(0, 2, (5, 4))
    network, options = many_to_many(), {"loss": CROSS_ENTROPY, "method": fastnn.Backprop()}
    found = [fastnn.gradient(network, x, y, **options) for y in (labels, naive.one_hot(labels, 2))]
    network, options = many_to_many(1, "identity"), {"method": fastnn.Backprop()}
    found += [fastnn.gradient(network, x, y, **options) for y in (labels, labels[..., None])]
    for one, other in (found[:2], found[2:]):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_class_weights_are_of_steps():
    x, y = np.random.default_rng(0).normal(size=(3, *SEQUENCE)), np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
    losses = []
    for options in ({"class_weight": {1: 3.0}}, {"sample_weight": np.where(y, 3.0, 1.0)}):
        trainer = fastnn.Trainer(many_to_many(), loss=CROSS_ENTROPY, batch_size=None)
        losses.append(trainer.fit(x, y, 3, **options).loss)
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("stack", ["one", "every", "gru", "memory", "tokens"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.25])
def test_weights_decay_and_biases_do_not(stack, weight_decay):
    case = Case(stack)
    gradients, before = case.gradient(fastnn.Backprop()), [w.copy() for w in case.network.weights]
    optimizer = fastnn.SGD(0.5, weight_decay=weight_decay)
    trainer = fastnn.Trainer(case.network, loss=case.loss, gradient=fastnn.Backprop(), optimizer=optimizer)
    trainer.fit(case.x, case.y)
    names = [name for layer in case.network.layers for name in layer.parameters]
    for name, w, old, g in zip(names, case.network.weights, before, gradients, strict=True):
        decay = weight_decay * old if name != "bias" else 0.0
        np.testing.assert_allclose(w, old - 0.5 * (g + decay), rtol=1e-14, atol=1e-15)  # four roundings


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_unit_may_have_more_weights_than_are_taken_together(kind):
    case = Case(((2, 70), [kind(1, "tanh") if kind is RNN else kind(1)]), n_samples=2)
    case.check(("direct",), 1e-3)
    truth, sizes = case.truth(eps=1e-6, scheme="central")
    for ours, theirs in zip(case.gradient(fastnn.Backprop()), truth, strict=True):
        # See `test_backprop_is_the_limit_of_central_differences`.
        assert np.abs(ours - theirs).max() <= 1e-10 * max(1.0, *(float(s.max()) for s in sizes))


def test_a_feature_alone_may_be_left_out():
    network = fastnn.Network((4, 1), [RNN(2, "tanh"), Dense(1, "identity")], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(network.predict(x), network.predict(x[..., None]))


def test_tokens_may_be_of_any_kind_of_number():
    network = fastnn.Network(4, [Embedding(3, 2), RNN(2, "tanh"), Dense(1, "identity")], seed=0)
    x = np.random.default_rng(0).integers(0, 3, (5, 4))
    for kind in (np.uint8, np.float32, float):
        np.testing.assert_array_equal(network.predict(x.astype(kind)), network.predict(x))
    np.testing.assert_array_equal(network.forward(x).activations[0], network.weights[0][x])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[0, 1], [1, 3]]), r"X must be whole numbers from 0 to 2, got 3 at index \(1, 1\)"),
        (np.array([[0, -1]]), r"X must be whole numbers from 0 to 2, got -1 at index \(0, 1\)"),
        (np.array([[0.5, 1]]), r"X must be whole numbers from 0 to 2, got 0.5 at index \(0, 0\)"),
        (np.zeros((5, 3), int), r"X must have shape \(n_samples, 2\), the token of each step, got \(5, 3\)"),
        (np.zeros(2, int), r"X must have shape \(n_samples, 2\), the token of each step, got \(2,\)"),
    ],
)
def test_bad_tokens(x, message):
    network = fastnn.Network(2, [Embedding(3, 2), Dense(1, "identity")], seed=0)
    with pytest.raises(ValueError, match=message):
        network.predict(x)


def test_initial_embeddings_are_of_size_one():
    network = fastnn.Network(2, [Embedding(200, 50), Dense(1, "identity")], seed=0)
    assert network.weights[0].var() == pytest.approx(1, rel=4 * np.sqrt(2 / network.weights[0].size))


def test_only_tokens_that_are_there_have_a_gradient():
    network = fastnn.Network(3, [Embedding(9, 2), RNN(2, "tanh"), Dense(1, "identity")], seed=0)
    for method in (fastnn.Perturbation(), fastnn.Backprop()):
        dw, *_ = fastnn.gradient(network, [[2, 5, 2]], [1.0], method=method)
        assert dw.any(axis=1).nonzero()[0].tolist() == [2, 5]


def test_a_file_of_sequences_stays_readable():
    pytest.importorskip("safetensors")
    network = fastnn.load(Path(__file__).parent / "golden" / "sequences-1.safetensors")
    assert network.input_shape == (4,)
    assert network.layers == (
        *(Embedding(3, 2), Dense(2, "tanh"), GRU(2, return_sequences=True), LSTM(2), Repeat(3)),
        *(RNN(2, "tanh", return_sequences=True), Dense(2, "softmax")),
    )
    assert network.dtype == np.float32
    np.testing.assert_array_equal(network._theta, np.arange(network.n_parameters, dtype=np.float32) / 64)


@pytest.mark.torch
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_what_pytorch_computes(kind, sequences):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = kind(3, "tanh", sequences) if kind is RNN else kind(3, sequences)
    network = fastnn.Network(SEQUENCE, [layer, Dense(2, "identity")], seed=0)
    for array in network.weights:
        array[:] = rng.normal(size=array.shape)
    twin, head = getattr(torch.nn, kind.__name__)(3, 3, batch_first=True).double(), torch.nn.Linear(3, 2).double()
    w, u, b, w_head, b_head = (torch.tensor(array) for array in network.weights)
    both = b if kind is GRU else torch.stack([b, torch.zeros_like(b)])
    theirs = [*twin.parameters(), *head.parameters()]
    with torch.no_grad():
        for parameter, array in zip(theirs, (w.T, u.T, *both, w_head.T, b_head), strict=True):
            parameter[:] = array
    x, y = rng.normal(size=(5, *SEQUENCE)), rng.normal(size=(5, *network.output_shape))
    states = twin(torch.tensor(x))[0]
    found = head(states if sequences else states[:, -1])
    np.testing.assert_allclose(network.predict(x), found.detach().numpy(), rtol=1e-13, atol=1e-13)
    ((found - torch.tensor(y)) ** 2).sum().div(5).backward()
    gradients = fastnn.gradient(network, x, y, method=fastnn.Backprop())
    w, u, first, second, w_head, b_head = (parameter.grad.numpy().T for parameter in theirs)
    expected = [w, u, np.stack([first, second]) if kind is GRU else first, w_head, b_head]
    for ours, other in zip(gradients, expected, strict=True):
        # Some thirty roundings of terms of the gradient's size, which four steps may double.
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-13 * np.abs(other).max())


CONSTRUCTIONS = [
    (lambda: RNN(0, "tanh"), ValueError, "n_units must be an integer >= 1, got 0"),
    (lambda: GRU(2, "tanh"), TypeError, "return_sequences must be True or False, got 'tanh'"),
    (lambda: LSTM(2.5), TypeError, "n_units must be an integer, got 2.5"),
    (lambda: Embedding(0, 2), ValueError, "n_tokens must be an integer >= 1, got 0"),
    (lambda: Embedding(2**24 + 1, 2), ValueError, "n_tokens must be an integer <= 16777216"),
    (lambda: Embedding(5, 0), ValueError, "n_units must be an integer >= 1, got 0"),
    (
        lambda: fastnn.Network((4, 1), [Embedding(3, 2), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is Embedding\(3, 2\), which takes a network's inputs; put it first in Network\(steps, ...\)",
    ),
    (
        lambda: fastnn.Network(4, [Dense(3, "tanh"), Embedding(3, 2), Dense(1, "tanh")]),
        ValueError,
        r"layers\[1\] is Embedding\(3, 2\), which takes a network's inputs",
    ),
    (lambda: RNN(2, "softmax"), ValueError, "softmax is for the output layer only, a Dense; use identity"),
    (lambda: RNN(2, "tanx"), ValueError, "activation must be one of .*; did you mean 'tanh'"),
    (lambda: RNN(2, "tanh", 1), TypeError, "return_sequences must be True or False, got 1"),
    (lambda: Repeat(0), ValueError, "n_steps must be an integer >= 1, got 0"),
    (
        lambda: fastnn.Network(5, [RNN(2, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is RNN\(2, tanh\), which needs a sequence, and the network takes 5 flat inputs; write Net",
    ),
    (
        lambda: fastnn.Network((4, 4, 1), [RNN(2, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"needs a sequence, and the network takes an image of \(4, 4, 1\)$",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [RNN(2, "tanh"), RNN(2, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[1\] is RNN\(2, tanh\), which needs a sequence, and comes after layers\[0\], RNN\(2, tanh\); give",
    ),
    (
        lambda: fastnn.Network(4, [Dense(3, "tanh"), RNN(2, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[1\] is RNN.* comes after layers\[0\], Dense\(3, tanh\); put a Repeat between",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [Repeat(2), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is Repeat\(2\), which needs a flat level, and the network takes a sequence of \(4, 3\)$",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [Dense(2, "tanh"), Repeat(2), Dense(1, "tanh")]),
        ValueError,
        r"needs a flat level, and comes after layers\[0\], Dense\(2, tanh\); put a layer between that puts out its l",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [Flatten(), Repeat(2), Dense(1, "tanh")]),
        ValueError,
        r"layers\[1\] is Repeat\(2\): it repeats the units of a layer; put a Dense before it",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [Max(2), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is MaxPool2D\(2\), which needs an image, and the network takes a sequence of \(4, 3\)",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [RNN(2, "tanh", **MANY), Conv(1, 1, "relu"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[1\] is Conv2D.* which needs an image, and comes after layers\[0\]",
    ),
    (
        lambda: fastnn.Network(5, [Flatten(), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is Flatten\(\), which needs an image or a sequence, and the network takes 5 flat inputs",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [Dense(2, "softmax"), RNN(2, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is softmax, which is for the output layer only",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [RNN(2, "tanh")]),
        ValueError,
        r"the last layer must be a fastnn.Dense, whose units are the outputs, got RNN\(2, tanh\)",
    ),
    (lambda: fastnn.Network((4, 0), [Dense(1, "tanh")]), ValueError, "the features of input_shape must be an integer"),
    (
        lambda: fastnn.Network((2**20, 2**21), [Dense(1, "tanh")]),
        ValueError,
        r"input_shape \(1048576, 2097152\) is no sequence's: it takes more memory than there is",
    ),
    (
        lambda: fastnn.Network(SEQUENCE, [RNN(2**30, "tanh"), Dense(1, "tanh")]),
        ValueError,
        r"layers\[0\] is RNN\(1073741824, tanh\): so many units take more memory than there is",
    ),
]


@pytest.mark.parametrize(("construct", "error", "message"), CONSTRUCTIONS)
def test_bad_construction(construct, error, message):
    with pytest.raises(error, match=message):
        construct()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3, 4), r"X must have shape \(n_samples, 4, 3\), got .*; its features come first: .*moveaxis\(X, 1, -1\)"),
        ((4, 5, 3), r"got \(4, 5, 3\); its steps come first: move the samples to the front, np.moveaxis\(X, 1, 0\)"),
        ((5, 12), r"got \(5, 12\); reshape it with X.reshape\(-1, 4, 3\)"),
        ((4, 3), r"got \(4, 3\); one sample is X.reshape\(1, 4, 3\)"),
        ((5, 4, 2), r"got \(5, 4, 2\)$"),
        ((5, 4), r"got \(5, 4\)$"),
    ],
)
def test_bad_sequences(shape, message):
    with pytest.raises(ValueError, match=message):
        many_to_many().predict(np.ones(shape))


ONES = np.ones((5, 4), int)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (ONES[:, :3], {}, r"y must have shape \(5, 4, 2\), got \(5, 3\), or integer labels of shape \(5, 4\)"),
        (ONES[:, 0], {}, r"y must have shape \(5, 4, 2\), got \(5,\), or integer labels of shape \(5, 4\)"),
        (2 * ONES, {}, "labels in y must be 0 to 1 for 2 outputs, got values from 2 to 2"),
        (np.ones((5, 4, 2)), {}, r"rows of y must be one-hot or sum to 1; row \(0, 0\) sums to 2"),
        (ONES[:4], {}, "X has 5 samples and y has 4"),
        (
            ONES,
            {"sample_weight": ONES[:, :3]},
            r"shape \(5,\), one number a sample, or \(5, 4\), one a step, got \(5, 3\)",
        ),
        (ONES, {"sample_weight": 0 * ONES}, "the weights of the samples are all 0"),
        (ONES, {"sample_weight": -ONES}, "sample_weight must not be negative, got -1"),
    ],
)
def test_bad_targets(y, options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.gradient(many_to_many(), np.ones((5, *SEQUENCE)), y, loss=CROSS_ENTROPY, **options)


@pytest.mark.parametrize("y", [ONES, np.ones((5, 4, 2)) / 2])
def test_targets_of_steps_for_a_network_that_puts_out_none(y):
    network = fastnn.Network(SEQUENCE, [RNN(2, "tanh"), Dense(2, "softmax")], seed=0)
    message = r"y must have shape \(5, 2\), got .*; for a result of each step, give the last recurrent layer return_seq"
    with pytest.raises(ValueError, match=message):
        fastnn.gradient(network, np.ones((5, *SEQUENCE)), y, loss=CROSS_ENTROPY)
    with pytest.raises(
        ValueError, match=r"y must have shape \(5, 2\), got \(5, 3\), or integer labels of shape \(5,\)$"
    ):
        fastnn.gradient(fastnn.mlp(3, 2, output="softmax"), np.ones((5, 3)), ONES[:, :3], loss=CROSS_ENTROPY)


def test_numbers_of_another_shape():
    x, network = np.ones((5, *SEQUENCE)), many_to_many(output="identity")
    with pytest.raises(ValueError, match=r"y must have shape \(5, 4, 2\), got \(5, 4\); integer labels go with loss"):
        fastnn.gradient(network, x, ONES)
    with pytest.raises(ValueError, match=r"y must have shape \(5, 4, 2\), got \(5, 2\); integer labels go with loss"):
        fastnn.gradient(network, x, ONES[:, :2])
    with pytest.raises(ValueError, match=r"y must have shape \(5, 4, 2\), got \(5,\)$"):
        fastnn.gradient(network, x, ONES[:, 0])


def test_series_refuses_what_is_not_proved():
    method = fastnn.Perturbation(evaluate="series")
    with pytest.raises(ValueError, match=r"'series' is proved for dense layers only, .* a RNN\(2, tanh, return_seq"):
        fastnn.Trainer(many_to_many(), gradient=method)
    Case("steps", ("squared_error", "identity")).gradient(method)  # all of its weights are dense layers'


def test_what_knows_dense_networks_only_says_so():
    repeating = fastnn.Network(3, [Repeat(2), Dense(1, "tanh")])
    with pytest.raises(TypeError, match=r"dense networks only, and this one takes sequences of \(4, 3\)"):
        many_to_many().dense_layers("this")
    with pytest.raises(TypeError, match=r"dense networks only, and this one has a Repeat\(2\)"):
        repeating.dense_layers("this")
    with pytest.raises(TypeError, match=r"networks with Repeat\(2\) go to no other library"):
        repeating.to_torch()


def test_what_a_step_costs_at_most():
    # Two units over three steps of four inputs, then one output of each step.
    layout = fastnn.Network((3, 4), [RNN(2, "tanh", **MANY), Dense(1, "identity")])._layout
    n_products, n_values = 3 * 6 * 2, 3 * 4 + 3 * 2
    assert count_steps(layout) == 3
    assert count_stem(layout, Method.NONE) == (n_products, n_values)
    # Each of its weights: all units at each step again, and the outputs.
    n_weights = (4 + 2 + 1) * 2
    expected = 3 * n_products + n_weights * (n_products + 3 * 2), 3 * n_values + n_weights * (3 * 2 + 3)
    assert count_stem(layout, Method.DIRECT) == expected
    assert count_steps(fastnn.mlp(3, 2)._layout) == 1
    assert count_chunks(layout, Method.NONE, 2) == 1
