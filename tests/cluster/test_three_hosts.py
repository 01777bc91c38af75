"""The on-premises file brings up three hosts, and sweeps run on them: docs/cluster.md, followed to the end.

The tests go on from one another: one cluster, one story.
"""

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import hosts
from tests.cluster.site import BIN, PROJECT, SHARED, Site, add, site
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.skipif(hosts.missing() is not None, reason=str(hosts.missing())),
    pytest.mark.timeout(900),
]

MLFLOW, DASHBOARD = "http://127.0.0.1:5000", "http://127.0.0.1:8265"
SWEEP = "tuning sweep net.py:Net --data net.py:points --cohort 1 --gpus-per-trial 1 --early-stopping none"
DOCUMENTATION = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What `ray up` makes of the file, seen from the user's machine, with ports forwarded by `ray attach`."""
    with site(tmp_path_factory.mktemp("site")) as found:
        found.ray("get-auth-token --generate")
        checked = found.user.run(f"{BIN}/tuning cluster check {found.file}")
        assert "is fit for: ray up" in checked
        found.ray(f"up -y {found.file}")
        attached = found.user.popen(f"{BIN}/ray attach {found.file} --port-forward 5000 --port-forward 8265")
        yield found
        attached.kill()


def runs(cluster: Site, sweep: str) -> list[dict[str, Any]]:
    """The sweep's runs as MLflow shows them to the user: state, host and GPU of each trial."""
    found: list[dict[str, Any]] = cluster.outside(
        f"""
        from mlflow import MlflowClient
        client = MlflowClient("{MLFLOW}")
        experiments = [one.experiment_id for one in client.search_experiments()]
        wanted = "tags.`tuning.sweep` = '{sweep}' and tags.`tuning.kind` = 'trial'"
        runs = client.search_runs(experiments, wanted)
        found = [{{"trial": run.data.tags["tuning.trial"], "status": run.info.status,
                  "host": run.data.tags["tuning.host"], "gpu": run.data.tags["tuning.gpus"]}} for run in runs]
        """
    )
    return found


def test_every_host_comes_up_with_its_versions_its_gpus_and_the_storage(cluster: Site) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while len((found := cluster.facts("tuning cluster check --address auto"))["nodes"]) < 3:
        assert time.monotonic() < end_s, cluster.head.run("cat /tmp/ray/session_latest/logs/monitor.out")
    nodes = {node["host"]: node for node in found["nodes"]}
    assert {host: node["gpus"] for host, node in nodes.items()} == {"head": 1, "worker-1": 1, "worker-2": 2}
    assert all(node["sees_storage"] for node in nodes.values()) and found["findings"] == []


def test_who_has_no_token_is_refused(cluster: Site) -> None:
    submit = f"job submit --address {DASHBOARD} -- true 2>&1"
    refused = cluster.user.run(f"RAY_AUTH_MODE=disabled {BIN}/ray {submit}", code=1)
    assert "Missing authentication token" in refused
    refused = cluster.user.run(f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN=another {BIN}/ray {submit}", code=1)
    assert "Invalid authentication token" in refused
    join = f"RAY_AUTH_MODE=disabled {BIN}/ray start --address {cluster.head.address}:6379 2>&1"
    assert cluster.user.run(f"{join}; echo ended with $?").endswith("ended with 1\n")
    sweep = "cd /tmp && RAY_AUTH_MODE=disabled tuning sweep net --address auto"
    message = [line for line in cluster.on_head(sweep, code=2).splitlines() if line.startswith("error: ")]
    assert len(message) == 1 and "token" in message[0]


def test_a_sweep_by_address_trains_ones_own_model_on_every_gpu_of_every_host(cluster: Site) -> None:
    cluster.ray(f"rsync-up {cluster.file} {PROJECT}/ project/")
    facts = cluster.facts(f"cd project && {SWEEP} --name own --address auto --trials 12 --epochs 2")
    assert facts["states"] == {"completed": 12}
    found = runs(cluster, "own")
    assert {(run["host"], run["gpu"]) for run in found} == {
        ("head", "0"),
        ("worker-1", "0"),
        ("worker-2", "0"),
        ("worker-2", "1"),
    }
    assert sorted(int(run["trial"]) for run in found) == list(range(12))
    assert {run["status"] for run in found} == {"FINISHED"}
    cluster.on_head("tuning doctor own")


def test_the_sweep_that_the_documentation_shows_shares_gpus_and_trains_in_cohorts(cluster: Site) -> None:
    (line,) = re.findall(r"^ +(tuning sweep net.py:Net .* --address auto)$", DOCUMENTATION, re.MULTILINE)
    assert "--gpus-per-trial 0.25" in line and "--cohort" not in line
    facts = cluster.facts(f"cd project && {line} --name shared")
    assert sum(facts["states"].values()) == 256 and facts["states"].keys() <= {"completed", "pruned"}
    found = runs(cluster, "shared")
    assert sorted(int(run["trial"]) for run in found) == list(range(256))
    assert {run["host"] for run in found} == {"head", "worker-1", "worker-2"}
    workers = cluster.workers("shared")
    assert max(map(len, workers.values())) > 1, "several workers on one GPU"
    told = cluster.facts("tuning status shared")
    assert told["cost"]["gpu_hours_saved_by_cohorts"] > 0
    assert told["cost"]["gpu_hours_saved_by_early_stopping"] > 0
    cluster.on_head("tuning doctor shared")


def test_what_a_job_has_found_outlives_its_folder(cluster: Site) -> None:
    job = f"job submit --address {DASHBOARD} --working-dir {PROJECT}"
    sweep = f"{SWEEP} --name job --trials 4 --epochs 2"
    cluster.user.run(f"RAY_AUTH_MODE=token {BIN}/ray {job} -- {sweep} 2>&1")
    spec = cluster.on_head("cat ~/sweeps/job/spec.yaml")
    folder = next(line for line in spec.splitlines() if line.startswith("model: ")).split()[1]
    assert "/working_dir_files/" in folder
    cluster.on_head(f"until [ ! -e {folder.rpartition('/')[0]} ]; do sleep 1; done")
    cluster.on_head("tuning doctor job")
    again = cluster.user.run(f"RAY_AUTH_MODE=token {BIN}/ray {job} -- {sweep} --trials 6 2>&1")
    assert "6/6 trials ended" in again
    found = runs(cluster, "job")
    assert len(found) == 6 and len({(run["host"], run["gpu"]) for run in found}) > 2, "on several hosts' GPUs"


def test_the_clusters_mlflow_server_comes_back_and_gives_way_to_a_new_one(cluster: Site) -> None:
    answers = "until (: < /dev/tcp/127.0.0.1/5000) 2>/dev/null; do sleep 0.5; done"
    processes = "pgrep -f '[u]vicorn.*--port 5000' | sort | tr '\\n' ' '"
    before = set(cluster.head.run(processes).split())
    assert before
    cluster.head.run(
        f'kill -KILL {" ".join(before)}; until [ -n "$({processes})" ]; do sleep 0.5; done; {answers}'
    )
    second = set(cluster.head.run(processes).split())
    assert second and not second & before
    assert len(runs(cluster, "job")) == 6
    cluster.on_head(f"~/tuning/cluster/mlflow.sh start; sleep 2; {answers}")
    third = set(cluster.head.run(processes).split())
    assert third and not third & second, "the one before has ended"
    assert len(runs(cluster, "job")) == 6


def test_the_best_model_is_loaded_outside_from_the_server_alone(cluster: Site) -> None:
    found = cluster.outside(
        f"""
        import torch, tuning
        from net import Net
        best = tuning.load_best("job", tracking_uri="{MLFLOW}", model=Net)
        found = {{"value": best.trial.value, "shape": list(best.model(torch.zeros(5, 1)).shape)}}
        """
    )
    facts = cluster.facts("tuning best job")
    assert found == {"value": pytest.approx(facts["value"]), "shape": [5, 1]}
    cluster.user.run(f"test ! -e {SHARED}/tuning")
    cluster.on_head(f"test -e {facts['checkpoint']}")


def test_a_host_that_is_cut_off_and_one_that_comes_leave_nothing_out(cluster: Site) -> None:
    ended: list[dict[str, Any]] = []
    sweep = f"cd project && {SWEEP} --name cut --address auto --trials 12 --epochs 4 --set seconds=0.5"
    running = threading.Thread(target=lambda: ended.append(cluster.facts(sweep)))
    running.start()
    until_reported = "until grep -q intermediate ~/sweeps/cut/study.journal; do sleep 0.5; done"
    cluster.on_head(f"{until_reported}; touch {SHARED}/hold")
    cluster.network.cut("worker-1")
    join(cluster, add(cluster.network, "worker-3"))
    in_use = f"until test -e {SHARED}/waits-on-worker-3; do sleep 0.5; done"
    cluster.on_head(f"{in_use}; rm {SHARED}/hold")
    running.join()
    (facts,) = ended
    assert facts["states"] == {"completed": 12}
    found = runs(cluster, "cut")
    assert sorted(int(run["trial"]) for run in found) == list(range(12))
    assert {run["status"] for run in found} == {"FINISHED"}
    assert {run["host"] for run in found} >= {"head", "worker-2", "worker-3"}
    cluster.on_head("tuning doctor cut")


def join(cluster: Site, new: hosts.Host) -> None:
    """Bring one more host in while sweeps run, as docs/cluster.md says."""
    ssh = "ssh -i ~/ray_bootstrap_key.pem -o StrictHostKeyChecking=accept-new"
    declares = "--num-cpus=1 --num-gpus=1 --object-store-memory=200000000"
    start = f"ray start {declares} --address={cluster.head.address}:6379"
    cluster.head.run(
        f"""
        mkdir -p ~/.ssh
        rsync -aR --exclude .venv -e '{ssh}' ~/./tuning ~/./tuning.env ~/./.ray/auth_token {new.address}:
        {ssh} {new.address} 'make -C ~/tuning .venv/installed && . ~/tuning.env && {start}'
        """
    )


def test_ray_down_leaves_nothing_running(cluster: Site) -> None:
    cluster.ray(f"down -y {cluster.file}")
    cluster.on_head("~/tuning/cluster/mlflow.sh stop")
    for name in ("head", "worker-2", "worker-3"):  # workers end by themselves, their head is gone
        ours = "[g]cs_server|[r]aylet/raylet|[m]lflow server"
        cluster.network.hosts[name].run(f"while pgrep -f '{ours}' >/dev/null; do sleep 1; done")
