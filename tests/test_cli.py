"""The command line: what is typed, printed, written and refused."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._support.interrupt import call_apart
from fastnn.callbacks import Callback

pytest.importorskip("typer")
pandas = pytest.importorskip("pandas")
tables = pytest.importorskip("fastnn.tables", exc_type=ImportError)
cli = pytest.importorskip("fastnn._cli.commands")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys, monkeypatch):
    """Return a function that runs a command line and returns its exit code, output and errors."""

    def run(line, *more, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = cli.main([*line.split(), *more])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fail(call):
    """Return a function that runs a command line that fails, and returns what it says."""

    def run(*line, code=1, **options):
        found, text, errors = call(*line, **options)
        assert (found, text) == (code, "")
        assert errors.count("\n") <= (1 if code == 1 else 4)
        return errors

    return run


@pytest.fixture
def iris():
    """Return a table of flowers, which is also there as iris.csv."""
    data = datasets.load_iris(as_frame=True)
    frame = data.data.set_axis(["sepal length", "sepal width", "petal length", "petal width"], axis=1)
    frame["species"] = data.target_names[data.target]
    frame.to_csv("iris.csv", index=False)
    return frame


TRAIN = "train iris.csv --target species --epochs 2 --hidden 3"


def test_classes(call, iris):
    code, text, errors = call("train iris.csv --target species --hidden 8 --out iris.st --lr 0.01 --gradient backprop")
    assert (code, errors) == (0, "")
    assert "150 rows: 120 to train on, 30 held out\nfrom 4 columns: 'sepal length', " in text
    assert "to species: 'setosa', 'versicolor', 'virginica'\nNetwork: 4 inputs, 67 parameters" in text
    accuracy = re.search(r"validation  loss 0\.\d+  accuracy ([\d.]+)%", text).group(1)
    assert float(accuracy) > 80
    assert text.endswith("written: iris.st\n")

    code, text, errors = call("predict iris.st iris.csv")
    assert (code, errors) == (0, "")
    predicted = pandas.read_csv(io.StringIO(text))
    assert list(predicted) == ["species"]
    assert (predicted["species"] == iris["species"]).mean() > 0.8
    notes = tables.load("iris.st").notes
    assert notes["validation accuracy"] == pytest.approx(float(accuracy) / 100, abs=5e-4)
    assert (notes["rows"], notes["held out"], notes["epochs"]) == (120, 30, 50)

    code, text, errors = call("evaluate iris.st iris.csv")
    assert (code, errors) == (0, "")
    assert re.fullmatch(r"150 rows: loss 0\.\d+  accuracy [\d.]+%\n", text)

    code, text, errors = call("predict iris.st - --probabilities", stdin=Path("iris.csv").read_bytes())
    both = pandas.read_csv(io.StringIO(text))
    shares = both[["probability_setosa", "probability_versicolor", "probability_virginica"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (both["species"] == np.array(["setosa", "versicolor", "virginica"])[shares.argmax(axis=1)]).all()


def test_numbers_from_parquet_with_categories(call):
    frame = datasets.load_diabetes(as_frame=True, scaled=False).frame
    frame["sex"] = np.where(frame["sex"] == 1, "m", "f")
    frame["id"] = [f"patient {k}" for k in range(len(frame))]
    frame.to_parquet("diabetes.parquet")
    line = "train diabetes.parquet --target target --out model --drop id --hidden 8,4 --dtype float32 --optimizer sgd"
    line += " --lr 0.03 --epochs 10"
    code, text, errors = call(line)
    assert (code, errors) == (0, "")
    assert "to target: 15" in text
    assert "Network: 11 inputs, 137 parameters, float32" in text
    r2, rmse = map(float, re.search(r"validation .* R2 ([\d.]+)  RMSE ([\d.]+)", text).groups())
    assert 0.2 < r2 < 1
    assert 40 < rmse < 70  # the target's deviation is 77

    # In any order, without the target, with columns that nobody asked for.
    others = frame.drop(columns="target").iloc[:, ::-1].assign(more=1)
    others.to_parquet("others.parquet")
    assert call("predict model others.parquet --out predicted.csv") == (0, "", "")
    predicted = pandas.read_csv("predicted.csv")["target"]
    errors = predicted - frame["target"]
    rmse = np.sqrt((errors**2).mean())
    assert rmse < 77
    found = re.search(r"442 rows: loss [\d.]+  R2 [\d.]+  RMSE ([\d.]+)\n", call("evaluate model diabetes.parquet")[1])
    assert float(found.group(1)) == pytest.approx(rmse, rel=1e-3)


def test_the_same_seed_gives_the_same_weights(call, iris):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert call(f"{TRAIN} --out {name} --seed {seed}")[0] == 0
    weights = [fastnn.load(name)._theta.tobytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_what_is_asked_for_is_done(call, iris):
    options = "--gradient perturbation --eps 0.01 --optimizer sgd --lr 0.5 --batch-size 7 --activation relu"
    assert call(f"{TRAIN} {options} --validation 0.1")[0] == 0
    model = tables.load("model.safetensors")
    assert model.network.layers[0] == fastnn.Dense(3, "relu")
    assert model.notes["gradient"] == str(fastnn.Perturbation(0.01))
    assert model.notes["optimiser"] == str(fastnn.SGD(0.5))
    assert (model.notes["batch size"], model.notes["held out"]) == (7, 15)


def test_nothing_held_out_and_nothing_hidden(call, iris):
    code, text, _ = call("train iris.csv --target species --epochs 1 --hidden none --validation 0")
    assert code == 0
    assert "150 rows: 150 to train on, 0 held out" in text
    assert "validation" not in text
    assert len(fastnn.load("model.safetensors").layers) == 1


def test_the_task_may_be_said(call):
    pandas.DataFrame({"x": range(40), "y": [0, 1] * 20}).to_csv("data.csv", index=False)
    for task, output in (("auto", "softmax"), ("classes", "softmax"), ("numbers", "identity")):
        line = f"train data.csv --target y --epochs 1 --force --task {task}"
        assert call(line)[0] == 0
        assert fastnn.load("model.safetensors").layers[-1].activation == output


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
def test_separators_and_piped_data(call, iris, separator):
    content = iris.to_csv(index=False, sep=separator).encode()
    code, text, _ = call("train - --target species --epochs 1", stdin=content)
    assert code == 0
    assert "from 4 columns" in text


def test_a_picture(call, iris):
    pytest.importorskip("matplotlib")
    code, text, _ = call(f"{TRAIN} --plot history.png")
    assert code == 0
    assert text.endswith("written: model.safetensors\nwritten: history.png\n")
    assert Path("history.png").read_bytes().startswith(b"\x89PNG")
    assert "history.png is there already" in call(f"{TRAIN} --out other --plot history.png")[2]
    assert sorted(os.listdir()) == ["history.png", "iris.csv", "model.safetensors"]


def test_no_matplotlib(fail, iris, hide):
    hide("matplotlib", "fastnn.plot")
    assert fail(f"{TRAIN} --plot history.png").startswith(
        "Error: fastnn.plot needs matplotlib: pip install matplotlib, "
    )


def test_nothing_is_overwritten_unasked(call, fail, iris):
    for line, name in ((TRAIN, "model.safetensors"), ("predict model.safetensors iris.csv --out new.csv", "new.csv")):
        assert call(line)[0] == 0
        before = Path(name).read_bytes()
        assert fail(line) == f"Error: {name} is there already; --force replaces it\n"
        assert Path(name).read_bytes() == before
        Path(name).write_bytes(b"old" + before)
        assert call(f"{line} --force")[0] == 0
        assert len(Path(name).read_bytes()) == len(before)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("none/model", "there is no folder"),
        ("iris.csv/model", "Not a directory"),
        (".", "it is no file that could be replaced"),
        ("/dev/null", "it is no file that could be replaced"),
        ("loop", "Too many levels of symbolic links"),
        ("loop/model", "Too many levels of symbolic links"),
        ("dangling", "there is no folder"),
        ("n" * 256, "File name too long"),
    ],
)
def test_where_nothing_can_be_written(fail, iris, out, message):
    Path("loop").symlink_to("pool")
    Path("pool").symlink_to("loop")
    Path("dangling").symlink_to("nowhere/model")
    before = sorted(os.listdir())
    for line in (TRAIN, "predict none iris.csv"):
        errors = fail(f"{line} --force --out {out}")
        assert errors.startswith(f"Error: {out} cannot be written: {message}")
    assert sorted(os.listdir()) == before


def test_a_folder_that_is_not_yours(fail, iris, monkeypatch):
    real = Path.open

    def refuse(path, mode="r", **options):  # root may write everywhere
        if "x" in mode:
            raise PermissionError(13, "Permission denied")
        return real(path, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert fail(TRAIN) == "Error: model.safetensors cannot be written: Permission denied\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--out a.png --plot a.png", "a.png and a.png are one file: write to two"),
        ("--out a.png --plot ./a.png", "a.png and a.png are one file"),
        ("--out new.png --plot NEW.PNG", "NEW.PNG and new.png are one file"),
        ("--out link --plot a.png", "a.png and link are one file"),
        ("--out hard --plot a.png", "a.png and hard are one file"),
        ("--out pending --plot none.png", "none.png and pending are one file"),
        ("--out iris.csv", "iris.csv and iris.csv, which is read, are one file: write to another"),
        ("--out copy.csv", "copy.csv and iris.csv, which is read"),
        ("--plot iris.png", "iris.png and iris.csv, which is read"),
    ],
)
def test_files_that_are_one(fail, iris, line, message):
    pytest.importorskip("matplotlib")
    Path("a.png").write_bytes(b"old")
    Path("link").symlink_to("a.png")
    os.link("a.png", "hard")
    Path("pending").symlink_to("none.png")
    os.link("iris.csv", "copy.csv")
    Path("iris.png").symlink_to("copy.csv")
    assert message in fail(f"{TRAIN} {line} --force")
    fail(f"{TRAIN} {line}")
    assert Path("a.png").read_bytes() == b"old"
    assert Path("iris.csv").read_text().startswith("sepal")


def test_files_that_are_two(call, iris):
    pytest.importorskip("matplotlib")
    Path("sub").mkdir()
    Path("a.png").write_bytes(b"old")
    for line in ("--out sub/a.png --plot A.png", "--out sub/b.png --plot b.png"):
        assert call(f"{TRAIN} {line}")[0] == 0
    assert Path("a.png").read_bytes() == b"old"


def test_what_is_read_is_not_written(call, fail, iris):
    assert call(TRAIN)[0] == 0
    before = Path("model.safetensors").read_bytes()
    for name in ("iris.csv", "model.safetensors"):
        assert f"{name} and {name}, which is read" in fail(f"predict model.safetensors iris.csv --out {name} --force")
    assert Path("model.safetensors").read_bytes() == before


def test_a_full_disk(call, iris, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr("fastnn._support.files.replace", refuse)
    code, _, errors = call(TRAIN)
    assert (code, errors) == (1, "Error: model.safetensors: No space left on device\n")


def spoil(frame, row, column, value):
    frame = frame.astype({column: object})
    frame.loc[row, column] = value
    return frame


TABLES = {
    "empty": (lambda frame: b"", "data is empty"),
    "no rows": (lambda frame: frame[:0], "the table has no rows"),
    "one row": (lambda frame: frame[:1].assign(species=1), "data has 1 rows that can be used, too few to hold"),
    "noise": (
        lambda frame: b"\xff\xca" * 99,
        "data is no text in utf-8: line 1 has other bytes. Say in what it is, such",
    ),
    "cut": (lambda frame: b"PAR1" * 9, "data is no table, CSV or Parquet: "),
    "long row": (
        lambda frame: b"a,species\n1,2\n1,2,3\n",
        "data is no table: row 2 has 3 values, and the first line 2",
    ),
    "long rows": (lambda frame: b"a,species\n1,2,3\n", "data is no table: row 1 has 3 values, and the first line 2"),
    "quote": (lambda frame: b'a,species\n"1,2', "its quotation marks do not match"),
    "row numbers": (lambda frame: frame.reset_index(names=""), "leave it out with --drop 'Unnamed: 0'"),
    "missing": (
        lambda frame: spoil(frame, 3, "petal width", None),
        "missing in column 'petal width' (1 of 150), first in row 4",
    ),
    "slip": (
        lambda frame: spoil(frame, 3, "petal width", "n.a."),
        "'petal width' has 'n.a.' in row 4, and numbers elsewhere: mend it, if it is a missing value, say --na n.a., ",
    ),
    "infinity": (
        lambda frame: spoil(frame, 3, "petal width", "inf"),
        "has 'inf' in row 4, which is infinity: write plain numbers, leave it out with --drop 'petal width', ",
    ),
    "names": (
        lambda frame: frame.assign(name=[f"flower {k}" for k in range(150)]),
        "'name' has 150 different texts in 150 rows, as ids and names have: leave it out with --drop name, or take",
    ),
    "no target": (
        lambda frame: frame.rename(columns={"species": "Species"}),
        "target must be one of 'sepal length', 'sepal width', 'petal length', 'petal width', 'Species', "
        "got 'species'; did you mean 'Species'?",
    ),
    "only the target": (
        lambda frame: frame[["species"]],
        "data needs the target 'species' and at least one more column",
    ),
    "one class": (lambda frame: frame[:50], "every row of 'species' is 'setosa': there is nothing to learn"),
    "a rare class": (lambda frame: frame[:51], "class 'versicolor' of 'species' has one row, and needs two at least"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_cannot_be_trained_on(fail, iris, case):
    make, message = TABLES[case]
    table = make(iris)
    if not isinstance(table, bytes):
        table = table.to_csv(index=False).encode()
    Path("data").write_bytes(table)
    assert message in fail("train data --target species")
    assert message.replace("data", "standard input") in fail("train - --target species", stdin=table)
    assert not Path("model.safetensors").exists()


def test_columns_of_the_same_name(fail, iris):
    """Or t.1 would be an input that says what t is."""
    Path("data").write_text("a,b,t,t\n" + "1,2,x,x\n2,3,y,y\n" * 20)
    assert "data has columns of the same name: 't'" in fail("train data --target t")


def test_columns_to_drop(fail, iris):
    assert "drop must be one of 'sepal length'" in fail(f"{TRAIN} --drop sepal")
    assert "iris.csv needs the target 'species'" in fail(f"{TRAIN} --drop species")


def test_files_that_are_not_there(fail, iris):
    assert fail("train none.csv --target y") == "Error: none.csv: No such file or directory\n"
    assert fail("train . --target y") == "Error: .: Is a directory\n"
    assert fail("predict none iris.csv") == "Error: none: No such file or directory\n"
    assert fail("info .") == "Error: . is not a regular file\n"
    assert "iris.csv is damaged, or no safetensors file" in fail("predict iris.csv iris.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--hidden 3,x", "'3,x' is not a list of sizes such as 64,32, nor none"),
        ("--hidden 3,0", "'3,0' is not a list of sizes"),
        ("--epochs 0", "--epochs"),
        ("--validation 0.6", "--validation"),
        ("--activation swish", "'swish' is not one of"),
        ("--plot history.jpg", "history.jpg must end in one of .png .pdf .svg"),
        ("--colour", "--colour"),
    ],
)
def test_wrong_usage(fail, iris, options, message):
    errors = fail(f"train iris.csv --target species {options}", code=2)
    assert errors.startswith("Usage: fastnn train [OPTIONS]")
    assert message in errors


@pytest.mark.parametrize("options", ["--eps 0", "--eps nan", "--lr -1", "--optimizer sgd --lr inf"])
def test_numbers_out_of_range(fail, iris, options):
    assert "must be a finite number" in fail(f"{TRAIN} {options}")


def test_divergence(call, iris):
    code, _, errors = call("train iris.csv", "--target", "petal width", "--optimizer", "sgd", "--lr", "1e300")
    assert code == 1
    assert errors.startswith("Error: the loss is not finite at epoch 1")
    assert os.listdir() == ["iris.csv"]


def test_new_tables_that_do_not_fit(call, fail, iris):
    assert call("train iris.csv --drop species --epochs 1 --target", "petal width")[0] == 0
    iris.drop(columns="sepal width").to_csv("new.csv", index=False)
    assert "lacks column that the model needs: 'sepal width'; it has" in fail("predict model.safetensors new.csv")
    spoil(iris, 7, "sepal width", "wide").to_csv("new.csv", index=False)
    message = "column 'sepal width' has 'wide' in row 8, which is no number"
    assert message in fail("predict model.safetensors new.csv")
    assert "the model predicts numbers, 'petal width', which have no classes" in fail(
        "predict model.safetensors new.csv --probabilities"
    )


def test_info(call, iris):
    assert call(TRAIN)[0] == 0
    code, text, errors = call("info model.safetensors")
    assert (code, errors) == (0, "")
    assert text.startswith("model.safetensors: a model\nfrom sepal length: 5.8")
    assert "to species: 'setosa', 'versicolor', 'virginica'\nNetwork: 4 inputs, 27 parameters" in text
    assert re.search(r"rows +120\n", text)
    assert re.search(r"validation accuracy +0\.\d", text)

    network = fastnn.load("model.safetensors")
    network.save("network")
    assert call("info network") == (0, f"network: a network\n{network!r}\n", "")
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy")
    trainer.fit(np.ones((3, 4)), [0, 1, 2])
    trainer.save("run")
    code, text, _ = call("info run")
    assert text.startswith(f"run: a checkpoint\n{network!r}\n1 steps, Perturbation(")
    assert "History: 1 epoch in" in text


def test_info_of_a_run_with_a_metric_of_ones_own(call, fail):
    def bias(y_true, y_pred):
        return float((y_pred - y_true).mean())

    trainer = fastnn.Trainer(fastnn.mlp(2, 1, output="identity", seed=0), metrics=[bias, "r2"])
    data = np.ones((3, 2)), np.ones(3)
    trainer.fit(*data, validation_data=data)
    trainer.save("run")
    code, text, errors = call("info run")
    assert (code, errors) == (0, "")
    assert text.endswith(f"\n{trainer.history!r}\n")
    assert "validation bias" in text


def test_a_file_does_not_drive_the_terminal(call, iris):
    frame = iris.rename(columns={"petal width": "\x1b[31mred"})
    frame.to_csv("iris.csv", index=False)
    assert call(f"{TRAIN}")[0] == 0
    for line in ("info model.safetensors", f"{TRAIN} --force"):
        assert "\x1b" not in call(line)[1]


HOSTILE = ["\x1b[31mred", "=1+1", "\u202egnp.exe"]


def test_names_of_classes_are_data_but_on_a_terminal(call, iris, monkeypatch):
    iris["species"] = np.repeat(HOSTILE, 50)
    iris.rename(columns={"species": "\x07kind"}).to_csv("iris.csv", index=False)
    assert call("train iris.csv --epochs 1 --hidden none --target", "\x07kind")[0] == 0
    line = "predict model.safetensors iris.csv --probabilities"
    assert call(f"{line} --out new.csv")[0] == 0
    code, text, _ = call(line)  # into a pipe or a file
    assert (code, text) == (0, Path("new.csv").read_text())
    assert text.startswith("\x07kind,probability_\x1b[31mred,probability_=1+1,probability_\u202egnp.exe\n")
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda _: True)
    code, shown, _ = call(line)
    assert code == 0
    assert shown.replace("\n", "").isprintable()
    assert shown.startswith("\\x07kind,probability_\\x1b[31mred,probability_=1+1,probability_\\u202egnp.exe\n")
    assert shown.count("\n") == text.count("\n")


def test_names_of_files_do_not_drive_the_terminal(call, fail, iris):
    name = "\x1b[31m\u202efile"
    assert call("train iris.csv --target species --epochs 1 --out", name)[1].endswith("written: \\x1b[31m\\u202efile\n")
    assert call("info", name)[1].startswith("\\x1b[31m\\u202efile: a model\n")
    Path(name).write_bytes(b"")
    for line in (["info", name], ["info", f"{name}s"], ["predict", name, "iris.csv"], [*TRAIN.split(), "--out", name]):
        assert "\\x1b[31m\\u202efile" in fail("", *line)
    errors = fail("", *TRAIN.split(), "--plot", name, code=2)
    assert "\\x1b[31m\\u202efile must end" in errors.replace("\n", " ")


class CtrlC(Callback):
    """Press Ctrl-C after a few epochs, or before the first one."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_fit_begin(self, trainer, n_steps):
        if self.epoch == 0:
            raise KeyboardInterrupt

    def on_epoch_end(self, trainer, metrics):
        if metrics["epoch"] == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [0, 3])
def test_ctrl_c_keeps_the_model_so_far(call, iris, monkeypatch, epoch):
    fit = fastnn.Trainer.fit
    monkeypatch.setattr(fastnn.Trainer, "fit", lambda *a, **k: fit(*a, **{**k, "callbacks": [CtrlC(epoch)]}))
    code, text, errors = call("train iris.csv --target species --epochs 100000 --hidden 3")
    assert code == 130
    if epoch:
        assert errors == "interrupted: the model is the one after the last step\n"
        assert "written: model.safetensors" in text
        assert tables.load("model.safetensors").notes["epochs"] == 3
    else:
        assert errors == "interrupted before the first step: nothing is written\n"
        assert os.listdir() == ["iris.csv"]


@pytest.mark.parametrize("where", ["fit", "_measure", "write"])
def test_ctrl_c_pressed_twice_keeps_the_model(call, iris, monkeypatch, where):
    """Again in the fit, while the model is measured, or while it is written."""

    def press(*_, **__):
        signal.raise_signal(signal.SIGINT)

    class Press(Callback):
        def on_epoch_end(self, trainer, metrics):
            if metrics["epoch"] == 3:
                press()
                if where == "fit":
                    press()

    fit = fastnn.Trainer.fit
    monkeypatch.setattr(fastnn.Trainer, "fit", lambda *a, **k: fit(*a, **{**k, "callbacks": [Press()]}))
    if where != "fit":
        owner, name = (tables.Model, where) if where == "_measure" else (fastnn._support.files, "write")
        real = getattr(owner, name)

        def and_press(*arguments):
            press()
            return real(*arguments)

        monkeypatch.setattr(owner, name, and_press)
    code, _, errors = call("train iris.csv --target species --epochs 9 --hidden 3")
    assert code == 130
    assert errors == "interrupted: the model is the one after the last step\n"
    assert tables.load("model.safetensors").notes["epochs"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_a_model_is_measured(iris, monkeypatch):
    """What takes long is left, and the model comes back."""
    real = tables.Model._measure

    def measure(*arguments):
        signal.raise_signal(signal.SIGINT)
        return call_apart(lambda: real(*arguments))

    monkeypatch.setattr(tables.Model, "_measure", measure)
    model, history, measured = tables.train(iris, "species", epochs=2, hidden=3)
    assert len(history) == 2
    assert history.interrupted
    assert measured == {}
    assert len(model.predict(iris)) == 150


def wards(n=60):
    """Return a table with codes, decimal commas and classes of digits."""
    lines = [f"{['1', '01', 'ICU'][k % 3]};{k / 4};0{1 + k % 2}\n".replace(".", ",") for k in range(n)]
    return "ward;age;kind\n" + "".join(lines)


def test_what_is_text_stays_text(call, fail):
    Path("wards.csv").write_text(wards())
    code, text, errors = call("train wards.csv --target kind --epochs 2 --hidden 3")
    assert (code, errors) == (0, "")
    assert "from 2 columns: 'ward', 'age'\nto kind: '01', '02'\nNetwork: 4 inputs" in text
    one = call("predict model.safetensors - --probabilities", stdin=b"ward,age\n01,30\n")[1].splitlines()
    two = call("predict model.safetensors - --probabilities", stdin=b"ward,age\n01,30\nICU,30\n")[1].splitlines()
    assert one[0] == "kind,probability_01,probability_02"
    assert one[1].split(",")[0] == two[1].split(",")[0] == "02"
    if not JIT_DISABLED:  # in plain Python, last bits depend on the rows beside
        assert one == two[:2]
    assert fail("predict model.safetensors -", stdin=b"ward,age\n001,30\n") == (
        "Error: column 'ward' has '001' in row 1, and the model knows '01', '1', 'ICU': leave such rows out, or train "
        "with some\n"
    )


def test_how_text_is_read_can_be_said(call, fail):
    Path("wards.txt").write_bytes(wards().replace(";", ":").replace("ICU", "Säle").encode("cp1252"))
    options = r"--separator : --decimal , --encoding cp1252"
    code, text, _ = call(f"train wards.txt --target kind --epochs 1 --hidden 3 {options}")
    assert code == 0
    assert "from 2 columns" in text
    assert call(f"evaluate model.safetensors wards.txt {options}")[1].startswith("60 rows: loss")
    code, text, _ = call(f"predict model.safetensors wards.txt {options}")
    assert (code, len(text.splitlines())) == (0, 61)
    tabs = wards().replace(";", "\t").replace("ICU", "Säle").encode()
    assert call(r"evaluate model.safetensors - --decimal , --separator \t", stdin=tabs)[0] == 0
    assert "say --decimal , if so" in fail("evaluate model.safetensors -", stdin=tabs)
    assert "no text in utf-8: line 4 has other bytes. Say in what it is, such as --encoding cp1252" in fail(
        "evaluate model.safetensors wards.txt"
    )


def test_a_file_without_names(call, fail):
    body = "".join(f"{k / 8},{k % 5},{'xy'[k % 2]}\n" for k in range(40))
    Path("data.csv").write_text(body)
    assert fail("train data.csv --target 3") == (
        "Error: data.csv has no names of columns: its first line is '0.0, 0, x'. Put names there, or say --no-header "
        "and call the columns 1, 2, ...\n"
    )
    code, text, _ = call("train data.csv --target 3 --no-header --epochs 1 --hidden 3")
    assert code == 0
    assert "40 rows: 32 to train on, 8 held out\nfrom 2 columns: '1', '2'\nto 3: 'x', 'y'" in text
    for command in ("evaluate", "predict"):
        assert call(f"{command} model.safetensors data.csv --no-header")[0] == 0


def test_missing_values(call, fail):
    lines = [f"{'NA' if k % 9 == 4 else k},{'?' if k % 7 == 3 else 'ab'[k % 2]},{'xy'[k % 2]}\n" for k in range(60)]
    Path("data.csv").write_text("size,kind,t\n" + "".join(lines))
    train = "train data.csv --target t --epochs 1 --hidden 3 --force"
    assert fail(train) == (
        "Error: values are missing in column 'size' (7 of 60), first in row 5: leave such rows out, or train with "
        "--missing fill or --missing drop\n"
    )
    code, text, _ = call(f"{train} --missing fill --na NA --na ?")
    assert code == 0
    assert "60 rows: 48 to train on, 12 held out\nfilled: 'size' in 7 rows, 'kind' in 9 rows\n" in text
    code, text, errors = call("predict model.safetensors data.csv")
    assert (code, errors, len(text.splitlines())) == (0, "", 61)
    text = call("info model.safetensors")[1]
    assert "from kind: 'a', 'b', a missing one as '" in text
    assert "missing values: fill, which are empty or 'NA', '?'" in text

    code, text, _ = call(f"{train} --missing drop")
    assert code == 0
    assert "53 rows: 43 to train on, 10 held out\nleft out for missing values: 7\n" in text
    code, text, errors = call("predict model.safetensors data.csv --probabilities")
    assert (code, errors) == (0, "7 of 60 rows have missing values, and no prediction\n")
    assert text.splitlines()[5] == ",,"
    assert text.splitlines()[6][:2] in ("x,", "y,")
    assert call("evaluate model.safetensors data.csv")[1].startswith("53 rows, 7 with missing values left out: loss")
    code, text, _ = call(f"{train} --missing drop --task numbers --drop kind --target size")
    assert code == 0
    code, text, errors = call("predict model.safetensors -", stdin=b"t\nx\n\ny\n")
    assert (text.splitlines()[2], errors) == ('""', "1 of 3 rows have missing values, and no prediction\n")


def test_columns_to_take_as_they_are(call, fail):
    lines = [f"{k % 5} kg,{'xy'[k % 2]}\n" for k in range(40)]
    Path("data.csv").write_text("size,t\n" + "".join(lines))
    assert fail("train data.csv --target t") == (
        "Error: column 'size' has '0 kg' in row 1, which is a number with its unit: write plain numbers, "
        "leave it out with --drop size, or take it as it is with --category size\n"
    )
    assert call("train data.csv --target t --category size --epochs 1 --hidden 3")[0] == 0


@pytest.mark.parametrize("compress", ["gzip", "bz2", "lzma"])
def test_compressed_tables(call, iris, compress):
    import importlib

    content = importlib.import_module(compress).compress(Path("iris.csv").read_bytes())
    Path("data").write_bytes(content)
    assert call("train data --target species --epochs 1")[0] == 0


def test_spreadsheets_are_refused(fail):
    Path("data.xlsx").write_bytes(b"PK\3\4...xl/workbook.xml...")
    message = "Error: data.xlsx is a spreadsheet: save the sheet as CSV (UTF-8) there\n"
    assert fail("train data.xlsx --target species") == message


def test_warnings_are_for_users(call, iris, monkeypatch):
    """What is only for programmers is not shown."""
    import warnings

    fit = fastnn.Trainer.fit

    def warn(*arguments, **options):
        warnings.warn("an old spelling", FutureWarning, stacklevel=1)
        warnings.warn("try a smaller eps\x1b[31m", stacklevel=1)
        return fit(*arguments, **options)

    monkeypatch.setattr(fastnn.Trainer, "fit", warn)
    monkeypatch.setattr("fastnn._support.validate.LARGE", 0)
    code, _, errors = call(f"{TRAIN} --dtype float32")
    assert (code, errors) == (0, "Warning: try a smaller eps\\x1b[31m\n")
    assert call("predict model.safetensors iris.csv")[2] == ""


def test_ctrl_c_elsewhere(call, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.csv.read_csv", interrupt)
    Path("data.csv").write_text("a,b\n1,2\n")
    assert call("train data.csv --target a")[0] == 130


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(iris):
    line = [sys.executable, "-m", "fastnn", "train", "iris.csv", "--target", "species", "--epochs", "100000000"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for text in process.stdout:
        if "Dense(3" in text:
            break
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "written: model.safetensors" in text or "before the first step" in errors


def test_a_reader_that_goes_away(call, iris):
    assert call(TRAIN)[0] == 0
    program = f"{sys.executable} -m fastnn predict model.safetensors iris.csv"
    pandas.concat([iris] * 1000).to_csv("iris.csv", index=False)  # more than a pipe holds
    done = subprocess.run(f"{program} | head -n 1", shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("species\n", "")


def test_without_safetensors(fail, iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    assert "needs safetensors: pip install safetensors" in fail(TRAIN)  # before it trains


def test_a_module_that_no_extra_has(fail, iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.plot", None)
    assert fail(f"{TRAIN} --plot history.png").startswith("Error: import of fastnn.plot halted")


def test_out_of_memory(fail, iris, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr("pyarrow.csv.read_csv", refuse)
    assert fail(TRAIN) == "Error: out of memory\n"


def test_the_version(call):
    assert call("--version") == (0, f"fastnn {fastnn.__version__}\n", "")


@pytest.mark.parametrize("command", ["demo", "train", "predict", "evaluate", "info", "bench"])
def test_help_of_each_command(call, command):
    code, text, errors = call(f"{command} --help")
    assert (code, errors) == (0, "")
    assert text.startswith(f"Usage: fastnn {command} [OPTIONS]")
    assert command in call("--help")[1]
    assert call(f"{command} -h")[1] == text


def test_bench_prints_what_is_measured(call, monkeypatch):
    monkeypatch.setattr("fastnn._cli.commands.table", lambda: iter(["one", "two"]))
    assert call("bench") == (0, "one\ntwo\n", "")


@pytest.mark.parametrize("line", [f"{TRAIN} --activation linear", "demo --data x"])
def test_a_choice_that_there_is_not(fail, iris, line):
    """In the words of the terminal, not of the library that looks."""
    message = fail(line, code=2)
    assert "Value error" not in message
    assert "is not one of 'identity'" in message or "is not one of 'digits', 'mnist'" in message
