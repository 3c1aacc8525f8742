"""Dense products, in an order of summation that depends neither on the threads nor on the place in the array."""

from fastnn._compiler.jit import JIT_DISABLED, kernel

if JIT_DISABLED:

    def add_tiles(a, b, first, last, scale, out):
        """Do what the compiled tiles do."""
        power = a
        for term in b:  # all rows, whatever the share: NumPy's bits depend on the shape
            out[first:last] += (scale * (power @ term))[first:last]
            power = power * a

    def add_listed(a, lists, counts, b, first, last, scale, out):
        """Do what the compiled loops do."""
        for r in range(first, last):
            columns = lists[r, : counts[r]]
            power = a[r, columns]
            for term in b:
                out[r] += scale * (power @ term[columns])
                power = power * a[r, columns]

    def add_taps(weights, w_pitch, w_step, moved, m_pitch, n_rows, n_taps, out):
        """Do what the compiled taps do."""
        for i in range(n_rows):
            for j in range(n_taps):
                start = i * m_pitch + j * out.size
                out += weights[i * w_pitch + j * w_step] * moved[start : start + out.size]

else:
    from fastnn._compiler.listed import add_listed  # type: ignore[assignment]
    from fastnn._compiler.tile import add_taps as add_taps  # type: ignore[assignment]
    from fastnn._compiler.tile import add_tiles  # type: ignore[assignment]


@kernel
def add_product(a, b, first, last, out):
    """Add a (n, m) times b (m, p) to rows first to last of out (n, p)."""
    add_tiles(a, (b,), first, last, out.dtype.type(1.0), out)


@kernel
def add_scaled_product(a, b, first, last, scale, out):
    """Add scale times a (n, m) times b (m, p) to rows first to last of out (n, p)."""
    add_tiles(a, (b,), first, last, out.dtype.type(scale), out)


@kernel
def add_listed_product(a, lists, counts, b, first, last, out):
    """Add what `add_product` does, of row i of `a` the first counts[i] columns that lists (n, m) has."""
    add_listed(a, lists, counts, (b,), first, last, out.dtype.type(1.0), out)


@kernel(inline=True)
def add_listed_series(a, lists, counts, b1, b2, b3, n_terms, first, last, scale, out):
    """Add what `add_series_product` does, of `a` what is listed."""
    factor = out.dtype.type(scale)
    if n_terms == 1:
        add_listed(a, lists, counts, (b1,), first, last, factor, out)
    elif n_terms == 2:
        add_listed(a, lists, counts, (b1, b2), first, last, factor, out)
    else:
        add_listed(a, lists, counts, (b1, b2, b3), first, last, factor, out)


@kernel(inline=True)
def add_series_product(a, b1, b2, b3, n_terms, first, last, scale, out):
    """Add scale * (a b1 + (a**2) b2 + (a**3) b3), powers entry by entry, to rows first to last of out.

    a (n, m), each b (m, p), out (n, p); terms past n_terms are left out.
    """
    factor = out.dtype.type(scale)
    if n_terms == 1:
        add_tiles(a, (b1,), first, last, factor, out)
    elif n_terms == 2:
        add_tiles(a, (b1, b2), first, last, factor, out)
    else:
        add_tiles(a, (b1, b2, b3), first, last, factor, out)
