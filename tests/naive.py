"""The definition: every number that fastnn computes fast, computed slowly and without it.

Plain NumPy. Every function works in the dtype of the arrays it is given, so the
same code in `numpy.longdouble` is the truth that float64 is held against.
"""

import typing

import numpy as np

LEAKY_SLOPE = 0.01


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# The square root of two pi, in parts: their sum is that in eighty digits, and in any precision.
ROOT_OF_TWO_PI = 2.5066282746310007, -1.8328579980459167e-16, -7.345337700682643e-33, 5.880128511846697e-50, 1.70144e-66


def normal(z):
    """Return the Gaussian distribution function.

    Near 0 it is 1/2 and p(z) (z + z**3 / 3 + z**5 / (3 5) + ...), further out the continued fraction of its tail. The
    former loses a digit or two up to 2, and of eighty digits seven up to 5.
    """
    reach, n_terms, n_fractions = (5, 140, 190) if z.dtype == object else (2, 50, 120)
    size, root = np.abs(z), 0 * z
    for part in ROOT_OF_TWO_PI:
        root = root + part
    density = np.exp(-size * size / 2) / root
    is_near = size < reach
    x, factor = size[is_near], 0 * size[is_near] + 1
    square = x * x
    for n in range(n_terms, 0, -1):
        factor = 1 + factor * square / (2 * n + 1)
    tail = np.empty_like(z)
    tail[is_near] = 1 / (0 * x + 2) - density[is_near] * x * factor
    x = fraction = size[~is_near]
    for n in range(n_fractions, 0, -1):
        fraction = x + n / fraction
    tail[~is_near] = density[~is_near] / fraction
    return np.where(z > 0, 1 - tail, tail)


ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, z.dtype.type(LEAKY_SLOPE) * z, z),
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0 * z)) - 1),
    "hard_sigmoid": lambda z: np.minimum(np.maximum(z + 3, 0 * z), 0 * z + 6) / 6,
    "gelu": lambda z: z * normal(z),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softmax": softmax,
}


class Conv2D(typing.NamedTuple):
    """W (height, width, channels, filters), b (filters,): a cross-correlation, channels last."""

    activation: str
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"


class MaxPool2D(typing.NamedTuple):
    """The largest of each window."""

    pool_size: tuple[int, int]
    strides: tuple[int, int]


class AveragePool2D(typing.NamedTuple):
    """The mean of each window."""

    pool_size: tuple[int, int]
    strides: tuple[int, int]


class Flatten(typing.NamedTuple):
    """A vector a sample, rows of the image, or steps of the sequence, one after another."""


class RNN(typing.NamedTuple):
    """W (n_in, n_units), U (n_units, n_units), b (n_units,); before the first step, the state is zero."""

    activation: str
    return_sequences: bool = False


class LSTM(typing.NamedTuple):
    """The same with 4 n_units columns, in the order i, f, g, o; state and cells are zero before the first step."""

    return_sequences: bool = False


class GRU(typing.NamedTuple):
    """W and U with 3 n_units columns, in the order r, z, n; b (2, 3 n_units), rows for inputs and states."""

    return_sequences: bool = False


class Embedding(typing.NamedTuple):
    """W (n_tokens, n_units): a row for each token."""


class Repeat(typing.NamedTuple):
    """The same at every step."""

    n_steps: int


class Dropout(typing.NamedTuple):
    """Every value times that of a mask, (n, n_units), see `draw_mask`."""

    mask: np.ndarray


# How many arrays of weights and biases a layer has; others have none.
N_ARRAYS = {
    str: 2,
    Conv2D: 2,
    RNN: 3,
    GRU: 3,
    LSTM: 3,
    Embedding: 1,
}


def windows(a, size, strides):
    """Return, for each place in a window, what all windows have there: a list of (n, height, width, channels)."""
    n_rows, n_columns = ((length - k) // step + 1 for length, k, step in zip(a.shape[1:3], size, strides, strict=True))
    return [
        a[:, ky : ky + n_rows * strides[0] : strides[0], kx : kx + n_columns * strides[1] : strides[1]]
        for ky in range(size[0])
        for kx in range(size[1])
    ]


def pad(a, size, strides):
    """Return an image with zeros around it, so that there is a window for each stride begun; the odd one last."""
    missing = (
        max(((length - 1) // step) * step + k - length, 0)
        for length, k, step in zip(a.shape[1:3], size, strides, strict=True)
    )
    return np.pad(a, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])


def shaped(noise, *shape):
    """Return noise, (n, n_units), with the shape of what it is added to; none is 0."""
    return 0 if noise is None else noise.reshape(shape)


def apply(layer, weights, a, noise=None):
    """Return a layer's pre-activations and activations; one that is named by its activation alone is dense.

    Noise is added to all sums z, wherever and at whatever step, in a vector for each sample; of a GRU the states' part
    of n is a sum of its own, whose noise comes last.
    """
    if isinstance(layer, Conv2D):
        w, b = weights
        if layer.padding == "same":
            a = pad(a, w.shape[:2], layer.strides)
        taps = w.reshape(-1, *w.shape[2:])
        z = b + sum(part @ tap for part, tap in zip(windows(a, w.shape[:2], layer.strides), taps, strict=True))
        z = z + shaped(noise, *z.shape)
        return z, ACTIVATIONS[layer.activation](z)
    if isinstance(layer, MaxPool2D):
        a = np.max(windows(a, *layer), axis=0)
        return a, a
    if isinstance(layer, AveragePool2D):
        a = np.mean(windows(a, *layer), axis=0)
        return a, a
    if isinstance(layer, RNN):
        w, u, b = weights
        z, state = [], np.zeros((len(a), len(u)), a.dtype)
        given = a @ w + shaped(noise, *a.shape[:2], -1)
        for t in range(a.shape[1]):
            z.append(given[:, t] + state @ u + b)
            state = ACTIVATIONS[layer.activation](z[-1])
        z = np.stack(z, axis=1) if layer.return_sequences else z[-1]
        return z, ACTIVATIONS[layer.activation](z)
    if isinstance(layer, LSTM):
        w, u, b = weights
        states = [np.zeros((len(a), len(u)), a.dtype)]
        cells = states[0]
        given = a @ w + shaped(noise, *a.shape[:2], -1)
        for t in range(a.shape[1]):
            i, f, g, o = np.split(given[:, t] + states[-1] @ u + b, 4, axis=1)
            sigmoid = ACTIVATIONS["sigmoid"]
            cells = sigmoid(f) * cells + sigmoid(i) * np.tanh(g)
            states.append(sigmoid(o) * np.tanh(cells))
        a = np.stack(states[1:], axis=1) if layer.return_sequences else states[-1]
        return a, a
    if isinstance(layer, GRU):
        w, u, b = weights
        sigmoid, states = ACTIVATIONS["sigmoid"], [np.zeros((len(a), len(u)), a.dtype)]
        n_gates = a.shape[1] * w.shape[1]
        given = a @ w + b[0] + (0 if noise is None else noise[:, :n_gates].reshape(*a.shape[:2], -1))
        to_state = np.zeros((*a.shape[:2], len(u))) if noise is None else noise[:, n_gates:].reshape(*a.shape[:2], -1)
        for t in range(a.shape[1]):
            (r, z, n), (r_state, z_state, n_state) = (
                np.split(product, 3, axis=1) for product in (given[:, t], states[-1] @ u + b[1])
            )
            n_state = n_state + to_state[:, t]
            z, n = sigmoid(z + z_state), np.tanh(n + sigmoid(r + r_state) * n_state)
            states.append((1 - z) * n + z * states[-1])
        a = np.stack(states[1:], axis=1) if layer.return_sequences else states[-1]
        return a, a
    if isinstance(layer, Embedding):
        a = weights[0][a.astype(int)]
        a = a + shaped(noise, *a.shape)
        return a, a
    if isinstance(layer, Dropout):
        a = a * layer.mask.reshape(a.shape)
        return a, a
    if isinstance(layer, Repeat):
        a = np.stack([a] * layer.n_steps, axis=1)
        return a, a
    if isinstance(layer, Flatten) or a.ndim == 4:  # of a sequence, each step goes through a dense layer
        a = a.reshape(len(a), -1)
    if isinstance(layer, Flatten):
        return a, a
    w, b = weights
    z = a @ w + b
    z = z + shaped(noise, *z.shape)
    return z, ACTIVATIONS[layer](z)


def forward(weights, layers, x, noise=None):
    """Return every layer's pre-activations and activations; weights are [W1, b1, W2, b2, ...].

    Of noise there is an array for each layer with weights, see `apply`.
    """
    pre_activations, values = [], []
    a, left = x, list(weights)
    noises = iter(noise or [])
    for layer in layers:
        n_arrays = N_ARRAYS.get(type(layer), 0)
        z, a = apply(layer, left[:n_arrays], a, next(noises, None) if n_arrays else None)
        left = left[n_arrays:]
        pre_activations.append(z)
        values.append(a)
    assert not left
    return pre_activations, values


def sample_losses(loss, z, a, y):
    """Return the loss of each sample, or step of one, summed over outputs; z and a are the output layer's."""
    if loss == "squared_error":
        terms = np.square(a - y)
    elif loss == "binary_cross_entropy":
        softplus = ACTIVATIONS["softplus"]
        terms = y * softplus(-z) + (1 - y) * softplus(z)
    elif loss == "categorical_cross_entropy":
        largest = z.max(axis=-1, keepdims=True)
        terms = y * (largest + np.log(np.exp(z - largest).sum(axis=-1, keepdims=True)) - z)
    elif loss == "absolute_error":
        terms = np.abs(a - y)
    elif loss == "huber":
        size = np.abs(a - y)
        terms = np.where(size <= 1, size * size / 2, size - a.dtype.type(0.5))
    elif loss == "poisson":
        terms = a - y * np.log(a)
    else:
        raise KeyError(loss)
    return terms.sum(axis=-1)


def mean(values, sample_weight=None):
    """Return the mean of what samples have (n,), or of what their steps have (n, n_steps), summed over these."""
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
        sample_weight = np.broadcast_to(sample_weight.reshape(len(values), *[-1] * (values.ndim - 1)), values.shape)
    n_steps = 1 if values.ndim == 1 else values.shape[1]
    return n_steps * np.average(values, weights=sample_weight)


def losses(weights, layers, loss, x, y):
    z, a = forward(weights, layers, x)
    return sample_losses(loss, z[-1], a[-1], y)


def differences(weights, layers, loss, x, y, eps=1e-4, scheme="forward", each="weight", sample_weight=None):
    """Return the finite difference of the mean loss with each weight, and with it
    the mean size of the samples' own differences: what rounding is relative to."""
    eps = x.dtype.type(eps)
    results, sizes = [], []
    for k, array in enumerate(weights):
        result, size = np.zeros_like(array), np.zeros_like(array)
        entries = np.ndindex(array.shape) if each == "weight" else [...]
        for entry in entries:
            above = [w.copy() for w in weights]
            above[k][entry] += eps
            if scheme == "forward":
                change = (losses(above, layers, loss, x, y) - losses(weights, layers, loss, x, y)) / eps
            else:
                below = [w.copy() for w in weights]
                below[k][entry] -= eps
                change = (losses(above, layers, loss, x, y) - losses(below, layers, loss, x, y)) / (2 * eps)
            result[entry] = mean(change, sample_weight)
            size[entry] = mean(np.abs(change), sample_weight)
        results.append(result)
        sizes.append(size)
    return results, sizes


def decayed(weights, gradients, weight_decay):
    """Return gradients with that of weight_decay / 2 times the sum of the squared weights, biases left out."""
    return [g if k % 2 else g + weight_decay * w for k, (w, g) in enumerate(zip(weights, gradients, strict=True))]


def clipped(gradients, clip_norm):
    """Return gradients that are shortened, all by one factor, to that norm if they are longer."""
    norm = np.sqrt(sum((g * g).sum() for g in gradients))
    return [g * (clip_norm / norm) for g in gradients] if norm > clip_norm else gradients


def sgd(weights, gradients, lr):
    return [w - lr * g for w, g in zip(weights, gradients, strict=True)]


def momentum(weights, gradients, moments, step, lr, weight_decay, momentum, nesterov=False):
    gradients = decayed(weights, gradients, weight_decay)
    velocities = [momentum * v + g for v, g in zip(moments[0], gradients, strict=True)]
    steps = [g + momentum * v if nesterov else v for v, g in zip(velocities, gradients, strict=True)]
    return sgd(weights, steps, lr), [velocities]


def adam(weights, gradients, moments, step, lr, weight_decay, beta1, beta2, epsilon):
    gradients = decayed(weights, gradients, weight_decay)
    means = [beta1 * m + (1 - beta1) * g for m, g in zip(moments[0], gradients, strict=True)]
    squares = [beta2 * v + (1 - beta2) * g * g for v, g in zip(moments[1], gradients, strict=True)]
    new = []
    for w, m, v in zip(weights, means, squares, strict=True):
        corrected = m / (1 - beta1**step), v / (1 - beta2**step)
        new.append(w - lr * corrected[0] / (np.sqrt(corrected[1]) + epsilon))
    return new, [means, squares]


def adamw(weights, gradients, moments, step, lr, weight_decay, *rates):
    shrunk = [w if k % 2 else w * (1 - lr * weight_decay) for k, w in enumerate(weights)]
    return adam(shrunk, gradients, moments, step, lr, 0.0, *rates)


def rmsprop(weights, gradients, moments, step, lr, weight_decay, alpha, epsilon):
    gradients = decayed(weights, gradients, weight_decay)
    squares = [alpha * s + (1 - alpha) * g * g for s, g in zip(moments[0], gradients, strict=True)]
    steps = [g / (np.sqrt(s) + epsilon) for s, g in zip(squares, gradients, strict=True)]
    return sgd(weights, steps, lr), [squares]


def adagrad(weights, gradients, moments, step, lr, weight_decay, epsilon):
    gradients = decayed(weights, gradients, weight_decay)
    squares = [s + g * g for s, g in zip(moments[0], gradients, strict=True)]
    steps = [g / (np.sqrt(s) + epsilon) for s, g in zip(squares, gradients, strict=True)]
    return sgd(weights, steps, lr), [squares]


# Each takes (weights, gradients, moments, step, lr, weight_decay, *rates) and returns new weights and moments; a
# moment is a list shaped like the weights, zeros at first.
OPTIMIZERS = {
    "sgd": lambda w, g, moments, step, lr, weight_decay: (sgd(w, decayed(w, g, weight_decay), lr), []),
    "momentum": momentum,
    "nesterov": lambda *arguments: momentum(*arguments, nesterov=True),
    "adam": adam,
    "rmsprop": rmsprop,
    "adamw": adamw,
    "adagrad": adagrad,
    "sign_sgd": lambda w, g, moments, step, lr, weight_decay: (
        sgd(w, [np.sign(part) for part in decayed(w, g, weight_decay)], lr),
        [],
    ),
}


def train_step(weights, layers, loss, x, y, lr=0.01, eps=1e-4, scheme="forward", each="weight"):
    """Return the weights after one step of gradient descent by perturbation."""
    return sgd(weights, differences(weights, layers, loss, x, y, eps, scheme, each)[0], lr)


def one_hot(labels, n_classes, dtype=np.float64):
    return np.eye(n_classes, dtype=dtype)[labels]


def philox(key, counter):
    """Philox4x32-10 in whole numbers: (n, 4) words of 32 bits, for a key of 64 and counters (n, 4)."""
    low, high = key & 0xFFFFFFFF, key >> 32
    a, b, c, d = (np.asarray(word, np.uint64) for word in np.transpose(counter))
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    for turn in range(10):
        first, second = (np.uint64((k + turn * w) & 0xFFFFFFFF) for k, w in ((low, 0x9E3779B9), (high, 0xBB67AE85)))
        x, y = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b, c, d = (y >> half) ^ b ^ first, y & mask, (x >> half) ^ d ^ second, x & mask
    return np.stack([a, b, c, d], axis=1)


def counted_words(key, stream, step, index, n_blocks):
    last = (stream << 24) | (step >> 32)
    return philox(key, [(block, index, step & 0xFFFFFFFF, last) for block in range(n_blocks)])


def counted_signs(key, stream, step, index, size):
    words = counted_words(key, stream, step, index, -(-size // 128)).ravel()
    bits = (words[:, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    return 1.0 - 2.0 * bits.ravel()[:size]


def counted_normals(key, stream, step, index, size):
    uniform = (counted_words(key, stream, step, index, -(-size // 4)).reshape(-1, 2) + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(uniform[:, 0])), 2 * np.pi * uniform[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:size]


def draw_mask(rate, key, step, places, first, size, dtype=np.float64):
    """Return what a level's units, of which the first is number `first` of all, are multiplied by in a step."""
    words = [
        counted_words(key, 6, step, place, -(-(first + size) // 4)).ravel()[first : first + size] for place in places
    ]
    return np.where(np.array(words) < (1 - rate) * 2**32, 1 / (1 - rate), 0).astype(dtype)


def counted_noise(key, stream, step, index, size):
    """Normal numbers to float32's precision: of 32 words, 16 radii and 16 angles, each of a word's upper 31 bits."""
    words = counted_words(key, stream, step, index, 8 * -(-size // 32)).reshape(-1, 2, 16) >> np.uint64(1)
    share = (words[:, 0].astype(np.float32) + np.float32(0.5)).astype(float) / 2**31
    radius, angle = np.sqrt(-2 * np.log(share)), 2 * np.pi * words[:, 1] / 2**31
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:size]


def counted_order(key, stream, sweep, size, index=0):
    """Return 0, 1, ... in random order, by Fisher and Yates."""
    words = counted_words(key, stream, sweep, index, size)
    order = np.arange(size)
    for k in range(size - 1):
        chance = (int(words[k, 0]) // 32 * 2**26 + int(words[k, 1]) // 64) / 2**53
        other = k + int(chance * (size - k))
        order[[k, other]] = order[[other, k]]
    return order


def hadamard(size):
    """Return the Walsh code in Hadamard's order, of a power of two of rows."""
    code = np.ones((1, 1))
    while len(code) < size:
        code = np.block([[code, code], [code, -code]])
    return code


def step_directions(kind, key, step, q, size, central):
    """Return a step's directions, (q, size)."""
    if kind == "rademacher":
        return np.stack([counted_signs(key, 0, step, k, size) for k in range(q)])
    if kind in ("gaussian", "sphere"):
        normals = np.stack([counted_normals(key, 0, step, k, size) for k in range(q)])
        length = np.sqrt(np.square(normals).sum(axis=1, keepdims=True))
        return normals if kind == "gaussian" else normals / length * np.sqrt(size)
    n_rows = size if kind == "coordinate" else 2 ** int(np.ceil(np.log2(size)))
    sweep, place = divmod(step, n_rows // q)
    sign = 1.0
    if kind == "walsh" and not central:
        sweep, negative = divmod(sweep, 2)
        sign = -1.0 if negative else 1.0
    rows = counted_order(key, 1, sweep, n_rows)[place * q : (place + 1) * q]
    if kind == "coordinate":
        return np.eye(size)[rows]
    return sign * hadamard(n_rows)[rows, :size] * counted_signs(key, 2, sweep, 0, size)


def estimate(loss, weights, directions, eps, scheme="central", shaping=None, coordinate=False):
    """Return the estimate of a gradient along directions, and the losses that it takes."""
    above = np.array([loss(weights + eps * d) for d in directions])
    if scheme == "central":
        below, width = np.array([loss(weights - eps * d) for d in directions]), 2 * eps
        losses = np.stack([above, below], axis=1).ravel()
    else:
        below, width = np.full(len(above), loss(weights)), eps
        losses = above if shaping == "ranks" else np.append(below[:1], above)
    if shaping == "sign":
        shares = np.sign(above - below)
    elif shaping == "ranks":
        ranks = np.array([(losses < x).sum() + ((losses == x).sum() - 1) / 2 for x in losses]) / (len(losses) - 1) - 0.5
        shares = ranks[::2] - ranks[1::2] if scheme == "central" else ranks
    else:
        shares = (above - below) / width
    scale = weights.size if coordinate else 1
    return scale * (shares[:, None] * directions).mean(axis=0), losses


def flatten(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def shape_like(vector, arrays):
    ends = np.cumsum([array.size for array in arrays])
    return [part.reshape(a.shape) for part, a in zip(np.split(vector, ends[:-1]), arrays, strict=True)]


def along_directions(
    weights, layers, loss, x, y, kind, key, step, q, eps, scheme="central", shaping=None, sample_weight=None
):
    """Return an estimate of a network's gradient along a step's directions, shaped like the weights."""

    def mean_loss(theta):
        return np.average(losses(shape_like(theta, weights), layers, loss, x, y), weights=sample_weight)

    theta = flatten(weights)
    drawn = step_directions(kind, key, step, q, theta.size, scheme == "central").astype(theta.dtype)
    estimated, _ = estimate(mean_loss, theta, drawn, theta.dtype.type(eps), scheme, shaping, kind == "coordinate")
    return shape_like(estimated, weights)


def projected(gradient, kind, key, step, q):
    """Return the mean of a gradient's projections on a step's directions, shaped like it."""
    flat = flatten(gradient)
    drawn = step_directions(kind, key, step, q, flat.size, True).astype(flat.dtype)
    scale = flat.size if kind == "coordinate" else 1
    return shape_like(scale * ((drawn @ flat)[:, None] * drawn).mean(axis=0), gradient)


def unit_noise(kind, key, step, places, sizes):
    """Return what the units of the samples at those places are perturbed by, (n_samples, n_units) a layer."""
    size = sum(sizes)
    draw = counted_signs if kind == "rademacher" else counted_normals
    drawn = np.stack([draw(key, 0, step, place, size) for place in places])
    if kind == "sphere":
        drawn *= np.sqrt(size / np.square(drawn).sum(axis=1, keepdims=True))
    return np.split(drawn, np.cumsum(sizes)[:-1], axis=1)


def count_sums(weights, layers, x):
    """Return how many sums z a sample has in each layer with weights."""
    counts, left = [], list(weights)
    for layer, a in zip(layers, [x, *forward(weights, layers, x)[1]], strict=False):
        n_arrays = N_ARRAYS.get(type(layer), 0)
        if isinstance(layer, RNN | LSTM | GRU):  # of a GRU, the states' part of n by itself
            counts.append(a.shape[1] * left[1].shape[1] * (4 if isinstance(layer, GRU) else 3) // 3)
        elif n_arrays:
            counts.append(apply(layer, left[:n_arrays], a)[0][0].size)
        left = left[n_arrays:]
    return counts


def with_sums(layer, weights, a, delta):
    """Return the slopes with a layer's weights of the sum of delta times z, (n, n_units) as `apply` takes noise."""
    if isinstance(layer, Conv2D):
        w, _ = weights
        if layer.padding == "same":
            a = pad(a, w.shape[:2], layer.strides)
        parts = windows(a, w.shape[:2], layer.strides)
        delta = delta.reshape(*parts[0].shape[:3], -1)
        taps = [np.tensordot(part, delta, ([0, 1, 2], [0, 1, 2])) for part in parts]
        return [np.stack(taps).reshape(w.shape), delta.sum(axis=(0, 1, 2))]
    if isinstance(layer, Embedding):
        found = np.zeros_like(weights[0])
        np.add.at(found, a.astype(int), delta.reshape(*a.shape, -1))
        return [found]
    if isinstance(layer, RNN | LSTM | GRU):
        w, u, _ = weights
        n_gates = a.shape[1] * w.shape[1]
        states = apply(layer._replace(return_sequences=True), weights, a)[1]
        before = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
        gates = delta[:, :n_gates].reshape(*a.shape[:2], -1)
        to_state = gates
        if isinstance(layer, GRU):
            to_state = np.concatenate([gates[..., : 2 * len(u)], delta[:, n_gates:].reshape(states.shape)], axis=2)
        of_b = gates.sum(axis=(0, 1))
        of_b = np.stack([of_b, to_state.sum(axis=(0, 1))]) if isinstance(layer, GRU) else of_b
        return [np.einsum("nti,ntj->ij", a, gates), np.einsum("nti,ntj->ij", before, to_state), of_b]
    if a.ndim == 4:
        a = a.reshape(len(a), -1)
    delta = delta.reshape(*a.shape[:-1], -1)
    axes = list(range(a.ndim - 1))
    return [np.tensordot(a, delta, (axes, axes)), delta.sum(axis=tuple(axes))]


def node_perturbation(
    weights, layers, loss, x, y, noise, sigma, turns="together", scheme="forward", sample_weight=None
):
    """Return the estimate of the gradient, shaped like the weights, from noise as `unit_noise` has it.

    All steps of a sequence are one sample, whose loss is their sum.
    """
    sigma = x.dtype.type(sigma)
    noise = [part.astype(x.dtype) for part in noise]

    def read(factor, moved):
        z, a = forward(weights, layers, x, [factor * part for part in moved])
        return sample_losses(loss, z[-1], a[-1], y).reshape(len(x), -1).sum(axis=1)

    inputs = [x, *forward(weights, layers, x)[1]]
    shares = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight) * len(x) / np.sum(sample_weight)
    result, left, number = [], list(weights), 0
    for layer, a in zip(layers, inputs, strict=False):
        n_arrays = N_ARRAYS.get(type(layer), 0)
        if not n_arrays:
            continue
        moved = noise if turns == "together" else [part * (k == number) for k, part in enumerate(noise)]
        below = read(-sigma, moved) if scheme == "central" else read(0 * sigma, moved)
        slopes = (read(sigma, moved) - below) / (sigma * (2 if scheme == "central" else 1))
        result += with_sums(layer, left[:n_arrays], a, (shares * slopes)[:, None] * noise[number] / len(x))
        left, number = left[n_arrays:], number + 1
    return result


class Devices:
    """Weights on devices, whose random numbers are streams 32 to 36 of a key, by step, how it is written, and place."""

    def __init__(self, size, key=0, *, bits=None, low=-1.0, high=1.0, rounding="nearest", write_noise=0.0,
                 read_noise=0.0, gain_spread=0.0, stuck=0.0, copy=True):  # fmt: skip
        self.size, self.key, self.bits, self.low, self.high, self.copy = size, key, bits, low, high, copy
        self.rounding, self.write_noise, self.read_noise = rounding, write_noise, read_noise
        self.gains = np.exp(gain_spread * counted_normals(key, 35, 0, 0, size))
        self.gains[self.uniform(36, 0, 0) < stuck] = 0.0

    def uniform(self, stream, step, index):
        return (counted_words(self.key, stream, step, index, -(-self.size // 4)).ravel()[: self.size] + 0.5) / 2**32

    def round(self, wanted, chance=0.5):
        wanted = np.clip(wanted, self.low, self.high)
        if self.bits is None:
            return wanted
        step = (self.high - self.low) / (2**self.bits - 1)
        return self.low + np.floor((wanted - self.low) / step + chance) * step

    def write(self, wanted, acting, step, index=0):
        """Return what is wanted from now on, the settings, and what acts."""
        levels = self.round(wanted, self.uniform(32, step, index) if self.rounding == "stochastic" else 0.5)
        noisy = levels + self.write_noise * counted_normals(self.key, 33, step, index, self.size)
        settings = levels if self.copy else noisy
        return (
            np.where(self.gains == 0, wanted, np.clip(wanted, self.low, self.high) if self.copy else noisy),
            np.where(self.gains == 0, acting, settings),
            np.where(self.gains == 0, acting, self.gains * noisy),
        )

    def read(self, acting, number):
        return acting + self.read_noise * counted_normals(self.key, 34, number, 0, self.size)
