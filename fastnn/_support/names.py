"""Names that users of scikit-learn, Keras, PyTorch and pandas type, and what to write here instead."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])
_EMPTY, _BY_PLACE = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME, _REST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL

_FIT = "training is fastnn.Trainer(network, loss=...).fit(X, y, epochs=...)"
_RATE = "the learning rate is the optimizer's: optimizer=fastnn.SGD(0.1)"
_OF_LAYER = "each layer has its own: fastnn.Dense(100, 'relu'); for fastnn.mlp, hidden= and output="
_OF_NETWORK = "weights are the network's: network.weights is [W1, b1, W2, b2, ...]"
_STOPPING = "give fit callbacks=[fastnn.callbacks.EarlyStopping(...)]"
_DECAY = "weight decay is the optimizer's: optimizer=fastnn.SGD(0.1, weight_decay=1e-4)"
_CLIP = "the gradient's norm is clipped by the trainer: fastnn.Trainer(network, clip_norm=1.0)"
_DROPOUT = (
    "dropout is a layer of its own: fastnn.Network(n_inputs, [fastnn.Dense(100, 'relu'), fastnn.Dropout(0.5), ...]); "
    "for fastnn.mlp, dropout=0.5"
)
_NORMALIZATION = "there is none; scale the inputs, with scikit-learn's StandardScaler or by fastnn.tables"
_CHECKPOINT = "save(path), and fastnn.load(path); a run that is to go on: trainer.save, fastnn.Trainer.resume"
_TABLE_RATE = "the learning rate is the optimizer's: optimizer=fastnn.Adam(0.01)"
_READ = "it is said to what reads the file: fastnn.tables.read(path, separator=';', decimal=',')"
_AFTER = "there is none; on_steps and on_epoch_end come after some steps, and on_fit_begin before all"
_TRAINER = "that is said to the trainer: fastnn.Trainer(network, ...)"

_BELOW = "a layer takes what is below it: fastnn.Network(input_shape, [fastnn.Dense(...)])"
_INIT = "init is the network's: fastnn.Network(..., init='fan_in')"
_NONE = "there is none; layers stand one on another in fastnn.Network(input_shape, [...])"
_UNITS = dict.fromkeys(("units", "out_features", "hidden_size"), "n_units")
_STRIDES = {"stride": "strides"}
_POOL = {"kernel_size": "pool_size", **_STRIDES}
# Kinds of layers, and what others call their arguments.
_LAYERS: dict[str, dict[str, str]] = {
    "Dense": _UNITS,
    "RNN": _UNITS,
    "LSTM": _UNITS,
    "GRU": _UNITS,
    "Conv2D": {**dict.fromkeys(("filters", "out_channels", "num_filters"), "n_filters"), **_STRIDES},
    "MaxPool2D": _POOL,
    "AveragePool2D": _POOL,
    "Flatten": {},
    "Repeat": {"n": "n_steps"},
    "Embedding": {
        **dict.fromkeys(("num_embeddings", "vocab_size", "input_dim"), "n_tokens"),
        **dict.fromkeys(("embedding_dim", "output_dim"), "n_units"),
    },
}

# Of what is read from an object, by the name of its class.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "Network": {
        "fit": _FIT,
        "partial_fit": _FIT,
        "train": _FIT,
        "compile": "loss and optimizer are the trainer's: fastnn.Trainer(network, loss=..., optimizer=...)",
        "backward": "fastnn.gradient(network, X, y, loss=...)",
        "evaluate": "fastnn.Trainer(network, loss=...).evaluate(X, y)",
        "score": "fastnn.Trainer(network, loss=...).evaluate(X, y)",
        "predict_proba": "predict(X) has the probabilities of a sigmoid or softmax output layer",
        "predict_classes": "predict_labels(X)",
        "parameters": "network.weights is [W1, b1, W2, b2, ...], n_parameters their number",
        "trainable_weights": "network.weights is [W1, b1, W2, b2, ...]",
        "get_weights": "network.weights is [W1, b1, W2, b2, ...], views; copy them with [w.copy() for w in ...]",
        "set_weights": "assign them: network.weights = [W1, b1, ...]",
        "state_dict": _CHECKPOINT,
        "load_state_dict": _CHECKPOINT,
        "count_params": "n_parameters",
        "coefs_": "network.weights[::2] of a dense network",
        "intercepts_": "network.weights[1::2] of a dense network",
        "eval": "predict is always the same: there is no mode to be set",
        "add": "layers are given at once: fastnn.Network(n_inputs, [fastnn.Dense(...), ...])",
        "to": "fastnn runs on the CPU",
        "cuda": "fastnn runs on the CPU",
    },
    "Trainer": {
        "lr": "learning_rate",
        "model": "network",
        "score": "evaluate(X, y)",
        "partial_fit": "fit again: it goes on where it stopped; or fit(batches) of pairs (X, y)",
        "fit_generator": "fit(batches, epochs=...), pairs (X, y) from a generator or a loader",
        "train": "fit(X, y, epochs=...)",
        "compile": "there is nothing to compile: loss and optimizer are the trainer's arguments",
        "predict_proba": "predict(X) has the probabilities of a sigmoid or softmax output layer",
        "predict_classes": "predict_labels(X)",
        "weights": "network.weights",
        "loss_curve_": "history.loss",
        "loss_": "history.loss[-1]",
        "load": "fastnn.Trainer.resume(path)",
    },
    "Callback": {
        **dict.fromkeys(("on_train_begin", "on_train_start", "on_fit_start"), "on_fit_begin"),
        "on_train_end": "on_fit_end",
        **dict.fromkeys(("on_batch_end", "on_train_batch_end", "on_step", "on_step_end"), "on_steps"),
        **dict.fromkeys(("on_train_epoch_end", "on_validation_end", "on_validation_epoch_end"), "on_epoch_end"),
        **dict.fromkeys(("on_epoch_begin", "on_epoch_start", "on_train_epoch_start"), _AFTER),
        **dict.fromkeys(("on_batch_begin", "on_batch_start", "on_train_batch_begin", "on_train_batch_start"), _AFTER),
    },
    "History": {
        "history": "each column by its name, such as history.loss; to_dict() has all of them",
        "val_loss": "validation_loss",
        "val_accuracy": "validation_accuracy",
        "acc": "accuracy",
        "epoch": "len(history) is their number",
    },
    **{
        layer: {**dict.fromkeys(("weights", "weight", "bias", "kernel", "get_weights"), _OF_NETWORK), **other_names}
        for layer, other_names in _LAYERS.items()
    },
}

# Of what is read from the package.
PACKAGE = {
    "Sequential": "layers are given at once: fastnn.Network(n_inputs, [fastnn.Dense(...), ...])",
    "Model": "Network",
    "Linear": "Dense",
    "BatchNormalization": _NORMALIZATION,
    "BatchNorm1d": _NORMALIZATION,
    "BatchNorm2d": _NORMALIZATION,
    "LayerNormalization": _NORMALIZATION,
    "LayerNorm": _NORMALIZATION,
    "EarlyStopping": "fastnn.callbacks.EarlyStopping",
    "ModelCheckpoint": "fastnn.callbacks.Checkpoint",
    "MLPClassifier": "fastnn.sklearn.PerturbationClassifier",
    "MLPRegressor": "fastnn.sklearn.PerturbationRegressor",
}

# Of what is set, by the name of its class, and holds for as long as there is the object.
FIXED = {
    "Network": ": make another, with fastnn.Network; its weights can be set, network.weights = [W1, b1, ...]",
    "Trainer": ": make another, fastnn.Trainer(trainer.network, ...), which goes on with the weights as they are; "
    "learning_rate can be set at any time",
}

# Of arguments, by the name of what is called.
ARGUMENTS: dict[str, dict[str, str]] = {
    "Trainer": {
        "lr": _RATE,
        "learning_rate": _RATE,
        "learning_rate_init": _RATE,
        "epochs": "epochs are fit's: trainer.fit(X, y, epochs=...)",
        "n_epochs": "epochs are fit's: trainer.fit(X, y, epochs=...)",
        "max_iter": "epochs are fit's: trainer.fit(X, y, epochs=...)",
        "random_state": "seed",
        "weight_decay": _DECAY,
        "alpha": _DECAY,
        "momentum": "momentum is the optimizer's: optimizer=fastnn.SGD(0.1, momentum=0.9)",
        "solver": "optimizer=fastnn.Adam()",
        "method": "gradient",
        "model": "network",
        "criterion": "loss",
        **dict.fromkeys(("clipnorm", "global_clipnorm", "max_norm", "max_grad_norm", "gradient_clip_val"), "clip_norm"),
        "clipvalue": _CLIP,
        "verbose": "fit(progress=True) shows a bar",
        "callbacks": "callbacks are fit's",
        "early_stopping": _STOPPING,
        "dropout": _DROPOUT,
    },
    "Trainer.fit": {
        "n_epochs": "epochs",
        "max_iter": "epochs",
        "batch_size": "the batch size is the trainer's: fastnn.Trainer(network, batch_size=...)",
        "shuffle": _TRAINER,
        "verbose": "progress",
        "lr": _RATE,
        "learning_rate": _RATE,
        "optimizer": _TRAINER,
        "loss": _TRAINER,
        "metrics": _TRAINER,
        "clip_norm": _TRAINER,
        "early_stopping": _STOPPING,
        "steps_per_epoch": "an epoch is a pass over the batches: fit(batches, epochs=...)",
        "generator": "X",
        "restore_best_weights": "it is EarlyStopping's: callbacks=[fastnn.callbacks.EarlyStopping(...)]",
        "x": "X",
        "Y": "y",
    },
    "Network": {
        "activation": _OF_LAYER,
        "random_state": "seed",
        "loss": _TRAINER,
        "optimizer": _TRAINER,
        "n_inputs": "input_shape",
        "input_dim": "input_shape",
        "kernel_initializer": "init",
        "dropout": _DROPOUT,
    },
    "mlp": {
        "activation": "hidden, and output for the last layer",
        "hidden_layer_sizes": "sizes are given one by one: fastnn.mlp(n_inputs, 100, n_outputs)",
        "random_state": "seed",
        "loss": _TRAINER,
        "optimizer": _TRAINER,
    },
    **{
        layer: {
            **dict.fromkeys(("in_features", "in_channels", "input_size", "input_dim"), _BELOW),
            "input_shape": "it is the network's: fastnn.Network(input_shape, [...])",
            "data_format": "channels stand last: (height, width, channels)",
            "batch_first": "samples stand first, always: (n_samples, steps, features)",
            **dict.fromkeys(("use_bias", "bias"), "every layer with weights has a bias, but an Embedding"),
            **dict.fromkeys(("kernel_initializer", "embeddings_initializer", "recurrent_initializer"), _INIT),
            "kernel_regularizer": _DECAY,
            **dict.fromkeys(("dropout", "recurrent_dropout"), _DROPOUT),
            **dict.fromkeys(("dilation", "dilation_rate", "groups", "bidirectional", "num_layers", "stateful"), _NONE),
            **other_names,
        }
        for layer, other_names in _LAYERS.items()
    },
    "train": {
        **dict.fromkeys(("lr", "learning_rate", "learning_rate_init"), _TABLE_RATE),
        "n_epochs": "epochs",
        "max_iter": "epochs",
        "random_state": "seed",
        "solver": "optimizer=fastnn.Adam()",
        **dict.fromkeys(("weight_decay", "alpha"), _DECAY),
        "hidden_layer_sizes": "hidden",
        "dropout": "there is none; a fastnn.Trainer of a network with it takes the rows of model.encode(table)",
        "loss": "it goes with the target: task='classes' or task='numbers'",
        "metrics": "model.evaluate(table) has what is measured",
        "verbose": "progress=True shows a bar",
        "early_stopping": "callbacks=[fastnn.callbacks.EarlyStopping(...)]",
        **dict.fromkeys(("validation_split", "validation_fraction", "test_size"), "validation"),
        **dict.fromkeys(("data", "df", "frame", "X"), "table"),
        **dict.fromkeys(("y", "label", "target_column"), "target"),
        **dict.fromkeys(("categorical_features", "cat_features"), "category"),
        "na_values": "na",
        **dict.fromkeys(("sep", "separator", "delimiter", "decimal"), _READ),
    },
    "read": {
        **dict.fromkeys(("sep", "delimiter"), "separator"),
        **dict.fromkeys(("filepath", "filepath_or_buffer", "file"), "path"),
        **dict.fromkeys(("na", "na_values"), "it is said to fastnn.tables.train(table, target, na=...)"),
        **dict.fromkeys(
            ("usecols", "index_col"), "columns are left out by fastnn.tables.train(table, target, drop=...)"
        ),
        "dtype": "text stays as it is written, until a model is trained: fastnn.tables.train(..., category=...)",
        **dict.fromkeys(("skiprows", "nrows"), "there is none; a frame of pandas.read_csv is a table as well"),
    },
    "Dropout": {
        "p": "rate",
        "prob": "rate",
        "seed": "what is dropped goes by the trainer's: fastnn.Trainer(network, seed=...)",
    },
    "EarlyStopping": {
        "restore_best_weights": "the best weights are restored, always",
        "n_iter_no_change": "patience",
        "tol": "min_delta",
    },
    "ReduceOnPlateau": {"threshold": "min_delta"},
    "CSVLogger": {
        "filename": "path",
        "append": "a file that is there is continued, always, without what a new run has again",
    },
    "Checkpoint": {
        "filepath": "path",
        "save_freq": "every",
        "save_best_only": "it has what a run goes on from, and the best weights where EarlyStopping went back to them",
    },
    "Perturbation": {"epsilon": "eps"},
    "gradient": {
        **dict.fromkeys(("eps", "epsilon", "scheme"), "it is the method's: method=fastnn.Perturbation(eps=1e-6)"),
        "gradient": "method",
        "class_weight": "use sample_weight",
    },
    "PerturbationRegressor": {"class_weight": "numbers have no classes: fit takes sample_weight"},
    **{
        name: {
            "learning_rate": "lr",
            "learning_rate_init": "lr",
            "beta_1": "beta1",
            "beta_2": "beta2",
            "eps": "epsilon",
            "decay": "weight_decay",
            "betas": "each has its name: fastnn.Adam(beta1=0.9, beta2=0.999), or fastnn.AdamW",
            "params": "the trainer has the weights: fastnn.Trainer(network, optimizer=...)",
            "nesterovs_momentum": "nesterov",
            "rho": "alpha",
            **dict.fromkeys(("clip_norm", "clipnorm", "global_clipnorm", "max_grad_norm", "clipvalue"), _CLIP),
        }
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
    },
}

# Of calls that lack an argument: what a whole one looks like.
WHOLE = {
    "Network": "input_shape comes first, then the list of layers: fastnn.Network(64, [fastnn.Dense(10, 'softmax')])",
    "Dense": "fastnn.Dense(10, 'softmax'), and 'identity' for no activation",
    "Conv2D": "fastnn.Conv2D(8, 5, 'relu'), and 'identity' for no activation",
    "RNN": "fastnn.RNN(64, 'tanh')",
    "Embedding": "fastnn.Embedding(1000, 32)",
    "Trainer": "fastnn.Trainer(network)",
    "Trainer.fit": "fit(X, y, epochs=...)",
}

_CROSS_ENTROPIES = ("categorical_cross_entropy", "binary_cross_entropy", "log_loss")
# Of values that are one of a few, or of several the first that there is to choose.
VALUES: dict[str, str | tuple[str, ...]] = {
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
    "hardsigmoid": "hard_sigmoid",
    "xavier": "glorot_normal",
    "xavier_normal": "glorot_normal",
    "xavier_uniform": "glorot_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
    "lecun_normal": "fan_in",
    "random_normal": "standard_normal",
    "mse": "squared_error",
    "mean_squared_error": "squared_error",
    "l2": "squared_error",
    "mae": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "l1": "absolute_error",
    "smooth_l1": "huber",
    **dict.fromkeys(("log_loss", "logloss", "nll", "nll_loss", "nllloss"), _CROSS_ENTROPIES),
    **dict.fromkeys(("cross_entropy", "cross-entropy", "crossentropy", "crossentropyloss"), _CROSS_ENTROPIES),
    "categorical_crossentropy": "categorical_cross_entropy",
    "sparse_categorical_crossentropy": "categorical_cross_entropy",
    "bce": "binary_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
}


# How alike one's own method and a callback's are, from 0 to 1, where the other must be meant: on_epoch_ends is 0.96.
NEAR = 0.9


def find_nearest(name: object, known: Sequence[str]) -> str:
    """Return which of some names is meant, by another library's or one that is nearly alike, or nothing."""
    lower = str(name)[:50].lower()
    if lower in VALUES:
        meant = VALUES[lower]
        among = (meant,) if isinstance(meant, str) else meant
        return next((option for option in known if option in among), "")
    import difflib  # where a name is not known, and only there

    near = difflib.get_close_matches(lower, known, n=1, cutoff=0.5)
    return near[0] if near else ""


def _hint(name: str, table: Mapping[str, str], known: Sequence[str]) -> str:
    """Return what to write instead of a name, as the end of a message."""
    near = table.get(name) or find_nearest(name, known)
    if not near:
        return ""
    return f"; did you mean {near!r}?" if near in known else f": {near}"


def refuse_of_package(name: str, known: Sequence[str]) -> str:
    """Return the message about what the package does not have, of the names that it has."""
    hint = "" if name.startswith("_") else _hint(name, PACKAGE, [other for other in known if other[0] != "_"])
    return f"module 'fastnn' has no attribute {name!r}{hint}"


def refuse_method(name: str, known: Sequence[str]) -> str:
    """Return the end of the message about a method that a callback cannot mean, or nothing: one may have others."""
    import difflib

    table = ATTRIBUTES["Callback"]
    if name not in table and not difflib.get_close_matches(name, known, n=1, cutoff=NEAR):
        return ""
    return _hint(name, table, known)


class Named:
    """Says, of an attribute that is not there, what it is called here, and of one that cannot be set, what to do."""

    if not TYPE_CHECKING:  # pragma: no branch (else every name would do)

        def __getattr__(self, name):
            raise AttributeError(_refusal(type(self), name))

        def __setattr__(self, name, value):
            kind = type(self)
            if not name.startswith("_"):
                if not hasattr(kind, name):
                    raise AttributeError(_refusal(kind, name))
                if getattr(getattr(kind, name), "fset", self) is None:
                    raise AttributeError(f"{kind.__name__}.{name} cannot be set{FIXED.get(kind.__name__, '')}")
            super().__setattr__(name, value)


def _refusal(kind: type, name: str) -> str:
    """Return the message about an attribute that a class does not have."""
    hint = ""
    if not name.startswith("_"):  # what Python itself asks for
        hint = _hint(name, ATTRIBUTES.get(kind.__name__, {}), [known for known in dir(kind) if known[0] != "_"])
    return f"{kind.__name__} has no attribute {name!r}{hint}"


class Brief:
    """A dataclass whose fields all have defaults, and that is shown as one types it: without what is its default."""

    def __repr__(self) -> str:
        fields: dict[str, Any] = self.__dataclass_fields__  # type: ignore[attr-defined]
        given = [f"{name}={getattr(self, name)!r}" for name in fields if getattr(self, name) != fields[name].default]
        return f"{type(self).__name__}({', '.join(given)})"


def named_arguments(function: Function) -> Function:
    """Return a function that says what an argument that it does not take is called here, and what it lacks.

    Also which are by name only, where more are given by their place.
    """
    parameters = inspect.signature(function).parameters
    known = [*parameters]
    placed = [name for name in known if parameters[name].kind is _BY_PLACE]
    needed = [name for name in placed if parameters[name].default is _EMPTY]
    by_name = [f"{name}=" for name in known if parameters[name].kind is _BY_NAME]
    most = math.inf if _REST in {each.kind for each in parameters.values()} else len(placed)
    where = function.__qualname__.removesuffix(".__init__")
    makes = where != function.__qualname__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        called = type(args[0]).__name__ if makes and args else where  # of several that share a constructor
        for name in kwargs:
            if name not in known:
                table = ARGUMENTS.get(called) or ARGUMENTS.get(where, {})
                hint = _hint(name, table, [other for other in known if other != "self"])
                raise TypeError(f"{called}() takes no argument {name!r}{hint}")
        if len(args) < len(needed) and (missing := [name for name in needed[len(args) :] if name not in kwargs]):
            hint = f"; {WHOLE[where]}" if where in WHOLE else ""
            raise TypeError(f"{called}() needs {' and '.join(missing)}{hint}")
        if len(args) > most:
            taken = " and ".join(name for name in placed if name != "self") or "nothing"
            hint = f"; the others are by name: {', '.join(by_name)}" if by_name else ""
            raise TypeError(f"{called}() takes {taken} by place, and got {len(args) - len(placed)} more{hint}")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def named_fields(kind: Class) -> Class:
    """Make a dataclass's constructor one of `named_arguments`."""
    made: Any = kind
    made.__init__.__qualname__ = f"{kind.__qualname__}.__init__"  # not so before Python 3.13
    made.__init__ = named_arguments(made.__init__)
    return kind
