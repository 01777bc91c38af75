"""A sweep's model as a file: it runs where this project is not, and computes what the trained model does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import models
import tuning
from tests import by_hand
from tests.conftest import REPOSITORY
from tuning.cli import main
from tuning.export import onnx_file
from tuning.export.program import BATCHES, trace
from tuning.references import load_callable

MODELS = pytest.mark.parametrize("model", models.CATALOG)

STRANGER = """
import sys
sys.path = [path for path in sys.path if path != {repository!r}]
for project in ("tuning", "models"):
    try:
        __import__(project)
    except ModuleNotFoundError:
        continue
    sys.exit(project + " can be imported")
import torch
for file in sys.argv[1:]:
    program = torch.export.load(file + ".pt2").module()
    batches = torch.load(file + ".in", weights_only=True)
    torch.save([program(*batch) for batch in batches], file + ".out")
"""
"""Runs programs where this project cannot be imported."""

OWN = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else -self.layer(x)

class Noisy(Branching):
    def forward(self, x):
        return nn.functional.dropout(self.layer(x))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(9, 4), nn.Linear(4, 1)
    def forward(self, x):
        return self.layer(self.table(x).mean(dim=1))

class Remembering(nn.Module):
    """Hands on both tensors of an LSTM's state."""
    def __init__(self):
        super().__init__()
        self.rnn, self.layer = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 1)
    def forward(self, x, state=None):
        out, state = self.rnn(x[:, None], state)
        return self.layer(out[:, 0]), state

def points():
    return [TensorDataset(torch.rand(9, 2), torch.rand(9)) for _ in range(3)]

def words():
    return [TensorDataset(torch.randint(0, 9, (9, 5)), torch.rand(9)) for _ in range(3)]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of one sweep per documented model, dropout and batch norm in each, beside their `.pt2`."""
    folder = tmp_path_factory.mktemp("exported")
    for model in models.CATALOG:
        by_hand.sweep(folder, model, fixed={"dropout": 0.2, "bn_momentum": 0.2})
        assert main(["export", model, "--home", str(folder), "--to", str(folder / f"{model}.pt2")]) == 0
    return folder


@pytest.fixture(scope="module")
def elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each program returns, batch by batch, in a process without this project."""
    for model in models.CATALOG:
        batches = [arguments(model, rows_like(folder, model, rows)) for rows in BATCHES]
        torch.save(batches, folder / f"{model}.in")
    files = [str(folder / model) for model in models.CATALOG]
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER.format(repository=str(REPOSITORY)), *files],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        check=True,
        timeout=300,
    )
    return {model: torch.load(folder / f"{model}.out", weights_only=True) for model in models.CATALOG}


@pytest.fixture
def own(home: Path) -> Path:
    """A file of a user's own models and data."""
    file = home / "own.py"
    file.parent.mkdir(parents=True)
    file.write_text(OWN)
    return file


def rows_like(home: Path, model: str, rows: int) -> Tensor:
    """Return so many made-up rows as the model of a sweep takes them."""
    shape = tuning.load_best(model, home=str(home)).card["preprocess"]["shape"]
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(100 + rows))


def arguments(model: str, rows: Tensor) -> tuple[Tensor, ...]:
    """Return what a program takes: the RNN's first hidden state beside the rows."""
    return (rows, torch.zeros(1, len(rows), 32)) if model == "rnn" else (rows,)


def eager(home: Path, model: str, rows: Tensor) -> list[Tensor]:
    """Return the trained model's outputs."""
    with torch.no_grad():
        found = tuning.load_best(model, home=str(home)).model(rows)
    return list(found) if isinstance(found, tuple) else [found]


# ---- torch.export ------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("batch", range(len(BATCHES)))
def test_a_program_computes_what_the_model_does_where_this_project_is_not(
    elsewhere: dict[str, list[Any]], folder: Path, model: str, batch: int
) -> None:
    found = elsewhere[model][batch]
    wanted = eager(folder, model, rows_like(folder, model, BATCHES[batch]))
    torch.testing.assert_close(list(found) if isinstance(found, tuple) else [found], wanted)


def test_a_program_follows_a_series_as_the_model_does(folder: Path) -> None:
    model = tuning.load_best("rnn", home=str(folder)).model
    program = torch.export.load(folder / "rnn.pt2").module()
    hidden, state = None, torch.zeros(1, 1, 32)
    for rows in rows_like(folder, "rnn", 3).split(1):
        wanted, hidden = model(rows, hidden)
        found, state = program(rows, state)
        torch.testing.assert_close((found, state), (wanted, hidden))
    assert not torch.equal(model(rows)[0], found), "what came before counts"


def test_a_program_tells_what_it_is_and_nothing_of_this_machine(folder: Path) -> None:
    told = {"card.json": ""}
    torch.export.load(folder / "cnn.pt2", extra_files=told)
    card = json.loads(told["card.json"])
    assert (card["sweep"], card["trial"], card["value"]) == ("cnn", "0", str(by_hand.VALUE))
    assert card["input"].startswith("scaled: (bytes / 255 - ") and json.loads(card["preprocess"])["std"]
    assert str(REPOSITORY).encode() not in (folder / "cnn.pt2").read_bytes()


def test_it_is_said_how_to_use_a_program(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "rnn", "--home", str(folder), "--to", str(tmp_path / "x.pt2")]) == 0
    out, err = capfd.readouterr()
    assert err == "", "torch's own words are not passed on"
    for said in (
        "torch.export.load('",
        "input: float32 (batch, 10, 1), raw",
        "hidden: float32 (1, batch, 32), zeros to begin with",
        "output: float32 (batch, 10, 1)",
        "for 1, 2 and 7 rows",
    ):
        assert said in out


# ---- ONNX --------------------------------------------------------------------------------------


@MODELS
def test_an_onnx_file_computes_what_the_model_does(
    folder: Path, tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    file = tmp_path / "model.onnx"
    assert main(["export", model, "--home", str(folder), "--to", str(file)]) == 0
    out, err = capfd.readouterr()
    assert err == "" and out.count("\n") <= 6, "the exporter's own words are not passed on"
    assert list(tmp_path.iterdir()) == [file], "one file holds the weights too"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]
    assert names == (["input", "hidden"] if model == "rnn" else ["input"])
    assert session.get_inputs()[0].shape[0] == session.get_outputs()[0].shape[0] == "batch"
    assert session.get_outputs()[0].name == "output"
    for rows in BATCHES:
        given = arguments(model, rows_like(folder, model, rows))
        found = session.run(None, {name: one.numpy() for name, one in zip(names, given, strict=True)})
        wanted = eager(folder, model, given[0])
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-3, atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert told["model"] == model and told["input"] and json.loads(told["hyperparameters"])["dropout"] == 0.2
    assert str(REPOSITORY).encode() not in file.read_bytes()


def test_an_onnx_file_that_computes_otherwise_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = onnx_file._session

    def wrong(content: bytes) -> Any:
        return lambda *arguments: [found + 0.01 for found in right(content)(*arguments)]

    monkeypatch.setattr(onnx_file, "_session", wrong)
    assert main(["export", "net", "--home", str(folder), "--to", str(tmp_path / "x.onnx")]) == 1
    assert "for 1 rows its output differs from the trained model's by 0.01" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_that_one_onnx_file_cannot_hold_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1)
    assert main(["export", "net", "--home", str(folder), "--to", str(tmp_path / "x.onnx")]) == 1
    assert "holds at most 2 GB" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---- which file --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "options", "format"),
    [
        ("x.pt", [], "state_dict"),
        ("x", [], "state_dict"),
        ("x.PT2", [], "pt2"),
        ("x.onnx", [], "onnx"),
        ("model.bin", ["--format", "pt2"], "pt2"),
        ("x.onnx", ["--format", "onnx"], "onnx"),
    ],
)
def test_the_format_is_as_the_file_ends_unless_it_is_given(
    folder: Path,
    tmp_path: Path,
    file: str,
    options: list[str],
    format: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    to = tmp_path / file
    assert main(["export", "net", "--home", str(folder), "--to", str(to), "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"sweep": "net", "file": str(to), "format": format}
    assert to.stat().st_size > 0


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("x.onnx", ["--format", "pt2"], "must name the same, but got pt2"),
        ("x.pt2", ["--format", "state_dict"], "leave --format out to write pt2"),
        ("no/where.onnx", [], "there is no "),
        ("best.onxx", [], "--to must end as what it is to hold"),
        (".", [], "is a folder"),
        ("x.pt2", ["--trial", "7"], "has no trial 7"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    folder: Path,
    tmp_path: Path,
    to: str,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "net", "--home", str(folder), "--to", str(tmp_path / to), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---- models of one's own -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Branching", "Noisy"])
@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_a_model_that_is_no_fixed_program_is_told_of_in_one_line(
    own: Path, home: Path, tmp_path: Path, name: str, format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    by_hand.sweep(home, f"{own}:{name}", name="own", data=f"{own}:points")
    to = tmp_path / f"x.{format}"
    assert main(["export", "own", "--to", str(to)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: The model cannot be exported") and err.count("\n") == 1
    assert "must not branch" in err and "--format state_dict" in err
    assert list(tmp_path.glob("*x*")) == []
    assert main(["export", "own", "--to", str(to), "--format", "state_dict"]) == 2, "not under that name"
    assert main(["export", "own", "--to", str(tmp_path / "x.pt")]) == 0


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_a_model_of_numbers_of_words_takes_integers(
    own: Path, home: Path, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand.sweep(home, f"{own}:Words", name="own", data=f"{own}:words")
    assert main(["export", "own", "--to", str(tmp_path / f"x.{format}")]) == 0
    assert "input: int64 (batch, 5)" in capsys.readouterr().out
    best = tuning.load_best("own")
    assert best.model(best.transform([[0, 1, 2, 3, 8]])).shape == (1, 1)


def test_a_model_whose_file_has_moved_is_named_with_the_way_out(
    own: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand.sweep(home, f"{own}:Words", name="own", data=f"{own}:words")
    build = load_callable(f"{own}:Words")
    del sys.modules[build.__module__]
    own.rename(tmp_path / "moved.py")
    assert main(["export", "own", "--to", str(tmp_path / "x.pt")]) == 2
    said = capsys.readouterr().err
    assert f"The sweep 'own' has its model from {own}:Words. There is no file {own}" in said
    assert "load_best(name, model=YourModel)" in said
    assert tuning.load_best("own", model=build).model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 1)


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_a_state_of_two_tensors_goes_in_and_out(
    own: Path, home: Path, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand.sweep(home, f"{own}:Remembering", name="own", data=f"{own}:points")
    assert main(["export", "own", "--to", str(tmp_path / f"x.{format}")]) == 0
    said = capsys.readouterr().out
    assert "hidden_1: float32 (1, batch, 3), zeros" in said and "next_hidden_1: float32 (1, batch, 3)" in said


def test_a_state_that_does_not_begin_with_zeros_is_not_passed_over() -> None:
    class Learnt(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.RNN(2, 3, batch_first=True)

        def forward(self, x: Tensor, state: Tensor | None = None) -> Any:
            return self.rnn(x, torch.ones(1, len(x), 3) if state is None else state)

    with pytest.raises(tuning.SweepError, match="from a hidden state other than zeros"):
        trace(Learnt().eval(), (5, 2), torch.float32)


# ---- where it was trained ----------------------------------------------------------------------


def test_what_was_trained_on_a_gpu_loads_without_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")  # as there
    by_hand.sweep(home, "net")
    monkeypatch.undo()
    file = home / "net/checkpoints/trial-00000.pt"
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(file, weights_only=True)
    loaded = tuning.load_checkpoint(file)
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"cpu"}
    assert main(["export", "net", "--home", str(home), "--to", str(tmp_path / "x.pt2")]) == 0
