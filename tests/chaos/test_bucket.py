"""Checkpoints and resume states in a bucket, by the client that a cluster on AWS has: none is lost."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.s3 import s3_backends
from moto.server import ThreadedMotoServer

import tuning
from tests.chaos import driver, ledger, processes
from tests.chaos.conftest import Undisturbed
from tests.chaos.matrix import MODES, PLACES
from tuning.ledger import open_sweep

BUCKET = "sweeps"
STORAGE = f"s3://{BUCKET}/of-a-user"


@dataclass
class Store:
    """A server of S3's interface, which keeps what it has while nobody listens."""

    port: int = 0

    def listen(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def leave(self) -> None:
        self._server.stop()

    @property
    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")

    def names(self) -> list[str]:
        """Return the objects of the sweep, below its folder."""
        return [_below(key) for key in self._keys()]

    def fetch(self, folder: Path) -> None:
        """Put the sweep's objects where they would lie without a bucket."""
        for key in self._keys():
            file = folder / _below(key)
            file.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(BUCKET, key, str(file))

    def _keys(self) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def _below(key: str) -> str:
    return key.removeprefix("of-a-user/").partition("/")[2]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-a-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    found = Store()
    found.listen()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
    found.client.create_bucket(Bucket=BUCKET)
    yield found
    found.leave()
    s3_backends.reset()  # the server's, which lives in this process


def assert_nothing_is_lost(store: Store, home: Path) -> None:
    doctor = [sys.executable, "-m", "tuning", "doctor", "chaos", "--home", str(home)]
    visit = subprocess.run(doctor, capture_output=True, text=True)
    assert visit.returncode == 0, visit.stdout + visit.stderr
    trials = [f"checkpoints/trial-{number:05d}" for number in range(driver.TRIALS)]
    files = sorted(f"{trial}.{kind}" for trial in trials for kind in ("json", "pt"))
    assert store.names() == ["attempt", *files], "a resume state is left"
    assert not (home / "chaos/checkpoints").exists(), "nothing but the bucket has them"
    best = tuning.load_best("chaos", home=str(home)).trial
    assert best.value == open_sweep("chaos", str(home)).trials[best.number].value
    store.fetch(home / "chaos")
    ledger.assert_nothing_is_lost(home, "cohort")


@pytest.mark.parametrize("victim", ["worker", pytest.param("driver", marks=pytest.mark.chaos)])
def test_what_is_killed_goes_on_from_the_bucket(
    store: Store, tmp_path: Path, victim: str, undisturbed: Undisturbed
) -> None:
    keys = {"storage": STORAGE, **MODES["cohort"]}
    with driver.started(tmp_path, place="mid-epoch", count=PLACES["mid-epoch"], **keys) as one:
        worker = one.wait_until("mid-epoch")
        assert any(name.startswith("resume/") for name in store.names()), "there is something to lose"
        victims = {worker} if victim == "worker" else set(one.find(victim))
        processes.kill(victims)
        one.go()
        if victim == "worker":
            assert one.end() == 0, one.output()
    if victim == "driver":
        with driver.started(tmp_path, **keys) as one:
            assert one.end() == 0, one.output()
    assert_nothing_is_lost(store, one.home)
    assert ledger.trained(one.home) == undisturbed("cohort")


@pytest.mark.chaos
def test_a_bucket_that_nobody_answers_for_ends_a_sweep_with_one_message_and_it_can_go_on(
    store: Store, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    keys = {"storage": STORAGE, **MODES["cohort"]}
    with driver.started(tmp_path, place="mid-epoch", count=PLACES["mid-epoch"], **keys) as one:
        one.wait_until("mid-epoch")
        store.leave()
        one.go()
        assert one.end() == 1, one.output()
    said = one.output()
    assert "Traceback" not in said and said.count("error: ") == 1, said
    assert STORAGE in said and "tuning resume chaos" in said
    store.listen()
    with driver.started(tmp_path, **keys) as one:
        assert one.end() == 0, one.output()
    assert_nothing_is_lost(store, one.home)
    assert ledger.trained(one.home) == undisturbed("cohort")


@pytest.mark.parametrize(
    ("storage", "endpoint", "named"),
    [
        pytest.param("s3://nosuch/x", None, "s3://nosuch/x", id="no bucket"),
        pytest.param(STORAGE, "http://127.0.0.1:9", STORAGE, id="nobody answers", marks=pytest.mark.chaos),
    ],
)
def test_a_bucket_that_cannot_be_written_is_told_of_before_anything_is_trained(
    store: Store,
    tmp_path: Path,
    storage: str,
    endpoint: str | None,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with driver.started(tmp_path, storage=storage, **MODES["cohort"]) as one:
        assert one.end() == 1, one.output()
    said = one.output()
    assert "Traceback" not in said and said.count("error: ") == 1 and named in said, said
    assert not any(trial.values for trial in open_sweep("chaos", str(one.home)).trials)
