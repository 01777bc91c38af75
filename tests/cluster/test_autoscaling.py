"""A head without CPU or GPU, and workers that Ray's autoscaler adds when a sweep asks for them.

Ray's own provider of nodes that are processes, in a host of its own: its wheel lacks the provider's defaults.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.cluster import hosts
from tests.cluster.site import BIN

pytestmark = [
    pytest.mark.skipif(hosts.missing() is not None, reason=str(hosts.missing())),
    pytest.mark.timeout(600),
]

HEAD, NODE = "ray.head.default", "f" * 51 + "00000"
PROVIDER = Path(ray.__file__).parent / "autoscaler/_private/fake_multi_node"
EMPTY = (
    "initialization_commands setup_commands head_setup_commands worker_setup_commands cluster_synced_files "
    "head_start_ray_commands worker_start_ray_commands rsync_exclude rsync_filter"
)
ENVIRONMENT = {
    "PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin",
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_enable_autoscaler_v2": "1",  # Ray's default for clusters of its launcher
    "RAY_CLOUD_INSTANCE_ID": NODE,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": NODE,
}

HELD_BACK = """
import time

_create = FakeMultiNodeProvider.create_node_with_resources_and_labels

def _once_they_may(*args, **options):
    while not os.path.exists("{file}"):
        time.sleep(0.2)
    return _create(*args, **options)

FakeMultiNodeProvider.create_node_with_resources_and_labels = _once_they_may
"""
"""Added to Ray's provider: nodes come once there is such a file, as those of a cloud take their time."""


def config(workers: int) -> dict[str, Any]:
    return {
        "cluster_name": "fake",
        "max_workers": workers,
        "upscaling_speed": 100,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "launch_multiple": True,
            "head_node_id": NODE,
            "disable_node_updaters": True,
        },
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu-worker": {
                "resources": {"CPU": 1, "GPU": 1, "object_store_memory": 10**8},
                "node_config": {},
                "min_workers": 0,
                "max_workers": workers,
            },
        },
        "head_node_type": HEAD,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{key: [] for key in EMPTY.split()},
    }


def test_a_sweep_brings_up_all_workers_that_it_can_use_at_once_and_says_what_it_waits_for(
    tmp_path: Path,
) -> None:
    file, disk, may_come = tmp_path / "cluster.json", tmp_path / "head", tmp_path / "may-come"
    file.write_text(json.dumps(config(workers=3)))
    (tmp_path / "held_back.py").write_text(HELD_BACK.format(file=may_come))
    defaults = f"lowerdir={PROVIDER},upperdir={disk}/defaults,workdir={disk}/defaults-work"
    more = f"mkdir {disk}/defaults {disk}/defaults-work; mount -t overlay overlay -o {defaults} {PROVIDER}"
    with hosts.network(tmp_path) as network:
        held_back = f"cat {tmp_path}/held_back.py >> {PROVIDER}/node_provider.py"
        head = network.add("head", more=f"{more}; cp {file} {PROVIDER}/example.yaml; {held_back}")
        start = "ray start --head --num-cpus=0 --num-gpus=0 --object-store-memory=100000000"
        head.run(f"{start} --autoscaling-config={file}", ENVIRONMENT)
        sweep = "tuning sweep net --trials 6 --epochs 2 --cohort 1 --gpus-per-trial 1 --address auto"
        dry = head.run(f"{sweep} --home ~/sweeps --dry-run --json 2>/dev/null", ENVIRONMENT)
        assert json.loads(dry)["workers"] == 3, "what the autoscaler may add counts as there"
        # None has come by then: all are asked for at once.
        waited = "waiting for nodes: 3 workers of cpus=1, gpus=1 are asked for; 3 gpu-worker coming"
        head.run(
            f"""
            {sweep} --home ~/sweeps > ~/said 2>&1 &
            until grep -qF '{waited}' ~/said; do kill -0 $! || {{ cat ~/said; exit 1; }}; sleep 0.5; done
            touch {may_come}
            wait $!
            """,
            ENVIRONMENT,
        )
        said = head.run("cat ~/said")
        assert re.search(r"net: .*of 6 in", said)
        head.run(
            "until ray status | grep -q '(no active nodes)' && ! ray status | grep -q ' gpu-worker$'; "
            "do sleep 2; done",
            ENVIRONMENT,
        )
