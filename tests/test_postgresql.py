"""A sweep whose MLflow server keeps its records in PostgreSQL."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.chaos import processes
from tests.conftest import REPOSITORY, held_port, serving_mlflow, wait_until_up
from tuning.cli import main

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian puts them."""

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="needs Debian's postgresql (make packages)")


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database in a folder of its own, reached by a socket in there."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # open to another user, unlike a test's
    as_user: list[str] = []
    if os.geteuid() == 0:  # as root it refuses to run
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(PROGRAMS[-1] / program), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run("initdb", "-D", data, "-A", "trust", "-U", "mlflow", "--no-sync", "--no-locale", "-E", "UTF8")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        run("createdb", "-h", str(folder), "-U", "mlflow", "mlflow")
        yield f"postgresql://mlflow@/mlflow?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_study_mlflow_and_checkpoints_agree(
    database: str, home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    with serving_mlflow(tmp_path, database) as address:
        spec = tuning.SweepSpec(model="net", trials=6, epochs=9, max_concurrent=2, tracking_uri=address)
        result = tuning.sweep(spec)
        assert sum(result.states.values()) == 6
        ledgers = sweeps.read("net", home, address)
        sweeps.assert_they_agree(result, ledgers)
        assert ledgers.parent.info.status == "FINISHED"
        longer = tuning.sweep(replace(spec, trials=8))
        sweeps.assert_they_agree(longer, sweeps.read("net", home, address))
        best = tuning.load_best("net", tracking_uri=address)
        assert best.trial.value == pytest.approx(longer.best.value if longer.best else None)


def test_without_a_server_artifacts_lie_in_the_home_and_what_is_shown_has_no_password(
    database: str, home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    address = database.replace("mlflow@", "mlflow:secret@")
    assert main(["sweep", "net", "--trials", "2", "--epochs", "1", "--tracking-uri", address]) == 0
    said = capsys.readouterr()
    assert "secret" not in said.out + said.err and "mlflow:***@" in said.out
    parent = sweeps.read("net", home, address).parent
    assert parent.info.artifact_uri.startswith(f"file://{home}/mlartifacts/")
    kept = Path(parent.info.artifact_uri.removeprefix("file://")) / "spec.yaml"
    assert "secret" not in kept.read_text() + parent.data.tags["mlflow.note.content"]
    assert tuning.load_best("net", tracking_uri=address).trial.number in (0, 1)


@pytest.fixture
def cluster_server(database: str, tmp_path: Path) -> Iterator[str]:
    """The address of the server that a cluster's head keeps, over the database, which wants a password."""
    script, place = REPOSITORY / "cluster/mlflow.sh", held_port()
    port = str(place.getsockname()[1])
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TUNING_HOME": str(tmp_path / "head"),
        "TUNING_STORAGE": str(tmp_path / "shared"),
        "MLFLOW_BACKEND_STORE_URI": database.replace("mlflow@", "mlflow:secret@"),
        "TUNING_MLFLOW_PORT": port,
    }
    subprocess.run([script, "start"], env=environment, check=True)
    try:
        wait_until_up(f"http://127.0.0.1:{port}", tmp_path / "head/mlflow-server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([script, "stop"], env=environment, check=True)
        place.close()


def test_the_clusters_server_keeps_records_there_dies_and_comes_back_and_tells_no_password(
    cluster_server: str, home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    spec = tuning.SweepSpec(model="net", trials=4, epochs=3, max_concurrent=2, tracking_uri=cluster_server)
    result = tuning.sweep(spec)
    sweeps.assert_they_agree(result, sweeps.read("net", home, cluster_server))
    log, found = tmp_path / "head/mlflow-server.log", processes.processes()
    group = int((tmp_path / "head/mlflow-server.pid").read_text())
    ours = [one.command for one in found.values() if one.session == group]
    assert "secret" not in log.read_text() + " ".join(ours)
    servers = {pid for pid, one in found.items() if one.session == group and "python" in one.command}
    assert servers
    processes.kill(servers)
    wait_until_up(cluster_server, log)
    longer = tuning.sweep(replace(spec, trials=6))
    sweeps.assert_they_agree(longer, sweeps.read("net", home, cluster_server))
    assert tuning.load_best("net", tracking_uri=cluster_server).trial.number in range(6)
