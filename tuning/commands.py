"""What each command does: options in; facts (for --json), text and exit code out."""

import socket
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tuning import ledger, paths, resolve
from tuning import spec as specs
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.references import absolute, load_model
from tuning.screen import describe
from tuning.space import number, parse_option, to_plain
from tuning.spec import SweepSpec

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
    spec = _spec(options, options.model)
    if options.dry_run:
        return _dry_run(spec)
    return _outcome(run.sweep_all([spec])[0], options)


def resume(options: Namespace) -> Outcome:
    from tuning import run

    found = ledger.open_sweep(options.name, options.home)
    spec = replace(found.spec, home=options.home, trials=options.trials or found.spec.trials)
    return _outcome(run.sweep_all([spec])[0], options)


def status(options: Namespace) -> Outcome:
    if options.name is not None:
        facts = ledger.sweep_facts(ledger.open_sweep(options.name, options.home))
        return facts, _status_text(facts), 0
    found = [ledger.sweep_facts(ledger.open_sweep(name, options.home)) for name in ledger.names(options.home)]
    home = paths.home_folder(options.home)
    text = "\n".join(map(_status_line, found)) or f"There are no sweeps in {home}."
    return {"sweeps": found}, text, 0


def best(options: Namespace) -> Outcome:
    from tuning import tracking

    found = ledger.open_sweep(options.name, options.home)
    trial = found.best_or_raise()
    uri = found.spec.tracking_uri or tracking.default_uri(found.paths.home)
    experiment = load_model(found.spec.model).name
    facts = ledger.trial_facts(found, trial)
    facts["run_id"] = tracking.run_id_of(uri, experiment, str(found.spec.id), trial.number)
    lines = [_best_text(facts), f"MLflow run  {facts['run_id']}", f"checkpoint  {facts['checkpoint']}"]
    return facts, "\n".join(lines), 0


def export(options: Namespace) -> Outcome:
    from tuning import reuse

    written = reuse.export_state_dict(options.name, Path(options.to), home=options.home, trial=options.trial)
    facts = {"sweep": options.name, "file": str(written.absolute()), "format": options.format}
    return facts, f"wrote {written}; open it with torch.load({str(written)!r}, weights_only=True)", 0


def ui(options: Namespace) -> Outcome:
    from tuning import tracking

    home = paths.home_folder(options.home)
    if not paths.tracking_database(home).exists():
        raise RequestError(f"There is nothing to show in {home} yet; start a sweep: `tuning sweep cnn`.")
    port = _free_port(options.port)
    print(f"MLflow UI over {home}: http://127.0.0.1:{port} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", tracking.default_uri(home)]
    command += ["--default-artifact-root", paths.tracking_artifacts(home).as_uri()]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        server.terminate()
        code = 0 if server.wait() is not None else 1
    return {}, "", code


def _free_port(first: int) -> int:
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RequestError(f"All ports from {first} to {first + 99} are taken; choose another --port.")


def _spec(options: Namespace, model: str, name: str | None = None) -> SweepSpec:
    """Build the spec: the file's keys, and over them the command line's."""
    folder = Path.cwd()
    plain: dict[str, Any] = {"model": model}
    if model.endswith((".yaml", ".yml")):
        plain = specs.read_yaml(Path(model))
        for key in ("model", "data"):
            if isinstance(plain.get(key), str):
                plain[key] = absolute(plain[key], Path(model).resolve().parent)
    options_ = ("data", "trials", "epochs", "batch_size", "seed", "metric", "mode", "max_concurrent")
    for key in (*options_, "max_failures", "address", "tracking_uri", "storage", "home"):
        if getattr(options, key) is not None:
            plain[key] = getattr(options, key)
    if name or options.name:
        plain["name"] = name or options.name
    if options.cohort is not None:
        plain["cohort"] = number(options.cohort)
    _merge(plain, "early_stopping", kind=options.early_stopping, grace_epochs=options.grace_epochs)
    _merge(plain, "early_stopping", reduction=options.reduction)
    _merge(plain, "resources", cpus=options.cpus_per_trial, gpus=options.gpus_per_trial)
    _set_and_search(plain, options, folder)
    return specs.from_plain(plain, folder=folder)


def _merge(plain: dict[str, Any], section: str, **values: Any) -> None:
    given = {key: value for key, value in values.items() if value is not None}
    if given:
        plain[section] = {**(plain.get(section) or {}), **given}


def _set_and_search(plain: dict[str, Any], options: Namespace, folder: Path) -> None:
    """Apply --set, --search and --no-search to the file's search, or to the model's default."""
    fixed = dict(plain.get("fixed") or {})
    for text in options.set:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise RequestError(f"--set must be KEY=VALUE, but got {text!r}.")
        fixed[key] = number(value)
        (plain.get("search") or {}).pop(key, None)
    if fixed:
        plain["fixed"] = fixed
    if not (options.search or options.no_search):
        return
    search = plain.get("search")
    if search is None:
        reference = absolute(plain["model"], folder)
        defaults = resolve.default_search(reference, load_model(reference), fixed)
        search = {key: to_plain(dimension) for key, dimension in defaults.items()}
    for text in options.search:
        key, dimension = parse_option(text)
        search[key] = dimension
    for key in options.no_search:
        if key not in search:
            raise unknown("searched hyperparameter", key, search)
        del search[key]
    plain["search"] = search


def _sweep_all(options: Namespace) -> Outcome:
    """Sweep every documented model: all are checked before the first one starts."""
    import models as catalog
    from tuning import run

    if options.data is not None:
        raise RequestError("`tuning sweep all` uses each model's default data; leave --data out.")
    prefix = options.name or "all"
    wanted = [_spec(options, model, f"{prefix}-{model}") for model in catalog.CATALOG]
    if options.dry_run:
        outcomes = [_dry_run(spec) for spec in wanted]
        return (
            {"sweeps": [facts for facts, _, _ in outcomes]},
            "\n\n".join(text for _, text, _ in outcomes),
            0,
        )
    outcomes = [_outcome(result, options) for result in run.sweep_all(wanted)]
    sweeps = [facts for facts, _, _ in outcomes]
    text = "\n".join(map(_status_line, sweeps))
    return {"sweeps": sweeps}, text, max(code for _, _, code in outcomes)


def _dry_run(spec: SweepSpec) -> Outcome:
    from tuning import plan
    from tuning.schedule import resources

    planned = plan.prepare(spec)
    node = resources.local_node()
    size = resources.chosen(planned.spec.resources, [node])
    facts = {
        "spec": specs.to_plain_spec(planned.spec),
        "folder": str(planned.paths.folder),
        "parameters": planned.num_parameters,
        "training_rows": len(planned.splits.train),  # type: ignore[arg-type]
    }
    if planned.spec.address is None:
        facts |= {"workers": resources.num_workers(size, [node]), "resources": asdict(size)}
    lines = [specs.dump(planned.spec).rstrip(), "", f"folder      {facts['folder']}"]
    lines += [f"model       {planned.num_parameters:,} parameters, {facts['training_rows']:,} training rows"]
    if "workers" in facts:
        lines += [f"workers     {facts['workers']} (each cpus={size.cpus:g}, gpus={size.gpus:g})"]
    return facts, "\n".join(lines), 0


def _outcome(result: Any, options: Namespace) -> Outcome:
    """Turn a sweep's result into facts, text and exit code; the reason of a fault goes to the screen."""
    from tuning import run

    found = ledger.open_sweep(result.name, options.home)
    facts = {**ledger.sweep_facts(found), "wall_s": round(result.wall_s, 3), "startup_s": result.startup_s}
    if result.interrupted:
        print(
            f"interrupted; resume with: tuning resume {result.name}{_home_option(options)}", file=sys.stderr
        )
        return facts, _status_line(facts), 130
    fault = run.fault(result)
    if fault is not None:
        print(f"error: {fault}", file=sys.stderr)
        return facts, _status_text(facts), 1
    home = _home_option(options)
    in_python = f', home="{options.home}"' if options.home else ""
    lines = [
        _status_line(facts),
        _best_text(facts["best"]),
        "",
        f'load it     import tuning; model = tuning.load_best("{result.name}"{in_python}).model',
        f"browse      tuning ui{home}",
    ]
    return facts, "\n".join(lines), 0


def _home_option(options: Namespace) -> str:
    return f" --home {options.home}" if options.home else ""


def _status_line(facts: dict[str, Any]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(facts["states"].items())) or "no trials"
    best_ = facts["best"]
    found = f"; best {best_['metric']}={best_['value']:.5g} (trial {best_['trial']})" if best_ else ""
    running = ", running now" if facts["is_running"] else ""
    return f"{facts['sweep']}: {states} of {facts['total']} in {facts['wall_s']:.0f} s{running}{found}"


def _status_text(facts: dict[str, Any]) -> str:
    lines = [_status_line(facts)]
    if facts["best"]:
        lines.append(_best_text(facts["best"]))
    if facts["unfinished"]:
        word = "running" if facts["is_running"] else f"interrupted (tuning resume {facts['sweep']})"
        lines.append(f"{word}: trials {', '.join(map(str, facts['unfinished']))}")
    return "\n".join([*lines, f"folder      {facts['folder']}"])


def _best_text(facts: dict[str, Any]) -> str:
    test = "".join(f", {key}={value:.5g}" for key, value in (facts["test"] or {}).items())
    found = f"{facts['metric']}={facts['value']:.5g} at epoch {facts['epoch']}{test}"
    return f"best        trial {facts['trial']}: {found}\n            {describe(facts['hyperparameters'])}"
