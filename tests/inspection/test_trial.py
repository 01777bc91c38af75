"""`tuning inspect`, from the command to the page."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

import models
from tests.inspection import trained
from tests.inspection.trained import Trained
from tuning import data, paths, storage
from tuning.claim import claim
from tuning.cli import main
from tuning.doctor import leftovers
from tuning.engine import solo
from tuning.inspection import fits, layers, subject, trial
from tuning.records import State, TrialSpec
from tuning.study import Study

LAYERS = ["Inputs of the layers", "Pre-activations"]
HEADINGS = {
    "net": ["Prediction against data", *LAYERS],
    "quick_net": ["Prediction against data", *LAYERS],
    "cnn": ["Confusion matrix", "Worst mistakes", *LAYERS],
    "lstm": ["Confusion matrix", "Worst mistakes", *LAYERS],
    "rnn": ["True and predicted series", *LAYERS],
    "overfitting_net": ["Prediction against data", *LAYERS],
    "dropout_net": ["Prediction against data", *LAYERS],
    "batchnorm_net": ["Prediction against data", *LAYERS],
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The small net, with dropout and batch norm."""
    return trained.sweep(
        tmp_path_factory.mktemp("home"), "net", fixed={"dropout": 0.3, "bn_momentum": 0.2, "lr": 0.1}
    )


def inspected(home: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[dict[str, Any], str]:
    """Run the command; return its facts and what it warned of."""
    assert main(["inspect", "demo", "--home", str(home), "--json", *options]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def refused(home: Path, capsys: pytest.CaptureFixture[str], code: int, *options: str) -> str:
    assert main(["inspect", "demo", "--home", str(home), *options]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.mark.parametrize("model", models.CATALOG)
def test_every_documented_model_is_drawn_offline(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MAX_TRAINED_ROWS", 2000)  # all but what reads 4,000 digits
    trained.sweep(tmp_path, model, fixed={"dropout": 0.1, "bn_momentum": 0.2})
    facts, warning = inspected(tmp_path, capsys)
    file = tmp_path / "demo" / "inspect-trial-00000.html"
    assert facts == {"sweep": "demo", "trial": 0, "file": str(file)}
    assert "warning: the page is not in MLflow" in warning
    assert not (tmp_path / "mlflow.db").exists()
    html = file.read_text()
    assert len(html) < 10_000_000
    assert re.findall(r"<h2>(.*?)</h2>", html) == HEADINGS[model]
    found = figures(html)
    assert list(found) == HEADINGS[model] and all(figure["data"] for figure in found.values())
    is_small = model not in ("cnn", "lstm")
    columns = ["start, with batch norm", "start, without", "epoch 1, with batch norm"]
    columns += ["epoch 1, without"] if is_small else []
    for layer in LAYERS:
        assert [text for text in texts(found[layer]) if text.startswith(("start", "epoch"))] == columns
    if "Prediction against data" in found:
        assert set(CURVES) <= names(found["Prediction against data"])
    assert ("trained for this figure for 1 epoch " in html) is is_small
    assert ("at the start only" in html) is not is_small


CURVES = ("training points", "test points", "dropout off", "dropout on", "trained without dropout")


def figures(html: str) -> dict[str, Any]:
    """Return the page's figures by their headings."""
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html)
    return dict(zip(headings, map(json.loads, found), strict=True))


def texts(figure: dict[str, Any]) -> list[str]:
    return [one["text"] for one in figure["layout"].get("annotations", [])]


def names(figure: dict[str, Any]) -> set[str]:
    return {trace.get("name") for trace in figure["data"]}


def test_each_curve_is_that_of_its_own_network(demo: Trained) -> None:
    figure = figures(trial.inspect(demo.sweep).read_text())["Prediction against data"]
    curves = {trace["name"]: torch.tensor(trace["y"]) for trace in figure["data"]}
    found = subject.load(demo.sweep, None)
    other = subject.twin(found, dropout=0.0)
    assert other.trained is not None
    parts = [subject.sample(found.splits, part, 400, 256) for part in ("train", "test")]
    x = fits.grid(x for batches in parts for x, _ in batches)
    with torch.no_grad():
        off, without = (fits.raw_targets(found.splits, model(x)) for model in (found.best, other.trained))
    torch.testing.assert_close(curves["dropout off"], off.flatten(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(curves["trained without dropout"], without.flatten(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(off, without, rtol=1e-2)
    on = curves["dropout on"] - curves["dropout off"]
    assert 0 < on.abs().mean() < 3 * curves["dropout off"].std()


def test_a_trial_without_batch_norm_is_compared_with_one_that_has_it(tmp_path: Path) -> None:
    bare = trained.sweep(tmp_path, "net", fixed={"bn_momentum": None})
    html = trial.inspect(bare.sweep).read_text()
    titles = [
        "start, without batch norm",
        "start, with it",
        "epoch 1, without batch norm",
        "epoch 1, with it",
    ]
    assert texts(figures(html)["Pre-activations"])[:4] == titles
    assert "With batch norm of momentum 0.1: the same trial but for that" in html
    assert "before batch norm" in names(figures(html)["Pre-activations"])


def test_without_batch_norm_is_the_same_trial_but_for_that(demo: Trained) -> None:
    found = subject.load(demo.sweep, None)
    other = subject.twin(found, bn_momentum=None)
    initial = found.initial.state_dict()
    assert all(torch.equal(initial[key], value) for key, value in other.initial.state_dict().items())
    by_hand = TrialSpec(number=0, hyperparameters={**demo.trial.hyperparameters, "bn_momentum": None})
    ((_, state),) = solo.train(by_hand, demo.spec, demo.splits, until=1, device=subject.CPU)
    assert other.trained is not None
    assert all(torch.equal(state.model[key], value) for key, value in other.trained.state_dict().items())


def test_the_start_is_what_the_trial_started_from(demo: Trained) -> None:
    """With a learning rate of nothing it would be there still."""
    still = TrialSpec(number=0, hyperparameters={**demo.trial.hyperparameters, "lr": 0.0})
    ((_, state),) = solo.train(still, demo.spec, demo.splits, until=1, device=subject.CPU)
    initial = subject.load(demo.sweep, None).initial
    assert all(torch.equal(state.model[key], value) for key, value in initial.named_parameters())


def test_a_twin_that_diverges_is_shown_as_far_as_it_came(demo: Trained) -> None:
    found = subject.load(demo.sweep, 0)
    other = subject.twin(found, lr=1e20)
    assert other.diverged == 1
    assert "until its loss diverged, in epoch 1" in subject.described(other, "without batch norm", 1)
    batches = subject.sample(found.splits, "validation", 10, 10)
    column = layers._column("without", found, other.trained, batches)  # type: ignore[arg-type]
    assert not torch.cat(column.layers["predict"].outputs).isfinite().any()


@pytest.mark.parametrize(("split", "rows"), [("validation", 10), ("train", 7)])
def test_a_sample_is_the_same_each_time_and_from_all_over_the_split(split: str, rows: int) -> None:
    splits = data.load("noisy_square", seed=0)
    (first,), (second,) = (subject.sample(splits, split, rows, 100) for _ in range(2))
    every = getattr(splits, split)[:][0]
    assert torch.equal(first[0], second[0]) and len(first[0]) == rows
    assert torch.equal(first[0][-1], every[-1]) and torch.equal(first[0][0], every[0])


# ---- where it goes -----------------------------------------------------------------------------


def test_it_is_written_where_the_user_wants_it(
    demo: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    facts, _ = inspected(demo.home, capsys, "--to", str(file), "--trial", "0")
    assert facts["file"] == str(file) and file.exists()
    assert "there is no" in refused(demo.home, capsys, 2, "--to", str(tmp_path / "no/page.html"))
    assert "is a folder" in refused(demo.home, capsys, 2, "--to", str(tmp_path))


def test_it_is_an_artifact_of_the_trials_run_and_no_litter(
    demo: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{demo.home}/mlflow.db")
    experiment = client.create_experiment("net", artifact_location=str(demo.home / "mlartifacts"))
    tags = {"tuning.sweep_id": trained.ID, "tuning.trial": "0"}
    run = client.create_run(experiment, tags=tags)
    capsys.readouterr()  # of MLflow, which made its tables
    facts, warning = inspected(demo.home, capsys)
    assert "warning" not in warning
    name = "inspect-trial-00000.html"
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == [name]
    held = Path(client.download_artifacts(run.info.run_id, name)).read_bytes()
    assert held == Path(facts["file"]).read_bytes()
    assert leftovers.look(demo.sweep) == []


def test_it_reaches_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str], mlflow_server: str) -> None:
    trained.sweep(tmp_path, "net", tracking_uri=mlflow_server)
    client = mlflow.MlflowClient(mlflow_server)
    found = client.get_experiment_by_name("net")
    experiment = found.experiment_id if found else client.create_experiment("net")
    tags = {"tuning.sweep_id": trained.ID, "tuning.trial": "0"}
    run = client.create_run(experiment, tags=tags)
    _, warning = inspected(tmp_path, capsys)
    assert "warning" not in warning
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["inspect-trial-00000.html"]


def test_it_is_there_also_where_mlflow_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained.sweep(tmp_path, "net")
    (tmp_path / "mlflow.db").write_text("no database")
    facts, warning = inspected(tmp_path, capsys)
    assert Path(facts["file"]).exists()
    assert "warning: the page is not in MLflow" in warning


# ---- what cannot be drawn ----------------------------------------------------------------------


def test_a_trial_without_a_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained.sweep(tmp_path, "net", state=State.FAILED)
    assert "no trial with a result" in refused(tmp_path, capsys, 1)
    said = refused(tmp_path, capsys, 1, "--trial", "0")
    assert "trial 0, which is failed, has none" in said and "--trial" in said
    assert "no trial 3" in refused(tmp_path, capsys, 2, "--trial", "3")


def test_of_a_trial_that_failed_it_is_shown_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = trained.sweep(tmp_path, "net", state=State.RUNNING)
    cause = "Traceback (most recent call last):\n  File 'mine.py', line 7\nValueError: mine"
    Study(begun.spec, begun.sweep.paths.journal, write=True).tell(0, State.FAILED, cause)
    facts, _ = inspected(tmp_path, capsys, "--trial", "0")
    assert facts == {"sweep": "demo", "trial": 0, "file": None, "cause": cause}
    assert main(["inspect", "demo", "--home", str(tmp_path), "--trial", "0"]) == 0
    assert capsys.readouterr().out == f"trial 0 has no checkpoint to draw; why it went wrong:\n{cause}\n"
    storage.write(paths.checkpoint_file(begun.sweep.folder, 0), b"torn")
    assert "must have a checkpoint" in refused(tmp_path, capsys, 1, "--trial", "0"), "which is another matter"


def test_a_trial_that_runs_is_refused_until_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = trained.sweep(tmp_path, "net", state=State.RUNNING)
    with claim(running.sweep.paths.claim, "demo"):
        said = refused(tmp_path, capsys, 1, "--trial", "0")
    assert "trial 0, which is running, has none: it gets one when it ends" in said


def test_data_that_has_changed_is_refused(
    demo: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(demo.splits, fingerprint="0" * 64)
    monkeypatch.setattr(subject, "load_data", lambda name, seed: changed)
    assert "its fingerprint differs" in refused(demo.home, capsys, 1)


# ---- models of one's own -----------------------------------------------------------------------

OWN = """
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

class Words(nn.Module):
    def __init__(self, bn_momentum: float = 0.1):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.read = nn.GRU(4, 5, batch_first=True)
        self.norm = nn.BatchNorm1d(5, momentum=bn_momentum)
        self.out = nn.Linear(5, 400)
    def forward(self, x):
        return self.out(self.norm(self.read(self.embed(x))[1][0]))

def words(seed: int):
    x = torch.arange(1200).view(400, 3) % 9
    return (TensorDataset(x, torch.arange(400)),) * 3

class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
    def forward(self, x):
        return x.mean((1, 2, 3)).outer(torch.arange(5.0)) * self.scale

def photographs():
    x = torch.arange(12 * 3 * 300 * 200).view(12, 3, 300, 200) % 251
    return (TensorDataset(x.byte(), torch.arange(12) % 2),) * 3

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1)
    def forward(self, x):
        return self.net(x).squeeze(1), None

def line():
    x = torch.linspace(-1, 1, 30).unsqueeze(1)
    return (TensorDataset(x, x[:, 0]),) * 3

class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
    def forward(self, x):
        return self.net(x)

def sums():
    x = torch.arange(90.0).view(30, 3) / 90
    return (TensorDataset(x, x[:, :2] + 1),) * 3
"""


@pytest.mark.filterwarnings("ignore:Using a target size")  # what Flat's author overlooked
@pytest.mark.parametrize(
    ("model", "source", "headings", "text"),
    [
        ("Words", "words", ["Confusion matrix", *LAYERS], "24 of 400 classes with the most mistakes"),
        ("Bare", "photographs", ["Confusion matrix", "Worst mistakes", "Layers"], "calls no linear"),
        ("Flat", "line", ["Prediction against data", *LAYERS], "30 training and 30 test points"),
        ("Sums", "sums", ["Prediction against truth", *LAYERS], "30 examples"),
    ],
)
def test_a_model_of_ones_own_is_drawn_as_far_as_it_can_be(
    tmp_path: Path, model: str, source: str, headings: list[str], text: str
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    home = tmp_path / "home"
    found = trained.sweep(home, f"{tmp_path}/own.py:{model}", data=f"{tmp_path}/own.py:{source}")
    written = trial.inspect(found.sweep)
    assert written == paths.SweepPaths(home, "demo").inspection(0)
    html = written.read_text()
    assert re.findall(r"<h2>(.*?)</h2>", html) == headings
    assert text in html
    assert "trained for this figure" not in html, "of a model of one's own nobody knows how it goes without"
    assert len(html) < 10_000_000
