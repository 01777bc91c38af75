"""How busy GPUs are: those of this host as nvidia-smi says, others as their workers tell."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from tests.watching.drivers import Driver, Watch
from tuning import gpus, ledger, watching
from tuning.schedule.messages import KEY, Message, decode

SMI = """#!/bin/sh
ids=,0,1,
for word; do case "$word" in --id=*) ids=",${word#--id=},";; esac; done
code=6
case $ids in *,0,*) code=0; echo "0, 87, 3120, 81559";; esac
case $ids in *,1,*) code=0; echo "1, [N/A], [N/A], [N/A]";; esac
exit $code
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that answers as the real one does of two GPUs, one of them cut into instances."""
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def test_the_use_of_gpus_is_shown_where_workers_have_those_of_this_host(
    watch: Watch, driver: Driver, nvidia_smi: Path
) -> None:
    here = [driver.place, lambda: driver.place(f"{socket.gethostname()}, GPU 0"), lambda: None]
    lines = [json.loads(line) for line in watch("--json", steps=here).splitlines()]
    host = socket.gethostname()
    found = [
        {"host": host, "gpu": "0", "busy": 87, "used": 3120, "total": 81559},
        {"host": host, "gpu": "1", "busy": None, "used": None, "total": None},
    ]
    assert [one["gpus"] for one in lines] == [[], [], found, []]
    told = [f"{host}, GPU 0: 87 % busy, 3,120 of 81,559 MiB", f"{host}, GPU 1: not known"]
    assert [*map(gpus.describe, found)] == told


def use_of(gpu: int) -> dict[str, object]:
    return {"host": "far", "gpu": str(gpu), "busy": gpu, "used": 1000, "total": 80000}


def test_the_use_of_gpus_elsewhere_is_shown_as_those_who_train_there_told(
    watch: Watch, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "KEEP_S", 0.0)
    told = gpus.Told(ledger.open_sweep("demo").paths.gpu_use)
    ledger.open_sweep("demo").paths.gpu_use.parent.mkdir()

    def tell() -> None:
        driver.place("far, GPU 0")
        told.keep("far, GPU 0", [use_of(0)])
        told.keep("gone, GPU 0", [use_of(1)])

    steps = [tell, lambda: told.keep("far, GPU 0", []), lambda: driver.report(1)]
    *lines, last = (json.loads(line) for line in watch("--json", steps=steps).splitlines())
    assert [one["gpus"] for one in lines] == [[], [use_of(0)], []], "none of whom nobody heard again"
    assert last["gpus"] == []


def test_of_many_gpus_not_each_has_a_line() -> None:
    lines = [*watching.gpu_lines([use_of(gpu) for gpu in range(12)])]
    assert lines[0] == "far, GPU 0: 0 % busy, 1,000 of 80,000 MiB"
    assert lines[8:] == ["4 more GPUs: 10 % busy on average"]
    unknown = {**use_of(0), "busy": None}
    assert [*watching.gpu_lines([unknown] * 9)][8:] == ["1 more GPUs"]


def test_what_workers_tell_is_kept_now_and_then_and_not_being_kept_hurts_nobody(tmp_path: Path) -> None:
    file, where = tmp_path / "gpus.json", {"far, GPU 0", "far, GPU 1"}
    told = gpus.Told(file)
    for gpu in (0, 1):
        told.keep(f"far, GPU {gpu}", [use_of(gpu)])
    assert gpus.told(file, where) == [use_of(0)], "not with each message"
    gpus.Told(tmp_path / "gone" / "gpus.json").keep("far, GPU 0", [use_of(0)])
    file.write_text('{"far')
    assert gpus.told(file, where) == []


@pytest.mark.parametrize(("shown", "expected"), [("", []), ("0", ["0"]), ("0,1", ["0", "1"])])
def test_a_worker_tells_of_its_own_gpus(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, shown: str, expected: list[str]
) -> None:
    gpus.seen.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    end_s = time.monotonic() + 30
    while [one["gpu"] for one in gpus.of_worker()] != expected:  # a thread looks beside the training
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert decode(Message().encode(0.0)[KEY]).worker["use"] == gpus.use(shown)[: len(expected)]


def test_of_gpus_that_are_not_there_nothing_is_told(nvidia_smi: Path) -> None:
    assert gpus.use("7") == []
