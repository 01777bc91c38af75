"""What may stand on the command line: commands and their options."""

import argparse
import difflib
import sys
from typing import Any, NoReturn

from tuning.errors import one_line

DONE, FAULT, WRONG, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        complain(f"{message}{'' if message.endswith('?') else ';'} see `{self.prog} --help`.")
        raise SystemExit(WRONG)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a choice that there is not; name the one that was meant."""
        if action.choices is not None and value not in action.choices:
            nearest = difflib.get_close_matches(str(value), map(str, action.choices), n=1)
            meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
            known = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"unknown: {value!r} (known: {known}){meant}")


def complain(message: object) -> None:
    """Say on standard error what is wrong, as one line."""
    print(f"error: {one_line(message)}", file=sys.stderr)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"tuning {version('tuning')}")
        except PackageNotFoundError:
            print("tuning, from a folder that is not installed")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="tuning",
        description="Hyperparameter search for PyTorch: Optuna chooses, Ray Tune places, MLflow keeps.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show this program's version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    adds = (_models, _sweep, _resume, _stop, _cancel, _status, _best, _export, _report, _inspect)
    for add in (*adds, _replay, _confirm, _doctor, _cluster, _ui):
        add(commands)
    return parser


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
    what.add_argument("--epochs", type=int, help="of a trial that is not stopped early (the model's; own: 5)")
    what.add_argument("--batch-size", type=int, help="rows of a training step (the model's; own: 64)")
    what.add_argument("--seed", type=int, help="seed of splits, weights, order and suggestions (0)")
    what.add_argument("--metric", help="val_accuracy (classification) or val_loss (regression)")
    what.add_argument("--mode", choices=("min", "max"), help="whether less or more of it is better")
    what.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="fix a hyperparameter")
    what.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="KEY=RANGE",
        help="search a hyperparameter: LOW:HIGH, LOW:HIGH:log or A,B,C",
    )
    what.add_argument("--from", dest="from_", metavar="SWEEP", help="look back on an earlier sweep's trials")
    what.add_argument("--no-search", action="append", default=[], metavar="KEY", help="do not search it")
    how = parser.add_argument_group("how it is run")
    how.add_argument(
        "--early-stopping",
        choices=("asha", "median", "none"),
        help="of trials that do badly (asha)",
    )
    how.add_argument("--grace-epochs", type=int, help="epochs before a trial can be stopped (1)")
    how.add_argument("--reduction", type=int, help="at each check the best 1/REDUCTION go on (3)")
    how.add_argument("--cohort", help="trials that train together: auto (measured) or a number")
    how.add_argument(
        "--compile", action="store_true", default=None, help="compile the steps that cohorts repeat often"
    )
    how.add_argument("--precision", choices=("fp32", "bf16"), help="bf16: mixed precision in training (fp32)")
    how.add_argument("--cpus-per-trial", type=float, help="CPUs of a worker (1)")
    how.add_argument("--gpus-per-trial", type=float, help="GPUs of a worker, a share as 0.25 or whole ones")
    how.add_argument("--max-concurrent", type=int, help="workers at the same time (all that fit)")
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
    parser.add_argument("--address", help="another Ray cluster than the sweep's own; `local`: none")
    _home(parser)
    _json(parser)


def _stop(commands: Any) -> None:
    parser = _command(commands, "stop", "let a running sweep finish the trials that it has begun, and end")
    parser.add_argument("name", metavar="NAME")
    _home(parser)
    _json(parser)


def _cancel(commands: Any) -> None:
    parser = _command(commands, "cancel", "end a running sweep after its running epochs, all of it saved")
    parser.add_argument("name", metavar="NAME")
    _home(parser)
    _json(parser)


def _status(commands: Any) -> None:
    parser = _command(commands, "status", "how a sweep stands, or all of them")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show it until it ends, or Ctrl-C; may be given half a minute before the sweep begins",
    )
    parser.add_argument("--interval", type=float, metavar="S", help="seconds between two looks (1)")
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
    parser.add_argument(
        "--format",
        choices=("state_dict", "pt2", "onnx"),
        help="the weights; the whole network for torch.export.load; ONNX (left out: as FILE ends)",
    )
    _home(parser)
    _json(parser)


def _report(commands: Any) -> None:
    parser = _command(commands, "report", "one offline HTML page of figures of a sweep")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--to", metavar="FILE.html", help="(default: report.html in the sweep's folder)")
    _home(parser)
    _json(parser)


def _inspect(commands: Any) -> None:
    does = "draw what a trial's network does, as one HTML page, or say why it failed"
    parser = _command(commands, "inspect", does)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--trial", type=int, metavar="N", help="that trial instead of the best")
    parser.add_argument("--to", metavar="FILE", help="the page (inspect-trial-N.html in the sweep's folder)")
    _home(parser)
    _json(parser)


def _doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", "whether study, MLflow and checkpoints of a sweep agree")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--fix", action="store_true", help="repair what can be, without inventing anything")
    _home(parser)
    _json(parser)


def _replay(commands: Any) -> None:
    parser = _command(commands, "replay", "train a trial again as it was, and compare with what is recorded")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("trial", type=int, metavar="TRIAL")
    _home(parser)
    _json(parser)


def _confirm(commands: Any) -> None:
    parser = _command(commands, "confirm", "train the best trials again with fresh seeds, and test them")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="so many of the best trials (5)")
    parser.add_argument("--seeds", type=int, default=5, metavar="S", help="so many times each (5)")
    parser.add_argument("--address", help="train on this Ray cluster (that of the sweep; `local`: here)")
    _home(parser)
    _json(parser)


def _cluster(commands: Any) -> None:
    parser = _command(commands, "cluster", "what is wrong with a cluster file, or with a running cluster")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
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
