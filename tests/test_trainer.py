import naive
import numpy as np
import pytest
from conftest import HEADS

import fastnn
from fastnn._engine import loop


@pytest.mark.parametrize("head", HEADS, ids="-".join)
@pytest.mark.parametrize("scheme", ["forward", "central"])
def test_one_step_is_the_naive_step(make_case, head, scheme):
    case = make_case(head, ("sigmoid", 1))
    expected = naive.train_step(
        [w.astype(np.longdouble) for w in case.network.weights],
        case.activations,
        case.loss,
        case.x.astype(np.longdouble),
        case.y.astype(np.longdouble),
        lr=0.5,
        scheme=scheme,
    )
    trainer = fastnn.Trainer(
        case.network,
        loss=case.loss,
        gradient=fastnn.Perturbation(1e-4, scheme, evaluate="direct"),
        optimizer=fastnn.SGD(0.5),
    )
    before = case.mean_loss()
    history = trainer.fit(case.x, case.y)
    for ours, theirs in zip(case.network.weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.astype(float), rtol=1e-13, atol=1e-13)
    assert history.loss[0] == pytest.approx(before, rel=1e-13)
    assert case.mean_loss() < before


def test_a_training_step_by_hand():
    # J = mean (w x - y)^2 over (1, 2), (3, 5) at w = 1: dJ/dw = mean 2 (w x - y) x = (-2 - 12) / 2 = -7,
    # dJ/db = mean 2 (w x - y) = (-2 - 4) / 2 = -3; the forward difference adds eps * mean x^2 = 5 eps, and eps.
    network = fastnn.mlp(1, 1)
    network.weights = [[[1.0]], [0.0]]
    trainer = fastnn.Trainer(network, gradient=fastnn.Perturbation(0.5), optimizer=fastnn.SGD(0.125))
    history = trainer.fit([[1.0], [3.0]], [2.0, 5.0])
    assert network.weights[0].item() == 1.0 + 0.125 * (7.0 - 2.5)
    assert network.weights[1].item() == 0.125 * (3.0 - 0.5)
    assert history.loss.tolist() == [(1.0 + 4.0) / 2]


def test_the_short_batch_counts_with_its_true_size(make_case):
    case = make_case(HEADS[0], ("tanh", 1), n_samples=5)
    twin = make_case(HEADS[0], ("tanh", 1), n_samples=5)
    fastnn.Trainer(case.network, batch_size=4, shuffle=False, optimizer=fastnn.SGD(0.5)).fit(case.x, case.y)
    by_hand = fastnn.Trainer(twin.network, batch_size=None, optimizer=fastnn.SGD(0.5))
    by_hand.fit(twin.x[:4], twin.y[:4])
    by_hand.fit(twin.x[4:], twin.y[4:])
    for one, two in zip(case.network.weights, twin.network.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def train(make_case, calls, seed=0, **options):
    case = make_case(("categorical_cross_entropy", "softmax"), ("tanh", 2), n_samples=11)
    trainer = fastnn.Trainer(
        case.network, loss=case.loss, batch_size=4, optimizer=fastnn.Adam(0.01), seed=seed, **options
    )
    for epochs in calls:
        trainer.fit(case.x, case.y, epochs=epochs)
    return np.concatenate([w.ravel() for w in case.network.weights])


@pytest.mark.parametrize("shuffle", [False, True])
def test_bits_do_not_depend_on_how_work_is_cut(make_case, monkeypatch, chunks, shuffle):
    whole = train(make_case, [7], shuffle=shuffle)
    np.testing.assert_array_equal(train(make_case, [3, 4], shuffle=shuffle), whole)
    for n_chunks in (2, 3):
        chunks(n_chunks)
        np.testing.assert_array_equal(train(make_case, [7], shuffle=shuffle), whole)
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)  # one step a call
    monkeypatch.setattr(loop, "ORDER_LENGTH", 1)  # orders drawn one epoch at a time
    np.testing.assert_array_equal(train(make_case, [7], shuffle=shuffle), whole)
    if shuffle:
        assert (train(make_case, [7], seed=1) != whole).all()


def test_every_sample_is_visited_once_an_epoch():
    orders = loop.draw_orders(50, 20, np.random.default_rng(0))
    assert orders.shape == (20, 50)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(50), (20, 1)))
    assert len(np.unique(orders[:, 0])) > 5


def test_history_and_evaluate(make_case):
    for head, accuracy_applies in ((HEADS[0], False), (HEADS[-2], True), (HEADS[-1], True)):
        case = make_case(head, ("tanh", 1), n_samples=9)
        trainer = fastnn.Trainer(case.network, loss=case.loss, batch_size=4)
        history = trainer.fit(case.x, case.y, epochs=3, validation_data=(case.x[:4], case.y[:4]))
        columns = history.to_dict()
        names = ["loss", "accuracy", "validation_loss", "validation_accuracy", "seconds", "queries"]
        assert list(columns) == [n for n in names if accuracy_applies or "accuracy" not in n]
        assert all(column.shape == (3,) for column in columns.values())
        assert (history.seconds > 0).all()
        assert len(history) == 3
        evaluation = trainer.evaluate(case.x, case.y)
        assert evaluation.loss == pytest.approx(case.mean_loss(), rel=1e-13)
        a = case.network.predict(case.x)
        if not accuracy_applies:
            assert evaluation.accuracy is None
            assert history.accuracy is None
            assert history.validation_accuracy is None
        elif case.loss.startswith("binary"):
            assert evaluation.accuracy == np.mean((a > 0.5) == (case.y > 0.5))
        else:
            assert evaluation.accuracy == np.mean(a.argmax(axis=1) == case.y.argmax(axis=1))
        validated = trainer.evaluate(case.x[:4], case.y[:4])
        assert history.validation_loss[-1] == validated.loss
        if accuracy_applies:
            assert history.validation_accuracy[-1] == validated.accuracy
        assert repr(history).startswith("History: 3 epochs in ")


def test_an_epochs_time_has_its_validation_in_it(make_case, monkeypatch):
    case = make_case(HEADS[0], ("tanh", 1))
    clock, real = [0.0], fastnn.Trainer._measure

    def measure(self, data):
        clock[0] += 1000.0
        return real(self, data)

    def now():
        clock[0] += 1e-3
        return clock[0]

    monkeypatch.setattr("fastnn.training.trainer.time.perf_counter", now)
    monkeypatch.setattr(fastnn.Trainer, "_measure", measure)
    history = fastnn.Trainer(case.network).fit(case.x, case.y, 3, validation_data=(case.x, case.y))
    assert (history.seconds > 1000.0).all()


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_losses_of_numbers_have_no_accuracy(make_case, loss):
    case = make_case((loss, "identity"), ("tanh", 1))
    trainer = fastnn.Trainer(case.network, loss=loss)
    history = trainer.fit(case.x, case.y, 2, (case.x, case.y))
    assert history.accuracy is None
    assert history.validation_accuracy is None
    assert trainer.evaluate(case.x, case.y).accuracy is None


def test_no_epochs_change_nothing(make_case):
    case = make_case(HEADS[0], ("tanh", 1))
    before = case.network.weights[0].copy()
    history = fastnn.Trainer(case.network).fit(case.x, case.y, epochs=0)
    assert len(history) == 0
    assert repr(history) == "History: 0 epochs"
    assert history.validation_loss is None
    np.testing.assert_array_equal(case.network.weights[0], before)


def test_history_of_one_epoch_reads_well(make_case):
    case = make_case(HEADS[0], ("tanh", 1))
    text = repr(fastnn.Trainer(case.network).fit(case.x, case.y))
    assert text.startswith("History: 1 epoch in ")
    assert "loss " in text
    assert "accuracy" not in text


@pytest.mark.parametrize("call_seconds", [0.0, 1e9])
@pytest.mark.parametrize("optimizer", [fastnn.SGD(1.0), fastnn.SGD(1.0, 0.5), fastnn.Adam(1e200)])
def test_divergence_keeps_the_last_weights_with_a_finite_loss(monkeypatch, call_seconds, optimizer):
    """Whether the failing step is the first of its compiled call or in the middle of one."""
    monkeypatch.setattr(loop, "CALL_SECONDS", call_seconds)
    monkeypatch.setattr(loop, "GROWTH", 1000)
    x, y = np.array([[1.0], [3.0], [4.0], [8.0]]), np.array([3.0, 9.0, 12.0, 24.0])
    network = fastnn.mlp(1, 1, seed=0)
    trainer = fastnn.Trainer(network, optimizer=optimizer, batch_size=2, shuffle=False)
    with pytest.raises(
        FloatingPointError,
        match=r"not finite at epoch \d+, batch \d of 2, with .* at learning rate .*smaller learning rate",
    ):
        trainer.fit(x, y, epochs=1000)
    assert all(np.isfinite(w).all() for w in network.weights)
    # Replayed by hand, step by step, up to the same step: the same weights.
    twin = fastnn.mlp(1, 1, seed=0)
    by_hand = fastnn.Trainer(twin, optimizer=optimizer, batch_size=None)
    for step in range(trainer.n_steps):
        half = slice(0, 2) if step % 2 == 0 else slice(2, 4)
        by_hand.fit(x[half], y[half])
    for one, two in zip(network.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_loss_that_overflows_at_once_leaves_the_weights():
    network = fastnn.mlp(1, 1, seed=0)
    before = network.weights[0].copy()
    trainer = fastnn.Trainer(network)
    with pytest.raises(FloatingPointError, match="epoch 1, batch 1 of 1"):
        trainer.fit([[1e200]], [0.0])
    np.testing.assert_array_equal(network.weights[0], before)
    assert trainer.n_steps == 0


@pytest.mark.parametrize("call_seconds", [0.0, 1e9])
@pytest.mark.parametrize("optimizer", [fastnn.SGD(1e308), fastnn.SGD(1e308, 0.5)])
def test_weights_that_the_last_step_made_infinite_are_taken_back(monkeypatch, call_seconds, optimizer):
    """Every loss that is measured is finite: two of 0, and one before the last step."""
    monkeypatch.setattr(loop, "CALL_SECONDS", call_seconds)
    network = fastnn.mlp(1, 1, seed=0)
    before = network.weights[0].copy()
    trainer = fastnn.Trainer(network, gradient=fastnn.Backprop(), optimizer=optimizer, batch_size=1, shuffle=False)
    with pytest.raises(FloatingPointError, match=r"^a weight is not finite at epoch 1, batch 3 of 3, with .*smaller"):
        trainer.fit([[0.0], [0.0], [9.0]], [0.0, 0.0, 27.0])
    assert trainer.n_steps == 2
    assert network.weights == [before, [0.0]]
    assert np.isfinite(trainer._update.moments).all()


@pytest.mark.parametrize("call_seconds", [0.0, 1e9])
@pytest.mark.parametrize("poisoned", range(6))
def test_moments_that_overflow_are_taken_back(monkeypatch, call_seconds, poisoned):
    """A square of 1e26 is none of float32: Adam would divide by infinity for ever, with every loss finite."""
    monkeypatch.setattr(loop, "CALL_SECONDS", call_seconds)
    x, y = np.arange(1.0, 7.0, dtype=np.float32).reshape(-1, 1), np.ones(6)
    trainer, twin = (
        fastnn.Trainer(fastnn.mlp(1, 1, seed=0, dtype="float32"), optimizer=fastnn.Adam(), batch_size=1, shuffle=False)
        for _ in range(2)
    )
    if poisoned:
        twin.fit(x[:poisoned], y[:poisoned])
    x[poisoned] = 1e13
    with pytest.raises(FloatingPointError, match=f"the optimiser's state is not .* epoch 1, batch {poisoned + 1} of 6"):
        trainer.fit(x, y)
    assert trainer.n_steps == twin.n_steps == poisoned
    assert trainer.network._theta.tobytes() == twin.network._theta.tobytes()
    assert trainer._update.moments.tobytes() == twin._update.moments.tobytes()


def test_perturbation_and_backprop_learn_the_same(make_case):
    """Two trainings that differ only by the truncation of a central difference."""
    weights = []
    for method in (fastnn.Perturbation(1e-5, "central"), fastnn.Backprop()):
        case = make_case(("categorical_cross_entropy", "softmax"), ("tanh", 2), n_samples=20)
        trainer = fastnn.Trainer(case.network, loss=case.loss, gradient=method, optimizer=fastnn.SGD(0.1), batch_size=8)
        history = trainer.fit(case.x, case.y, epochs=20)
        assert history.loss[-1] < history.loss[0]
        weights.append(np.concatenate([w.ravel() for w in case.network.weights]))
    np.testing.assert_allclose(*weights, atol=60 * 0.1 * 1e-10)


def test_queries_are_counted(make_case, monkeypatch):
    """Steps times what one takes, over all fits; none where readings cannot tell the gradient."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    x, y, n_weights = np.tile(case.x, (2, 1)), np.tile(case.y, (2, 1)), case.network.n_parameters
    trainer = fastnn.Trainer(case.network, batch_size=4)  # 3 steps an epoch
    first = trainer.fit(x, y, 3)
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    second = trainer.fit(x, y, 2)
    assert [*first.queries, *second.queries] == [3 * epoch * (n_weights + 1) for epoch in range(1, 6)]
    trainer.fit(x[:4], y[:4])
    assert trainer.history.queries[-1] == 16 * (n_weights + 1)
    assert f" s, {9 * (n_weights + 1):,} queries, loss " in repr(first)
    assert list(first.to_dict()) == ["loss", "seconds", "queries"]
    central = fastnn.Trainer(case.network, gradient=fastnn.Perturbation(scheme="central"))
    assert central.fit(x, y).queries.tolist() == [2 * n_weights]
    plain = fastnn.Trainer(case.network, gradient=fastnn.Backprop()).fit(x, y)
    assert plain.queries is None
    assert "queries" not in repr(plain)
    assert plain.to_dict().keys() == {"loss", "seconds"}
