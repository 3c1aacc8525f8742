"""Random numbers from a counter: any of them by its place, so that nothing has to be stored or drawn in order.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

import math

from numpy import float32, int32, int64, uint32, uint64

from fastnn._compiler.jit import N_WORDS, from_bits, kernel, line, make_words, to_bits, write_signs

ROUNDS = 10
MULTIPLIER_0, MULTIPLIER_1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
LOW, HALF, STREAM = uint64(0xFFFFFFFF), uint64(32), uint64(24)
# Words of 32 bits as numbers between 0 and 1, and steps of 2**-53 below 1.
UNIT, FINE = 2.0**-32, 2.0**-53
# The bits of 1 and of the root of 1/2, and those below the exponent.
ONE, ROOT, MANTISSA = int64(0x3FF0000000000000), int64(0x3FE6A09E667F3BCD), int64(0x000FFFFFFFFFFFFF)
# The same of float32.
NARROW_ONE, NARROW_ROOT, NARROW_MANTISSA = 0x3F800000, 0x3F3504F3, 0x007FFFFF


def _make_philox():
    """Return the kernel with its rounds written out: loops over it vectorise, 4 ns a normal number instead of 22."""
    words = [(k * WEYL_0 & 0xFFFFFFFF, k * WEYL_1 & 0xFFFFFFFF) for k in range(ROUNDS)]
    lines = [
        "    x, y = MULTIPLIER_0 * a, MULTIPLIER_1 * c\n"
        f"    a, b, c, d = (y >> HALF) ^ b ^ ((low + uint64({first})) & LOW), y & LOW, "
        f"(x >> HALF) ^ d ^ ((high + uint64({second})) & LOW), x & LOW\n"
        for first, second in words
    ]
    text = '"""Return four words of 32 bits, for a key of 64 bits and a counter of four words; all are uint64."""'
    source = f"def philox(key, a, b, c, d):\n    {text}\n    low, high = key & LOW, key >> HALF\n"
    source += f"    a, c = a & LOW, c & LOW\n{''.join(lines)}    return a, b, c, d\n"
    scope = dict(globals())
    exec(source, scope)
    return kernel(scope["philox"], inline=True)


philox = _make_philox()


@kernel(inline=True)
def draw_words(key, stream, step, index, block):
    """Return four words: of a stream below 256, a step below 2**56, an index and a block below 2**32."""
    at = uint64(step)
    return philox(key, uint64(block), uint64(index), at & LOW, (uint64(stream) << STREAM) | (at >> HALF))


@kernel(inline=True)
def fill_words(key, stream, step, index, block, n_blocks, words):
    """Write the four words of each of so many blocks, from one on. By themselves: this vectorises."""
    for k in range(n_blocks):
        a, b, c, d = draw_words(key, stream, step, index, block + k)
        words[4 * k], words[4 * k + 1] = uint32(a), uint32(b)
        words[4 * k + 2], words[4 * k + 3] = uint32(c), uint32(d)


@kernel
def fill_signs(key, stream, step, index, first, out):
    """Fill a vector with +1 and -1, a bit each, the first being number `first` of them, a multiple of 128."""
    words = make_words()
    for start in range(0, out.size, 32 * N_WORDS):
        n_words = min(N_WORDS, (out.size - start + 31) // 32)
        fill_words(key, stream, step, index, (first + start) // 128, (n_words + 3) // 4, words)
        n_whole = min(N_WORDS, (out.size - start) // 32)
        for k in range(n_whole):
            write_signs(words[k], out, start + 32 * k)
        for k in range(start + 32 * n_whole, min(start + 32 * n_words, out.size)):
            out[k] = 1 - 2 * int64((words[n_whole] >> uint32(k % 32)) & uint32(1))


@kernel(inline=True, fastmath={"contract"})
def log_share(word):
    """Return log((word + 1/2) / 2**32) of a word of 32 bits, as FreeBSD's libm does it, within 1 ulp."""
    bits = to_bits(float(word) + 0.5) + (ONE - ROOT)
    exponent = float((bits >> 52) - (1023 + 32))
    f = from_bits((bits & MANTISSA) + ROOT) - 1.0  # the number is 2**exponent (1 + f), 1 + f next to 1
    s = f / (2.0 + f)
    z = s * s
    tail = 1.531383769920937332e-01 + z * 1.479819860511658591e-01
    tail = 1.818357216161805012e-01 + z * tail
    tail = 2.222219843214978396e-01 + z * tail
    tail = 2.857142874366239149e-01 + z * tail
    tail = 3.999999999940941908e-01 + z * tail
    tail = z * (6.666666666666735130e-01 + z * tail)
    half = 0.5 * f * f
    low = s * (half + tail) + exponent * 1.90821492927058770002e-10
    return exponent * 6.93147180369123816490e-01 - ((half - low) - f)


@kernel(inline=True, fastmath={"contract"})
def turn_share(word):
    """Return the cosine and the sine of 2 pi (word + 1/2) / 2**32, within 1 ulp: the quarter is found exactly."""
    odd = 2 * word + 1
    quarter = (odd + (1 << 30)) >> 31
    r = float(odd - (quarter << 31)) * (math.pi * 2.0**-32)
    z = r * r
    tail = -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10
    tail = 2.75573137070700676789e-06 + z * tail
    tail = -1.98412698298579493134e-04 + z * tail
    tail = 8.33333333332248946124e-03 + z * tail
    sine = r + r * z * (-1.66666666666666324348e-01 + z * tail)
    tail = 2.08757232129817482790e-09 + z * -1.13596475577881948265e-11
    tail = -2.75573143513906633035e-07 + z * tail
    tail = 2.48015872894767294178e-05 + z * tail
    tail = -1.38888888888741095749e-03 + z * tail
    tail = 4.16666666666666019037e-02 + z * tail
    cosine = 1.0 - (0.5 * z - z * z * tail)
    is_turned = quarter & 1 != 0
    x, y = (sine if is_turned else cosine), (cosine if is_turned else sine)
    return (-x if (quarter + 1) & 2 != 0 else x), (-y if quarter & 2 != 0 else y)


@kernel(inline=True)
def draw_four(key, stream, step, index, block):
    """Return four independent normal numbers, by Box and Muller."""
    a, b, c, d = draw_words(key, stream, step, index, block)
    first, second = math.sqrt(-2.0 * log_share(int64(a))), math.sqrt(-2.0 * log_share(int64(c)))
    x, y = turn_share(int64(b))
    z, w = turn_share(int64(d))
    return first * x, first * y, second * z, second * w


@kernel
def draw_normals(key, stream, step, index, block):
    """Return four independent normal numbers."""
    return draw_four(key, stream, step, index, block)


@kernel
def fill_normals(key, stream, step, index, first, out):
    """Fill a vector with normal numbers, the first being number `first` of them, a multiple of 4."""
    n_whole = out.size // 4
    for block in range(n_whole):
        x, y, z, w = draw_four(key, stream, step, index, first // 4 + block)
        out[4 * block], out[4 * block + 1], out[4 * block + 2], out[4 * block + 3] = x, y, z, w
    if out.size > 4 * n_whole:
        numbers = draw_normals(key, stream, step, index, first // 4 + n_whole)
        for k in range(4 * n_whole, out.size):
            out[k] = numbers[k - 4 * n_whole]


@kernel(inline=True)
def log_share_narrow(word):
    """Return log((word + 1/2) / 2**31) of a word of 31 bits in float32, as FreeBSD's libm does it."""
    bits = to_bits(float32(word) + float32(0.5)) + (NARROW_ONE - NARROW_ROOT)
    exponent = float32(int32((bits >> 23) - (127 + 31)))
    f = from_bits(int32((bits & NARROW_MANTISSA) + NARROW_ROOT)) - float32(1.0)
    s = f / (float32(2.0) + f)
    z = s * s
    w = z * z
    tail = z * (float32(0.66666662693) + w * float32(0.28498786688))
    tail += w * (float32(0.40000972152) + w * float32(0.24279078841))
    half = float32(0.5) * f * f
    low = s * (half + tail) + exponent * float32(9.0580006145e-06)
    return exponent * float32(6.9313812256e-01) - ((half - low) - f)


@kernel(inline=True)
def turn_share_narrow(word):
    """Return the cosine and the sine of 2 pi word / 2**31 in float32, as Cephes does it; the quarter is exact."""
    quarter = (word + (1 << 28)) >> 29
    r = float32(int32(word - (quarter << 29))) * float32(math.pi * 2.0**-30)
    z = r * r
    tail = float32(8.3321608736e-3) - z * float32(1.9515295891e-4)
    sine = r + r * z * (float32(-1.6666654611e-1) + z * tail)
    tail = float32(-1.388731625493765e-3) + z * float32(2.443315711809948e-5)
    cosine = float32(1.0) - (float32(0.5) * z - z * z * (float32(4.166664568298827e-2) + z * tail))
    quarter = int32(quarter)
    is_turned = quarter & 1 != 0
    x, y = (sine if is_turned else cosine), (cosine if is_turned else sine)
    return (-x if (quarter + 1) & 2 != 0 else x), (-y if quarter & 2 != 0 else y)


@kernel(inline=True)
def draw_pair(a, b):
    """Return two independent normal numbers to float32's precision, of two words, by Box and Muller."""
    radius = math.sqrt(float32(-2.0) * log_share_narrow(int32(a >> uint32(1))))
    x, y = turn_share_narrow(int64(b >> uint32(1)))
    return float32(radius) * x, float32(radius) * y


@kernel(fastmath={"contract"})
def fill_noise(key, stream, step, index, first, out):
    """Fill a vector with normal numbers to float32's precision, for noise: 1 ns each; first is a multiple of 32.

    Of 32 words those of the first half are radii and those of the second angles: lines of eight numbers.
    """
    words, half = make_words(), N_WORDS // 2
    for start in range(0, out.size, N_WORDS):
        fill_words(key, stream, step, index, (first + start) // 4, N_WORDS // 4, words)
        n = min(half, out.size - start)
        n_both = max(out.size - start - half, 0)
        upper, lower = line(out, start, n), line(out, start + half, min(half, n_both))
        for k in range(lower.size):
            upper[k], lower[k] = draw_pair(words[k], words[half + k])
        for k in range(lower.size, n):
            upper[k], _ = draw_pair(words[k], words[half + k])


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
