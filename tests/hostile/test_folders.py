"""What lies in a sweep's folder may come from elsewhere: no study mixes with another, and no code is run."""

import fcntl
import json
import pickle
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tuning
from tests.hostile.planted import ID, SPEC, Payload, Refused
from tuning.cli import main
from tuning.study import Study


def another(folder: Path, **changes: Any) -> bytes:
    """Return the journal of another sweep, of one trial."""
    Study(replace(SPEC, **changes), folder / "another.journal", write=True).ask()
    return (folder / "another.journal").read_bytes()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("create table studies (name text)")
    return (folder / "study.db").read_bytes()


STUDIES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "of another name": (lambda folder: another(folder, name="other", id="another"), "it is of 'other'"),
    "of another id": (lambda folder: another(folder, id="another"), "with the id another"),
    "of another search": (
        lambda folder: another(folder, id=None, search={"weight_decay": tuning.Float(0.1, 0.2)}),
        "that searches weight_decay",
    ),
    "a database": (database, "is no journal"),
    "a pickle": (lambda folder: pickle.dumps(Payload(folder / "trace")), "is no journal"),
    "text": (lambda _: b"years of work\n", "is no journal"),
    "records of something else": (lambda _: b'{"a": 1}\n', "cannot be read"),
    "no records": (lambda _: b"{}\n5\n", "cannot be read"),
}


@pytest.mark.parametrize(("make", "message"), STUDIES.values(), ids=STUDIES)
def test_a_study_that_is_not_the_sweeps_is_neither_read_nor_changed(
    demo: Path, tmp_path: Path, refused: Refused, make: Callable[[Path], bytes], message: str
) -> None:
    journal = demo / "study.journal"
    journal.write_bytes(make(tmp_path))
    before = journal.read_bytes()
    with pytest.raises(tuning.SweepError, match=message):
        Study(SPEC, journal, write=True)
    refused(["status", "demo"], "study.journal", code=1)
    refused(["resume", "demo"], "study.journal", code=1)
    refused(["export", "demo", "--to", "model.pt"], "study.journal", code=1)
    assert journal.read_bytes() == before


def test_a_study_of_an_earlier_version_is_given_the_sweeps_id(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    Study(replace(SPEC, id=None), journal, write=True).ask()
    assert len(Study(SPEC, journal, write=True).trials()) == 1
    with pytest.raises(tuning.SweepError, match=f"with the id {ID}, not another"):
        Study(replace(SPEC, id="another"), journal, write=True)


# ---- specs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "its name is 'other'"),
        ({"name": "../demo"}, "1 to 100 letters"),
        ({"id": "../../../x"}, "`id` must be a sweep's UUID, but got '../../../x'"),
        ({"id": ["x"]}, "`id` must be"),
        ({"id": None}, "leaves open"),
        ({"search": None}, "leaves open"),
        ({"mode": None}, "leaves open"),
    ],
)
def test_a_spec_that_the_sweep_did_not_keep_is_refused(
    demo: Path, refused: Refused, change: dict[str, Any], message: str
) -> None:
    kept = yaml.safe_load((demo / "spec.yaml").read_text())
    (demo / "spec.yaml").write_text(yaml.safe_dump(kept | change))
    refused(["status", "demo"], message, code=2)
    refused(["resume", "demo"], message, code=2)


def test_asking_how_a_sweep_stands_imports_nothing_that_its_spec_names(
    demo: Path, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (demo / "evil.py").write_text(f"open({str(trace)!r}, 'w')")
    kept = yaml.safe_load((demo / "spec.yaml").read_text())
    (demo / "spec.yaml").write_text(yaml.safe_dump(kept | {"model": f"{demo}/evil.py:Net"}))
    assert main(["status", "demo"]) == 0
    assert capsys.readouterr().out != ""
    assert not trace.exists()


# ---- what a driver leaves ----------------------------------------------------------------------

SIZING = {"size": 4, "why": "w", "device": "d", "asked": [1, 4], "measured": [], "gpus": None}


@pytest.mark.parametrize(
    "content",
    [
        *("", "5", "[]", "[" * 100_000, '{"size": 4}'),
        *(
            json.dumps(SIZING | change)
            for change in (
                {"size": "many"},
                {"size": 0},
                {"size": 2.5},
                {"gpus": 0},
                {"gpus": "x"},
                {"why": 5},
                {"asked": ["../x"]},
                {"measured": [{"size": 1, "trials_per_s": "x", "memory_bytes": 1}]},
                {"evil": 1},
            )
        ),
    ],
)
def test_a_forged_cohort_size_is_as_if_none_was_measured(
    demo: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (demo / "cohort.json").write_text(content)
    assert main(["status", "demo"]) == 0
    assert "not measured yet" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"5", b"[]", b"\xff", b"[" * 100_000, b'{"pid": 1}'])
def test_a_forged_holder_of_the_lock_is_somebody(
    demo: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (demo / "driver.lock").write_bytes(content)
    with open(demo / "driver.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["status", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["driver"] == "another process"


def test_what_a_holder_calls_itself_does_nothing_to_the_terminal(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (demo / "driver.lock").write_text(json.dumps({"pid": 7, "host": "a\n\x1b[2Jb"}))
    with open(demo / "driver.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["status", "demo"]) == 0
    assert "process 7 on host a \\x1b[2Jb\n" in capsys.readouterr().out


def test_a_folder_in_the_place_of_the_lock_is_nobody(demo: Path) -> None:
    (demo / "driver.lock").mkdir()
    assert main(["status", "demo"]) == 0
