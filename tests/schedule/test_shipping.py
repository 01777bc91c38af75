"""A user's own files on their way to other nodes. tests/cluster sends them to other hosts."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests.conftest import REPOSITORY
from tuning import plan, references
from tuning.schedule import connection, shipping


def spec(model: str, data: str | None = None) -> tuning.SweepSpec:
    return tuning.SweepSpec(model=model, data=data)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts/net.py").write_text("import torch\n\ndef Net():\n    return torch.nn.Linear(1, 1)\n")
    (folder / "load.py").write_text("def points():\n    return open('points.txt').read()\n")
    (folder / "points.txt").write_text("1 2 3")
    (folder / ".gitignore").write_text("large.bin\n")
    (folder / "large.bin").write_bytes(bytes(1000))
    (folder / "runs").mkdir()
    (folder / "runs/mlflow.db").write_text("the home's")
    (folder / "out/home [1]").mkdir(parents=True)
    (folder / "out/home [1]/mlflow.db").write_text("that of another home")
    (folder / "out/mine.txt").write_text("")
    monkeypatch.chdir(folder)
    return folder


def folder_of(one: tuning.SweepSpec) -> Path:
    found = shipping.of([one])
    assert found is not None
    return found.folder


def test_nothing_is_shipped_for_what_is_installed_everywhere() -> None:
    assert shipping.of([spec("cnn"), spec("torchvision.models:resnet18", "mnist")]) is None


def test_the_folder_that_holds_all_named_files_is_shipped(project: Path) -> None:
    model, data = f"{project}/parts/net.py:Net", f"{project}/load.py:points"
    assert folder_of(spec(model)) == project / "parts"
    assert folder_of(spec(model, data)) == project
    assert folder_of(spec("parts.net:Net")) == project, "a module of the current folder"


@pytest.mark.parametrize("folder", [Path.home(), Path("/")])
def test_a_whole_home_or_disk_is_not_shipped(folder: Path) -> None:
    with pytest.raises(tuning.RequestError, match="put them into a folder of their own"):
        shipping.of([spec(f"{folder}/net.py:Net")])


SCRIPT = """
import json, sys
from pathlib import Path
from tuning.schedule import connection, shipping

def look(folder):
    from tuning import copies, references
    copies.enter()
    net = references.load_callable(folder + "/parts/net.py:Net")
    points = references.load_callable(folder + "/load.py:points")
    found = sorted(str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*") if path.is_file())
    return {"model": str(net()), "points": points(), "from": net.__code__.co_filename, "files": found}

own = shipping.OwnFiles(Path(sys.argv[2]), (Path(sys.argv[2], "out/home [1]"),))
with connection.connect(sys.argv[1], own_files=own) as cluster:
    cluster.nodes()
    import ray
    print(json.dumps(ray.get(ray.remote(look).remote(sys.argv[2]))))
"""


def test_a_worker_reads_the_copy_that_came_and_not_what_lies_there(project: Path, ray_cluster: Any) -> None:
    """Also where a file of the same name is there: another version of it, perhaps."""
    command = [sys.executable, "-c", SCRIPT, ray_cluster.address, str(project)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["points"] == "1 2 3", "relative paths mean what they meant"
    assert found["model"].startswith("Linear") and not found["from"].startswith(str(project))
    assert {"parts/net.py", "load.py", "points.txt", "out/mine.txt"} <= set(found["files"])
    assert not {"large.bin", "runs/mlflow.db", "out/home [1]/mlflow.db"} & set(found["files"])


def test_what_sweeps_write_into_the_folder_stays_behind(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(project)
    monkeypatch.setenv("TUNING_HOME", f"{tmp_path}/link/out/home [1]")
    one = tuning.SweepSpec(
        model=f"{project}/parts/net.py:Net", data=f"{project}/load.py:points", storage="kept"
    )
    assert shipping.of([one]) == shipping.OwnFiles(project, (project / "kept", project / "out/home [1]"))
    beside = replace(one, storage=f"{project}/parts")
    found = shipping.of([beside])
    assert found is not None and found.written == (project / "out/home [1]",), "but what the sweep names"


JOBS = "/tmp/ray/session_1/runtime_resources/working_dir_files"


def test_a_file_of_a_job_is_the_same_when_the_job_is_submitted_again() -> None:
    assert references.is_same(f"{JOBS}/_ray_pkg_1a/net.py:Net", f"{JOBS}/_ray_pkg_2b/net.py:Net")
    assert not references.is_same(f"{JOBS}/_ray_pkg_1a/net.py:Net", f"{JOBS}/_ray_pkg_2b/other.py:Net")
    assert references.is_same("cnn", "cnn") and not references.is_same("cnn", None)


def test_a_job_that_is_submitted_again_goes_on_with_its_sweep(tmp_path: Path, home: Path) -> None:
    def submitted(package: str) -> tuning.SweepSpec:
        folder = tmp_path / "runtime_resources/working_dir_files" / package
        folder.mkdir(parents=True)
        (folder / "net.py").write_text("import torch\n\ndef Net():\n    return torch.nn.Linear(1, 1)\n")
        return tuning.SweepSpec(
            model=f"{folder}/net.py:Net", data="noisy_line", name="job", trials=1, epochs=1
        )

    tuning.sweep(submitted("_ray_pkg_1a"))
    planned = plan.prepare(submitted("_ray_pkg_2b"))
    assert planned.spec.id is not None and "_ray_pkg_2b" in planned.spec.model


def test_a_jobs_file_that_is_gone_is_named_with_the_way_out() -> None:
    with pytest.raises(tuning.RequestError, match=r"it was a Ray job's; to go on .* submit the job again"):
        references.load_callable(f"{JOBS}/_ray_pkg_1a/net.py:Net")


def test_a_folder_that_is_too_large_is_refused_before_it_is_read(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MOST_BYTES", 900)
    shipping.check(shipping.OwnFiles(project))  # without what .gitignore names, and the home
    (project / "data").mkdir()
    (project / "data/all.bin").write_bytes(bytes(1000))
    with pytest.raises(tuning.RequestError, match=r"may hold 0 MiB, but holds .*data \(0 MiB\)"):
        shipping.check(shipping.OwnFiles(project))


def test_what_is_no_file_is_refused_before_anybody_waits_for_it(project: Path) -> None:
    os.mkfifo(project / "pipe")
    with pytest.raises(tuning.RequestError, match="pipe is neither a file nor a folder"):
        shipping.check(shipping.OwnFiles(project))


def test_a_file_that_a_python_caller_names_is_one_of_the_current_folder(project: Path) -> None:
    from tuning import run

    found = run._absolute(spec("parts/net.py:Net", "load.py:points"))
    assert (found.model, found.data) == (f"{project}/parts/net.py:Net", f"{project}/load.py:points")
    assert run._absolute(spec("cnn")) == spec("cnn")


def test_what_is_wrong_with_the_folder_is_not_taken_for_a_cluster_that_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MOST_BYTES", 1)
    with pytest.raises(tuning.RequestError, match=r"^\S+ goes to every node, and may hold"):
        connection._initialise("198.18.0.1:6379", shipping.OwnFiles(project))
