"""Losses that can only be measured: an instrument's, a simulator's, a subprocess's."""
