"""The cluster files, and what `tuning cluster check` finds in broken ones."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.conftest import REPOSITORY
from tuning.cli import main
from tuning.schedule import launcher

AWS, ONPREM = REPOSITORY / "cluster.yaml", REPOSITORY / "examples/cluster-onprem.yaml"
FILES = pytest.mark.parametrize("file", [AWS, ONPREM], ids=["aws", "onprem"])


@pytest.fixture(autouse=True)
def _token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has made a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    return token


def filled_in(file: Path) -> dict[str, Any]:
    """The file as a user leaves it who has put in what is theirs."""
    text = file.read_text().replace("ami-REPLACE", "ami-0123456789abcdef0").replace("REPLACE", "bucket")
    return launcher.read_text(text.replace("192.0.2.", "10.0.0."), file)


def edited(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which one value is another; None: gone."""
    config = copy.deepcopy(config)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    where: Any = config
    for key in parents:
        where = where[key]
    if value is None:
        del where[last]
    else:
        where[last] = value
    return config


@FILES
def test_what_ships_prepares_and_validates_with_rays_own_code(file: Path) -> None:
    prepared = prepare_config(yaml.safe_load(file.read_text()))
    validate_config(prepared)
    assert prepared["head_start_ray_commands"] and prepared["worker_start_ray_commands"]


@FILES
def test_what_ships_lacks_only_what_is_the_users(file: Path) -> None:
    findings = launcher.check(launcher.read(file))
    assert findings and all("put that there" in one or "put a machine's there" in one for one in findings)
    assert launcher.check(filled_in(file)) == []


@FILES
def test_versions_that_a_cluster_file_names_are_the_projects_pins(file: Path) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "requirements.txt").read_text(), re.M))
    named = re.findall(r"\b([\w-]+)==([\d.]+\w*)", file.read_text())
    assert all(pins[name] == version for name, version in named), named
    assert "requirements.txt" in (REPOSITORY / "Makefile").read_text()
    assert any(".venv/installed" in command for command in yaml.safe_load(file.read_text())["setup_commands"])


def test_packages_for_s3_go_with_the_projects_pins() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "requirements.txt").read_text(), re.M))
    s3 = dict(re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "requirements-aws.txt").read_text(), re.M))
    assert {"s3fs", "boto3"} <= s3.keys() and not s3.keys() & pins.keys()
    assert s3["s3fs"] == pins["fsspec"], "s3fs asks for the fsspec of its own version"
    mounts = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["file_mounts"]
    assert "requirements-aws.txt" in mounts.values(), "the Makefile installs it where it is"


@FILES
def test_nodes_get_all_that_installs_the_project_and_no_environment(file: Path) -> None:
    mounts = yaml.safe_load(file.read_text())["file_mounts"]
    mine = {there.removeprefix("~/tuning/"): here for there, here in mounts.items() if "tuning" in there}
    assert all(there == here for there, here in mine.items()) and ".venv" not in mine and "." not in mine
    assert {"tuning", "models", "Makefile", "README.md", "pyproject.toml", "requirements.txt"} <= mine.keys()


@FILES
def test_tokens_reach_every_node_and_nothing_listens_but_on_loopback(file: Path) -> None:
    config = yaml.safe_load(file.read_text())
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
    assert "--host 127.0.0.1" in (REPOSITORY / "cluster/mlflow.sh").read_text()


def test_gpu_workers_come_and_go_from_none_and_the_head_trains_nothing() -> None:
    kinds = yaml.safe_load(AWS.read_text())["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert kinds["gpu-worker"]["min_workers"] == 0 and kinds["gpu-worker"]["max_workers"] > 1
    assert kinds["gpu-worker"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        pytest.param("max_worker", 3, "'max_worker'.*did you mean 'max_workers'", id="misspelt-key"),
        pytest.param("max_workers", "many", "max_workers: 'many' is not of type 'integer'", id="wrong-kind"),
        pytest.param(
            "available_node_types/gpu-worker/min_workers", 9, r"min_workers \(9\) is more than", id="min-max"
        ),
        pytest.param("head_node_type", "brain", "head_node_type. must be one of", id="no-such-head"),
        pytest.param("provider/type", "cloud9", "provider.*cloud9|cloud9", id="no-such-provider"),
        pytest.param("provider", "aws", "provider: 'aws' is not of type 'object'", id="provider-no-mapping"),
        pytest.param("file_mounts", {"~/tuning": "."}, "auth_token is missing", id="no-token"),
        pytest.param("setup_commands/4", "pip install ray", "pin its version", id="unpinned"),
        pytest.param(
            "setup_commands/4", "pip install 'ray[default]==2.9.0'", "here ray is 2.60.0", id="other-version"
        ),
        pytest.param("head_setup_commands", None, "pip install boto3.*: pin its version", id="rays-own"),
        pytest.param("setup_commands/4", "true", "nothing installs this project", id="not-installed"),
        pytest.param("setup_commands/0", "true", "no TUNING_STORAGE", id="no-storage"),
        pytest.param("setup_commands/0", "export TUNING_STORAGE=~/x", "each node's own disk", id="own-disk"),
        pytest.param(
            "setup_commands/0", "export TUNING_STORAGE=file:///tmp/x", "each node's own disk", id="file-uri"
        ),
        pytest.param(
            "available_node_types/gpu-worker/node_config/IamInstanceProfile",
            None,
            "gpu-worker.node_config: no IamInstanceProfile, without which the node cannot write",
            id="no-profile",
        ),
        pytest.param(
            "head_start_ray_commands/1",
            "ray start --head --dashboard-host=0.0.0.0",
            "listens on 0.0.0.0",
            id="open",
        ),
        pytest.param(
            "head_start_ray_commands/2",
            "mlflow server --host 0.0.0.0",
            "listens on 0.0.0.0",
            id="open-mlflow",
        ),
        pytest.param("head_start_ray_commands/2", "mlflow server -h 0.0.0.0", "listens on 0.0.0.0", id="-h"),
        pytest.param(
            "head_start_ray_commands/2",
            "MLFLOW_HOST=0.0.0.0 mlflow server",
            "listens on 0.0.0.0",
            id="in-env",
        ),
        pytest.param("setup_commands/4", "pip3.11 --quiet install ray", "pin its version", id="pip3.11"),
        pytest.param(
            "setup_commands/4", "pip install 'ray", "nothing installs this project", id="open-quote"
        ),
        pytest.param(
            "worker_start_ray_commands/1",
            "RAY_AUTH_MODE=disabled ray start --address=x",
            "turns the token off",
            id="token-off",
        ),
    ],
)
def test_a_fault_in_a_cluster_file_is_named(path: str, value: Any, says: str) -> None:
    findings = launcher.check(edited(filled_in(AWS), path, value))
    assert any(re.search(says, one) for one in findings), findings


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("min_workers", 3, r"min_workers \(3\) is more than"),
        ("min_workers", "two", "min_workers must be a whole number, but it is 'two'"),
        ("max_workers", 5, r"max_workers \(5\) is more than there are worker_ips \(2\)"),
        ("provider/head_ip", None, "head_ip"),
        ("provider/worker_ips/0", "192.0.2.7", "an address for examples"),
    ],
)
def test_a_fault_in_a_file_of_machines_that_one_has_is_named(path: str, value: Any, says: str) -> None:
    findings = launcher.check(edited(filled_in(ONPREM), path, value))
    assert any(re.search(says, one) for one in findings), findings


def test_a_token_that_was_not_made_is_missed(_token: Path) -> None:
    for spoil in (lambda: _token.write_text(""), _token.unlink):
        spoil()
        (finding,) = launcher.check(filled_in(AWS))
        assert "ray get-auth-token --generate" in finding


def test_the_command_prints_findings_or_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(filled_in(ONPREM)))
    bad.write_text(yaml.safe_dump(edited(filled_in(ONPREM), "min_workers", 3)))
    assert main(["cluster", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good} is fit for: ray up {good}\n"
    assert main(["cluster", "check", str(bad), "--json"]) == 1
    out = capsys.readouterr().out
    assert len(json.loads(out)["findings"]) == 1 and out.count("\n") == 1


@pytest.mark.parametrize("text", ["- a\n- b\n", "{", "", None, "!!python/object/apply:os.system ['touch x']"])
def test_what_is_no_cluster_file_is_refused_with_one_message(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    if text is not None:
        file.write_text(text)
    assert main(["cluster", "check", str(file)]) == 2
    assert capsys.readouterr().err.startswith("error: The cluster file ")
