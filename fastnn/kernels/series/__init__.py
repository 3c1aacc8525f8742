"""Finite differences by power series: every weight's own, at the price of a few products.

A perturbation of W[i, j] moves z[n, j] by t = eps * a[n, i], and the batch's mean loss by
phi(t) = c1 t + c2 t**2 + c3 t**3 + R, whose coefficients depend on n and j alone.
So with powers taken entry by entry, the differences of a whole layer are

    D = sum_k (A**k)' (eps**(k - 1) C_k)

(`descent.add_gradient`); central differences are the odd terms. C_1 is
back-propagation's delta. The rest comes from the change tau of unit j's activation,
which moves the next level's z along the line W[j] tau, and the loss by
d1 tau + d2 tau**2 + d3 tau**3, d1 being `grad_a`, the gradient with respect to the
activation. With f1, f2, f3 the activation's Taylor coefficients,

    c2 = d1 f2 + d2 f1**2        c3 = d1 f3 + 2 d2 f1 f2 + d3 f1**3

d2 and d3 gather each level's curvature. Let u1, u2 be the coefficients of z of unit k
there (Griewank, Walther, "Evaluating Derivatives", 2nd ed., 2008, chapter 13),
g its activation's and p its grad_a; then d2 grows by p g2 u1**2, d3 by
p (2 g2 u1 u2 + g3 u1**3), and v1 = g1 u1, v2 = g1 u2 + g2 u1**2 go on through
the next weights. The third coefficients need not be carried: they reach the loss
linearly, and grad_a knows that. At the loss, which has no grad_a, the same with its own
curvature.

`expansion` finds the coefficients, by sums over the next level's units; `carried` those of
layers with more levels above. `certificate` bounds what is left out, `kinks` knows where no
series holds, and `decision` has the table of what becomes of each.
"""
