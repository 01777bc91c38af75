"""Whatever is said, in a spec or on the command line: a plan, or exit code 2 and one line; never a traceback.

Nothing here may ask for what has to be fetched, for a network, for Ray to measure, or for a net so wide that
it fills the memory: what a request asks for in earnest, it gets.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning import notation
from tuning.cli import main

repeatable = settings(derandomize=True, deadline=None, max_examples=150)

ODD = ["", " ", "-", "--", "=", ":", "0", "-1", "1.5", "1e-320", "1e400", "nan", "inf", "true", "null", "٣"]
ODD += [
    "9" * 30,
    "9" * 5000,
    "x" * 300,
    "a\nb",
    "a\u2028b",
    "a\0b",
    "\x1b[2J",
    "\udcff",
    "é",
    "%s",
    "{}",
    "$(x)",
]
ODD += ["..", "../x", "/", "~", "x.py:y", "x:y", "nosuch://x"]
texts = st.sampled_from(ODD) | st.text(max_size=6)
numbers = st.sampled_from(["1", "2", "3", "8", "0.5", "1e-3", "64"])
keys = st.sampled_from(["lr", "momentum", "dropout", "optimizer", "n_hidden", "activation", "batch_size"])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a home that is not there yet."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TUNING_HOME", str(folder / "home"))
        yield folder


def check(folder: Path, *arguments: str) -> None:
    """Run a command, which must plan or refuse, and write nothing."""
    before = sorted(folder.iterdir())
    code, said, complaint = run(*arguments)
    assert sorted(folder.iterdir()) == before, "it has written something"
    if code == 0:
        assert notation.from_plain(json.loads(said)["spec"], folder=folder).is_resolved
        assert complaint == ""
    else:
        assert (code, said) == (2, "")
        assert complaint.startswith("error: ") and complaint.endswith("\n")
        assert complaint.count("\n") == 1 and complaint[:-1].isprintable(), complaint


def run(*arguments: str) -> tuple[Any, str, str]:
    """Return exit code, standard output and standard error, which are as strict as those of a process."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: Any = main(arguments)
        except SystemExit as leaving:  # argparse leaves like this
            code = leaving.code
    out.seek(0)
    err.seek(0)
    return code, out.read(), err.read()


# ---- the command line --------------------------------------------------------------------------

SWEEP = ("sweep", "--cohort", "2", "--gpus-per-trial", "0", "--dry-run", "--json")

OPTIONS = {
    "--name": st.sampled_from(["fuzz", "net"]),
    "--data": st.sampled_from(["parabola", "noisy_line"]),
    "--trials": numbers,
    "--epochs": numbers,
    "--batch-size": numbers,
    "--seed": numbers,
    "--metric": st.just("val_loss"),
    "--mode": st.sampled_from(["min", "max"]),
    "--early-stopping": st.sampled_from(["asha", "median", "none"]),
    "--grace-epochs": numbers,
    "--reduction": numbers,
    "--cohort": numbers,
    "--cpus-per-trial": st.sampled_from(["0.5", "1"]),
    "--gpus-per-trial": st.just("0"),
    "--max-concurrent": numbers,
    "--max-failures": numbers,
    "--trial-timeout": numbers,
    "--precision": st.sampled_from(["fp32", "bf16"]),
    "--from": st.just("none-such"),
    "--tracking-uri": st.just("http://nowhere"),
    "--storage": st.just("there"),
    "--home": st.just("elsewhere"),
    "--no-search": st.sampled_from(["lr", "momentum"]),
    "--set": st.sampled_from(["lr=0.1", "momentum=0", "optimizer=adam", "weight_decay=1e-4", "batch_size=8"]),
    "--search": st.sampled_from(["lr=0.1:0.2", "momentum=0:0.9", "optimizer=sgd,adam", "n_hidden=4,8"]),
}
"""Options of `tuning sweep` that take a value, with sound values."""


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("value", ODD, ids=[ascii(value)[:20] for value in ODD])
def test_every_option_takes_or_refuses_odd_values(folder: Path, option: str, value: str) -> None:
    check(folder, *SWEEP, "net", f"{option}={value}")


ranges = st.builds("{}:{}{}".format, numbers | texts, numbers | texts, st.sampled_from(["", ":log", ":x"]))
choices = st.lists(numbers | texts | st.sampled_from(["sgd", "adam", "tanh"]), max_size=3).map(",".join)
pairs = st.builds("{}={}".format, keys | texts, numbers | texts | ranges | choices)
sound = st.sampled_from(sorted(OPTIONS)).flatmap(lambda option: st.tuples(st.just(option), OPTIONS[option]))
strange = st.tuples(st.sampled_from(["--set", "--search"]), pairs) | st.tuples(
    st.sampled_from(sorted(OPTIONS)), texts
)
models = st.sampled_from(["net", "quick_net", "rnn"])


@repeatable
@given(models, st.lists(sound, max_size=5), st.lists(strange, max_size=1))
def test_a_command_line_plans_or_is_refused(
    folder: Path, model: str, usual: list[tuple[str, str]], odd: list[tuple[str, str]]
) -> None:
    check(folder, *SWEEP, model, *(word for option in (*usual, *odd) for word in option))


COMMANDS = ["status", "best", "resume", "export", "models", "ui", "doctor", "confirm", "replay", "inspect"]
COMMANDS += ["report", "stop", "cancel", "cluster"]


@settings(repeatable, max_examples=80)
@given(
    st.sampled_from(COMMANDS) | texts,
    st.lists(texts, max_size=3),
)
def test_any_words_are_refused(folder: Path, command: str, words: list[str]) -> None:
    check(folder, command, *words, "none of these")


# ---- spec files --------------------------------------------------------------------------------

SOUND: dict[str, Any] = {
    "model": "net",
    "name": "fuzz",
    "data": "parabola",
    "trials": 3,
    "epochs": 2,
    "search": {"lr": {"low": 0.001, "high": 0.1, "log": True}, "momentum": [0, 0.9]},
    "fixed": {"weight_decay": 1e-4, "n_hidden": 4},
    "try": [{"lr": 0.05}],
    "early_stopping": {"kind": "asha", "grace_epochs": 1},
    "resources": {"cpus": 1, "gpus": 0},
    "cohort": 2,
}
OTHERS = [
    "metric",
    "mode",
    "seed",
    "batch_size",
    "max_failures",
    "max_concurrent",
    "compile",
    "trial_timeout",
]
OTHERS += ["storage", "home", "tracking_uri", "id", "x"]
PLACES = [("search", "lr"), ("search", "dropout"), ("search", "optimizer"), ("search", "n_hidden")]
PLACES += [("search", "lr", key) for key in ("low", "high", "log", "choices")]
PLACES += [
    ("fixed", key) for key in ("dropout", "n_hidden", "optimizer", "batch_size", "augment", "activation")
]
PLACES += [("early_stopping", key) for key in ("kind", "grace_epochs", "reduction")]
PLACES += [("resources", "cpus"), ("try", 0, "lr"), ("try", 0, "dropout")]
SENSIBLE = [0.05, 0.3, 1, 2, True, "adam", "asha", [8, 16], ["sgd", "adam"], {"low": 0.1, "high": 0.2}]

scalars = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | texts | st.sampled_from([10**400, 1e-320])
)
anything = st.recursive(
    scalars | st.dates() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)


TEXT = yaml.safe_dump(SOUND, sort_keys=False)


def check_spec(folder: Path, content: str) -> None:
    (folder / "spec.yaml").write_text(content, encoding="utf-8", errors="surrogatepass")
    check(folder, "sweep", "spec.yaml", "--dry-run", "--json")


def test_the_sound_spec_plans(folder: Path) -> None:
    (folder / "spec.yaml").write_text(TEXT)
    assert run("sweep", "spec.yaml", "--dry-run")[::2] == (0, "")


@repeatable
@given(st.dictionaries(st.sampled_from([*SOUND, *OTHERS]), anything, min_size=1, max_size=2))
def test_a_spec_of_anything_plans_or_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    changes = {key: value for key, value in changes.items() if key not in ("cohort", "resources")}
    check_spec(folder, yaml.safe_dump({**SOUND, **changes}))


@repeatable
@given(st.sampled_from(PLACES), st.sampled_from(SENSIBLE) | anything)
def test_a_spec_with_anything_deep_inside_plans_or_is_refused(
    folder: Path, place: tuple[Any, ...], value: Any
) -> None:
    spec = inner = yaml.safe_load(TEXT)
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    check_spec(folder, yaml.safe_dump(spec))


PIECES = [
    "[",
    "]",
    "{",
    "}",
    ": ",
    "\n",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "| ",
    "---\n",
    "#",
    "'",
    '"',
    "\t",
    "\0",
]
PIECES += [
    "!!python/name:os.system ",
    "!!int ",
    "!!float ",
    "!!timestamp ",
    "!!bool ",
    "!!set ",
    "!!binary ",
    "%",
]
edits = st.tuples(st.integers(0, len(TEXT) - 20), st.integers(0, 2), st.sampled_from(PIECES))


@repeatable
@given(st.lists(edits, min_size=1, max_size=2))
def test_a_spec_that_was_cut_and_pasted_plans_or_is_refused(
    folder: Path, edits: list[tuple[int, int, str]]
) -> None:
    content = TEXT
    for start, length, piece in edits:
        content = content[:start] + piece + content[start + length :]
    check_spec(folder, content)
