"""Faults done to training, in processes of its own. Each test prints what was done, and what was lost."""

import os
import subprocess
import sys
import textwrap

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "soak" in item.path.parts:
            item.add_marker(pytest.mark.soak)


@pytest.fixture
def start():
    """Return a function that starts a program in a Python of its own; what still runs at the end is killed."""
    processes = []

    def run(program, *arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def report(capsys):
    """Return a function that prints past pytest's capture."""

    def say(text):
        with capsys.disabled():
            print(f"\n{text}", end=" ")

    return say
