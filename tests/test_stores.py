"""MLflow is written through its client or into its database: a reader cannot tell which."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from tuning import paths
from tuning.records import State, TrialSpec
from tuning.spec import SweepSpec
from tuning.tracking.client import connect
from tuning.tracking.database import DatabaseStore
from tuning.tracking.known import Known
from tuning.tracking.pending import Run
from tuning.tracking.stores import ClientStore, Store, store_of

SPEC = SweepSpec(model="net", name="same", id="0" * 32, metric="val_loss", mode="min")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: MLflow takes three seconds to make one."""
    file = tmp_path_factory.mktemp("tables") / "mlflow.db"
    connect(f"sqlite:///{file}").search_experiments()
    return file


class Written:
    """An experiment in a database of its own, written by one of the stores."""

    def __init__(self, tables: Path, folder: Path, kind: type[ClientStore | DatabaseStore]) -> None:
        folder.mkdir(exist_ok=True)
        shutil.copy(tables, folder / "mlflow.db")
        self.client: MlflowClient = connect(f"sqlite:///{folder}/mlflow.db")
        experiment = self.client.create_experiment("net", (folder / "artifacts").as_uri())
        parent = self.client.create_run(experiment).info.run_id
        self.known = Known(experiment, parent)
        self.begun: set[int] = set()
        self.folder = folder
        inside: Any = self.client if kind is ClientStore else self.client._tracking_client.store
        self.store: Store = kind(inside, SPEC, str(folder))
        for number in (0, 1):
            for file in (paths.checkpoint_file(str(folder), number), paths.card_file(str(folder), number)):
                Path(file).parent.mkdir(exist_ok=True)
                Path(file).write_text(f"content of {number}")

    def write(self, **pending: Run) -> None:
        given = {int(key.removeprefix("trial")): run for key, run in pending.items()}
        self.store.write(self.known, given, self.begun)
        assert not given

    def read(self, number: int) -> MlflowRun:
        return self.client.get_run(self.known.run_ids[number])

    def facts(self, number: int) -> dict[str, Any]:
        """Return all that a reader sees of a run, but ids and times."""
        run = self.read(number)
        info = run.info
        keys = ("mlflow.parentRunId", "mlflow.user", "mlflow.source.name", "mlflow.source.type")
        histories = {
            key: [
                (point.step, repr(point.value), point.timestamp)
                for point in self.client.get_metric_history(info.run_id, key)
            ]
            for key in run.data.metrics
        }
        return {
            "name": info.run_name,
            "status": info.status,
            "ended": info.end_time is not None,
            "stage": info.lifecycle_stage,
            "artifacts": info.artifact_uri.replace(info.run_id, "RUN").replace(str(self.folder), "FOLDER"),
            "parent": run.data.tags["mlflow.parentRunId"] == self.known.parent_id,
            "tags": {key: value for key, value in run.data.tags.items() if key not in keys},
            "params": run.data.params,
            "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
            "histories": histories,
            "files": [item.path for item in self.client.list_artifacts(info.run_id, "checkpoint")],
        }


@pytest.fixture(params=[ClientStore, DatabaseStore])
def written(request: pytest.FixtureRequest, tables: Path, tmp_path: Path) -> Written:
    return Written(tables, tmp_path, request.param)


@pytest.fixture
def both(tables: Path, tmp_path: Path) -> list[Written]:
    kinds: list[type[ClientStore | DatabaseStore]] = [ClientStore, DatabaseStore]
    return [Written(tables, tmp_path / kind.__name__, kind) for kind in kinds]


def epochs(*values: float, first: int = 1) -> dict[tuple[str, int], tuple[float, int]]:
    return {("val_loss", step): (value, 1000 + step) for step, value in enumerate(values, start=first)}


def trial(number: int) -> TrialSpec:
    return TrialSpec(number=number, hyperparameters={"lr": 0.1 + number, "optimizer": "sgd"})


def test_both_stores_leave_the_same_runs(both: list[Written]) -> None:
    for written in both:
        written.write(
            trial0=Run(trial(0), {"tuning.cohort": "a"}, epochs(3.0, 2.0)),
            trial1=Run(trial(1), {"tuning.cohort": "a"}, epochs(1.0)),
            trial2=Run(trial(2), {}, epochs(math.inf, math.nan), State.DIVERGED),
        )
        written.write(
            trial0=Run(None, {"tuning.cohort": "b"}, epochs(1.5, 1.25, first=3), State.COMPLETED),
            trial1=Run(None, {"tuning.cause": "it broke"}, {}, State.FAILED),
        )
    client, database = both
    for number in range(3):
        assert client.facts(number) == database.facts(number)
    assert client.known.ended == database.known.ended == {0, 1, 2}


def test_a_run_tells_of_its_trial_while_it_goes_and_when_it_has_ended(written: Written) -> None:
    written.write(trial0=Run(trial(0), {"tuning.cohort": "a"}, epochs(3.0, 2.0)))
    going = written.facts(0)
    assert (going["status"], going["ended"], going["files"]) == ("RUNNING", False, [])
    assert going["params"] == {"lr": "0.1", "optimizer": "sgd"} and going["parent"]
    assert going["tags"]["tuning.state"] == "running"
    written.write(trial0=Run(None, {"tuning.cohort": "b"}, epochs(1.0, first=3), State.PRUNED))
    done = written.facts(0)
    assert (done["status"], done["ended"], done["tags"]["tuning.state"]) == ("KILLED", True, "pruned")
    assert done["tags"]["tuning.cohort"] == "b" and done["metrics"] == {"val_loss": "1.0"}
    assert [step for step, *_ in done["histories"]["val_loss"]] == [1, 2, 3]
    assert done["files"] == ["checkpoint/trial-00000.json", "checkpoint/trial-00000.pt"]


def test_an_interrupted_run_goes_on_under_another_driver(written: Written) -> None:
    written.write(trial0=Run(trial(0), {}, epochs(3.0), State.INTERRUPTED))
    assert written.facts(0)["status"] == "SCHEDULED"
    written.begun = set()  # another driver's
    written.write(trial0=Run(trial(0), {}, epochs(2.0, first=2)))
    assert written.facts(0)["status"] == "RUNNING"
    assert [step for step, *_ in written.facts(0)["histories"]["val_loss"]] == [1, 2]


def test_epochs_that_come_late_do_not_become_the_latest(written: Written) -> None:
    written.write(trial0=Run(trial(0), {}, epochs(5.0, 6.0, first=5)))
    written.write(trial0=Run(None, {}, epochs(1.0, 2.0)))
    assert written.facts(0)["metrics"] == {"val_loss": "6.0"}


def test_a_run_that_was_deleted_holds_up_no_other(written: Written) -> None:
    written.write(trial0=Run(trial(0)), trial1=Run(trial(1)))
    written.client.delete_run(written.known.run_ids[0])
    written.write(
        trial0=Run(None, {}, epochs(1.0), State.COMPLETED), trial1=Run(None, {}, epochs(1.0), State.COMPLETED)
    )
    assert written.facts(1)["status"] == "FINISHED"
    assert written.read(0).info.lifecycle_stage == "deleted" and not written.read(0).data.metrics


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR"])
def test_what_a_server_refuses_for_now_is_kept_to_be_written_again(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    written = Written(tables, tmp_path, ClientStore)
    pending = {0: Run(trial(0), {}, epochs(1.0), State.COMPLETED)}
    with monkeypatch.context() as server:

        def refuse(*_: Any, **__: Any) -> None:
            raise MlflowException("not now", error_code=getattr(databricks_pb2, code))

        server.setattr(written.client, "log_batch", refuse)
        with pytest.raises(MlflowException, match="not now"):
            written.store.write(written.known, pending, set())
    assert list(pending) == [0]
    written.store.write(written.known, pending, set())
    assert not pending and written.facts(0)["status"] == "FINISHED"


def test_more_runs_than_fit_in_one_transaction_and_more_points_than_in_one_call(written: Written) -> None:
    many = 3 if isinstance(written.store, ClientStore) else 600
    written.write(**{f"trial{n}": Run(trial(n), {}, epochs(*[float(n)] * 3)) for n in range(10, 10 + many)})
    written.write(trial0=Run(trial(0), {}, epochs(*map(float, range(2500))), State.COMPLETED))
    found = written.client.search_runs([written.known.experiment_id], max_results=5000)
    assert len(found) == many + 2  # with trial 0 and the parent
    assert written.facts(10 + many - 1)["metrics"] == {"val_loss": repr(float(10 + many - 1))}
    assert written.facts(0)["metrics"] == {"val_loss": "2499.0"}
    assert len(written.facts(0)["histories"]["val_loss"]) == 2500


def test_nothing_is_half_written_where_the_database_fails(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(tables, tmp_path, DatabaseStore)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    pending = {0: Run(trial(0), {}, epochs(1.0))}
    with monkeypatch.context() as patched:
        patched.setattr(DatabaseStore, "_write_metrics", fail)
        with pytest.raises(MlflowException, match="disk full"):
            written.store.write(written.known, pending, written.begun)
    assert pending and not written.known.run_ids and not written.begun
    assert len(written.client.search_runs([written.known.experiment_id])) == 1, "the parent alone"
    written.store.write(written.known, pending, written.begun)
    assert written.facts(0)["metrics"] == {"val_loss": "1.0"}


def test_a_database_is_written_directly_and_a_server_through_its_client(
    tmp_path: Path, mlflow_server: str
) -> None:
    database = connect(f"sqlite:///{tmp_path}/mlflow.db")
    assert isinstance(store_of(database, SPEC, str(tmp_path)), DatabaseStore)
    assert isinstance(store_of(connect(mlflow_server), SPEC, str(tmp_path)), ClientStore)
