"""File and folder names that users and scripts rely on."""

from pathlib import Path

import pytest

from tuning import paths, plan
from tuning.errors import RequestError
from tuning.paths import SweepPaths, check_name, home_folder
from tuning.spec import SweepSpec


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with no home set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNING_HOME", raising=False)
    return tmp_path


def test_home_is_runs_in_the_current_folder(at: Path) -> None:
    assert home_folder(None) == at / "runs"


def test_the_option_goes_before_the_environment_and_that_before_the_default(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNING_HOME", "from-environment")
    assert home_folder(None) == at / "from-environment"
    assert home_folder("from-option") == at / "from-option"


def test_home_is_absolute_and_knows_the_users_own(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(at / "user"))
    assert home_folder("~/sweeps") == at / "user" / "sweeps"


def inside_a_ray_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")


@pytest.mark.parametrize("option", [None, "runs", "./x"])
def test_inside_a_ray_job_a_relative_home_is_refused(
    at: Path, monkeypatch: pytest.MonkeyPatch, option: str | None
) -> None:
    inside_a_ray_job(monkeypatch)
    with pytest.raises(RequestError, match="Inside a Ray job the home must be an absolute path"):
        home_folder(option)


def test_inside_a_ray_job_an_absolute_home_is_taken(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside_a_ray_job(monkeypatch)
    assert home_folder(str(at / "disk")) == at / "disk"


def test_a_command_names_the_home_that_is_not_looked_into_without_it(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SweepPaths(at / "runs", "demo").command("resume") == "tuning resume demo"
    assert SweepPaths(at / "my runs", "demo").command("resume") == f"tuning resume demo --home '{at}/my runs'"
    inside_a_ray_job(monkeypatch)  # where no home is looked into
    assert SweepPaths(at / "runs", "demo").command("doctor") == f"tuning doctor demo --home {at}/runs"


@pytest.mark.parametrize("name", ["cnn", "cnn-demo", "a", "0", "A.b_c-9", "x" * 100])
def test_name_that_can_be_a_folder_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "a\n", "ä", "x" * 101, "a:b", "$HOME"]
)
def test_name_that_cannot_be_a_folder_everywhere_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as refusal:
        check_name(name)
    assert "1 to 100 letters, digits, '.', '_' or '-'" in str(refusal.value)
    assert repr(name) in str(refusal.value)


@pytest.mark.parametrize("name", ["mlartifacts", "mlflow.db"])
def test_name_of_mlflows_own_files_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="taken by a file of the home"):
        check_name(name)


def test_a_sweep_lies_in_one_folder_of_the_home(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path, "demo")
    assert sweep.folder == tmp_path / "demo"
    assert sweep.spec == tmp_path / "demo" / "spec.yaml"
    assert sweep.journal == tmp_path / "demo" / "study.journal"
    assert {sweep.claim.parent, sweep.log.parent} == {sweep.folder}
    assert len({sweep.spec, sweep.journal, sweep.claim, sweep.log}) == 4


def test_mlflow_lies_in_the_home(tmp_path: Path) -> None:
    assert paths.tracking_database(tmp_path) == tmp_path / "mlflow.db"
    assert paths.tracking_artifacts(tmp_path) == tmp_path / "mlartifacts"


@pytest.mark.parametrize("storage", ["/disk/demo", "s3://bucket/demo"])
def test_checkpoints_are_named_by_the_trials_number(storage: str) -> None:
    assert paths.checkpoint_file(storage, 17) == f"{storage}/checkpoints/trial-00017.pt"
    assert paths.card_file(storage, 17) == f"{storage}/checkpoints/trial-00017.json"
    assert paths.trial_name(17) == "trial-00017"


def test_resume_state_lies_in_a_folder_of_its_own() -> None:
    file = paths.resume_file("/disk/demo", paths.resume_name("abc"))
    assert file.startswith(paths.resume_folder("/disk/demo") + "/")
    assert paths.resume_folder("/disk/demo") == "/disk/demo/resume"
    assert file != paths.resume_file("/disk/demo", paths.resume_name("abd"))


def test_without_storage_checkpoints_lie_in_the_sweeps_folder(tmp_path: Path) -> None:
    assert SweepPaths(tmp_path, "demo").storage(None, "0" * 32) == str(tmp_path / "demo")


@pytest.mark.parametrize("root", ["s3://bucket/x", "s3://bucket/x/", "/nfs/x", "/nfs/x/"])
def test_equal_names_of_two_users_never_meet_on_one_storage(tmp_path: Path, root: str) -> None:
    sweep = SweepPaths(tmp_path, "demo")
    mine, yours = sweep.storage(root, "11111111-a"), sweep.storage(root, "22222222-b")
    assert mine != yours
    assert mine == sweep.storage(root, "11111111-a")
    assert mine.startswith(f"{root.rstrip('/')}/demo-")


def test_a_relative_storage_means_the_same_folder_wherever_the_sweep_is_resumed(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned stands in the sweep's folder, and a resume reads it there from anywhere."""
    spec = SweepSpec(model="net", trials=2, storage="checkpoints", home=str(at / "home"))
    planned = plan.prepare(spec)
    here = planned.paths.storage(planned.spec.storage, "1" * 32)
    (at / "elsewhere").mkdir()
    monkeypatch.chdir(at / "elsewhere")
    assert planned.paths.storage(planned.spec.storage, "1" * 32) == here
