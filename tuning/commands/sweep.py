"""`tuning sweep`: one sweep, or one of every documented model."""

import contextlib
import sys
from argparse import Namespace
from dataclasses import replace
from typing import Any

from tuning import ledger, standing
from tuning.commands import Outcome
from tuning.errors import RequestError, SweepError, one_line, without_passwords
from tuning.options import requested
from tuning.spec import SweepSpec
from tuning.texts import ahead_lines, best_text, cost_lines, status_line, status_text


def run(options: Namespace) -> Outcome:
    from tuning import run

    if options.model == "all":
        return _sweep_all(options)
    spec = requested(options, options.model)
    if options.dry_run:
        from tuning import preview

        return preview.dry_run(spec)
    return outcome(run.sweep_all([spec])[0])


def _sweep_all(options: Namespace) -> Outcome:
    """Sweep every documented model: all are checked before the first one starts."""
    import models as catalog
    from tuning import run

    if options.data is not None:
        raise RequestError("`tuning sweep all` uses each model's default data; leave --data out.")
    prefix = options.name or "all"
    wanted = [_one_of_all(options, model, prefix) for model in catalog.CATALOG]
    if options.dry_run:
        from tuning import places, preview
        from tuning.schedule import connection

        with connection.connect(places.address(options.address)) as held:
            held.nodes()  # each request finds it up
            outcomes = [_said(preview.dry_run(spec)) for spec in wanted]
        return (
            {"sweeps": [facts for facts, _, _ in outcomes]},
            "\n\n".join(text for _, text, _ in outcomes),
            0,
        )
    ended = zip(wanted, run.sweep_all(wanted), strict=False)  # after Ctrl-C no other was begun
    outcomes = [_failed(spec, one) if isinstance(one, Exception) else outcome(one) for spec, one in ended]
    sweeps = [facts for facts, _, _ in outcomes]
    text = "\n".join(map(status_line, sweeps))
    return {"sweeps": sweeps}, text, max(code for _, _, code in outcomes)


def _one_of_all(options: Namespace, model: str, prefix: str) -> SweepSpec:
    """Return a model's part in `sweep all`, which begins from its part in an earlier one."""
    spec = requested(options, model, f"{prefix}-{model}")
    return spec if spec.from_ is None else replace(spec, from_=f"{spec.from_}-{model}")


def _said(outcome: Outcome) -> Outcome:
    """Say at once what was found of one of several."""
    print(outcome[1].partition("\n")[0], file=sys.stderr, flush=True)
    return outcome


def _failed(spec: SweepSpec, error: Exception) -> Outcome:
    """Say why one of several sweeps could not go on, and tell how it stands."""
    print(one_line(f"error: {spec.name}: {error}"), file=sys.stderr)
    facts: dict[str, Any] = {"sweep": spec.name, "states": {}, "total": spec.trials, "best": None}
    facts |= {"wall_s": 0.0, "cohort": None, "driver": None, "metric": spec.metric, "top": []}
    with contextlib.suppress(RequestError, SweepError):  # of what was never begun, or cannot be read
        facts = standing.sweep_facts(ledger.open_sweep(str(spec.name), spec.home))
    return {**facts, "ending": None, "error": str(error)}, status_line(facts), 1


def outcome(result: Any) -> Outcome:
    """Turn a sweep's result into facts, text and exit code; the reason of a fault goes to the screen.

    Raises:
        SweepError: what stood against the sweep, if that is the result.
    """
    from tuning import run

    if isinstance(result, Exception):
        raise result

    found = ledger.open_sweep(result.name, result.home)
    option = found.paths.home_option
    facts = {**standing.sweep_facts(found), "startup_s": result.startup_s, "ending": result.ending}
    if result.ending is not None:
        print(f"{result.ending}; resume with: {found.paths.command('resume')}", file=sys.stderr)
    if result.interrupted:
        return facts, "\n".join([status_line(facts), *(ahead_lines(facts) if facts["best"] else [])]), 130
    fault = run.fault(result)
    if fault is not None:
        print(one_line(f"error: {fault}"), file=sys.stderr)
        return facts, status_text(facts), 1
    in_python = f", home={str(found.paths.home)!r}" if option else ""
    lines = [
        status_line(facts),
        best_text(facts["best"]),
        *ahead_lines(facts),
        *cost_lines(facts),
        "",
        f'load it     import tuning; model = tuning.load_best("{result.name}"{in_python}).model',
        *_confirm_lines(facts, found.paths.command("confirm")),
        *([f"report      {found.paths.report}"] if found.paths.report.exists() else []),
        f"browse      {without_passwords(found.spec.tracking_uri or f'tuning ui{option}')}",
    ]
    return facts, "\n".join(lines), 0


def _confirm_lines(facts: dict[str, Any], command: str) -> list[str]:
    """Return how to learn whether the best is better than chance makes it, where nobody has asked."""
    return [] if facts["best"]["confirmed"] else [f"is it real  {command}"]
