"""Faults done on purpose; a package, so that its conftest and file names are its own."""
