"""Compiler options, the cache of compiled code, and the products' innermost loops."""
