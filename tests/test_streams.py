"""Where a driver prints while its sweep runs."""

import os
import sys
from pathlib import Path

import pytest

from tuning.streams import everything_to


def test_what_libraries_print_goes_to_the_log_however_they_print(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with everything_to(tmp_path / "deep" / "sweep.log") as screen:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        os.write(1, b"from C to 1\n")
        os.write(2, b"from C to 2\n")
        print("for the user", file=screen, flush=True)
    print("after")
    shown = capfd.readouterr()
    assert shown.out == "after\n" and shown.err == "for the user\n"
    logged = (tmp_path / "deep" / "sweep.log").read_text().splitlines()
    assert sorted(logged) == ["from C to 1", "from C to 2", "to stderr", "to stdout"]
