"""The champion in MLflow's registry: the trial that the study says, with what fresh seeds made of it."""

from tuning.doctor import checkpoints, runs
from tuning.doctor.difference import Difference
from tuning.errors import SweepError
from tuning.export import winner
from tuning.ledger import Sweep
from tuning.references import model_name
from tuning.study import Study
from tuning.tracking import client, confirmed, registry
from tuning.tracking.inventory import Inventory


def look(sweep: Sweep, held: Inventory | None) -> list[Difference]:
    """Compare the champion with the study, once the sweep has had one; `held` is None without a database."""
    number = _wanted(sweep)
    if held is None or sweep.champion is None or number is None:
        return []
    uri = registry.uri_of(sweep.champion[0])
    try:
        tags = registry.tags_of_champion(held.client, sweep.champion[0])
    except Exception as error:  # of MLflow and of whatever stands behind it
        return [Difference(number, f"{uri} cannot be read: {client.reason(error)}", False)]
    why = _disagreement(sweep, number, tags)
    if why is None:
        return []
    if checkpoints.sound_files(sweep, sweep.trial(number)):
        return [Difference(number, f"{uri} {why}")]
    return [Difference(number, f"{uri} {why}; first its checkpoint must be mended", False)]


def mend(sweep: Sweep) -> None:
    """Register the model of the trial that should be champion, or give the version it has the alias.

    Raises:
        SweepError: when it cannot be registered.
    """
    held, number = runs.read(sweep), _wanted(sweep)
    if not any(found.fixable for found in look(sweep, held)):
        return
    assert held is not None and sweep.champion is not None and number is not None
    study = Study(sweep.spec, sweep.paths.journal, write=True)
    said: list[str] = []
    sent = winner.candidate(study, sweep.folder, sweep.trial(number), said.append)
    if sent is not None:
        registry.depose(held.client, sweep.champion[0])
        uri = client.uri_of(sweep.spec, sweep.paths.home)
        answer = confirmed.register(uri, model_name(sweep.spec.model), sweep.spec, sent)
        winner.keep(answer, sent, study, said.append)
    if sent is None or answer.registered is None:
        raise SweepError(said[-1])


def _wanted(sweep: Sweep) -> int | None:
    """Return the trial that should be champion: the best confirmed one, else the one that was registered.

    A better one that nobody has confirmed is none.
    """
    if sweep.confirmation is not None and sweep.best is not None:
        return sweep.best.number
    return sweep.champion[1] if sweep.champion is not None else None


def _disagreement(sweep: Sweep, number: int, tags: dict[str, str] | None) -> str | None:
    """Return in what the champion is not what it should be."""
    if tags is None:
        return "is gone from MLflow's registry"
    if tags.get("tuning.trial") != str(number):
        return f"should be its model, but is that of trial {tags.get('tuning.trial', 'none')}"
    one = sweep.confirmation.of(number) if sweep.confirmation is not None else None
    if one is not None and tags.get(registry.CONFIRMED) != repr(one.mean):
        return f"does not say what fresh seeds made of it: {registry.CONFIRMED}"
    return None
