"""What each command does: options in; facts (for --json), text and exit code out."""

import os
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tuning import ledger, notation, paths, sizing
from tuning.errors import RequestError, SweepError, one_line
from tuning.options import requested
from tuning.references import load_model, model_name
from tuning.spec import SweepSpec
from tuning.texts import best_text, status_line, status_text

Outcome = tuple[dict[str, Any], str, int]


def models(options: Namespace) -> Outcome:
    import models as catalog

    if options.model is not None:
        return _one_model(options.model)
    cards = {name: _card(name) for name in catalog.CATALOG}
    lines = []
    for name, card in cards.items():
        lines.append(f"{name:16} {card['task']:15} {card['data']:13} {card['summary']}")
        lines.append(f"{'':16} takes {', '.join(card['hyperparameters'])}")
        ranges = "; ".join(f"{key} {_range(plain)}" for key, plain in card["search"].items())
        lines.append(f"{'':16} searches {ranges}")
    return {"models": cards}, "\n".join(lines), 0


def _card(name: str) -> dict[str, Any]:
    import models as catalog

    card = catalog.CATALOG[name]
    return {
        "task": card.task,
        "data": card.data,
        "summary": card.summary,
        "epochs": card.epochs,
        "batch_size": card.batch_size,
        "hyperparameters": list(catalog.hyperparameters(name)),
        "search": card.search,
    }


def _range(plain: dict[str, Any]) -> str:
    if "choices" in plain:
        return ",".join(map(str, plain["choices"]))
    return f"{plain['low']:g}:{plain['high']:g}" + (":log" if plain.get("log") else "")


def _one_model(name: str) -> Outcome:
    import models as catalog

    load_model(name)  # refuses an unknown name
    network = catalog.build(name)
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    count = sum(parameter.numel() for parameter in network.parameters())
    card = _card(name)
    width = max(map(len, shapes))
    lines = [f"{name}: {card['summary']} ({card['task']}, default data {card['data']})", str(network), ""]
    lines += [f"{key:{width}}  {tuple(shape)}" for key, shape in shapes.items()]
    lines += ["", f"{count:,} parameters"]
    return {"model": name, **card, "shapes": shapes, "parameters": count}, "\n".join(lines), 0


def sweep(options: Namespace) -> Outcome:
    from tuning import run

    if options.model == "all":
        return _sweep_all(options)
    spec = requested(options, options.model)
    if options.dry_run:
        return _dry_run(spec)
    return _outcome(run.sweep_all([spec])[0])


def resume(options: Namespace) -> Outcome:
    from tuning import run

    found = ledger.open_sweep(options.name, options.home)
    spec = replace(
        found.spec, home=options.home, trials=found.spec.trials if options.trials is None else options.trials
    )
    return _outcome(run.sweep_all([spec])[0])


def status(options: Namespace) -> Outcome:
    if options.name is not None:
        facts = ledger.sweep_facts(ledger.open_sweep(options.name, options.home))
        return facts, status_text(facts), 0
    found, damaged = [], 0
    for name in ledger.names(options.home):
        try:
            found.append(ledger.sweep_facts(ledger.open_sweep(name, options.home)))
        except (RequestError, SweepError) as error:  # one damaged sweep hides no other
            print(one_line(f"error: {name}: {error}"), file=sys.stderr)
            damaged += 1
    home = paths.home_folder(options.home)
    text = "\n".join(map(status_line, found)) or f"There are no sweeps in {home}."
    return {"sweeps": found}, text, 1 if damaged else 0


def best(options: Namespace) -> Outcome:
    from tuning.tracking import client

    found = ledger.open_sweep(options.name, options.home)
    trial = found.best_or_raise()
    uri = found.spec.tracking_uri or client.default_uri(found.paths.home)
    facts = ledger.trial_facts(found, trial)
    facts["run_id"] = client.run_id_of(uri, model_name(found.spec.model), str(found.spec.id), trial.number)
    if facts["run_id"] is None:
        print(f"warning: there is no run of trial {trial.number} at {uri} (is it away?)", file=sys.stderr)
    lines = [best_text(facts), f"MLflow run  {facts['run_id']}", f"checkpoint  {facts['checkpoint']}"]
    return facts, "\n".join(lines), 0


def export(options: Namespace) -> Outcome:
    from tuning import reuse

    written = reuse.export_state_dict(options.name, Path(options.to), home=options.home, trial=options.trial)
    facts = {"sweep": options.name, "file": str(written.absolute()), "format": options.format}
    return facts, f"wrote {written}; open it with torch.load({str(written)!r}, weights_only=True)", 0


def doctor(options: Namespace) -> Outcome:
    from tuning.doctor import visit

    return visit.outcome(visit.visit(options.name, options.home, fix=options.fix))


def cluster(options: Namespace) -> Outcome:
    """Check a cluster file, or a running cluster."""
    if options.address is None:
        return _check_file(Path(options.file or "cluster.yaml"))
    if options.file is not None:
        raise RequestError("`tuning cluster check` takes a file or --address, not both.")
    from tuning import places
    from tuning.schedule import connection, survey

    with connection.connect(options.address) as held:
        held.nodes()
        nodes = survey.survey(options.storage or os.environ.get(places.STORAGE))
    findings = survey.faults(nodes)
    facts = {"address": options.address, "nodes": [asdict(node) for node in nodes], "findings": findings}
    lines = [f"{node.host:20} cpus={node.cpus:g}, gpus={node.gpus:g}" for node in nodes]
    return facts, "\n".join([*lines, *findings]), 1 if findings else 0


def _check_file(file: Path) -> Outcome:
    from tuning.schedule import launcher

    findings = launcher.check(launcher.read(file))
    text = "\n".join(findings) or f"{file} is fit for: ray up {file}"
    return {"file": str(file), "findings": findings}, text, 1 if findings else 0


def ui(options: Namespace) -> Outcome:
    from tuning.ui import serve

    serve(paths.home_folder(options.home), options.port)
    return {}, "", 0


def _sweep_all(options: Namespace) -> Outcome:
    """Sweep every documented model: all are checked before the first one starts."""
    import models as catalog
    from tuning import run

    if options.data is not None:
        raise RequestError("`tuning sweep all` uses each model's default data; leave --data out.")
    prefix = options.name or "all"
    wanted = [requested(options, model, f"{prefix}-{model}") for model in catalog.CATALOG]
    if options.dry_run:
        from tuning import places
        from tuning.schedule import connection

        with connection.connect(places.address(options.address)):
            outcomes = [_dry_run(spec) for spec in wanted]
        return (
            {"sweeps": [facts for facts, _, _ in outcomes]},
            "\n\n".join(text for _, text, _ in outcomes),
            0,
        )
    outcomes = [_outcome(result) for result in run.sweep_all(wanted)]
    sweeps = [facts for facts, _, _ in outcomes]
    text = "\n".join(map(status_line, sweeps))
    return {"sweeps": sweeps}, text, max(code for _, _, code in outcomes)


def _dry_run(spec: SweepSpec) -> Outcome:
    """Check a request, and measure how many trials would train together; write nothing."""
    from tuning import plan

    planned = plan.prepare(spec)
    from tuning.schedule import layout

    kept = sizing.Sizing.load(planned.paths.sizing)
    found = layout.lay_out(planned.spec, kept, lambda text: print(text, file=sys.stderr, flush=True))
    facts = {
        "spec": notation.to_plain_spec(planned.spec),
        "folder": str(planned.paths.folder),
        "parameters": planned.num_parameters,
        "training_rows": len(planned.splits.train),  # type: ignore[arg-type]
        "workers": found.workers,
        "resources": asdict(found.resources),
        "cohort": found.sizing.size,
        "sizing": asdict(found.sizing),
    }
    lines = [notation.dump(planned.spec).rstrip(), "", f"folder      {facts['folder']}"]
    lines += [f"model       {planned.num_parameters:,} parameters, {facts['training_rows']:,} training rows"]
    size = found.resources
    lines += [f"workers     {found.workers} (each cpus={size.cpus:g}, gpus={size.gpus or 0:g})"]
    lines += [f"cohort      {found.sizing.describe()}"]
    for one in found.sizing.measured:
        rate, memory = f"{one.trials_per_s:.3g} trials/s", f"{one.memory_bytes / 1e6:.3g} MB"
        lines.append(f"            {one.size:4} at once: {rate} per worker, {memory}")
    return facts, "\n".join(lines), 0


def _outcome(result: Any) -> Outcome:
    """Turn a sweep's result into facts, text and exit code; the reason of a fault goes to the screen."""
    from tuning import run

    found = ledger.open_sweep(result.name, result.home)
    home = "" if paths.home_folder(None) == found.paths.home else result.home
    option = f" --home {home}" if home else ""
    facts = {**ledger.sweep_facts(found), "wall_s": round(result.wall_s, 3), "startup_s": result.startup_s}
    if result.interrupted:
        print(f"interrupted; resume with: tuning resume {result.name}{option}", file=sys.stderr)
        return facts, status_line(facts), 130
    fault = run.fault(result)
    if fault is not None:
        print(one_line(f"error: {fault}"), file=sys.stderr)
        return facts, status_text(facts), 1
    in_python = f', home="{home}"' if home else ""
    lines = [
        status_line(facts),
        best_text(facts["best"]),
        "",
        f'load it     import tuning; model = tuning.load_best("{result.name}"{in_python}).model',
        f"browse      tuning ui{option}",
    ]
    return facts, "\n".join(lines), 0
