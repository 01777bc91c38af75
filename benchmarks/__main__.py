"""`python -m benchmarks`: measure this project and its peers side by side, and keep the results.

Leave the machine alone meanwhile: nothing else may use its cores.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import command, machine, race, tables
from benchmarks.command import COMMANDS
from benchmarks.race import RACES
from benchmarks.trace import BenchmarkError

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    options = _parser().parse_args()
    names = options.only or [*RACES, *COMMANDS]
    is_trial_run = bool(options.trials or options.epochs)
    said = "python -m benchmarks " + " ".join(sys.argv[1:])
    try:
        for name in names:
            found = machine.describe(said.strip())
            plain, markdown = _command(name, options) if name in COMMANDS else _race(name, options)
            text = f"{markdown}\n\n{tables.circumstances_markdown(found)}\n"
            print(text, flush=True)
            if is_trial_run:
                _say("not kept: --trials or --epochs make it another measurement")
            else:
                _keep(name, {**found, **plain}, text)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _race(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    entered = RACES[name]
    job = race.prepare(entered, trials=options.trials, epochs=options.epochs)
    rounds = []
    for number in range(options.repeats):
        _say(f"{name}: round {number + 1} of {options.repeats}")
        rounds.append(race.run_round(entered, job, _say))
    return tables.race_plain(entered, job, rounds), tables.race_markdown(entered, job, rounds)


def _command(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    runs = []
    for number in range(options.repeats):
        _say(f"{name}: run {number + 1} of {options.repeats}")
        runs.append(command.run_once(COMMANDS[name]))
    return tables.command_plain(COMMANDS[name], runs), tables.command_markdown(COMMANDS[name], runs)


def _keep(name: str, plain: dict[str, Any], text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=(*RACES, *COMMANDS), help="this one (may be given again)"
    )
    parser.add_argument("--repeats", type=_positive, default=3, help="rounds of all competitors (3)")
    trying = parser.add_argument_group("to try the benchmark itself; results are then not kept")
    trying.add_argument("--trials", type=_positive, help="instead of the race's own number")
    trying.add_argument("--epochs", type=_positive, help="instead of the race's own number")
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but got {text}")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
