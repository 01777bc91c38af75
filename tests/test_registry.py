"""A sweep's best model in MLflow's model registry: it loads without this project, and stays the best."""

import json
import os
import queue
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

import models
import tuning
from tests import by_hand
from tests.conftest import REPOSITORY
from tests.late_server import late_server
from tuning.cli import main
from tuning.export import winner
from tuning.export.champion import champion_of
from tuning.study import Study
from tuning.tracking import client, registry, writer
from tuning.tracking.champion import Champion, TensorSlot
from tuning.tracking.messages import Close, Job, News
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.writer import Writer

SPEC = tuning.SweepSpec(
    model="net", name="demo", data="noisy_square", id="a" * 32, metric="val_loss", mode="min"
)

STRANGER = """
import json, sys
sys.path = [path for path in sys.path if path != {repository!r}]
for project in ("tuning", "models"):
    try:
        __import__(project)
    except ModuleNotFoundError:
        continue
    sys.exit(project + " can be imported")
import mlflow.pytorch, torch
mlflow.set_tracking_uri(sys.argv[1])
found = {{}}
for name in sys.argv[2:]:
    model = mlflow.pytorch.load_model("models:/" + name + "@champion")
    info = mlflow.models.get_model_info("models:/" + name + "@champion")
    shapes = [[2 if n == -1 else n for n in spec.shape] for spec in info.signature.inputs.inputs]
    rows = [torch.full(shapes[0], 0.5), *(torch.zeros(shape) for shape in shapes[1:])]
    returned = model(*rows)
    found[name] = (returned[0] if isinstance(returned, tuple) else returned).tolist()
    if len(rows) == 1:
        function = mlflow.pyfunc.load_model("models:/" + name + "@champion")
        torch.testing.assert_close(torch.as_tensor(function.predict(rows[0].numpy())), returned.detach())
print(json.dumps(found))
"""
"""Loads champions with plain MLflow, pickles refused, where this project cannot be imported."""


def loaded_elsewhere(uri: str, names: list[str], folder: Path) -> dict[str, Any]:
    """Return what each champion makes of two rows of 0.5."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", STRANGER.format(repository=str(REPOSITORY)), uri, *names],
        cwd=folder,
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def of_halves(loaded: tuning.LoadedModel) -> list[Any]:
    """Return what the trained model makes of two rows of 0.5."""
    with torch.no_grad():
        returned = loaded.model(torch.full((2, *loaded.card["preprocess"]["shape"]), 0.5))
    found: list[Any] = (returned[0] if isinstance(returned, tuple) else returned).tolist()
    return found


@pytest.fixture(scope="module")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with a sweep per documented model, and MLflow's database in which each has its champion."""
    home = tmp_path_factory.mktemp("home")
    uri = f"sqlite:///{home}/mlflow.db"
    found = MlflowClient(uri)
    experiment = found.create_experiment("all", (home / "artifacts").as_uri())
    for model in models.CATALOG:
        spec, _ = by_hand.sweep(home, model, fixed={"dropout": 0.2, "bn_momentum": 0.2})
        champion = champion_of(tuning.load_best(model, home=str(home)), {"test_loss": 0.25})
        registry.register(found, spec, champion, found.create_run(experiment).info.run_id)
    return home, uri


@pytest.fixture(scope="module")
def elsewhere(by_name: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return loaded_elsewhere(by_name[1], list(models.CATALOG), tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, str]:
    """A client of a database, and a run in it."""
    folder = tmp_path_factory.mktemp("store")
    found = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = found.create_experiment("net", (folder / "artifacts").as_uri())
    return found, found.create_run(experiment).info.run_id


def candidate(trial: int, value: float, confirmed: float | None = None, over: Sequence[int] = ()) -> Champion:
    """Return a model for the registry, which does not look into it."""
    slot = TensorSlot("input", "float32", (-1, 1))
    return Champion(
        trial=trial,
        value=value,
        epoch=1,
        program=b"a program",
        torch_version=str(torch.__version__),
        inputs=[slot],
        outputs=[replace(slot, name="output")],
        example=[torch.zeros(2, 1).numpy()],
        scaling="raw",
        confirmed=confirmed,
        over=frozenset(over),
    )


def versions(found: MlflowClient, name: str) -> list[str]:
    """Return the trials of a registered model's versions, in their order."""
    there = found.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"])
    return [version.tags["tuning.trial"] for version in there]


def test_the_page_on_loading_it_elsewhere_says_what_works(by_name: tuple[Path, str], tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "elsewhere.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "runs").symlink_to(by_name[0])
    (tmp_path / "load.py").write_text(code.replace("wide", "cnn") + "print(type(model).__name__)\n")
    stranger = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-P", "load.py"],
        cwd=tmp_path,
        env=stranger,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "GraphModule\n"), done.stderr


# ---- what is registered ------------------------------------------------------------------------


@pytest.mark.parametrize("model", models.CATALOG)
def test_a_champion_loads_with_plain_mlflow_where_this_project_is_not(
    by_name: tuple[Path, str], elsewhere: dict[str, Any], model: str
) -> None:
    wanted = of_halves(tuning.load_best(model, home=str(by_name[0])))
    torch.testing.assert_close(torch.tensor(elsewhere[model]), torch.tensor(wanted))


def test_a_version_says_what_it_is(by_name: tuple[Path, str]) -> None:
    found = MlflowClient(by_name[1]).get_model_version_by_alias("cnn", "champion")
    assert {
        "tuning.sweep": "cnn",
        "tuning.sweep_id": by_hand.ID,
        "tuning.trial": "0",
        "tuning.metric": "val_loss",
        "tuning.value": repr(by_hand.VALUE),
        "test_loss": "0.25",
    }.items() <= found.tags.items()
    assert 'load_model("models:/cnn@champion")' in found.description
    assert "bytes / 255" in found.description, "how a raw picture is scaled"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [("cnn", {None: (-1, 1, 28, 28)}), ("rnn", {"input": (-1, 10, 1), "hidden": (1, -1, 32)})],
)
def test_a_champion_has_a_signature_and_an_example(
    by_name: tuple[Path, str], model: str, inputs: dict[str | None, tuple[int, ...]]
) -> None:
    source = MlflowClient(by_name[1]).get_model_version_by_alias(model, "champion").source
    folder = source.removeprefix("file://")
    kept = Model.load(folder)
    assert kept.signature is not None
    assert {spec.name: spec.shape for spec in kept.signature.inputs.inputs} == inputs
    example = kept.load_input_example(folder)
    arrays = list(example.values()) if isinstance(example, dict) else [example]
    assert [array.ndim for array in arrays] == [len(shape) for shape in inputs.values()]
    assert set(kept.flavors) == ({"pytorch", "python_function"} if len(inputs) == 1 else {"pytorch"})


# ---- who is champion ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "then", "champion", "count"),
    [
        pytest.param(candidate(3, 0.5), candidate(3, 0.5), "3", 1, id="the same again"),
        pytest.param(candidate(3, 0.5), candidate(7, 0.4), "3", 1, id="a better one that nobody confirmed"),
        pytest.param(candidate(3, 0.5), candidate(7, 0.6), "3", 1, id="a worse one"),
        pytest.param(candidate(3, 0.5), candidate(3, 0.5, 0.7), "3", 1, id="itself, confirmed"),
        pytest.param(candidate(3, 0.5), candidate(7, 0.6, 0.7), "7", 2, id="one that is confirmed"),
        pytest.param(candidate(3, 0.5, 0.7), candidate(7, 0.1), "3", 1, id="not against a confirmed one"),
        pytest.param(candidate(3, 0.5, 0.7), candidate(7, 0.6, 0.6), "7", 2, id="one confirmed later"),
        pytest.param(candidate(3, 0.5, 0.7), candidate(7, 0.1, 0.8), "3", 1, id="not one with a worse mean"),
        pytest.param(
            candidate(3, 0.5, 0.7), candidate(3, 0.5, 0.8, over=(3,)), "3", 1, id="itself by more seeds"
        ),
        pytest.param(
            candidate(3, 0.5, 0.7), candidate(7, 0.1, 0.8, over=(3, 7)), "7", 2, id="one better by more seeds"
        ),
    ],
)
def test_the_champion_moves_for_a_better_confirmed_one_only(
    store: tuple[MlflowClient, str],
    request: pytest.FixtureRequest,
    standing: Champion,
    then: Champion,
    champion: str,
    count: int,
) -> None:
    found, run_id = store
    name = request.node.callspec.id.replace(" ", "-").replace(",", "")
    spec = replace(SPEC, name=name)
    assert registry.register(found, spec, standing, run_id).is_new
    registered = registry.register(found, spec, then, run_id)
    now = found.get_model_version_by_alias(name, "champion")
    assert (now.tags["tuning.trial"], len(versions(found, name))) == (champion, count)
    assert (str(registered.trial), registered.is_new) == (champion, champion == "7")
    if then.confirmed is not None and champion == str(then.trial):
        assert now.tags["tuning.confirmed_mean"] == repr(then.confirmed)


@pytest.mark.parametrize("owner", [{"tuning.sweep_id": "b" * 32}, {}], ids=["another sweep", "somebody"])
def test_a_name_that_is_anothers_gets_the_sweeps_id(
    store: tuple[MlflowClient, str], request: pytest.FixtureRequest, owner: dict[str, str]
) -> None:
    found, run_id = store
    name = request.node.callspec.id.replace(" ", "-")
    found.create_registered_model(name, owner)
    registered = registry.register(found, replace(SPEC, name=name), candidate(0, 0.5), run_id)
    assert str(registered) == f"models:/{name}-aaaaaaaa@champion is now trial 0 (version 1)"
    assert versions(found, name) == [], "the other one is left alone"


def test_a_version_whose_answer_got_lost_is_not_made_twice(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = replace(SPEC, name="lost")
    with late_server(mlflow_server, "model-versions/create", times=1) as (uri, lost):
        found = client.connect(uri)
        run_id = found.create_run(found.create_experiment("lost")).info.run_id
        with pytest.raises(MlflowException):
            registry.register(found, spec, candidate(0, 0.5), run_id)
        assert len(lost) == 1
        assert registry.register(found, spec, candidate(0, 0.5), run_id).version == "1"
    assert versions(MlflowClient(mlflow_server), "lost") == ["0"]


# ---- at the end of a sweep ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, ray_cluster: Any
) -> Iterator[tuple[tuning.SweepResult, tuning.SweepSpec]]:
    """A sweep on a server, whose command was run twice."""
    spec = tuning.SweepSpec(
        model="net",
        name="crowned",
        trials=2,
        epochs=2,
        max_concurrent=1,
        tracking_uri=mlflow_server,
        home=str(tmp_path_factory.mktemp("home")),
    )
    tuning.sweep(spec)
    yield tuning.sweep(spec), spec


def test_a_sweep_registers_its_winner_once(
    swept: tuple[tuning.SweepResult, tuning.SweepSpec], mlflow_server: str
) -> None:
    result, _ = swept
    assert result.best is not None
    found = MlflowClient(mlflow_server)
    assert versions(found, "crowned") == [str(result.best.number)]
    champion = found.get_model_version_by_alias("crowned", "champion")
    run = found.get_run(champion.run_id)
    assert run.data.tags["tuning.trial"] == str(result.best.number)
    assert float(champion.tags["tuning.value"]) == result.best.value
    assert float(champion.tags["test_loss"]) > 0


def test_a_better_trial_of_the_sweep_that_went_on_is_champion_once_it_is_confirmed(
    home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tuning.SweepSpec(model="net", trials=1, epochs=2, max_concurrent=1)
    tuning.sweep(spec)
    best = tuning.sweep(replace(spec, trials=4)).best
    assert best is not None and best.number != 0
    said = capsys.readouterr().err
    assert f"@champion stays trial 0 until trial {best.number} is confirmed: `tuning confirm net`" in said
    found = MlflowClient(client.default_uri(home))
    assert versions(found, "net") == ["0"]
    assert main(["doctor", "net"]) == 0, capsys.readouterr().out
    main(["confirm", "net", "--top", "2", "--seeds", "2"])
    confirmed = tuning.load_best("net").trial.number
    now = found.get_model_version_by_alias("net", "champion")
    assert now.tags["tuning.trial"] == str(confirmed) and "tuning.confirmed_mean" in now.tags


def test_the_winner_loads_from_a_server_where_this_project_is_not(
    swept: tuple[tuning.SweepResult, tuning.SweepSpec], mlflow_server: str, tmp_path: Path
) -> None:
    _, spec = swept
    found = loaded_elsewhere(mlflow_server, ["crowned"], tmp_path)
    wanted = of_halves(tuning.load_best("crowned", home=spec.home))
    torch.testing.assert_close(torch.tensor(found["crowned"]), torch.tensor(wanted))


def test_a_model_that_is_no_program_wins_all_the_same(
    home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    own = home / "own.py"
    own.write_text(
        "import torch\nfrom torch import nn\nfrom torch.utils.data import TensorDataset\n"
        "class Branching(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(2, 1)\n"
        "    def forward(self, x):\n        return self.layer(x) if x.sum() > 0 else -self.layer(x)\n"
        "def points():\n    return [TensorDataset(torch.eye(2), torch.ones(2)) for _ in range(3)]\n"
    )
    spec = tuning.SweepSpec(
        model=f"{own}:Branching", data=f"{own}:points", name="own", trials=1, epochs=1, max_concurrent=1
    )
    assert tuning.sweep(spec).best is not None
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "registry" in line]
    assert "not in MLflow's model registry: The model cannot be exported" in line
    assert MlflowClient(client.default_uri(home)).search_registered_models() == []


def test_an_export_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winner, "PATIENCE_S", 0.1)
    monkeypatch.setattr(winner.reuse, "load_of_sweep", lambda *_: time.sleep(60))
    study = Study(replace(SPEC, search={}), tmp_path / "study.journal", write=True)
    best = tuning.TrialRecord(number=0, state=tuning.State.COMPLETED, hyperparameters={}, value=0.5, epoch=1)
    said: list[str] = []
    assert winner.candidate(study, str(tmp_path), best, said.append) is None
    assert said == [f"{winner.UNREGISTERED}: exporting it takes more than 0.1 s"]


def test_a_server_without_a_registry_fails_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise MlflowException("there is no registry here")

    monkeypatch.setattr(writer.registry, "register", none)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/spec.yaml").write_text("model: net\n")
    job = Job(SPEC, "net", f"sqlite:///{tmp_path}/mlflow.db", tmp_path, str(tmp_path / "demo"))
    trial = tuning.TrialRecord(number=0, state=tuning.State.COMPLETED, hyperparameters={}, value=0.5, epoch=1)
    Spool(job.paths.spool).put({0: Run(state=tuning.State.COMPLETED)})
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    news.put(Close("FINISHED", trial, None, champion=candidate(0, 0.5)))
    answer = Writer(job).run(news)
    assert (answer.failure, answer.unregistered) == (None, "there is no registry here")
    experiment = MlflowClient(job.uri).get_experiment_by_name("net")
    assert experiment is not None
    runs = MlflowClient(job.uri).search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
