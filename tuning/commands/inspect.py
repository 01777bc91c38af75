"""`tuning inspect`: figures of the inside of one trial, and why it failed if it did."""

import sys
from argparse import Namespace
from pathlib import Path

from tuning import ledger, paths, storage
from tuning.commands import Outcome
from tuning.references import model_name


def run(options: Namespace) -> Outcome:
    from tuning import inspection

    sweep = ledger.open_sweep(options.name, options.home)
    to = paths.expanded(options.to) if options.to is not None else None
    number = options.trial if options.trial is not None else sweep.best_or_raise().number
    cause = sweep.trial(number).cause
    if cause and not storage.exists(paths.checkpoint_file(sweep.folder, number)):
        facts = {"sweep": options.name, "trial": number, "file": None, "cause": cause}
        return facts, f"trial {number} has no checkpoint to draw; why it went wrong:\n{cause}", 0
    written = inspection.inspect(sweep, number, to, say=_say)
    _attach(sweep, number, written)
    facts = {"sweep": options.name, "trial": number, "file": str(written.absolute())}
    facts |= {"cause": cause} if cause else {}
    why = f"\nwhy it went wrong in the end:\n{cause}" if cause else ""
    return facts, f"wrote {written}; open it with a browser{why}", 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _attach(sweep: ledger.Sweep, number: int, file: Path) -> None:
    """Put the page among the artifacts of the trial's run; say so where that cannot be done."""
    from tuning.tracking import client

    spec = sweep.spec
    uri = client.uri_of(spec, sweep.paths.home)
    name = sweep.paths.inspection(number).name
    _, why = client.attach(uri, model_name(spec.model), str(spec.id), file, name, number)
    if why is not None:
        print(f"warning: the page is not in MLflow: {why}", file=sys.stderr)
