"""Dense products, in an order of summation that depends neither on the threads nor on the place in the array."""

from fastnn._jit import JIT_DISABLED, kernel

if JIT_DISABLED:

    def add_tiles(a, b, first, last, scale, eps, out):
        """Do what the compiled tiles do."""
        power, weight = a, scale
        for term in b:  # all rows, whatever the share: NumPy's bits depend on the shape
            out[first:last] += (weight * (power @ term))[first:last]
            power, weight = power * a, weight * eps

else:
    from fastnn._tile import add_tiles  # type: ignore[assignment]


@kernel
def add_product(a, b, first, last, out):
    """Add a (n, m) times b (m, p) to rows first to last of out (n, p)."""
    one = out.dtype.type(1.0)
    add_tiles(a, (b,), first, last, one, one, out)


@kernel
def add_series_product(a, b1, b2, b3, n_terms, eps, first, last, scale, out):
    """Add scale * (a b1 + eps (a**2) b2 + eps**2 (a**3) b3), powers entry by entry, to rows first to last of out.

    a (n, m), each b (m, p), out (n, p); terms past n_terms are left out.
    """
    scale, eps = out.dtype.type(scale), out.dtype.type(eps)
    if n_terms == 1:
        add_tiles(a, (b1,), first, last, scale, eps, out)
    elif n_terms == 2:
        add_tiles(a, (b1, b2), first, last, scale, eps, out)
    else:
        add_tiles(a, (b1, b2, b3), first, last, scale, eps, out)
