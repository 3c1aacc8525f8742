"""The Trainer: epochs, batches and a history. No mathematics."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, compress
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnn._engine.blocks import BlockLoop, Here, Job, make_stand_in
from fastnn._engine.devices import write_weights
from fastnn._engine.loop import Diverged, Loop, count_passes, measure
from fastnn._engine.plan import count_steps
from fastnn._engine.threads import count_chunks
from fastnn._engine.workspace import make_data, make_plain_task
from fastnn._support import html, validate
from fastnn._support.choices import LossName, MetricName
from fastnn._support.interrupt import Interrupt
from fastnn._support.names import Named, named_arguments
from fastnn._support.validate import Array
from fastnn.callbacks import Alignment, Callback
from fastnn.hardware import Devices, Readout, check_devices
from fastnn.kernels.losses import MODULES
from fastnn.kernels.work import Data, Method, Task
from fastnn.model.losses import count_rows, find_counted, find_loss
from fastnn.model.metrics import Metric, check_metrics, measure_metric
from fastnn.model.network import Network
from fastnn.training import checkpoint
from fastnn.training.batches import Batches, check_batches, read_batches
from fastnn.training.checkpoint import Position
from fastnn.training.comparison import align, reseed
from fastnn.training.gradients import (
    METHODS,
    Backprop,
    Gradient,
    Perturbation,
    check_data,
    count_queries,
    find_gradient,
    make_recipe,
    split_data,
)
from fastnn.training.history import COLUMNS, QUERIES, SECONDS, Evaluation, History, make_history, name_columns
from fastnn.training.hooks import Hooks, States, ask_callbacks, check_callbacks, make_progress
from fastnn.training.optimizers import OPTIMIZERS, SGD, Optimizer
from fastnn.training.parts import is_collection, list_paths, open_files

# What runs up to so many epochs.
Run = Callable[[int, Hooks, Interrupt], None]


class Trainer(Named):
    """Train a network, by perturbing every weight, by back-propagation, or along estimates of the gradient.

    Parameters
    ----------
    network : Network
        Trained in place.
    loss : str, default "squared_error"
        Summed over outputs, of a sequence over those of all steps, averaged over samples, without a factor of one
        half:

        - ``"squared_error"``: ``(a - y)**2``, any output layer;
        - ``"absolute_error"``: ``abs(a - y)``, any output layer but softmax;
        - ``"huber"``: ``e**2 / 2`` of errors ``e = a - y`` up to 1 in size, ``abs(e) - 1 / 2`` of larger ones,
          any output layer but softmax;
        - ``"poisson"``: ``a - y * log(a)`` of counts, a softplus output layer, whose values are rates;
        - ``"binary_cross_entropy"``: ``-y log a - (1 - y) log(1 - a)``, a sigmoid output layer;
        - ``"categorical_cross_entropy"``: ``-y log a``, a softmax output layer.

        The cross-entropies are computed from the logits.
    gradient : Perturbation, Backprop, RandomDirections, NodePerturbation or ForwardGradient, default ``Perturbation()``
    optimizer : SGD, Adam, AdamW, RMSprop or Adagrad, default ``SGD(0.01)``
    batch_size : int or None, default 32
        Samples a step; None is all of them. The last batch of an epoch may be
        shorter and is averaged over its true size.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    seed : int, numpy.random.Generator or None, default 0
        For the order, and for what a `Dropout` drops.
    clip_norm : float or None, default None
        Positive: a gradient that is longer is shortened to this norm before the step [1]_, as PyTorch's
        ``clip_grad_norm_`` and Keras's ``global_clipnorm`` do it. The norm is that of the whole gradient of the batch's
        mean loss, of all weights and biases, or of what is estimated in its place, without weight decay. On devices,
        it is that with the weights as they act. None clips nothing.
    metrics : list of str and callables, default ()
        What is measured besides, with the validation data of `fit` and in `evaluate`: ``"r2"``, ``"mae"``, the mean
        over outputs; ``"f1"`` of classes, of several the mean over them; or a function of (y_true, y_pred) that returns
        a number. Both are float64, (n_samples, n_outputs), y_pred as `predict` returns it, y_true with labels as
        one-hot rows; of sequences they have a row for each step that counts. All samples count alike. The history's
        column is called after it: ``validation_r2``. Accuracy, by that name, is measured anyway where the loss
        is of classes.
    readout : fastnn.hardware.Readout or None, default None
        How the loss is read, in every reading that an estimate of the gradient takes; for `Perturbation`,
        `RandomDirections` and, each sample's by itself, `NodePerturbation`. Noise is put on exact differences, by the
        law of those of noisy readings: no loss is computed again for it. The history's losses are exact.
    block_size : int or None, default None
        A batch is cut into blocks of so many samples, each of which is measured by itself, here or, with
        ``fit(client=)``, by the workers of a cluster; their gradients are summed in float64, block after block. So the
        bits depend on it, and not on who measures. Noise on units, and what is dropped, is drawn by the sample's place
        in its batch.
        Not for readouts and devices, nor for directions weighed by sign or ranks, which are of whole batches. None is
        the whole batch, in which plain SGD adds straight to the weights.
    devices : fastnn.hardware.Devices or None, default None
        What the weights are kept on. They are written when `fit` begins, and after each step; the
        network's weights are what acts then, and what is set otherwise is written by the next `fit`. Where a gradient
        has a nudge, no device moves by less than half a step; gradients are those of the nudge that is asked for.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described, or the loss does not go with the
        network's output layer.

    References
    ----------
    .. [1] Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013, section 3.2.

    Examples
    --------
    >>> import fastnn
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), batch_size=None)
    >>> history = trainer.fit([[1], [3], [4], [8], [10]], [3, 9, 12, 24, 30], epochs=1000)
    >>> float(history.loss[-1]) < 1e-3
    True
    """

    @named_arguments
    def __init__(
        self,
        network: Network,
        *,
        loss: LossName = "squared_error",
        gradient: Gradient = Perturbation(),  # noqa: B008 (frozen)
        optimizer: Optimizer = SGD(0.01),  # noqa: B008 (frozen)
        batch_size: int | None = 32,
        shuffle: bool = True,
        seed: int | np.random.Generator | None = 0,
        clip_norm: float | None = None,
        metrics: Iterable[MetricName | Metric] = (),
        readout: Readout | None = None,
        block_size: int | None = None,
        devices: Devices | None = None,
    ) -> None:
        validate.instance("network", network, (Network,))
        validate.instance("gradient", gradient, METHODS)
        validate.instance("optimizer", optimizer, OPTIMIZERS)
        self._recipe = make_recipe(network, gradient, readout)
        check_devices(devices, getattr(gradient, "eps", 0.0))
        self._network = network
        self._gradient = gradient
        self._optimizer = optimizer
        self._loss = find_loss(loss, network.output_layer.code)
        self._batch_size = None if batch_size is None else validate.integer("batch_size", batch_size, low=1)
        self._shuffle = validate.flag("shuffle", shuffle)
        self._rng = validate.generator("seed", seed)
        if clip_norm is not None:
            clip_norm = validate.number("clip_norm", clip_norm, low=0.0, open_low=True)
        self._clip_norm = clip_norm
        self._metrics = check_metrics(metrics, self._loss)
        self._readout = readout
        self._devices = devices
        self._block_size = None if block_size is None else validate.integer("block_size", block_size, low=1)
        self._check_blocks()
        # What is dropped is drawn by, in all runs.
        self._key = int(self._rng.integers(2**63)) if any(network._rates()) else 0
        self._update = optimizer.make_update(network._theta)._replace(clip_norm=clip_norm or math.inf)
        if devices:
            self._update = devices._carry(self._update)
        self._n_steps = 0
        self._rows: list[Array] = []
        self._position: Position | None = None
        self._states: States = {}  # of callbacks, in a run that did not come to its end
        self._hooks: Hooks | None = None  # while `fit` runs
        self._told: tuple[str, ...] = ()  # what callbacks are told of an epoch
        self._is_stopping = False
        self._samples: Data | None = None  # while `fit` runs

    def __repr__(self) -> str:
        rows = self._describe()
        width = max(len(name) for name, _ in rows)
        return "\n".join([self._summary(), *(f"  {name.ljust(width)}  {value}" for name, value in rows)])

    def _repr_html_(self) -> str:
        return html.table(self._summary(), ["setting", "value"], self._describe())

    def _summary(self) -> str:
        n_epochs, n_steps = self.n_epochs, self.n_steps
        return f"Trainer: {n_epochs:,} epoch{'s' * (n_epochs != 1)}, {n_steps:,} step{'s' * (n_steps != 1)}"

    def _describe(self) -> list[tuple[str, str]]:
        """Return what a trainer was made with, by name, and its learning rate of now."""
        names = ("loss", "gradient", "optimizer", "batch_size", "shuffle")
        given = [(name, str(getattr(self, name))) for name in names]
        rare = ("clip_norm", "block_size", "readout", "devices")
        others = [(name, str(value)) for name in rare if (value := getattr(self, name)) is not None]
        rate = [("learning_rate", f"{self.learning_rate:g}")] * (self.learning_rate != self._optimizer.lr)
        return [("network", self._network._summary().removeprefix("Network: ")), *given, *others, *rate]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: of callbacks their states, as in a file, also while `fit` runs."""
        states = {name: (None, state) for name, (_, state) in self._find_states().items()}
        return {**self.__dict__, "_states": states, "_hooks": None, "_samples": None}

    @property
    def network(self) -> Network:
        """What is trained."""
        return self._network

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return self._loss.name.lower()

    @property
    def gradient(self) -> Gradient:
        """How the gradient is found."""
        return self._gradient

    @property
    def optimizer(self) -> Optimizer:
        """How weights are moved, with the learning rate that training began with."""
        return self._optimizer

    @property
    def batch_size(self) -> int | None:
        """Samples a step; None is all of them."""
        return self._batch_size

    @property
    def block_size(self) -> int | None:
        """Samples of a batch that are measured at once; None is all of them."""
        return self._block_size

    @property
    def shuffle(self) -> bool:
        """Whether samples are visited in a new order each epoch."""
        return self._shuffle

    @property
    def clip_norm(self) -> float | None:
        """What the gradient is clipped to, if it is."""
        return self._clip_norm

    @property
    def readout(self) -> Readout | None:
        """How the loss is read, if not exactly."""
        return self._readout

    @property
    def devices(self) -> Devices | None:
        """What the weights are kept on, if not in numbers."""
        return self._devices

    @property
    def n_steps(self) -> int:
        """Optimiser steps taken so far, over all calls of `fit`."""
        return self._n_steps

    @property
    def n_epochs(self) -> int:
        """Epochs finished so far, over all calls of `fit`."""
        return len(self._rows)

    @property
    def history(self) -> History:
        """What all calls of `fit` measured; `fit` returns its own part of it."""
        return make_history(self._rows, False, self._metrics)

    @property
    def learning_rate(self) -> float:
        """The optimiser's learning rate, which may be changed at any time: a number >= 0."""
        return self._update.lr

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._update = self._update._replace(lr=validate.number("learning_rate", value, low=0.0))

    def stop(self) -> None:
        """End the running `fit` where it is: for callbacks. It returns its history."""
        self._is_stopping = True

    @named_arguments
    def fit(
        self,
        X: ArrayLike | Batches,
        y: ArrayLike | None = None,
        epochs: int = 1,
        validation_data: tuple[ArrayLike, ...] | None = None,
        *,
        validation_split: float | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool | None = None,
        client: Any = None,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one stopped.

        Ctrl-C ends it after about a tenth of a second of steps, or at once in a step or a
        validation that takes longer: the network has the weights of the last step that was
        finished, the history says ``interrupted=True``, and the next `fit` on as many
        samples finishes the epoch that was begun. A callback that runs then is waited for;
        a second Ctrl-C leaves it. A Ctrl-C handler of your own stays in charge: what it
        raises ends `fit` in the same way, and is raised then.

        Parameters
        ----------
        X : array_like, sparse matrix or iterable of (X, y)
            Samples, shape (n_samples,) + input_shape. A matrix or array of ``scipy.sparse`` where the first layer is a
            `Dense`, as it is: only what is not zero is multiplied. Of dense arrays that are mostly zero that is found
            out; the numbers have the same bits.

            Without y, batches that come one after another, so that not all samples have to be in memory: anything that
            can be gone through, such as a list, a generator or a loader, or a function that returns that, of pairs
            (X, y) or (X, y, sample_weight), weights whose common size is of no account in each. A batch that is larger
            than the trainer's is cut, and shuffled, within itself; a step takes samples of one of them only. Two of
            them are in memory at a time. All samples in one batch are the same as all at once, bit for bit. An epoch
            that is left unfinished is begun anew by the next `fit`; so it is after `resume`, which goes on bit for
            bit from the end of an epoch, if the same batches come.
        y : array_like, shape (n_samples,) + output_shape
            For categorical cross-entropy also integer labels, (n_samples,), or of sequences
            (n_samples, n_steps); of one output also the same shape. With a `block_size`, X and y may be the paths of a
            ``.npy`` file each, or lists of such, which are mapped, or of ``.parquet`` files, whose columns, all of
            numbers, are a sample's in their order; with a client also Dask arrays or frames, which stay
            where they are. No block is of two files or partitions: an epoch has whole blocks of all in a new order,
            and what is left of each at its end.
        epochs : int, default 1
            Passes over the samples, at least 0; an epoch that an interrupt left
            unfinished is the first of them. A generator has one.
        validation_data : (X, y) or (X, y, sample_weight) or None
            Measured after each epoch, not trained on.
        validation_split : float or None, default None
            Instead of validation_data, a share of the samples that is held out, above 0 and below 1: drawn, of each
            class alike, with a seed that is always the same, so that a run that goes on after `resume` holds out the
            same ones; the last ones, as Keras does, if the trainer does not shuffle. Their sample_weight goes with
            them, class_weight is of those that are left. Both parts are copies.
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0. The loss is the mean weighted by them; their common size is of
            no account, and a batch is divided by its number of samples, as without
            weights. Accuracy counts every sample alike. None weighs all alike. Of sequences also
            (n_samples, n_steps), one for each step: 0 leaves a step out, of accuracy, too.
        class_weight : mapping of int to float, "balanced" or None
            What the samples of each class count, besides sample_weight; 1 for classes
            that are not named. "balanced" has every class count the same: the sum of all its weights is
            that of any other. For labels or one-hot rows under a cross-entropy.
        callbacks : iterable of Callback, default ()
            Told of every epoch, in their order, but a `Checkpoint` after all others; see
            `fastnn.callbacks`.
        progress : bool or None, default None
            A progress bar, by tqdm, and a line on standard error if code is compiled first, which a first run
            waits for. None shows them, the bar if the run takes more than two seconds and tqdm is installed, where
            standard error is a terminal or this is a notebook, unless the environment variable ``TQDM_DISABLE`` is set.
        client : dask.distributed.Client or None, default None
            Whose workers measure the blocks of each batch, with the bits that they have at home. Needs a `block_size`.
            Validation data are measured at home.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss, or an argument is not of
            the kind described; nothing has changed then.
        ImportError
            With ``progress=True`` and without tqdm.
        RuntimeError
            If `fit` runs already, and a callback calls it; if a worker has another fastnn, numba or numpy, or reading
            samples ends every worker that does.
        ConnectionError
            If for half a minute no worker answers, or workers are lost ten times in one step. As always when `fit`
            raises, the network has the weights of the last whole step, and the next `fit` goes on from there.
        FloatingPointError
            If the loss, a weight or the optimiser's state overflows, in the last step,
            too. The network keeps the weights from before the step that made it so.

        Examples
        --------
        Samples that come some at a time:

        >>> import fastnn
        >>> def load():
        ...     for k in range(3):  # files, say
        ...         yield [[k], [k + 1]], [3 * k, 3 * k + 3]
        >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
        >>> len(trainer.fit(load, epochs=5))
        5
        """
        epochs = validate.integer("epochs", epochs, low=0)
        checked = check_callbacks(callbacks)
        # What looks at an epoch's end needs compiled calls to stop there; a bar does not.
        ahead = 1 if checked or not (validation_data is None and validation_split is None) else epochs
        called = make_progress(progress) + checked
        data, validation = None, None
        samples: Any = X  # or batches of them
        whole = {"sample_weight": sample_weight, "class_weight": class_weight, "validation_split": validation_split}
        if y is None:
            if client is not None:
                raise ValueError("a cluster takes X and y, not batches that come one after another")
            check_batches(X, epochs, **whole)
        elif list_paths(X) or (client is not None and (is_collection(X) or is_collection(y))):
            self._check_parts(whole)
        elif validation_split is not None:
            share = validate.number("validation_split", validation_split, low=0, high=1, open_low=True, open_high=True)
            if validation_data is not None:
                raise ValueError("validation_data and validation_split are two ways to say the same: give one of them")
            weights = sample_weight, class_weight
            data, validation = split_data(self.network, self._loss, samples, y, *weights, share, self._shuffle)
        else:
            data = check_data(self.network, self._loss, samples, y, sample_weight, class_weight)
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
                n = f" of {len(validation_data)}" if isinstance(validation_data, tuple | list) else ""
                got = f"{type(validation_data).__name__}{n}"
                raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), got {got}")
            which = "the samples of validation_data"
            validation = check_data(self.network, self._loss, *validation_data, which=which)
        if data is None and any(isinstance(callback, Alignment) for callback in checked):
            raise ValueError("Alignment is for samples at hand: fit(X, y), not batches, nor samples in parts")
        told = self._list_told(validation is not None)
        ask_callbacks(self, called, told)
        loop = None if y is None else self._make_loop(data or (X, y), client)
        self._told = told
        if self.devices:
            self.devices._warn_of_nudge("eps", getattr(self.gradient, "eps", 0.0))
            write_weights(self._update, self._n_steps, self.network._theta)
        if self._position and (loop is None or self._position.order.shape[1] != loop.n_samples):
            self._position = None  # other samples: an epoch of their own
        run: Run = partial(self._run_batches, X, validation)
        n_steps = 0
        if loop is not None:
            data = data or make_stand_in(loop.n_samples, count_steps(loop.layout))
            run = partial(self._run, loop, data, validation)
            n_steps = max(0, epochs * loop.n_batches - (self._position.batch if self._position else 0))
        with Interrupt() as interrupt:
            history = self._fit(run, data, n_steps, epochs, ahead, called, interrupt)
        return replace(history, interrupted=True) if interrupt.is_pressed() else history

    def _check_blocks(self) -> None:
        """Refuse blocks of what is measured of whole batches."""
        if self._block_size is not None:
            for name in ("readout", "devices"):
                if getattr(self, name) is not None:
                    raise ValueError(f"block_size does not go with {name}: the loss of a whole batch is read there")
            if shaping := getattr(self.gradient, "shaping", None):
                raise ValueError(f"block_size does not go with shaping={shaping!r}, which is of whole batches' losses")

    def _check_parts(self, whole: Mapping[str, object]) -> None:
        """Refuse what looks at all samples where they are in parts."""
        for name, value in whole.items():
            if value is not None:
                raise ValueError(f"{name} is for samples at hand, and these are in parts")
        if self._block_size and (self._batch_size or 0) % self._block_size:
            raise ValueError(
                f"where samples are in parts, batches are of whole blocks, and batch_size={self._batch_size} is no "
                f"multiple of block_size={self._block_size}"
            )

    def _make_loop(self, samples: Data | tuple[Any, Any], client: Any, previous: Loop | None = None) -> Loop:
        """Return what takes steps, on checked samples or on X and y in parts, after those that another one took."""
        network, n_passes = self.network, count_passes(self._recipe)
        layout = network._drop(self._key)

        def make_task(n_together: int) -> Task:
            n_chunks = count_chunks(layout, self.gradient.method, n_together * n_passes)
            return self.gradient.make_task(self._loss, network.dtype, n_chunks)

        if self._block_size is None:
            if client is not None or not isinstance(samples, Data):
                what = "samples in files" if client is None else "a cluster"
                raise ValueError(
                    f"{what} takes batches in blocks, of a size that bits depend on: Trainer(block_size=...)"
                )
            n_samples = samples.x.shape[0]
            batch_size = min(self._batch_size or n_samples, n_samples)
            steps = n_samples, batch_size, self._n_steps
            return Loop(layout, network._theta, make_task(batch_size), self._update, *steps, self._recipe, previous)
        block_size = min(self._block_size, self._batch_size or self._block_size)
        job = Job(layout, make_task(block_size), self._recipe, block_size)
        source: Any
        if client is not None:
            with validate.optional("fit(client=...)", "dask"):
                from fastnn.training.cluster import Cluster
            source = Cluster(client, job, network, self._loss, samples)
        elif isinstance(samples, Data):
            source = Here(job, [(samples.x, samples.y)])
        else:
            source = Here(job, open_files(*samples, network, self._loss))
        n_samples = sum(source.sizes)
        batch_size = min(self._batch_size or n_samples, n_samples)
        state = network._theta, self._update
        return BlockLoop(source.sizes, source.measure, job, *state, batch_size, self._n_steps, previous)

    def _fit(
        self,
        run: Run,
        data: Data | None,
        n_steps: int,
        epochs: int,
        ahead: int,
        callbacks: list[Callback],
        interrupt: Interrupt,
    ) -> History:
        """Run epochs, so many ahead at a time, until they are done, a callback stops them or Ctrl-C does."""
        first_row = len(self._rows)
        self._is_stopping = False
        self._hooks = hooks = Hooks(self, callbacks, interrupt, self._states)
        self._samples = data
        history = None
        try:
            try:
                hooks.begin(n_steps)
                while not self._is_stopping and (left := first_row + epochs - len(self._rows)):
                    run(min(ahead, left), hooks, interrupt)
            except KeyboardInterrupt as error:
                interrupt.note(error)
            history = make_history(self._rows[first_row:], interrupt.error is not None, self._metrics)
        finally:
            try:
                hooks.end(history)
            finally:
                self._hooks = self._samples = None
                self._states = hooks.states()
        return history

    def _run(
        self,
        loop: Loop,
        data: Data,
        validation: Data | None,
        n_epochs: int,
        hooks: Hooks,
        interrupt: Interrupt,
    ) -> None:
        """Run up to that many epochs from where training stands, and keep count of everything."""
        counts = len(data.y), self._count_predictions(data)
        rng = self._rng if self._shuffle and loop.n_batches > 1 else None
        before = self._position or Position(loop.draw_orders(n_epochs, rng), 0, np.zeros(2), 0.0)
        self._position = before  # whatever happens, what was drawn is visited
        loop.update = self._update
        if rng:
            n_epochs = min(n_epochs, len(before.order))
        totals, seconds = np.zeros((n_epochs, 2)), np.zeros(n_epochs)
        totals[0], seconds[0] = before.totals, before.seconds
        first_row, counted = len(self._rows), 0
        try:
            visits = make_data(data.x, data.y, before.order)
            trained = [before.batch] * (before.batch == loop.n_batches)  # that epoch lacks its validation only
            for reached in chain(trained, loop.run(visits, before.batch, totals, seconds)):
                whole, batch = divmod(reached, loop.n_batches)
                if validation and whole:  # Ctrl-C does not wait for its measurement: the next fit makes up for it
                    unmeasured = Position(before.order, reached, totals[0].copy(), float(seconds[0]))
                    self._n_steps, self._position = loop.done, unmeasured
                rows = self._make_rows(totals[counted:whole], seconds[counted:whole], *counts, validation)
                for k, row in enumerate(rows, counted + 1):  # the last one ended with the step before `batch`
                    row[QUERIES] = (loop.done - batch - (whole - k) * loop.n_batches) * (self._step_queries or math.nan)
                left = before.order[whole:] if rng else before.order
                position = None
                if batch or (rng and len(left)):
                    begun = (totals[whole].copy(), float(seconds[whole])) if batch else (np.zeros(2), 0.0)
                    position = Position(left, batch, *begun)
                counted = whole
                self._n_steps, self._position = loop.done, position
                self._rows += rows
                hooks.tell(self._name(rows[-1]) if rows else {})
                loop.update = self._update  # a callback may have set the learning rate
                self._is_stopping |= interrupt.error is not None
                if self._is_stopping:
                    return
        except Diverged as event:
            self._n_steps, self._position = loop.done, None
            raise self._explain(event, first_row + event.epoch, loop.n_batches) from None

    def _run_batches(
        self, batches: Any, validation: Data | None, n_epochs: int, hooks: Hooks, interrupt: Interrupt
    ) -> None:
        """Run one epoch, however many it may be, over samples that come some at a time."""
        totals, seconds, n_rows, n_predictions = np.zeros((1, 2)), np.zeros(1), 0, 0.0
        loop, n_samples = None, 0
        for count, data in enumerate(read_batches(batches, self.network, self._loss, interrupt), 1):
            if loop is None or self._block_size or data.x.shape[0] != n_samples:  # blocks are measured of one loop's
                n_samples = data.x.shape[0]
                loop = self._make_loop(data, None, loop)
            loop.update = self._update
            order = loop.draw_orders(1, self._rng if self._shuffle and loop.n_batches > 1 else None)
            try:
                for _ in loop.run(make_data(data.x, data.y, order), 0, totals, seconds):
                    self._n_steps = loop.done
                    hooks.tell({})
                    loop.update = self._update
                    self._is_stopping |= interrupt.error is not None
                    if self._is_stopping:
                        return
            except Diverged as event:
                self._n_steps = loop.done
                raise self._explain(event, len(self._rows), loop.n_batches, f" of given batch {count}") from None
            n_rows, n_predictions = n_rows + len(data.y), n_predictions + self._count_predictions(data)
        (row,) = self._make_rows(totals, seconds, n_rows, n_predictions, validation)
        row[QUERIES] = self._n_steps * (self._step_queries or math.nan)
        self._rows.append(row)
        hooks.tell(self._name(row))
        self._is_stopping |= interrupt.error is not None

    def _explain(self, event: Diverged, epoch: int, n_batches: int, where: str = "") -> FloatingPointError:
        """Return what `fit` raises when a step does not come out finite, in an epoch counted from 0."""
        return FloatingPointError(
            f"{event.what} not finite at epoch {epoch + 1}, batch {event.batch + 1} of {n_batches}{where}, "
            f"with {self.optimizer} at learning rate {self.learning_rate:g}; try a smaller learning rate, or "
            "inputs scaled to about 1. The network keeps the weights from before the step that led there"
        )

    def _make_rows(
        self, totals: Array, seconds: Array, n_rows: int, n_predictions: float, validation: Data | None
    ) -> list[Array]:
        """Return what was measured in some epochs of so many samples or steps, the last of which has just ended."""
        rows = np.full((len(totals), len(COLUMNS) + len(self._metrics)), np.nan)
        rows[:, 0], rows[:, SECONDS] = totals[:, 0] / n_rows, seconds
        if self._loss.classifies:
            rows[:, 1] = totals[:, 1] / n_predictions
        if validation and len(rows):
            started = time.perf_counter()
            evaluation = self._measure(validation)
            rows[-1, SECONDS] += time.perf_counter() - started
            rows[-1, 2] = evaluation.loss
            rows[-1, 3] = np.nan if evaluation.accuracy is None else evaluation.accuracy
            rows[-1, len(COLUMNS) :] = [*evaluation.metrics.values()]
        return list(rows)

    def _list_told(self, is_validated: bool) -> tuple[str, ...]:
        """Return the names of what callbacks are told of an epoch."""
        classifies = self._loss.classifies
        measured = (True, classifies, is_validated, is_validated and classifies, True, self._step_queries is not None)
        own = name_columns(self._metrics)[len(COLUMNS) :] if is_validated else []
        return ("epoch", *compress(COLUMNS, measured), *own, "learning_rate")

    def _name(self, row: Array) -> dict[str, float]:
        """Return what callbacks are told of the epoch that has just ended."""
        told = {"epoch": self.n_epochs, **dict(zip(name_columns(self._metrics), row.tolist(), strict=True))}
        return {name: told.get(name, self.learning_rate) for name in self._told}

    def _align(self) -> tuple[float, float]:
        """Return how an estimate on the first batch lies to the gradient: see `comparison.align`."""
        assert self._samples  # else `fit` has refused it
        x, y, _ = self._samples
        size = min(self._batch_size or x.shape[0], x.shape[0])
        data = make_data(x[:size], y[: size * (len(y) // x.shape[0])])
        network, steps = self.network, self._n_steps
        estimator, readout = reseed(self.gradient, steps), reseed(self.readout, steps)
        truth = find_gradient(network, self._loss, data, Backprop())
        return align(find_gradient(network, self._loss, data, estimator, readout), truth)

    def _find_states(self) -> States:
        """Return what callbacks can go on from."""
        return self._hooks.states() if self._hooks else self._states

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: all that `Trainer.resume` needs to go on bit for bit.

        That is the network, the optimiser's state, the state of the random generator,
        where in an epoch training stands, the history, and the states of callbacks. The file is whole or not
        there, like that of `Network.save`. The samples are not in it.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there.

        Raises
        ------
        ImportError
            Without safetensors (the extra ``save``).
        OSError
            If the file cannot be written; one that was there, and training, stay as they were.
        TypeError
            If the random generator is not one of NumPy's default kind, PCG64.
        ValueError
            If a weight is not finite, or `resume` could not read the file for another reason.
        """
        checkpoint.save(self, path, partial(Trainer.resume, metrics=[*self._metrics.values()]))

    @classmethod
    def resume(cls, path: str | os.PathLike[str], *, metrics: Iterable[MetricName | Metric] = ()) -> Self:
        """Return the trainer that `save` wrote, to go on as if it had never stopped.

        Call `fit` with the same samples, for the epochs that are left: the numbers
        are the same bit for bit, on any number of threads; with ``NUMBA_DISABLE_JIT=1``,
        the last bits are others than without. Callbacks that have a state, such as
        `EarlyStopping`, go on if the run had not come to its end; see `fastnn.callbacks`.

        Parameters
        ----------
        path : str or path-like
            Of a checkpoint. It is data, and checked in full, like that of `fastnn.load`.
        metrics : list of callables, default ()
            The functions among the trainer's metrics, of which a file has the names alone.

        Returns
        -------
        Trainer
            With a network of its own, ``trainer.network``.

        Raises
        ------
        ImportError
            Without safetensors (the extra ``save``).
        OSError
            If there is nothing to read.
        ValueError
            If the file is damaged, not a checkpoint, or of a newer format, or the metrics are others.

        Examples
        --------
        >>> import fastnn, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> X, y = [[1], [3], [4], [8], [10]], [3, 9, 12, 24, 30]
        >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), batch_size=2)
        >>> history = trainer.fit(X, y, epochs=7, callbacks=[fastnn.callbacks.Checkpoint(path)])
        >>> trainer = fastnn.Trainer.resume(path)
        >>> history = trainer.fit(X, y, epochs=20 - trainer.n_epochs)
        >>> len(trainer.history)
        20
        """
        return checkpoint.resume(cls, path, metrics)

    def evaluate(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Evaluation:
        """Measure the network on samples without training on them.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As for `fit`.

        Returns
        -------
        Evaluation
            ``loss``, ``accuracy`` (None for losses of numbers), and ``metrics``, the trainer's own by name. Where the
            loss overflows, inf and nan.

        Raises
        ------
        TypeError, ValueError
            If the data do not fit the network or the loss.
        """
        return self._measure(check_data(self.network, self._loss, X, y, sample_weight))

    def predict(self, X: ArrayLike) -> Array:
        """Return the network's outputs: `Network.predict`.

        Parameters
        ----------
        X : array_like
            As for `fit`.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError
            If the samples do not fit the network.
        """
        return self.network.predict(X)

    def predict_labels(self, X: ArrayLike) -> Array:
        """Return which class each sample is taken for: `Network.predict_labels`.

        Parameters
        ----------
        X : array_like
            As for `fit`.

        Returns
        -------
        ndarray of int64

        Raises
        ------
        TypeError, ValueError
            If the samples do not fit the network, or its outputs are numbers.
        """
        return self.network.predict_labels(X)

    @property
    def _step_queries(self) -> int | None:
        """Readings that a step would take, None where its gradient is none that readings could tell."""
        return count_queries(self.network, self.gradient, self.readout)

    def _count_predictions(self, data: Data) -> float:
        """Return how many predictions count: of a sample or step one an output, or one of all, a class."""
        n_outputs = self.network.output_layer.n_units
        n_each = n_outputs if MODULES[self._loss].TARGETS == "probabilities" else 1
        return n_each * count_rows(data.y, n_outputs)

    def _measure(self, data: Data) -> Evaluation:
        """Return the mean loss, accuracy and metrics over checked samples."""
        network = self.network
        n_chunks = count_chunks(network._layout, Method.NONE, data.x.shape[0])
        task = make_plain_task(int(self._loss), Method.NONE, n_chunks)
        loss, correct, _ = measure(network._layout, network._theta, data, task)
        accuracy = correct / self._count_predictions(data) if self._loss.classifies else None
        measured = dict.fromkeys(self._metrics, math.nan)
        if measured and math.isfinite(loss):
            n_outputs = network.output_shape[-1]
            outputs = network._run_checked(data.x, [len(network.layers)]).activations[0].reshape(-1, n_outputs)
            counted = find_counted(data.y, n_outputs)
            pair = data.y[counted, :n_outputs], outputs[counted]
            measured = {name: measure_metric(metric, self._loss, *pair) for name, metric in self._metrics.items()}
        return Evaluation(loss / len(data.y), accuracy, measured)
