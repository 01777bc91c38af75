"""`tuning report`: one offline HTML page of figures, which also goes to the sweep's run in MLflow."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from tuning import ledger, paths, standing
from tuning.commands import Outcome
from tuning.errors import one_line
from tuning.references import model_name


def run(options: Namespace) -> Outcome:
    from tuning.report import write

    sweep = ledger.open_sweep(options.name, options.home)
    if sweep.spec.metric is None:  # a death came before it was settled, and so before any trial
        raise sweep.lacks("trial to draw")
    sweep = replace(sweep, wall_s=standing.wall_s(sweep))
    written = write.write(sweep, None if options.to is None else paths.expanded(options.to))
    run_id = _attach(sweep, written)
    facts = {
        "sweep": options.name,
        "file": str(written.absolute()),
        "trials": len(sweep.trials),
        "run_id": run_id,
    }
    return facts, f"wrote {written}; it opens in any browser, without a network", 0


def _attach(sweep: ledger.Sweep, file: Path) -> str | None:
    """Put the page among the artifacts of the sweep's run; return that run, None with a warning."""
    from tuning.tracking import client

    uri = client.uri_of(sweep.spec, sweep.paths.home)
    run_id, trouble = client.attach(uri, model_name(sweep.spec.model), str(sweep.spec.id), file, paths.REPORT)
    if trouble is not None:
        print(one_line(f"warning: the report is not in MLflow at {uri}: {trouble}"), file=sys.stderr)
    return run_id
