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
echo "0, 87, 3120, 81559"
echo "1, [N/A], [N/A], [N/A]"
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


def test_the_use_of_gpus_elsewhere_is_shown_as_their_workers_told(watch: Watch, driver: Driver) -> None:
    use = [{"host": "far", "gpu": str(gpu), "busy": gpu, "used": 1000, "total": 80000} for gpu in range(12)]
    file = ledger.open_sweep("demo").paths.gpu_use
    file.parent.mkdir()

    def tell() -> None:
        driver.place("far, GPU 0")
        gpus.Told(file).keep({"use": use})

    _, line, last = (json.loads(line) for line in watch("--json", steps=[tell]).splitlines())
    assert sorted(line["gpus"], key=lambda one: one["busy"]) == use and last["gpus"] == []
    lines = [*watching.gpu_lines(use)]
    assert lines[0] == "far, GPU 0: 0 % busy, 1,000 of 80,000 MiB"
    assert lines[8:] == ["4 more GPUs: 10 % busy on average"], "of a thousand not each has a line"


def test_what_workers_tell_is_kept_now_and_then_and_not_being_kept_hurts_nobody(tmp_path: Path) -> None:
    told = gpus.Told(tmp_path / "gpus.json")
    one = {"host": "far", "gpu": "0", "busy": 1, "used": 1, "total": 2}
    told.keep({"use": [one]})
    told.keep({"use": [{**one, "gpu": "1"}]})
    assert gpus.told(tmp_path / "gpus.json") == [one], "not with each message"
    gpus.Told(tmp_path / "gone" / "gpus.json").keep({"use": [one]})
    (tmp_path / "gpus.json").write_text("[{")
    assert gpus.told(tmp_path / "gpus.json") == []


@pytest.mark.parametrize(("shown", "expected"), [("", []), ("0", ["0"]), ("1,0", ["0", "1"]), ("7", [])])
def test_a_worker_tells_of_its_own_gpus(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, shown: str, expected: list[str]
) -> None:
    gpus.seen.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    end_s = time.monotonic() + 30
    while not gpus.seen()["use"]:  # its thread looks beside the training
        assert time.monotonic() < end_s
        time.sleep(0.01)
    told = decode(Message().encode(0.0)[KEY]).worker["use"]
    assert [one["gpu"] for one in told] == expected
