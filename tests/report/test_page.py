"""The page: one file that loads nothing, stays small, and lets nothing out of its quotes."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.offline
import pytest

from tests.report import made_up
from tests.report.made_up import trial
from tuning.errors import RequestError
from tuning.ledger import Sweep
from tuning.records import State
from tuning.report import write
from tuning.report.sample import sample
from tuning.space import Choice

VERSIONS = {"python": "3.11.7", "torch": "2.15.0"}


class Parsed(HTMLParser):
    """The tags of a page, its texts outside of scripts, and its data by the script's id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data: dict[str, Any] = {}
        self._at: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._at = tag, dict(attrs)
        self.tags.append(self._at)

    def handle_endtag(self, tag: str) -> None:
        self._at = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attributes = self._at
        if tag == "script" and attributes.get("type") == "application/json":
            self.data[str(attributes["id"])] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def rendered(sweep: Sweep) -> str:
    return write.render(sweep, made_at_s=made_up.START_S, versions=VERSIONS)


@pytest.fixture(scope="module")
def many() -> Sweep:
    """A sweep of 10,000 trials with 16 hyperparameters, in three cohorts each."""
    more = made_up.more_hyperparameters(13)
    trials = made_up.search(10_000, more=more, parts=3)
    return made_up.sweep(trials, search={**made_up.SEARCH, **more})


@pytest.fixture(scope="module")
def large(many: Sweep) -> str:
    return rendered(many)


def test_the_page_loads_nothing_and_forbids_it(large: str) -> None:
    page = Parsed(large)
    assert large.count(plotly.offline.get_plotlyjs()) == 1
    loaded = [(tag, found) for tag, found in page.tags if {"src", "href", "data", "srcset"} & set(found)]
    assert loaded == [] and not {"link", "iframe", "img", "object", "base"} & {tag for tag, _ in page.tags}
    (policy,) = [found["content"] for tag, found in page.tags if tag == "meta" and "http-equiv" in found]
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy
    own = large.replace(plotly.offline.get_plotlyjs(), "")
    assert "@import" not in own and "url(" not in own and "fetch(" not in own


def test_a_page_of_ten_thousand_trials_is_small_and_says_that_it_is_a_sample(large: str) -> None:
    assert len(large.encode()) < 10_000_000
    page = Parsed(large)
    assert "Figures draw 1,000 of the 10,000 trials: the best" in page.text
    marks = [one for one in page.data["history-data"]["data"] if one["name"] != "best so far"]
    assert sum(len(one["text"]) for one in marks) == 1000
    assert len(page.data["table-data"]["rows"]) == 10_000, "the table has them all"


def test_a_page_of_long_trials_on_many_workers_is_small_too() -> None:
    more = made_up.more_hyperparameters(13)
    trials = made_up.search(10_000, epochs=200, workers=64, more=more, parts=4)
    ended = [
        replace(
            trial,
            state=State.COMPLETED,
            values={epoch: 1 / (trial.number + epoch) for epoch in range(1, 201)},
        )
        for trial in trials
    ]
    sweep = made_up.sweep(ended, epochs=200, early_stopping=made_up.NONE, search={**made_up.SEARCH, **more})
    assert len(rendered(sweep).encode()) < 10_000_000


def test_counts_and_the_best_are_of_all_trials_also_of_those_that_are_not_drawn(
    large: str, many: Sweep
) -> None:
    text = Parsed(large).text
    for state in (State.COMPLETED, State.PRUNED, State.DIVERGED):
        assert f"{sum(one.state is state for one in many.trials)} {state.value}" in text
    best = many.best
    assert best is not None and f"The best is trial {best.number} : val_loss {best.value:.5g}" in text


def test_the_same_sweep_makes_the_same_page() -> None:
    one, other = (rendered(made_up.sweep(made_up.search(1500))) for _ in range(2))
    assert one == other


def test_a_small_sweep_is_drawn_whole() -> None:
    page = Parsed(rendered(made_up.sweep([trial(i, [0.5, 0.4 + i]) for i in range(5)])))
    assert "Figures draw" not in page.text
    assert len(page.data["curves-data"]["data"]) == 6, "a line each, and the marks at their ends"
    assert "completed" in page.text and "5 of 5 trials" in page.text


def test_the_page_says_all_that_is_needed_to_repeat_the_sweep() -> None:
    page = Parsed(rendered(made_up.sweep([trial(0, [0.5])], seed=7)))
    for found in ("f1n9e7", "python 3.11.7, torch 2.15.0", "seed: 7", "2023-11-14 22:13:20 UTC", "lr:"):
        assert found in page.text
    assert "model: net" in page.text and "low: 0.0001" in page.text


def test_the_table_has_a_row_per_trial_with_what_it_was() -> None:
    failed = trial(1, [], State.FAILED, cause="Traceback\nValueError: no", where="host, GPU 0")
    table = Parsed(rendered(made_up.sweep([trial(0, [0.5, 0.25]), failed]))).data["table-data"]
    first, second = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
    assert first == {
        "trial": 0,
        "state": "completed",
        "val_loss": 0.25,
        "best epoch": 2,
        "epochs": 2,
        "lr": 0.01,
        "momentum": 0.9,
        "optimizer": "sgd",
        "seconds": None,
        "where": None,
        "cause": None,
    }
    assert (second["val_loss"], second["cause"], second["where"]) == (None, "ValueError: no", "host, GPU 0")


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--",
    "'\"&lt;",
    "\u2028\u2029",
    "%{x}<a href='javascript:alert(1)'>",
    "\ud800",
)


@pytest.mark.parametrize("evil", HOSTILE)
def test_whatever_a_name_holds_stays_a_text(evil: str) -> None:
    hyperparameters = {"lr": 0.1, "act": evil}
    trials = [trial(i, [0.5, 0.4 / (i + 1)], hyperparameters=hyperparameters, where=evil) for i in range(3)]
    trials.append(trial(3, [], State.FAILED, cause=evil, hyperparameters={**hyperparameters, "act": "b"}))
    trials[0] = trial(0, [0.4], hyperparameters=hyperparameters, spans=(made_up.span(0, 1, where=evil),))
    sweep = made_up.sweep(trials, model=f"a.py:{evil}", search={"act": Choice((evil, "b"))})
    page = Parsed(rendered(sweep).encode("utf-8", errors="replace").decode())
    plain = Parsed(rendered(made_up.sweep([trial(i, [0.5, 0.4]) for i in range(4)], search={})))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags} | {"br"}
    assert sum(tag == "script" for tag, _ in page.tags) == 2 + len(page.data)
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    rows = page.data["table-data"]["rows"]
    assert rows[0][5] == evil.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="surrogatepass")
    figures = [found for key, found in page.data.items() if key != "table-data"]
    assert not re.search(
        r"<(script|img|a )", json.dumps([one for one in figures if "parcoords" not in str(one)])
    )


def test_an_address_shows_no_password() -> None:
    sweep = made_up.sweep([trial(0, [0.5])], tracking_uri="postgresql://me:secret@host:5432/db")
    text = rendered(sweep)
    assert "secret" not in text and "postgresql://me:***@host:5432/db" in text


def test_a_running_sweep_is_reported_as_one() -> None:
    running = [trial(0, [0.5], State.RUNNING)]
    assert "The sweep was running" in Parsed(rendered(made_up.sweep(running, driver="host 1"))).text
    assert (
        "No trial has ended with a result." in Parsed(rendered(made_up.sweep(running, driver="host 1"))).text
    )


def test_a_sweep_without_trials_has_a_page() -> None:
    page = Parsed(rendered(made_up.sweep([])))
    assert "The sweep has no trial." in page.text and list(page.data) == ["table-data"]


def test_a_table_of_more_trials_than_it_holds_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.report.page.ROWS", 10)
    trials = made_up.search(30)
    page = Parsed(rendered(made_up.sweep(trials)))
    assert "10 of 30 trials, drawn as for the figures." in page.text
    assert [row[0] for row in page.data["table-data"]["rows"]] == [
        t.number for t in sample(trials, 10, "min")
    ]


def test_a_table_that_would_be_too_large_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.report.page.BYTES", 2_000)
    data = Parsed(rendered(made_up.sweep(made_up.search(30)))).data["table-data"]
    assert 10 < len(data["rows"]) < 30
    assert len(json.dumps(data, separators=(",", ":"))) <= 2_000


# ---- the file ----------------------------------------------------------------------------------


def test_the_page_is_written_into_the_sweeps_folder_or_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "made-up").mkdir()
    sweep = made_up.sweep([trial(0, [0.5])], home=tmp_path)
    assert write.write(sweep) == tmp_path / "made-up" / "report.html"
    assert write.write(sweep, tmp_path / "mine.html").read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["mine.html", "report.html"]


@pytest.mark.parametrize(("to", "why"), [("no/where.html", "there is no"), ("", "is a folder")])
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, to: str, why: str) -> None:
    with pytest.raises(RequestError, match=f"--to must name a file.*{why}"):
        write.write(made_up.sweep([], home=tmp_path), tmp_path / to)


@pytest.mark.parametrize("card", [b"", b"[]", b'{"versions": 3}', b"\xff", None])
def test_a_card_that_cannot_be_read_leaves_out_its_versions(tmp_path: Path, card: bytes | None) -> None:
    folder = tmp_path / "made-up" / "checkpoints"
    folder.mkdir(parents=True)
    if card is not None:
        (folder / "trial-00000.json").write_bytes(card)
    assert "python" in write.versions_of(made_up.sweep([trial(0, [0.5])], home=tmp_path))


def test_the_versions_are_those_that_the_best_trial_was_trained_with(tmp_path: Path) -> None:
    folder = tmp_path / "made-up" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "trial-00000.json").write_text('{"versions": {"torch": "1.0"}}')
    found = write.versions_of(made_up.sweep([trial(0, [0.5])], home=tmp_path))
    assert found["torch"] == "1.0" and "optuna" in found
