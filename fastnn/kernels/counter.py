"""Random numbers from a counter: any of them by its place, so that nothing has to be stored or drawn in order.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

import math

from numpy import int64, uint64

from fastnn._compiler.jit import kernel

ROUNDS = 10
MULTIPLIER_0, MULTIPLIER_1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = uint64(0x9E3779B9), uint64(0xBB67AE85)
LOW, HALF, STREAM = uint64(0xFFFFFFFF), uint64(32), uint64(24)
# Words of 32 bits as numbers between 0 and 1, and steps of 2**-53 below 1.
UNIT, FINE = 2.0**-32, 2.0**-53


@kernel
def philox(key, a, b, c, d):
    """Return four words of 32 bits, for a key of 64 bits and a counter of four words; all are uint64."""
    low, high = key & LOW, key >> HALF
    for _ in range(ROUNDS):
        x, y = MULTIPLIER_0 * a, MULTIPLIER_1 * c
        a, b, c, d = (y >> HALF) ^ b ^ low, y & LOW, (x >> HALF) ^ d ^ high, x & LOW
        low, high = (low + WEYL_0) & LOW, (high + WEYL_1) & LOW
    return a, b, c, d


@kernel
def draw_words(key, stream, step, index, block):
    """Return four words: of a stream below 256, a step below 2**56, an index and a block below 2**32."""
    at = uint64(step)
    return philox(key, uint64(block), uint64(index), at & LOW, (uint64(stream) << STREAM) | (at >> HALF))


@kernel
def fill_signs(key, stream, step, index, first, out):
    """Fill a vector with +1 and -1, a bit each, the first being number `first` of them, a multiple of 128."""
    n_whole = out.size // 32
    for block in range((out.size + 127) // 128):
        words = draw_words(key, stream, step, index, first // 128 + block)
        for quarter in range(4):
            word, start = int64(words[quarter]), 4 * block + quarter
            if start < n_whole:
                for k in range(32):  # a number of turns that is known is taken eight at a time
                    out[32 * start + k] = 1.0 - ((word >> k) & 1) * 2.0
            else:
                for k in range(out.size - 32 * start):
                    out[32 * start + k] = 1.0 - ((word >> k) & 1) * 2.0


@kernel
def draw_normals(key, stream, step, index, block):
    """Return four independent normal numbers, by Box and Muller."""
    a, b, c, d = draw_words(key, stream, step, index, block)
    first = math.sqrt(-2.0 * math.log((int64(a) + 0.5) * UNIT))
    second = math.sqrt(-2.0 * math.log((int64(c) + 0.5) * UNIT))
    angle, other = 2.0 * math.pi * UNIT * (int64(b) + 0.5), 2.0 * math.pi * UNIT * (int64(d) + 0.5)
    return first * math.cos(angle), first * math.sin(angle), second * math.cos(other), second * math.sin(other)


@kernel
def fill_normals(key, stream, step, index, first, out):
    """Fill a vector with normal numbers, the first being number `first` of them, a multiple of 4."""
    for block in range((out.size + 3) // 4):
        numbers = draw_normals(key, stream, step, index, first // 4 + block)
        for k in range(4 * block, min(4 * block + 4, out.size)):
            out[k] = numbers[k - 4 * block]


@kernel
def shuffle(key, stream, step, index, count, order):
    """Fill a vector of integers with 0, 1, ..., the first `count` in an order that is drawn (Fisher and Yates)."""
    for k in range(order.size):
        order[k] = k
    for k in range(min(count, order.size - 1)):
        a, b, _, _ = draw_words(key, stream, step, index, k)
        chance = ((int64(a) >> 5) * 67108864.0 + (int64(b) >> 6)) * FINE  # 53 bits, below 1
        other = k + int(chance * (order.size - k))
        order[k], order[other] = order[other], order[k]
