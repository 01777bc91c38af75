"""The command line: what the commands and options are. What they do stands in `commands`.

Imports nothing heavy, so that `--help` answers at once.
"""

import argparse
import contextlib
import difflib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tuning.errors import CheckpointError, RequestError, SweepError, one_line

DONE, FAULT, WRONG, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _complain(f"{message}{'' if message.endswith('?') else ';'} see `{self.prog} --help`.")
        raise SystemExit(WRONG)


def run() -> NoReturn:
    """Run the command of this process, and leave without taking two seconds to unload what it loaded."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options, unknown = _parser().parse_known_args(words)
    if unknown:
        _refuse(options.parser, unknown[0])
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # argparse takes it for an empty list
            options.parser.error(f"argument {word.removesuffix('=--')}: it must have a value")
    try:
        if options.command in ("sweep", "resume") and sys.stderr.isatty():
            print("checking the request ...", file=sys.stderr, flush=True)  # importing torch takes seconds
        from tuning import commands

        facts, text, code = getattr(commands, options.command)(options)
        _print(json.dumps(facts) if options.json else text)
        return int(code)
    except RequestError as error:
        _complain(error)
        return WRONG
    except (SweepError, CheckpointError) as error:
        _complain(error)
        return FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _complain(message: object) -> None:
    print(f"error: {one_line(message)}", file=sys.stderr)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has read enough; nor shall the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tuning",
        description="Hyperparameter search for PyTorch: Optuna chooses, Ray Tune places, MLflow keeps.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    _models(commands)
    _sweep(commands)
    _resume(commands)
    _status(commands)
    _best(commands)
    _export(commands)
    _doctor(commands)
    _cluster(commands)
    _ui(commands)
    return parser


def _refuse(parser: argparse.ArgumentParser, option: str) -> NoReturn:
    known = [name for action in parser._actions for name in action.option_strings]
    nearest = difflib.get_close_matches(option.partition("=")[0], known, n=1)
    parser.error(f"unknown argument {option}" + (f"; did you mean {nearest[0]}?" if nearest else ""))


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, allow_abbrev=False
    )
    parser.set_defaults(parser=parser)
    return parser


def _models(commands: Any) -> None:
    parser = _command(commands, "models", "list the documented models, or show one network")
    parser.add_argument("model", nargs="?", metavar="NAME", help="show this model's layers and shapes")
    _json(parser)


def _sweep(commands: Any) -> None:
    parser = _command(commands, "sweep", "run a sweep, or go on with it, to its total number of trials")
    parser.add_argument(
        "model", metavar="MODEL_OR_SPEC", help="a model (see `tuning models`), a spec.yaml, or `all`"
    )
    what = parser.add_argument_group("what is searched")
    what.add_argument("--name", help="name of the sweep (default: the model's)")
    what.add_argument("--data", help="data set, or file.py:callable (default: the model's)")
    what.add_argument("--trials", type=int, metavar="TOTAL", help="trials in all, earlier ones counted (32)")
    what.add_argument("--epochs", type=int, help="epochs of a trial that is not stopped early")
    what.add_argument("--batch-size", type=int)
    what.add_argument("--seed", type=int, help="seed of splits, weights, order and suggestions (0)")
    what.add_argument("--metric", help="val_accuracy or val_loss")
    what.add_argument("--mode", choices=("min", "max"))
    what.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="fix a hyperparameter")
    what.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="KEY=RANGE",
        help="search a hyperparameter: LOW:HIGH, LOW:HIGH:log or A,B,C",
    )
    what.add_argument("--no-search", action="append", default=[], metavar="KEY", help="do not search it")
    how = parser.add_argument_group("how it is run")
    how.add_argument("--early-stopping", choices=("asha", "median", "none"))
    how.add_argument("--grace-epochs", type=int, help="epochs before a trial can be stopped (1)")
    how.add_argument("--reduction", type=int, help="the best 1/REDUCTION of a rung go on (3)")
    how.add_argument("--cohort", help="trials that train together: auto or a number")
    how.add_argument(
        "--compile", action="store_true", default=None, help="compile the steps that cohorts repeat often"
    )
    how.add_argument("--cpus-per-trial", type=float, help="CPUs of a worker (1)")
    how.add_argument("--gpus-per-trial", type=float, help="GPUs of a worker, a share as 0.25 or whole ones")
    how.add_argument("--max-concurrent", type=int, help="workers at the same time")
    how.add_argument("--max-failures", type=int, help="failed trials in a row that end the sweep (5)")
    how.add_argument(
        "--trial-timeout", type=float, metavar="S", help="seconds without a report after which a trial hangs"
    )
    how.add_argument("--address", help="a running Ray cluster, from one of its nodes (default: a local one)")
    how.add_argument("--tracking-uri", help="an MLflow server (default: a database in the home)")
    how.add_argument("--storage", help="path or URI for checkpoints, which every node sees")
    how.add_argument("--dry-run", action="store_true", help="check the request and say what would run")
    _home(parser)
    _json(parser)


def _resume(commands: Any) -> None:
    parser = _command(commands, "resume", "go on with a sweep from the spec in its folder")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--trials", type=int, metavar="TOTAL", help="a new total")
    _home(parser)
    _json(parser)


def _status(commands: Any) -> None:
    parser = _command(commands, "status", "how a sweep stands, or all of them")
    parser.add_argument("name", nargs="?", metavar="NAME")
    _home(parser)
    _json(parser)


def _best(commands: Any) -> None:
    parser = _command(commands, "best", "the best trial of a sweep")
    parser.add_argument("name", metavar="NAME")
    _home(parser)
    _json(parser)


def _export(commands: Any) -> None:
    parser = _command(commands, "export", "write the best model of a sweep to a file")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--to", required=True, metavar="FILE")
    parser.add_argument("--trial", type=int, metavar="N", help="that trial's model instead of the best")
    parser.add_argument("--format", choices=("state_dict",), default="state_dict")
    _home(parser)
    _json(parser)


def _doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", "whether study, MLflow and checkpoints of a sweep agree")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--fix", action="store_true", help="repair what can be, without inventing anything")
    _home(parser)
    _json(parser)


def _cluster(commands: Any) -> None:
    parser = _command(commands, "cluster", "what is wrong with a cluster file, or with a running cluster")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    check = _command(actions, "check", "check a file for `ray up`, or with --address a running cluster")
    check.add_argument("file", nargs="?", metavar="FILE", help="the cluster file (cluster.yaml)")
    check.add_argument("--address", help="check this running cluster instead, from one of its nodes")
    check.add_argument("--storage", help="see that every node sees this path or URI (TUNING_STORAGE)")
    _json(check)


def _ui(commands: Any) -> None:
    parser = _command(commands, "ui", "the MLflow UI over this home, on the loopback address")
    parser.add_argument("--port", type=int, default=5000, help="the first one tried (5000)")
    _home(parser)
    parser.set_defaults(json=False)


def _home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", help="folder of all sweeps (default: TUNING_HOME, else ./runs)")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
