"""Train on tables and predict their rows, as they are (the extra ``tables``).

What ``fastnn train`` does at the terminal, in Python: a model keeps how each column
becomes inputs, so it takes rows as they come, and its file is the same in both.
"""

from fastnn._support.validate import optional

with optional("fastnn.tables", "tables"):
    from fastnn.tables._cells import Table as Table
    from fastnn.tables._errors import TableError as TableError
    from fastnn.tables._model import Model as Model
    from fastnn.tables._model import load as load
    from fastnn.tables._read import read as read
    from fastnn.tables._train import Trained as Trained
    from fastnn.tables._train import train as train
