"""A folder that loses its write permission under a sweep: one message, nothing lost, and it goes on."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos import driver, ledger

AS_A_USER = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]
"""Root may write whatever the permissions say, unless it is started without the right to."""


@contextmanager
def started(folder: Path, place: str | None) -> Iterator[driver.Driver]:
    """Start a sweep, bound by permissions, to stop at `place`."""
    home, stops = folder / "home", folder / f"stops-{place}"
    home.mkdir(exist_ok=True)
    stops.mkdir()
    spec = folder / "spec.yaml"
    spec.write_text(json.dumps({**driver.SPEC, "cohort": 3}))
    with open(stops / "output", "w") as output:
        process = subprocess.Popen(
            [*(AS_A_USER if os.geteuid() == 0 else []), sys.executable, "-m", "tuning", "sweep", str(spec)],
            cwd=folder,
            env={**driver.armed(place, 1, stops), "TUNING_HOME": str(home)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    found = driver.Driver(process, home, stops)
    try:
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize(
    ("what", "place"),
    [
        (".", "mid-epoch"),
        pytest.param("study.journal", "mid-epoch", marks=pytest.mark.chaos),
        pytest.param("resume", "replace-resume", marks=pytest.mark.chaos),
    ],
)
def test_a_permission_that_is_gone_ends_a_sweep_with_one_message_and_it_can_go_on(
    tmp_path: Path, what: str, place: str
) -> None:
    with started(tmp_path, place) as first:
        first.wait_until(place)
        path = first.home / "chaos" / what
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode & ~0o222)
        first.go()
        code = first.end()
        path.chmod(mode)
    said = first.output()
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 1 and "Traceback" not in said, said
    assert "Permission denied" in error and str(path) in error and "`tuning resume chaos`" in error, error
    with started(tmp_path, None) as second:
        assert second.end() == 0, second.output()
    ledger.assert_nothing_is_lost(second.home, "cohort")
