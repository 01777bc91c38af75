"""`tuning best`: the best trial, its run and its checkpoint."""

import sys
from argparse import Namespace

from tuning import ledger, standing
from tuning.commands import Outcome
from tuning.errors import one_line
from tuning.references import model_name
from tuning.texts import best_text


def run(options: Namespace) -> Outcome:
    from tuning.tracking import client, registry

    found = ledger.open_sweep(options.name, options.home)
    trial = found.best_or_raise()
    uri = client.uri_of(found.spec, found.paths.home)
    facts = standing.trial_facts(found, trial)
    facts["run_id"] = client.run_id_of(uri, model_name(found.spec.model), str(found.spec.id), trial.number)
    if facts["run_id"] is None:
        said = f"warning: there is no run of trial {trial.number} at {uri} (is it away?)"
        print(one_line(said), file=sys.stderr)
    lines = [best_text(facts), f"MLflow run  {facts['run_id']}", f"checkpoint  {facts['checkpoint']}"]
    facts["champion"] = None
    if found.champion is not None:
        model, champion = registry.uri_of(found.champion[0]), found.champion[1]
        facts["champion"] = {"model": model, "trial": champion}
        lines.append(f"champion    {model}: trial {champion}")
    return facts, "\n".join(lines), 0
