"""What users of scikit-learn, Keras and PyTorch type first: it works, or the message has the name that it has here."""

import copy
import importlib
import pickle

import numpy as np
import pytest

import fastnn
from fastnn._support import names, validate

X, LABELS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 2]


def make_network():
    return fastnn.mlp(2, 4, 3, hidden="tanh", output="softmax", seed=0)


def make_trainer(**options):
    return fastnn.Trainer(make_network(), loss="categorical_cross_entropy", **options)


# What is typed, and what the message has.
TYPED = {
    # on a network
    "network.fit(X, y)": (lambda: make_network().fit(X, LABELS), "training is fastnn.Trainer"),
    "network.compile()": (lambda: make_network().compile(loss="mse"), "loss and optimizer are the trainer's"),
    "network.score": (lambda: make_network().score(X, LABELS), "evaluate"),
    "network.evaluate": (lambda: make_network().evaluate(X, LABELS), r"fastnn.Trainer\(.*evaluate"),
    "network.predict_proba": (lambda: make_network().predict_proba(X), "predict.X. has the probabilities"),
    "network.predict_classes": (lambda: make_network().predict_classes(X), "predict_labels"),
    "network.parameters()": (lambda: make_network().parameters(), "network.weights"),
    "network.get_weights()": (lambda: make_network().get_weights(), "network.weights"),
    "network.set_weights()": (lambda: make_network().set_weights([]), "network.weights = "),
    "network.state_dict()": (lambda: make_network().state_dict(), "fastnn.load"),
    "network.count_params()": (lambda: make_network().count_params(), "n_parameters"),
    "network.coefs_": (lambda: make_network().coefs_, r"network.weights\[::2\]"),
    "network.add": (lambda: make_network().add(fastnn.Dense(2, "relu")), "layers are given at once"),
    "network.eval()": (lambda: make_network().eval(), "no mode"),
    "network.to('cuda')": (lambda: make_network().to("cuda"), "CPU"),
    "network.backward()": (lambda: make_network().backward(), "fastnn.gradient"),
    "network.forwards": (lambda: make_network().forwards, "did you mean 'forward'"),
    "network.xyz": (lambda: make_network().xyz, "'xyz'$"),
    "layers[0].weights": (lambda: make_network().layers[0].weights, "weights are the network's"),
    "layers[0].units": (lambda: make_network().layers[0].units, "did you mean 'n_units'|n_units"),
    # on a trainer
    "trainer.lr": (lambda: make_trainer().lr, "did you mean 'learning_rate'"),
    "trainer.score": (lambda: make_trainer().score(X, LABELS), "evaluate"),
    "trainer.partial_fit": (lambda: make_trainer().partial_fit(X, LABELS), "fit again"),
    "trainer.compile()": (lambda: make_trainer().compile(), "arguments"),
    "trainer.predict_proba": (lambda: make_trainer().predict_proba(X), "probabilities"),
    "trainer.model": (lambda: make_trainer().model, "did you mean 'network'|network"),
    "trainer.loss_curve_": (lambda: make_trainer().loss_curve_, "history.loss"),
    "trainer.weights": (lambda: make_trainer().weights, "network.weights"),
    "trainer.load": (lambda: make_trainer().load("a"), "resume"),
    # on a history
    "history.history": (lambda: make_trainer().history.history, "to_dict"),
    "history.val_loss": (lambda: make_trainer().history.val_loss, "validation_loss"),
    "history.acc": (lambda: make_trainer().history.acc, "accuracy"),
    # arguments
    "Trainer(lr=)": (lambda: make_trainer(lr=0.1), "optimizer=fastnn.SGD"),
    "Trainer(learning_rate=)": (lambda: make_trainer(learning_rate=0.1), "optimizer=fastnn.SGD"),
    "Trainer(epochs=)": (lambda: make_trainer(epochs=3), "epochs are fit's"),
    "fit(metrics=)": (lambda: make_trainer().fit(X, LABELS, metrics=["accuracy"]), "said to the trainer"),
    "Trainer(random_state=)": (lambda: make_trainer(random_state=0), "did you mean 'seed'"),
    "Trainer(weight_decay=)": (lambda: make_trainer(weight_decay=0.1), "weight decay is the optimizer's"),
    "Trainer(clipnorm=)": (lambda: make_trainer(clipnorm=1.0), "did you mean 'clip_norm'"),
    "Trainer(max_grad_norm=)": (lambda: make_trainer(max_grad_norm=1.0), "did you mean 'clip_norm'"),
    "Trainer(clipvalue=)": (lambda: make_trainer(clipvalue=1.0), "clip_norm=1.0"),
    "Adam(global_clipnorm=)": (lambda: fastnn.Adam(global_clipnorm=1.0), "clipped by the trainer: .*clip_norm=1.0"),
    "fit(clip_norm=)": (lambda: make_trainer().fit(X, LABELS, clip_norm=1.0), "said to the trainer"),
    "Trainer(solver=)": (lambda: make_trainer(solver="adam"), "optimizer=fastnn.Adam"),
    "Trainer(early_stopping=)": (lambda: make_trainer(early_stopping=True), "callbacks.EarlyStopping"),
    "fit(n_epochs=)": (lambda: make_trainer().fit(X, LABELS, n_epochs=3), "did you mean 'epochs'"),
    "fit(batch_size=)": (lambda: make_trainer().fit(X, LABELS, batch_size=3), "the batch size is the trainer's"),
    "fit(verbose=)": (lambda: make_trainer().fit(X, LABELS, verbose=1), "did you mean 'progress'"),
    "fit(restore_best_weights=)": (lambda: make_trainer().fit(X, LABELS, restore_best_weights=True), "EarlyStopping"),
    "EarlyStopping(restore_best_weights=)": (
        lambda: fastnn.callbacks.EarlyStopping(restore_best_weights=True),
        "the best weights are restored, always",
    ),
    "EarlyStopping(n_iter_no_change=)": (
        lambda: fastnn.callbacks.EarlyStopping(n_iter_no_change=3),
        "did you mean 'patience'",
    ),
    "ReduceOnPlateau(threshold=)": (lambda: fastnn.callbacks.ReduceOnPlateau(threshold=0.1), "mean 'min_delta'"),
    "Checkpoint(save_best_only=)": (lambda: fastnn.callbacks.Checkpoint("a", save_best_only=True), "EarlyStopping"),
    "fit(generator=)": (lambda: make_trainer().fit(generator=[(X, LABELS)]), "did you mean 'X'"),
    "fit(steps_per_epoch=)": (lambda: make_trainer().fit([(X, LABELS)], steps_per_epoch=3), "a pass over the batches"),
    "trainer.fit_generator": (lambda: make_trainer().fit_generator([(X, LABELS)]), r"fit\(batches, epochs=...\)"),
    "fit(X)": (lambda: make_trainer().fit(X), "y is missing"),
    "fit(qqq=)": (lambda: make_trainer().fit(X, LABELS, qqq=1), r"Trainer.fit\(\) takes no argument 'qqq'$"),
    "Dense(units=)": (lambda: fastnn.Dense(units=3, activation="relu"), "did you mean 'n_units'"),
    "Dense(use_bias=)": (lambda: fastnn.Dense(3, "relu", use_bias=False), "every layer with weights has a bias"),
    "Dense(in_features=)": (lambda: fastnn.Dense(3, "relu", in_features=4), "what is below it"),
    "Dense(3)": (lambda: fastnn.Dense(3), r"Dense\(\) needs activation; fastnn.Dense\(10, 'softmax'\)"),
    "Conv2D(8)": (lambda: fastnn.Conv2D(8), r"needs kernel_size and activation; fastnn.Conv2D\(8, 5, 'relu'\)"),
    "Conv2D(filters=)": (lambda: fastnn.Conv2D(filters=8), "did you mean 'n_filters'"),
    "Conv2D(stride=)": (lambda: fastnn.Conv2D(8, 3, "relu", stride=2), "did you mean 'strides'"),
    "Conv2D(data_format=)": (lambda: fastnn.Conv2D(8, 3, "relu", data_format="NCHW"), "channels stand last"),
    "Conv2D(...).weight": (lambda: fastnn.Conv2D(8, 3, "relu").weight, "network.weights is"),
    "MaxPool2D(...).units": (lambda: fastnn.MaxPool2D(2).units, "MaxPool2D has no attribute 'units'$"),
    "LSTM(hidden_size=)": (lambda: fastnn.LSTM(hidden_size=8), "did you mean 'n_units'"),
    "GRU(dropout=)": (lambda: fastnn.GRU(8, dropout=0.5), "a layer of its own"),
    "Embedding(num_embeddings=)": (lambda: fastnn.Embedding(num_embeddings=9), "did you mean 'n_tokens'"),
    "Repeat()": (lambda: fastnn.Repeat(), r"Repeat\(\) needs n_steps$"),
    "Network([...])": (lambda: fastnn.Network([fastnn.Dense(3, "relu")]), "input_shape comes first"),
    "Trainer()": (lambda: fastnn.Trainer(), r"needs network; fastnn.Trainer\(network\)"),
    "mlp(activation=)": (lambda: fastnn.mlp(2, 3, activation="relu"), "hidden"),
    "mlp(hidden_layer_sizes=)": (lambda: fastnn.mlp(2, 3, hidden_layer_sizes=(3,)), "one by one"),
    "mlp(random_state=)": (lambda: fastnn.mlp(2, 3, random_state=0), "did you mean 'seed'"),
    "Network(activation=)": (lambda: fastnn.Network(2, [], activation="relu"), "each layer has its own"),
    "SGD(learning_rate=)": (lambda: fastnn.SGD(learning_rate=0.1), "did you mean 'lr'"),
    "Adam(beta_1=)": (lambda: fastnn.Adam(beta_1=0.9), "did you mean 'beta1'"),
    "Adam(betas=)": (lambda: fastnn.Adam(betas=(0.9, 0.99)), r": each has its name: fastnn.Adam\(beta1=0.9, beta2="),
    "AdamW(params)": (lambda: fastnn.AdamW(params=[]), "the trainer has the weights"),
    "SGD(nesterovs_momentum=)": (lambda: fastnn.SGD(nesterovs_momentum=True), "did you mean 'nesterov'"),
    "Perturbation(epsilon=)": (lambda: fastnn.Perturbation(epsilon=1e-6), r"Perturbation\(\) .*did you mean 'eps'"),
    "gradient(eps=)": (
        lambda: fastnn.gradient(make_network(), X, LABELS, eps=1e-6),
        r"gradient\(\) takes no argument 'eps': it is the method's: method=fastnn.Perturbation\(eps=1e-6\)",
    ),
    "CSVLogger(append=)": (lambda: fastnn.callbacks.CSVLogger("a", append=True), "is continued, always"),
    # by place
    "Trainer(network, loss)": (
        lambda: fastnn.Trainer(make_network(), "categorical_cross_entropy"),
        r"Trainer\(\) takes network by place, and got 1 more; the others are by name: loss=, gradient=, optimizer=",
    ),
    "Dense(3, 'relu', 4, 5)": (
        lambda: fastnn.Dense(3, "relu", 4, 5),
        r"Dense\(\) takes n_units and activation by place, and got 2 more$",
    ),
    # values
    "Dense('linear')": (lambda: fastnn.Dense(3, "linear"), "did you mean 'identity'"),
    "Dense('logistic')": (lambda: fastnn.Dense(3, "logistic"), "did you mean 'sigmoid'"),
    "Dense('swish')": (lambda: fastnn.Dense(3, "swish"), "did you mean 'silu'"),
    "init='xavier_uniform'": (lambda: fastnn.mlp(2, 1, init="xavier_uniform"), "did you mean 'glorot_uniform'"),
    "init='kaiming_normal'": (lambda: fastnn.mlp(2, 1, init="kaiming_normal"), "did you mean 'he_normal'"),
    "loss='mse'": (
        lambda: make_trainer() and fastnn.Trainer(make_network(), loss="mse"),
        "did you mean 'squared_error'",
    ),
    "loss='crossentropy'": (
        lambda: fastnn.Trainer(make_network(), loss="crossentropy"),
        "did you mean 'categorical_cross_entropy'",
    ),
    "loss='crossentropy', sigmoid": (
        lambda: make_ended(1, "sigmoid", "crossentropy"),
        "did you mean 'binary_cross_entropy'",
    ),
    "loss='CrossEntropyLoss'": (
        lambda: fastnn.Trainer(make_network(), loss="CrossEntropyLoss"),
        "did you mean 'categorical_cross_entropy'",
    ),
    "loss='mae'": (lambda: fastnn.Trainer(make_network(), loss="mae"), "did you mean 'absolute_error'"),
    "loss='log_loss'": (lambda: fastnn.Trainer(make_network(), loss="log_loss"), "'categorical_cross_entropy'"),
    "Conv2D('linear', 'same ')": (lambda: fastnn.Conv2D(3, 3, "relu", padding="same "), "did you mean 'same'"),
    # what is not there
    "fastnn.BatchNorm1d": (lambda: fastnn.BatchNorm1d(5), "no attribute 'BatchNorm1d': there is none; scale"),
    "fastnn.Linear": (lambda: fastnn.Linear(3, 2), "did you mean 'Dense'"),
    "fastnn.Conv2d": (lambda: fastnn.Conv2d(3, 2), "did you mean 'Conv2D'"),
    "fastnn.Sequential": (lambda: fastnn.Sequential([]), r"fastnn.Network\("),
    "fastnn.BatchNormalization": (lambda: fastnn.BatchNormalization(), "scale the inputs"),
    "fastnn.EarlyStopping": (lambda: fastnn.EarlyStopping(), "fastnn.callbacks.EarlyStopping"),
    "fastnn.MLPClassifier": (lambda: fastnn.MLPClassifier(), "PerturbationClassifier"),
    "fastnn.qqq": (lambda: fastnn.qqq, "module 'fastnn' has no attribute 'qqq'$"),
    "fastnn.__all__": (lambda: fastnn.__all__, "module 'fastnn' has no attribute '__all__'$"),
    "Dense(dropout=)": (lambda: fastnn.Dense(3, "relu", dropout=0.5), "a layer of its own: .*fastnn.Dropout"),
    "Network(dropout=)": (lambda: fastnn.Network(2, [], dropout=0.5), "a layer of its own: .*fastnn.Dropout"),
    "Trainer(dropout=)": (lambda: make_trainer(dropout=0.5), "a layer of its own: .*fastnn.Dropout"),
    "Dropout(p=)": (lambda: fastnn.Dropout(p=0.5), "did you mean 'rate'"),
    "Dropout(seed=)": (lambda: fastnn.Dropout(0.5, seed=0), "goes by the trainer's: fastnn.Trainer"),
    "Dropout(0.5).p": (lambda: fastnn.Dropout(0.5).p, "Dropout has no attribute 'p'"),
    # what is set
    "trainer.optimizer = Adam()": (lambda: assign(make_trainer(), optimizer=fastnn.Adam()), "make another, .*Trainer"),
    "trainer.batch_size = 8": (lambda: assign(make_trainer(), batch_size=8), "batch_size cannot be set: make another"),
    "trainer.gradient = 'backprop'": (lambda: assign(make_trainer(), gradient="backprop"), "make another"),
    "trainer.loss = 'mse'": (lambda: assign(make_trainer(), loss="squared_error"), "make another"),
    "trainer.network = other": (lambda: assign(make_trainer(), network=make_network()), "make another"),
    "trainer.lr = 1": (lambda: assign(make_trainer(), lr=1), "did you mean 'learning_rate'"),
    "trainer.history = []": (lambda: assign(make_trainer(), history=[]), "history cannot be set"),
    "trainer.qqq = 1": (lambda: assign(make_trainer(), qqq=1), "Trainer has no attribute 'qqq'$"),
    "network.layers = []": (lambda: assign(make_network(), layers=[]), "layers cannot be set: make another"),
    "network.dtype = 'float32'": (lambda: assign(make_network(), dtype="float32"), "dtype cannot be set"),
    "network.W1 = 0": (lambda: assign(make_network(), W1=0), "no attribute 'W1'"),
    "Dense(...).activation = ": (lambda: assign(fastnn.Dense(3, "relu"), activation="tanh"), "cannot assign to field"),
    # shapes and labels
    "mlp([64, 32, 10])": (lambda: fastnn.mlp([64, 32, 10]), r"write them one by one: mlp\(64, 32, 10\)"),
    "mlp()": (lambda: fastnn.mlp(), r"got sizes \(\)$"),
    "mlp(64)": (lambda: fastnn.mlp(64), r"got sizes \(64,\)$"),
    "labels from 1": (lambda: make_trainer().fit(X, [1, 2, 3]), "from 1 to 3; subtract 1"),
    "more classes than outputs": (lambda: make_trainer().fit(X, [0, 2, 4]), "from 0 to 4; the network needs 5 outputs"),
    "labels -1 and 1": (lambda: make_trainer().fit(X, [-1, 1, 1]), "number the classes 0, 1"),
    "three classes, three sigmoids": (
        lambda: make_ended(3, "sigmoid", "binary_cross_entropy").fit(X, LABELS),
        "integer labels go with loss 'categorical_cross_entropy' and a softmax .*; sigmoids each have a column",
    ),
    "three classes, three numbers": (
        lambda: make_ended(3, "identity", "squared_error").fit(X, LABELS),
        "integer labels go with loss 'categorical_cross_entropy' and a softmax output layer, or as one-hot rows",
    ),
    "three classes, one sigmoid": (
        lambda: make_ended(1, "sigmoid", "binary_cross_entropy").fit(X, LABELS),
        "from 0 to 2; more classes than two have an output each, in a softmax layer",
    ),
    "labels -1 and 1, one sigmoid": (
        lambda: make_ended(1, "sigmoid", "binary_cross_entropy").fit(X, [-1, 1, 1]),
        "from -1 to 1; an output's target is 0 or 1, or a probability between$",
    ),
    "labels 1 and 2, one sigmoid": (
        lambda: make_ended(1, "sigmoid", "binary_cross_entropy").fit(X, [1, 2, 2]),
        "from 1 to 2; an output's target is 0 or 1",
    ),
    "one softmax output": (
        lambda: make_ended(1, "softmax", "categorical_cross_entropy").fit(X, [0, 0, 0]),
        "one softmax unit, which is always 1: for two classes, end in Dense.2, 'softmax'.",
    ),
    "images for a vector": (
        lambda: fastnn.mlp(64, 3).predict(np.zeros((5, 8, 8))),
        r"reshape it with X.reshape\(len\(X\), -1\), or have convolutions on it: fastnn.Network\(\(8, 8, 1\), ...\)",
    ),
    "text": (lambda: make_network().predict([["a", "b"]]), "dtype <U1; fastnn.tables makes inputs and classes of text"),
    "text among numbers": (
        lambda: make_network().predict(np.array([[1.0, "b"]], dtype=object)),
        "dtype object; .*fastnn.tables makes",
    ),
    "no text": (lambda: make_network().predict(np.array([[1.0, None]], dtype=object)), r"astype\(float\)$"),
    "one input": (
        lambda: fastnn.Network(1, [fastnn.RNN(3, "tanh"), fastnn.Dense(1, "identity")]),
        "the network takes 1 flat input; write",
    ),
}


def make_ended(n_outputs, output, loss):
    return fastnn.Trainer(fastnn.mlp(2, n_outputs, output=output), loss=loss)


def assign(thing, **values):
    for name, value in values.items():
        setattr(thing, name, value)


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed(typed):
    call, told = TYPED[typed]
    with pytest.raises((AttributeError, TypeError, ValueError), match=told):
        call()


def test_hints_name_what_there_is():
    """A hint that is one name is that of an attribute of what it is told about."""
    for kind, table in names.ATTRIBUTES.items():
        known = dir(getattr(fastnn, kind, None) or getattr(fastnn.callbacks, kind))
        assert not set(table) & set(known), "what is there needs no hint"


@pytest.mark.parametrize("where", names.ARGUMENTS)
def test_arguments_have_hints(where):
    function = fastnn.Trainer.fit
    if "." not in where:
        other = "fastnn.tables" if where in ("train", "read") else "fastnn.sklearn"
        modules = [fastnn, fastnn.callbacks]
        if not any(hasattr(module, where) for module in modules):
            modules = [pytest.importorskip(other, exc_type=ImportError)]
        function = next(getattr(module, where) for module in modules if hasattr(module, where))
    with pytest.raises(TypeError) as event:
        function(**{"there is no such argument": 1})
    assert str(event.value) == f"{where}() takes no argument 'there is no such argument'"
    for name in names.ARGUMENTS[where]:
        with pytest.raises(TypeError, match=f"takes no argument {name!r}[:;]"):
            function(**{name: 1})


def test_what_works(capsys):
    """Habits that are served as they are."""
    make_trainer(metrics=["accuracy"]).fit(X, LABELS, validation_split=0.5)
    network, trainer = make_network(), make_trainer()
    np.testing.assert_array_equal(network(X), network.predict(X))
    np.testing.assert_array_equal(trainer.predict(X), trainer.network.predict(X))
    labels = network.predict(X).argmax(axis=1)
    np.testing.assert_array_equal(network.predict_labels(X), labels)
    np.testing.assert_array_equal(trainer.predict_labels(X), labels)
    network.summary()
    assert capsys.readouterr().out == f"{network}\n"
    one = fastnn.mlp(2, 1, output="sigmoid", seed=0)
    np.testing.assert_array_equal(one.predict_labels(X), one.predict(X)[:, 0] > 0.5)
    several = fastnn.mlp(2, 3, output="sigmoid", seed=0)
    np.testing.assert_array_equal(several.predict_labels(X), several.predict(X) > 0.5)
    assert several.predict_labels(X).dtype == np.int64
    with pytest.raises(TypeError, match="ends in identity: predict"):
        fastnn.mlp(2, 1).predict_labels(X)


def test_linear_is_no_rectifier():
    """A name that is another's, for what this does not take, has no hint at something else."""
    assert names.find_nearest("linear", ["sigmoid", "relu", "leaky_relu"]) == ""


def test_what_can_be_set():
    """A learning rate takes effect; what is private stays one's own, and methods can be replaced."""
    trainer = make_trainer(optimizer=fastnn.SGD(0.5))
    trainer.learning_rate = 0.0
    before = trainer.network.predict(X)
    trainer.fit(X, LABELS)
    np.testing.assert_array_equal(trainer.network.predict(X), before)
    trainer._mine = 3
    trainer.stop = lambda: None
    assert (trainer._mine, trainer.loss, trainer.batch_size) == (3, "categorical_cross_entropy", 32)
    assert trainer.shuffle is True
    assert trainer.devices is None


def test_a_trainer_shows_itself():
    trainer = make_trainer(optimizer=fastnn.SGD(0.5), batch_size=3)
    assert repr(trainer).splitlines() == [
        "Trainer: 0 epochs, 0 steps",
        "  network     2 inputs, 27 parameters, float64",
        "  loss        categorical_cross_entropy",
        "  gradient    Perturbation()",
        f"  optimizer   {trainer.optimizer}",
        "  batch_size  3",
        "  shuffle     True",
    ]
    trainer.fit(X, LABELS)
    trainer.learning_rate = 0.25
    assert repr(trainer).splitlines()[0] == "Trainer: 1 epoch, 1 step"
    assert repr(trainer).splitlines()[-1] == "  learning_rate  0.25"
    assert f"<td>{trainer.optimizer}</td>" in trainer._repr_html_()
    noisy = make_trainer(readout=fastnn.hardware.Readout(noise=0.1))
    assert repr(noisy).splitlines()[-1].startswith("  readout     Readout(")
    assert repr(fastnn.mlp(1, 1)).startswith("Network: 1 input, 2 parameters")


@pytest.mark.parametrize(
    ("module", "package", "use"),
    [
        ("matplotlib", "matplotlib", lambda: importlib.import_module("fastnn.plot")),
        ("sklearn", "scikit-learn", lambda: importlib.import_module("fastnn.sklearn")),
        ("pyarrow", "pyarrow", lambda: importlib.import_module("fastnn.tables")),
        ("onnx", "onnx", lambda: make_network().to_onnx("never.onnx")),
        ("torch", "torch", lambda: make_network().to_torch()),
        ("torch", "torch", lambda: fastnn.from_torch(None)),
        ("safetensors.numpy", "safetensors", lambda: fastnn.load("never")),
        ("tqdm.auto", "tqdm", lambda: make_trainer().fit(X, LABELS, progress=True)),
    ],
)
def test_packages_that_are_missing(hide, monkeypatch, tmp_path, module, package, use):
    """Whoever needs one says which, and how to install it where fastnn is a folder."""
    (tmp_path / "never").write_bytes(bytes(8))
    monkeypatch.chdir(tmp_path)
    hide(module, "fastnn.plot", "fastnn.sklearn", "fastnn.tables", "fastnn.interop.steps")
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}: pip install {package}, or .* '\.\[\w+\]'"):
        use()


def test_a_module_of_ours_is_no_package():
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'fastnn.nothing'"),
        validate.optional("this", "that"),
    ):
        importlib.import_module("fastnn.nothing")


def test_copies():
    """What Python asks an object for while it is made is no foreign name."""
    for value in (make_network(), fastnn.Dense(3, "relu"), make_trainer().history):
        assert repr(pickle.loads(pickle.dumps(value))) == repr(copy.deepcopy(value)) == repr(value)
    assert not hasattr(make_network(), "__array__")
    assert not hasattr(make_network(), "_ipython_display_")
