"""The command line: ``fastnn``, or ``python -m fastnn`` (the extra ``cli``)."""

import csv
import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import fastnn
from fastnn._cli.bench import table
from fastnn._cli.demo import demonstrate
from fastnn._support import files
from fastnn._support.choices import HiddenName
from fastnn._support.interrupt import Interrupt
from fastnn._support.validate import optional, printable
from fastnn.training import checkpoint

with optional("the command line", "cli"):
    import typer
    from typer.core import TyperGroup

STDIN = Path("-")
INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended
PICTURES = (".png", ".pdf", ".svg")


class _Group(TyperGroup):
    """Commands whose messages are in the words of options, not of the library that checks them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=_Group,
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
        help="A table: CSV, its first line names, separated by commas, semicolons, tabs, bars or spaces; or Parquet. "
        "Compressed, too (gz, bz2, xz, zst). - is standard input.",
    ),
]
Trained = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that fastnn train wrote.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help=r"Between values, such as : or \t for tabs; found out if not said."),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        metavar="MARK", help="Of numbers: . or , (a comma is understood unasked where semicolons separate values)."
    ),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Of text, such as cp1252; UTF-8 if not said.")]
NoHeader = Annotated[
    bool, typer.Option("--no-header", help="The first line has values, not names; columns are called 1, 2, ...")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]


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
        with warnings.catch_warnings():
            # Ours are for users, and say what to do; those of other libraries are for programmers.
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _warn
            app(arguments, prog_name="fastnn")
    except SystemExit as end:
        code = int(end.code or 0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _fail(f"{where}{error.strerror or error}")
    except (FloatingPointError, ImportError, MemoryError, ValueError) as error:
        # Errors of tables name options as they are typed.
        message = error.at_terminal() if hasattr(error, "at_terminal") else str(error)
        code = _fail(message or "out of memory")
    return code


def _fail(message: str) -> int:
    typer.echo(f"Error: {printable(message)}", err=True)
    return 1


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"Warning: {printable(str(message))}", err=True)


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
    network: Annotated[
        Literal["dense", "conv"] | None,
        typer.Option(
            help="What learns them: conv is a convolutional network alone. Not said, a dense one does and, of the "
            "digits of scikit-learn, then a convolutional one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Learn handwritten digits while you watch.

    Then the same step is measured with the plain NumPy loop, and the tutorial's y = 3x; and a small convolutional
    network learns the same digits.

    \b
    fastnn demo
    fastnn demo --data mnist --network conv
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    demonstrate(data, network)


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
    category: Annotated[
        list[str],
        typer.Option(metavar="COLUMN", help="Take a column's texts as they are, such as codes; may be repeated."),
    ] = [],  # noqa: B006
    task: Annotated[
        Literal["auto", "classes", "numbers"],
        typer.Option(help="What the target is. Auto: text and few different whole numbers are classes."),
    ] = "auto",
    missing: Annotated[
        Literal["refuse", "drop", "fill"],
        typer.Option(
            help="What is done about missing values, here and in predictions: drop leaves such rows out, "
            "fill takes the mean of numbers and the most frequent text."
        ),
    ] = "refuse",
    na: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What counts as missing besides an empty value, in any case; may be repeated. "
            "Instead of NA, N/A, NaN, NULL, #N/A, <NA>.",
        ),
    ] = None,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
    hidden: Annotated[
        Any,
        typer.Option(parser=_parse_hidden, metavar="SIZES", help="Units of the hidden layers, such as 64,32; or none."),
    ] = "32",
    activation: Annotated[HiddenName, typer.Option(help="Of the hidden layers.")] = "tanh",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows.")] = 50,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 32,
    gradient: Annotated[
        Literal["perturbation", "backprop"], typer.Option(help="How it is found what each weight does to the loss.")
    ] = "perturbation",
    eps: Annotated[float, typer.Option(help="The nudge of perturbation.")] = fastnn.Perturbation().eps,
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
    for some 20 seconds.

    \b
    fastnn train iris.csv --target species --out iris.safetensors
    fastnn train houses.parquet --target price --hidden 64,32 --epochs 200 --drop id
    fastnn train penguins.csv --target species --missing fill
    cat data.csv | fastnn train - --target y --plot history.png
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    if plot is not None:
        if plot.suffix.lower() not in PICTURES:
            raise typer.BadParameter(
                f"{printable(str(plot))} must end in one of {' '.join(PICTURES)}", param_hint="--plot"
            )
        from fastnn.plot import history as draw
    files.import_safetensors()
    files.check_outputs([out] if plot is None else [out, plot], [data], force)
    method = fastnn.Perturbation(eps) if gradient == "perturbation" else fastnn.Backprop()
    steps = fastnn.Adam(learning_rate) if optimizer == "adam" else fastnn.SGD(learning_rate)
    from fastnn.tables._train import Training

    training = Training(
        _read_table(data, separator, decimal, encoding, no_header),
        target,
        drop=drop,
        category=category,
        task=task,
        missing=missing,
        na=na,
        hidden=hidden,
        activation=activation,
        batch_size=batch_size,
        gradient=method,
        optimizer=steps,
        validation=validation,
        seed=seed,
        dtype=dtype,
    )
    for line in training.describe():
        typer.echo(printable(line))
    typer.echo(training.model.network)
    with Interrupt() as interrupt:  # pressed again and again, it keeps the model, too
        model, history, measured = training.run(epochs)
        if training.trainer.n_steps:
            model.save(out)
    if not training.trainer.n_steps:
        typer.echo("interrupted before the first step: nothing is written", err=True)
        raise typer.Exit(INTERRUPTED)
    typer.echo(f"epochs: {len(history)}, in {history.seconds.sum():.2g} s")
    for part, metrics in measured.items():
        typer.echo(f"{part:10}  {_list_metrics(metrics)}")
    typer.echo(printable(f"written: {out}"))
    if plot is not None and len(history):
        picture = io.BytesIO()
        figure: Any = draw(history).figure
        figure.savefig(picture, format=plot.suffix[1:].lower(), dpi=150)
        files.replace(plot, picture.getvalue())
        typer.echo(printable(f"written: {plot}"))
    if history.interrupted or interrupt.is_pressed():
        typer.echo("interrupted: the model is the one after the last step", err=True)
        raise typer.Exit(INTERRUPTED)


@app.command()
def predict(
    model: Trained,
    data: Table,
    out: Annotated[Path | None, typer.Option(help="Write there instead of to standard output.")] = None,
    force: Force = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add a column a class.")] = False,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
) -> None:
    """Predict the rows of a table with a trained model.

    Writes CSV, a row for each. The table needs the columns that the model was trained
    on, in any order; others are left out. A row that a model of --missing drop cannot
    use gets an empty one.

    \b
    fastnn predict iris.safetensors new.csv
    fastnn predict iris.safetensors new.csv --probabilities --out predicted.csv
    cat new.csv | fastnn predict iris.safetensors - | head
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    if out is not None:
        files.check_outputs([out], [model, data], force)
    from fastnn import tables

    loaded = tables.load(model)
    names = [loaded.target.name]
    if probabilities:
        names += [f"probability_{value}" for value in loaded.classes]
    table = _read_table(data, separator, decimal, encoding, no_header)
    columns = [loaded.predict(table).tolist()]
    if probabilities:
        columns += loaded.predict_proba(table).T.tolist()
    empty = sum(value is None or value != value for value in columns[0])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([None if value != value else value for value in row] for row in zip(*columns, strict=True))
    if out is None:
        # To a terminal so that it cannot drive it; otherwise as bytes, which the echo leaves as they are.
        lines = text.getvalue()
        on_terminal = sys.stdout.isatty()
        typer.echo("\n".join(map(printable, lines.split("\n"))) if on_terminal else lines.encode(), nl=False)
    else:
        files.replace(out, text.getvalue().encode())
    if empty:
        typer.echo(f"{empty:,} of {len(columns[0]):,} rows have missing values, and no prediction", err=True)


@app.command()
def evaluate(
    model: Trained,
    data: Table,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
) -> None:
    """Measure how well a trained model predicts a table.

    The table needs the columns that the model was trained on, the target with them.

    \b
    fastnn evaluate iris.safetensors test.csv
    """  # noqa: D301 (a backspace, which keeps lines as they are)
    from fastnn import tables

    loaded = tables.load(model)
    table = _read_table(data, separator, decimal, encoding, no_header)
    X, y = loaded.encode(table)
    left_out = f", {len(table) - len(X):,} with missing values left out" if len(X) < len(table) else ""
    typer.echo(f"{len(X):,} rows{left_out}: {_list_metrics(loaded._measure(X, y))}")


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A safetensors file.")],
) -> None:
    """Show what is in a model's file.

    That is one of fastnn train, or of Network.save or Trainer.save in Python.
    """
    kind, _, _ = files.read(file, "model", "network", "checkpoint")
    typer.echo(printable(f"{file}: a {kind}"))
    if kind == "network":
        typer.echo(fastnn.load(file))
    elif kind == "checkpoint":
        trainer = checkpoint.resume(fastnn.Trainer, file, None)  # functions are not in a file
        typer.echo(trainer.network)
        typer.echo(f"{trainer.n_steps:,} steps, {trainer.gradient}, {trainer.optimizer}")
        typer.echo(trainer.history)
    else:
        from fastnn import tables

        model = tables.load(file)
        for column in model.inputs:
            typer.echo(f"from {printable(column.name)}: {column.describe()}")
        typer.echo(f"to {printable(model.target.name)}: {model.target.describe()}")
        typer.echo(model.network)
        marks = "" if model.na is None else f", which are empty or {', '.join(map(repr, model.na))}"
        typer.echo(f"missing values: {model.missing}{marks}")
        for name, note in model.notes.items():
            text = f"{note:.4g}" if isinstance(note, float) else printable(str(note))
            typer.echo(f"{printable(name):20}  {text}")


@app.command()
def bench() -> None:
    """Time a training step on this machine, by perturbation and by back-propagation.

    The first run compiles; after that it takes seconds. `fastnn demo` races the plain NumPy loop.
    """
    for line in table():
        typer.echo(line)


def _read_table(path: Path, separator: str | None, decimal: str | None, encoding: str | None, no_header: bool) -> Any:
    """Return the table in a file or, for -, in standard input."""
    from fastnn.tables._read import parse

    return parse(
        sys.stdin.buffer.read() if path == STDIN else path.read_bytes(),
        "standard input" if path == STDIN else str(path),
        separator="\t" if separator == r"\t" else separator,
        decimal=decimal,
        encoding=encoding,
        header=not no_header,
    )


def _list_metrics(metrics: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.1%}" if name == "accuracy" else f"{name} {value:.4g}" for name, value in metrics.items()
    )
