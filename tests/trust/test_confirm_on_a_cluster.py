"""A sweep's trials trained again on a worker of its cluster: the head that keeps the study has no GPU."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import trusted
from tests.conftest import REPOSITORY
from tests.trust.confirmations import kept
from tuning import ledger
from tuning.cli import main
from tuning.errors import RequestError, SweepError
from tuning.references import load_data
from tuning.schedule import errand
from tuning.sizing import NOT_MEASURED, Sizing
from tuning.spec import Resources, SweepSpec

DATA = load_data("noisy_square", seed=0)
SPEC = SweepSpec(model="net", data="noisy_square", resources=Resources(cpus=1, gpus=0))


def test_what_is_trained_on_a_cluster_comes_to_what_it_comes_to_here(
    swept_to_trust: Path, tmp_path: Path, ray_cluster: Any
) -> None:
    here, there = (trusted.copied(swept_to_trust, tmp_path / name) for name in ("here", "there"))
    words = ["confirm", "together", "--top", "2", "--seeds", "2", "--home"]
    code = main([*words, str(here)])
    command = [sys.executable, "-m", "tuning", *words, str(there), "--address", ray_cluster.address]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == code < 2, done.stderr
    first, second, *_ = done.stderr.splitlines()
    where = f"on the cluster at {ray_cluster.address}, as soon as a worker is free: "
    assert first == f"{where}cpus=1, gpus=0"
    assert second.startswith("2 trials, 2 fresh seeds each, ")
    for one, other in zip(kept(here).trials, kept(there).trials, strict=True):
        assert one.trial == other.trial
        assert one.values == pytest.approx(other.values, rel=1e-3)
    assert ledger.open_sweep("together", str(there)).confirmation is not None


def test_a_worker_there_has_what_those_of_the_sweep_had(ray_cluster: Any) -> None:
    open_, measured = SweepSpec(model="net"), Sizing(size=1, why="", device="", gpus=0.5)
    assert errand.sized(open_, NOT_MEASURED).resources.gpus == 0.25, "the nodes have GPUs"
    assert errand.sized(open_, measured).resources.gpus == 0.5
    assert errand.sized(SPEC, measured).resources.gpus == 0
    with pytest.raises(RequestError, match="cpus=99, gpus=0, but no node has that"):
        errand.sized(replace(SPEC, resources=Resources(cpus=99, gpus=0)), measured)


def raising(*_: Any) -> Iterator[str]:
    yield "begun"
    raise SweepError("Trial 3 with fresh seed 1 failed")


def dying(*_: Any) -> Iterator[str]:
    import os

    yield "begun"
    os._exit(1)


def test_what_goes_wrong_there_is_told_here(ray_cluster: Any) -> None:
    heard = errand.events(raising, SPEC, 0, DATA)
    assert next(heard) == "begun"
    with pytest.raises(SweepError, match=r"^Trial 3 with fresh seed 1 failed$"):
        next(heard)


def test_a_worker_that_is_lost_is_an_error_with_a_way_out(ray_cluster: Any) -> None:
    with pytest.raises(SweepError, match=r"^The worker on the cluster was lost: .*; repeat the command\.$"):
        list(errand.events(dying, SPEC, 0, DATA))
