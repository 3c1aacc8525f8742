"""The command line: ``fastnn``, or ``python -m fastnn`` (the extra ``cli``)."""

import dataclasses
import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

import fastnn
from fastnn import _bench, _files, _validate
from fastnn._columns import Category, Column, Number, check_missing, fit_inputs, holds_classes, list_names, split_rows
from fastnn._demo import demonstrate
from fastnn._model import Model
from fastnn._validate import Array, printable
from fastnn.tutorial import HIDDEN

# Packages that a command imports when it runs, and the extras that they come with.
EXTRAS = {
    "matplotlib": "plot",
    "pandas": "cli",
    "pooch": "demo",
    "pyarrow": "cli",
    "sklearn": "demo",
}
STDIN = Path("-")
INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended
SEPARATORS = ",;\t"
PICTURES = (".png", ".pdf", ".svg")

app = typer.Typer(
    help="Train neural networks on the CPU by perturbing every weight.",
    epilog="Begin with: fastnn demo. Then: fastnn train data.csv --target COLUMN. "
    "Each command has its own help: fastnn train --help",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Table = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A table: CSV, its first line names, separated by , ; or tabs; or Parquet. - is standard input.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
if TYPE_CHECKING:
    Hidden = str
else:
    Hidden = Literal[HIDDEN]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0, or 1 after a failure, 2 for wrong usage, 130 after Ctrl-C; the last three
        with a message on standard error.
    """
    code = 0
    try:
        app(arguments, prog_name="fastnn")
    except SystemExit as end:
        code = int(end.code or 0)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        code = _fail(f"this needs {error.name}: pip install 'fastnn-numba[{extra}]'" if extra else str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _fail(f"{where}{error.strerror or error}")
    except (FloatingPointError, ImportError, MemoryError, ValueError) as error:
        code = _fail(str(error) or "out of memory")
    return code


def _fail(message: str) -> int:
    typer.echo(f"Error: {printable(message)}", err=True)
    return 1


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"fastnn {fastnn.__version__}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    data: Annotated[
        Literal["digits", "mnist"],
        typer.Option(help="Digits: 1,797 images that come with scikit-learn. MNIST: 70,000, downloaded once (11 MB)."),
    ] = "digits",
) -> None:
    """Learn handwritten digits while you watch.

    Then the same step is measured with the plain NumPy loop, and the tutorial's y = 3x.
    """
    demonstrate(data)


def _parse_hidden(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")] if text != "none" else []
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{text!r} is not a list of sizes such as 64,32, nor none")
    return sizes


@app.command()
def train(
    data: Table,
    target: Annotated[str, typer.Option(help="The column to predict.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("model.safetensors"),
    force: Force = False,
    drop: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="Leave a column out, such as an id; may be repeated.")
    ] = [],  # noqa: B006 (typer copies it)
    task: Annotated[
        Literal["auto", "classes", "numbers"],
        typer.Option(help="What the target is. Auto: text and few different whole numbers are classes."),
    ] = "auto",
    hidden: Annotated[
        Any,
        typer.Option(parser=_parse_hidden, metavar="SIZES", help="Units of the hidden layers, such as 64,32; or none."),
    ] = "32",
    activation: Annotated[Hidden, typer.Option(help="Of the hidden layers.")] = "tanh",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows.")] = 50,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 32,
    gradient: Annotated[
        Literal["perturbation", "backprop"], typer.Option(help="How it is found what each weight does to the loss.")
    ] = "perturbation",
    eps: Annotated[float, typer.Option(help="The nudge of perturbation.")] = 1e-6,
    optimizer: Annotated[Literal["adam", "sgd"], typer.Option(help="How steps are taken.")] = "adam",
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr", help="Of the optimiser.")] = 0.003,
    validation: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of the rows that is held out to measure with.")
    ] = 0.2,
    seed: Annotated[
        int, typer.Option(min=0, help="For weights, held-out rows and order: the same gives the same.")
    ] = 0,
    dtype: Annotated[Literal["float64", "float32"], typer.Option(help="Precision.")] = "float64",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw loss and accuracy: .png, .pdf or .svg.")
    ] = None,
) -> None:
    """Train a network to predict one column of a table from the others.

    Numbers are standardised, text is taken as categories, and what was done to them is
    kept in the model. A target of classes gives a classifier, one of numbers a
    regression. Ctrl-C ends training and keeps the model so far. The first run compiles
    for some 10 seconds.

    \b
    fastnn train iris.csv --target species --out iris.safetensors
    fastnn train houses.parquet --target price --hidden 64,32 --epochs 200 --drop id
    cat data.csv | fastnn train - --target y --plot history.png
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    if plot is not None:
        if plot.suffix.lower() not in PICTURES:
            raise typer.BadParameter(
                f"{printable(str(plot))} must end in one of {' '.join(PICTURES)}", param_hint="--plot"
            )
        from fastnn.plot import history as draw
    _files.import_safetensors()
    _files.check_outputs([out] if plot is None else [out, plot], [data], force)
    method = fastnn.Perturbation(eps) if gradient == "perturbation" else fastnn.Backprop()
    steps = fastnn.Adam(learning_rate) if optimizer == "adam" else fastnn.SGD(learning_rate)

    frame = _read_table(data)
    for option, name in [("--target", target), *(("--drop", name) for name in drop)]:
        _validate.choice(option, name, frame.columns)
    frame = frame.drop(columns=drop)
    nameless = [name for name in frame.columns if name.startswith("Unnamed:")]
    if nameless:
        raise ValueError(
            f"a column of {_name(data)} has no name, as row numbers have: leave it out with --drop {nameless[0]!r}, "
            "or give it a name"
        )
    if target in drop or len(frame.columns) < 2:
        raise ValueError(f"{_name(data)} needs the target {target!r} and at least one more column, after --drop")
    check_missing(frame)
    rng = np.random.default_rng(seed)
    to_predict: Column
    if task == "classes" or (task == "auto" and holds_classes(frame[target])):
        to_predict = Category.fit(frame[target])
        strata = to_predict.find(frame[target])
        _check_classes(to_predict, np.bincount(strata))
        train_rows, held_out = split_rows(strata, validation, rng)
    else:
        train_rows, held_out = split_rows(np.zeros(len(frame)), validation, rng)
        to_predict = Number.fit(frame[target], train_rows)
    if not len(train_rows) or (validation and not len(held_out)):
        raise ValueError(
            f"{_name(data)} has {len(frame)} rows, too few to hold a share of {validation:g} out; "
            "--validation 0 holds none out"
        )
    inputs = fit_inputs(frame.drop(columns=target), train_rows)
    sizes = [sum(column.width for column in inputs), *hidden, to_predict.width]
    output = "softmax" if isinstance(to_predict, Category) else "identity"
    network = fastnn.mlp(*sizes, hidden=activation, output=output, seed=rng, dtype=dtype)
    model = Model(network, inputs, to_predict, {})
    trainer = fastnn.Trainer(
        network, loss=model.loss, gradient=method, optimizer=steps, batch_size=batch_size, seed=rng
    )

    typer.echo(f"{len(frame):,} rows: {len(train_rows):,} to train on, {len(held_out):,} held out")
    typer.echo(f"from {len(inputs)} columns: {list_names(column.name for column in inputs)}")
    typer.echo(f"to {_describe(to_predict)}")
    typer.echo(network)
    X, y = model.encode(frame)
    history = trainer.fit(
        X[train_rows],
        y[train_rows],
        epochs,
        validation_data=(X[held_out], y[held_out]) if len(held_out) else None,
    )
    if not trainer.n_steps:
        typer.echo("interrupted before the first step: nothing is written", err=True)
        raise typer.Exit(INTERRUPTED)
    measured = {"training": model.measure(X[train_rows], y[train_rows])}
    if len(held_out):
        measured["validation"] = model.measure(X[held_out], y[held_out])
    notes: dict[str, str | int | float] = {
        "rows": len(train_rows),
        "held out": len(held_out),
        "epochs": len(history),
        "gradient": str(method),
        "optimiser": str(steps),
        "batch size": batch_size,
        "seed": seed,
        "fastnn": fastnn.__version__,
    }
    for part, metrics in measured.items():
        notes |= {f"{part} {name}": value for name, value in metrics.items() if np.isfinite(value)}
    dataclasses.replace(model, notes=notes).save(out)
    typer.echo(f"epochs: {len(history)}, in {history.seconds.sum():.2g} s")
    for part, metrics in measured.items():
        typer.echo(f"{part:10}  {_list_metrics(metrics)}")
    typer.echo(printable(f"written: {out}"))
    if plot is not None and len(history):
        picture = io.BytesIO()
        figure: Any = draw(history).figure
        figure.savefig(picture, format=plot.suffix[1:].lower(), dpi=150)
        _files.replace(plot, picture.getvalue())
        typer.echo(printable(f"written: {plot}"))
    if history.interrupted:
        typer.echo("interrupted: the model is the one after the last step", err=True)
        raise typer.Exit(INTERRUPTED)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file that fastnn train wrote.")],
    data: Table,
    out: Annotated[Path | None, typer.Option(help="Write there instead of to standard output.")] = None,
    force: Force = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add a column a class.")] = False,
) -> None:
    """Predict the rows of a table with a trained model.

    Writes CSV, a row for each. The table needs the columns that the model was trained
    on, in any order; others are left out.

    \b
    fastnn predict iris.safetensors new.csv
    fastnn predict iris.safetensors new.csv --probabilities --out predicted.csv
    cat new.csv | fastnn predict iris.safetensors - | head
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    if out is not None:
        _files.check_outputs([out], [model, data], force)
    loaded = Model.load(model)
    target = loaded.target
    if probabilities and isinstance(target, Number):
        raise ValueError(f"{model} predicts numbers, which have no --probabilities")
    predicted, shares = loaded.predict(_read_table(data))
    import pandas

    columns = {target.name: predicted}
    if probabilities and isinstance(target, Category):
        columns |= {f"probability_{value}": shares[:, k] for k, value in enumerate(target.values)}
    text = pandas.DataFrame(columns).to_csv(index=False)
    if out is None:
        # To a terminal so that it cannot drive it; otherwise as bytes, which the echo leaves as they are.
        on_terminal = sys.stdout.isatty()
        typer.echo("\n".join(map(printable, text.split("\n"))) if on_terminal else text.encode(), nl=False)
    else:
        _files.replace(out, text.encode())


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A safetensors file.")],
) -> None:
    """Show what is in a model's file.

    That is one of fastnn train, or of Network.save or Trainer.save in Python.
    """
    kind, _, _ = _files.read(file, "model", "network", "checkpoint")
    typer.echo(printable(f"{file}: a {kind}"))
    if kind == "network":
        typer.echo(fastnn.load(file))
    elif kind == "checkpoint":
        trainer = fastnn.Trainer.resume(file)
        typer.echo(trainer.network)
        typer.echo(f"{trainer.n_steps:,} steps, {trainer.gradient}, {trainer.optimizer}")
        typer.echo(trainer.history)
    else:
        model = Model.load(file)
        for column in model.inputs:
            typer.echo(f"from {_describe(column)}")
        typer.echo(f"to {_describe(model.target)}")
        typer.echo(model.network)
        for name, note in model.notes.items():
            text = f"{note:.4g}" if isinstance(note, float) else printable(str(note))
            typer.echo(f"{printable(name):20}  {text}")


@app.command()
def bench() -> None:
    """Race a training step on this machine.

    fastnn's step by perturbation and by back-propagation, the plain NumPy loop's, and,
    where they are installed, that of JAX and PyTorch by back-propagation. Takes less
    than a minute, once fastnn is compiled.
    """
    for line in _bench.quick_table():
        typer.echo(line)


def _read_table(path: Path) -> Any:
    """Return the frame in a CSV or Parquet file, or, for -, in standard input."""
    import pandas

    where = _name(path)
    content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    try:
        if content.startswith(b"PAR1"):
            import pyarrow.parquet

            frame = pyarrow.parquet.ParquetFile(io.BytesIO(content)).read().to_pandas()
        else:
            header = content.partition(b"\n")[0].decode()
            separator = max(SEPARATORS, key=header.count)
            with warnings.catch_warnings():
                warnings.simplefilter("error", pandas.errors.ParserWarning)  # lines longer than the first
                frame = pandas.read_csv(io.BytesIO(content), sep=separator, index_col=False, low_memory=False)
    except pandas.errors.ParserWarning:
        raise ValueError(f"{where} is no table: it has rows with more values than there are names") from None
    except ValueError as error:
        reason, *_ = f"{error}\n".splitlines()
        raise ValueError(f"{where} is no table, CSV or Parquet: {reason}") from None
    frame.columns = frame.columns.map(str)
    if not frame.columns.is_unique:
        raise ValueError(f"{where} has columns of the same name: {list_names(frame.columns)}")
    return frame


def _name(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def _check_classes(target: Category, counts: Array) -> None:
    """Refuse classes that cannot be told apart, or not be held out."""
    if target.width < 2:
        raise ValueError(f"every row of {target.name!r} is {target.values[0]!r}: there is nothing to learn")
    if counts.min() < 2:
        value = target.values[int(counts.argmin())]
        raise ValueError(
            f"class {value!r} of {target.name!r} has one row, and needs two at least; "
            "if the target is an amount rather than a class: --task numbers"
        )


def _describe(column: Column) -> str:
    """Return a column's name, and the values that it takes."""
    if isinstance(column, Number):
        return f"{printable(column.name)}: {column.mean:.4g} ± {column.scale:.4g}"
    return f"{printable(column.name)}: {list_names(column.values)}"


def _list_metrics(metrics: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.1%}" if name == "accuracy" else f"{name} {value:.4g}" for name, value in metrics.items()
    )
