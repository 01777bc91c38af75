"""`tuning status`: how a sweep stands, or all of a home."""

import math
import sys
from argparse import Namespace

from tuning import ledger, paths, standing
from tuning.commands import Outcome
from tuning.errors import RequestError, SweepError, one_line
from tuning.texts import status_line, status_text


def run(options: Namespace) -> Outcome:
    if options.watch or options.interval is not None:
        return _watch(options)
    if options.name is not None:
        facts = standing.sweep_facts(ledger.open_sweep(options.name, options.home))
        return facts, status_text(facts), 0
    found, damaged = [], 0
    for name in ledger.names(options.home):
        try:
            found.append(standing.sweep_facts(ledger.open_sweep(name, options.home)))
        except (RequestError, SweepError) as error:  # one damaged sweep hides no other
            print(one_line(f"error: {name}: {error}"), file=sys.stderr)
            damaged += 1
    home = paths.home_folder(options.home)
    text = "\n".join(map(status_line, found)) or f"There are no sweeps in {home}."
    return {"sweeps": found}, text, 1 if damaged else 0


def _watch(options: Namespace) -> Outcome:
    from tuning import watching

    if options.name is None or not options.watch:
        raise RequestError(
            "--watch shows one sweep, and --interval goes with it: tuning status NAME --watch."
        )
    interval_s = 1.0 if options.interval is None else options.interval
    if not 0 < interval_s < math.inf:  # NaN is not, either
        raise RequestError(f"--interval must be a number of seconds above 0, but got {interval_s:g}.")
    facts = watching.watch(options.name, options.home, interval_s, as_json=options.json)
    return facts, status_text(facts), 0
