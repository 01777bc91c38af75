"""`tuning resume`: go on with a sweep, or extend it."""

from argparse import Namespace
from dataclasses import replace

from tuning import ledger
from tuning.commands import Outcome
from tuning.commands.sweep import outcome


def run(options: Namespace) -> Outcome:
    from tuning import run

    found = ledger.open_sweep(options.name, options.home)
    spec = replace(
        found.spec,
        home=options.home,
        trials=found.spec.trials if options.trials is None else options.trials,
        address=options.address or found.spec.address,
    )
    return outcome(run.sweep_all([spec])[0])
