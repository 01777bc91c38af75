"""`python -m benchmarks.documented`: docs/models.md, the documented models and what was found for each.

Each model is swept on its default data, its best trials are confirmed with fresh seeds, and the winner is
looked into, by the very commands that the page shows.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import models
from benchmarks import machine, tables
from benchmarks.process import ROOT

PAGE = ROOT / "docs/models.md"
PICTURES = ROOT / "docs/pictures"

TRIALS = {"cnn": 32, "lstm": 32}
"""Of each sweep; the others have 256 trials, which train in cohorts."""

CONFIRM = {"cnn": "--top 3 --seeds 3", "lstm": "--top 3 --seeds 3"}
USUAL_CONFIRM = "--top 5 --seeds 5"

FIGURES = {
    "cnn": "Confusion matrix",
    "lstm": "Confusion matrix",
    "rnn": "True and predicted series",
    "batchnorm_net": "Pre-activations",
}
"""Of the inspection, the one that the page shows; of the others it is the next."""
USUAL_FIGURE = "Prediction against data"

NOTES = {
    "rnn": "Validation and test are two stretches of one wave without noise, and so the same but for their "
    "last bits: here the test split can tell nothing new."
}

HEAD = """# The documented models

What each is, and the best hyperparameters that are known: found by the commands shown, confirmed with fresh
seeds (`tuning confirm`): the mean over seeds on the validation split, which chose each one's epoch, and the
mean on the test split, which chose nothing, each with its 95 % interval; "flattered by" is by how much the
search's own figure was better than the latter. Only trials that trained to their end are confirmed, and early
stopping leaves few of those: so a table may be shorter than its `--top`. What a search suggests depends on
the order in which its trials end, so the same commands again find other configurations, about as good. The
figure is one of those that `tuning inspect` draws of the winner. `tuning models NAME` prints the network, and
`python -m benchmarks.documented --keep` writes this page anew.
"""


def main() -> int:
    options = _parser().parse_args()
    names = options.only or list(models.CATALOG)
    where = _where(machine.describe("python -m benchmarks.documented"))  # before the page is another
    with tempfile.TemporaryDirectory(prefix="bench-documented-") as home:
        for name in names:
            section = _section(name, Path(home), where, options.keep)
            print(section)
            if options.keep:  # at once: what comes may take long
                PAGE.write_text(_page({**_kept(), name: section}), encoding="utf-8")
    return 0


def _page(sections: dict[str, str]) -> str:
    return "\n".join([HEAD, *(sections[name] for name in models.CATALOG if name in sections)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documented", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write docs/models.md and its pictures")
    parser.add_argument("--only", action="append", choices=sorted(models.CATALOG), help="of these models")
    return parser


def _kept() -> dict[str, str]:
    """Return the sections that the page has, by model."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in parts}


def _section(name: str, home: Path, where: str, keep: bool) -> str:
    """Sweep, confirm and look into a model; return its section of the page.

    Args:
        where: and when, it is found.
    """
    sweep = f"tuning sweep {name} --trials {TRIALS.get(name, 256)}"
    confirm = f"tuning confirm {name} {CONFIRM.get(name, USUAL_CONFIRM)}"
    inspect = f"tuning inspect {name}"
    _run(sweep, home)
    confirmed = _run(confirm, home, codes=(0, 1))  # 1 where it does not hold
    best = _run(f"tuning best {name}", home)
    page = _run(inspect, home)["file"]
    lines = [*_card(name), "", "```sh", sweep, confirm, inspect, "```", ""]
    if keep:
        heading = FIGURES.get(name, USUAL_FIGURE)
        _draw(Path(page), heading, PICTURES / f"{name}.png")
        lines += [f"![{heading} of {name}](pictures/{name}.png)", ""]
    notes = [NOTES[name], ""] if name in NOTES else []
    return "\n".join([*lines, *_found(best, confirmed), "", *notes, where, ""])


def _run(command: str, home: Path, codes: Sequence[int] = (0,)) -> dict[str, Any]:
    print(f"$ {command}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command), "--json", "--home", str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode not in codes or not done.stdout:
        raise SystemExit(f"{command} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _card(name: str) -> Iterator[str]:
    card = models.CATALOG[name]
    network = models.build(name)
    count = sum(parameter.numel() for parameter in network.parameters())
    yield f"## {name}"
    yield ""
    yield (
        f"{card.summary[0].upper()}{card.summary[1:]}. A {card.task} of {count:,} parameters; on "
        f"`{card.data}`, {card.epochs} epochs, batches of {card.batch_size}."
    )
    yield ""
    yield f"The source: {card.source}."
    yield ""
    ranges = (
        f"`{key}` {found['low']:g} to {found['high']:g}{' (log)' if found.get('log') else ''}"
        for key, found in card.search.items()
    )
    yield f"Searched: {', '.join(ranges)}."


def _found(best: dict[str, Any], confirmed: dict[str, Any]) -> Iterator[str]:
    rows = []
    for one in confirmed["trials"]:
        number = f"**{one['trial']}**" if one["trial"] == best["trial"] else str(one["trial"])
        rows.append(
            (
                number,
                f"{one['searched']:.4g}",
                f"{one['mean']:.4g}{_between(one['interval'])}",
                f"{one['held_out']['mean']:.4g}{_between(one['held_out']['interval'])}",
                f"{one['flattered']:.2g}",
            )
        )
    found = ", ".join(f"{key} {_short(value)}" for key, value in best["hyperparameters"].items())
    yield f"Best known: **{found}** (trial {best['trial']})."
    yield ""
    yield tables.table(columns(confirmed["metric"]), rows)


def columns(metric: str) -> tuple[str, ...]:
    """Return the heads of a section's table."""
    return ("trial", f"{metric} in the search", "fresh seeds", "held out", "flattered by")


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else " ({:.4g} to {:.4g})".format(*interval)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _where(circumstances: dict[str, Any]) -> str:
    """Return in a line on what it was found; seeds make the same of it there again."""
    versions, found = circumstances["versions"], circumstances["machine"]
    return (
        f"{circumstances['date']}, commit {circumstances['commit']}, {found['cores']} cores of "
        f"{found['cpu']}, python {versions['python']}, torch {versions['torch']}, "
        f"optuna {versions['optuna']}."
    )


def _draw(page: Path, heading: str, to: Path) -> None:
    """Draw a figure of a page as Chromium shows it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1000, "height": 800})
        tab.goto(page.as_uri())
        figure = tab.get_by_role("img", name=heading).first
        figure.locator(".main-svg").first.wait_for()
        figure.screenshot(path=to)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
