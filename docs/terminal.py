"""Cells of commands, for the pages that begin with %run: IPython's own %%bash cuts long outputs into pieces.

The environment that builds the site comes first on PATH. A command that fails ends the build.
"""

import os
import subprocess
import sys
from pathlib import Path

from IPython.core.magic import register_cell_magic

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["COLUMNS"] = "80"


@register_cell_magic
def bash(line, cell):
    """Run the cell's commands, and print what they say in one piece."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail"], input=cell, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    sys.stdout.write(done.stdout)
    done.check_returncode()
