"""MLflow lost as a whole, and MLflow on a server."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.doctor.ward import NAME, Patient
from tuning import ledger
from tuning.doctor.visit import visit


def test_a_database_that_is_gone_is_built_anew(patient: Patient, command: Any) -> None:
    (patient.home / "mlflow.db").unlink()
    shutil.rmtree(patient.home / "mlartifacts")
    home = ["--home", str(patient.home)]
    done = command("doctor", NAME, *home)
    assert done.returncode == 1 and "has nothing of it" in done.stdout and done.stderr == ""
    assert not (patient.home / "mlflow.db").exists(), "to look is not to make one"
    done = command("doctor", NAME, *home, "--fix")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    patient.assert_it_agrees()
    champion = patient.client.get_model_version_by_alias(NAME, "champion")
    assert champion.tags["tuning.trial"] == str(patient.sweep().best_or_raise().number)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, ray_cluster: Any) -> Path:
    home = tmp_path_factory.mktemp("home")
    spec = tuning.SweepSpec(
        model="net", name="doctored", trials=3, epochs=2, max_concurrent=1, cohort=1,
        tracking_uri=mlflow_server, home=str(home), early_stopping=tuning.EarlyStopping(kind="none"),
    )  # fmt: skip
    tuning.sweep(spec)
    return home


def test_a_sweep_on_a_server_is_compared_and_mended_too(remote: Path, mlflow_server: str) -> None:
    found = visit("doctored", str(remote), fix=True)
    assert found.is_healthy and found.fixed == []

    ledgers = sweeps.read("doctored", remote, mlflow_server)
    runs = {number: run.info.run_id for number, run in ledgers.children.items()}
    ledgers.client.log_metric(runs[0], "train_loss", 0.5, timestamp=1, step=1)
    ledgers.client.delete_run(runs[1])
    ledgers.client.update_run(runs[2], status="RUNNING")
    ledgers.client.log_text(runs[2], "{}", "checkpoint/trial-00002.json")
    (remote / "doctored/checkpoints/trial-00001.pt").write_bytes(b"torn")
    found = visit("doctored", str(remote), fix=False)
    texts = [str(one) for one in found.differences if "best trial" not in one.text]
    assert texts == [
        "trial 1: its checkpoint is torn",
        "trial 0: its MLflow run has doubled points: train_loss at epoch 1",
        "trial 1: it has no run in MLflow",
        "trial 2: its MLflow run is RUNNING, but it is completed (FINISHED)",
        "trial 2: MLflow has no such copy of its files: trial-00002.json",
    ]
    mended = visit("doctored", str(remote), fix=True)
    assert mended.is_healthy and set(mended.fixed) == set(found.differences)
    assert visit("doctored", str(remote), fix=True).fixed == []
    sweep = ledger.open_sweep("doctored", str(remote))
    sweeps.assert_they_agree(sweep, sweeps.read("doctored", remote, mlflow_server))
