"""Checks and their messages, files, Ctrl-C, tables for notebooks."""
