"""Where cohorts run: shares of logical GPUs on a real cluster of several nodes."""

import json
import os
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import tuning
from tests import sweeps
from tuning.schedule import resources, worker
from tuning.schedule.connection import Node

MODEL = """
import json, os, time, uuid
import ray
import torch

class Witness(torch.nn.Linear):
    '''Writes down where it trains.'''

    def __init__(self, folder='', seconds=0.0):
        super().__init__(1, 1)
        self.folder, self.seconds = folder, seconds

    def forward(self, x):
        if self.training and self.folder and torch.is_grad_enabled() and len(x) > 4:
            time.sleep(self.seconds)
            # A rank is no process of Ray's: asked there, Ray would look for some cluster of this machine.
            node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ''
            seen = {'pid': os.getpid(), 'gpus': os.environ.get('CUDA_VISIBLE_DEVICES', ''), 'node': node}
            with open(f'{self.folder}/{uuid.uuid4().hex}.json', 'w') as file:
                json.dump(seen, file)
        return super().forward(x)
"""


def witness(
    tmp_path: Path, *, trials: int, seconds: float, gpus: float, **changes: Any
) -> tuple[Any, list[dict[str, Any]]]:
    (tmp_path / "witness.py").write_text(MODEL)
    seen = tmp_path / "seen"
    seen.mkdir()
    result = tuning.sweep(
        tuning.SweepSpec(
            model=f"{tmp_path}/witness.py:Witness",
            data="noisy_square",
            name="witness",
            trials=trials,
            epochs=1,
            batch_size=80,
            search={"lr": tuning.Float(0.01, 0.1)},
            fixed={"folder": str(seen), "seconds": seconds},
            resources=tuning.Resources(cpus=0, gpus=gpus) if gpus else tuning.Resources(cpus=1, gpus=0),
            **changes,
        )
    )
    return result, [json.loads(file.read_text()) for file in seen.iterdir()]


def test_four_quarter_gpu_trials_share_one_gpu(home: Path, ray_cluster: Any, tmp_path: Path) -> None:
    _result, seen = witness(tmp_path, trials=4, seconds=0.1, gpus=0.25, max_concurrent=4)
    assert len(seen) == 4 and len({one["pid"] for one in seen}) == 4, "four workers, one trial each"
    by_gpu = defaultdict(set)
    for one in seen:
        assert one["gpus"] in ("0", "1"), "a share is a share of one GPU"
        by_gpu[one["node"], one["gpus"]].add(one["pid"])
    assert max(len(workers) for workers in by_gpu.values()) > 1, "no two shares lay on the same GPU"
    tags = [run.data.tags["tuning.gpus"] for run in sweeps.read("witness", home).children.values()]
    assert sorted(tags) == sorted(one["gpus"] for one in seen)


def test_trials_of_one_gpu_each_have_it_to_themselves(home: Path, ray_cluster: Any, tmp_path: Path) -> None:
    _, seen = witness(tmp_path, trials=4, seconds=0.1, gpus=1, max_concurrent=4)
    assert len({(one["node"], one["gpus"]) for one in seen}) == 4
    assert {one["gpus"] for one in seen} == {"0", "1"}


def test_a_trial_of_two_gpus_trains_in_two_processes_that_see_both(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    _, seen = witness(tmp_path, trials=2, seconds=0.2, gpus=2, max_concurrent=2)
    assert [sorted(one["gpus"].split(",")) for one in seen] == [["0", "1"]] * 4
    assert len({one["pid"] for one in seen}) == 4


def test_short_trials_keep_all_workers_busy(home: Path, ray_cluster: Any, tmp_path: Path) -> None:
    _, seen = witness(tmp_path, trials=24, seconds=0.02, gpus=0, max_concurrent=2)
    count: dict[int, int] = defaultdict(int)
    for one in seen:
        count[one["pid"]] += 1
    assert len(count) == 2, "24 trials of a few milliseconds need two workers, each used again and again"
    assert min(count.values()) >= 6


NODES = [
    Node(host="head", cpus=2, gpus=0),
    Node(host="big", cpus=16, gpus=4),
    Node(host="small", cpus=4, gpus=1),
]


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers"),
    [
        (1, 0, 22),
        (4, 0, 5),
        (0.5, 0, 44),
        (1, 1, 5),
        (1, 0.25, 20),
        (0, 0.4, 10),
        (1, 2, 2),
        (8, 1, 2),
        (0, 4, 1),
    ],
)
def test_workers_are_counted_node_by_node(cpus: float, gpus: float, workers: int) -> None:
    assert resources.num_workers(tuning.Resources(cpus=cpus, gpus=gpus), NODES) == workers


@pytest.mark.parametrize(("cpus", "gpus"), [(17, 0), (1, 5), (17, 1)])
def test_a_worker_that_no_node_holds_is_refused_with_the_arithmetic(cpus: float, gpus: float) -> None:
    size = tuning.Resources(cpus=cpus, gpus=gpus)
    with pytest.raises(tuning.RequestError, match=rf"cpus={cpus}, gpus={gpus}.*big: cpus=16, gpus=4"):
        resources.num_workers(size, NODES)


def test_gpus_left_open_are_a_share_where_there_are_any() -> None:
    assert resources.chosen(tuning.Resources(), NODES).gpus == 0.25
    assert resources.chosen(tuning.Resources(), NODES[:1]).gpus == 0
    assert resources.chosen(tuning.Resources(gpus=2), NODES).gpus == 2


@pytest.mark.parametrize(
    ("gpus", "capped"),
    [
        (0.25, [(0.225, "cuda:0")]),
        (0.02, [(0.01, "cuda:0")]),
        (1, [(1.0, "cuda:0")]),
        (2, [(1.0, "cuda:0")]),
        (0, []),
    ],
)
def test_a_share_of_a_gpu_is_a_share_of_its_memory(
    gpus: float, capped: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU of 24 GB that is not there; what torch does with the fraction is torch's.

    CUDA's own context comes on top of a worker's tensors.
    """
    calls: list[tuple[float, str]] = []
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")  # so that it is put back
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=24_000_000_000)
    )
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda share, device: calls.append((share, str(device))),
    )
    spec = tuning.SweepSpec(model="net", resources=tuning.Resources(cpus=1, gpus=gpus))
    device = worker.prepare_process(spec)
    assert calls == capped
    assert str(device) == ("cuda:0" if gpus else "cpu"), "whatever its number: Ray shows its own only"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "and the number that is told is nvidia-smi's"
