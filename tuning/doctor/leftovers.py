"""Files that nobody needs any more, and resume states: what they tell of unfinished trials."""

from collections.abc import Iterator

from tuning import paths, storage
from tuning.doctor.difference import Difference
from tuning.engine import checkpoint
from tuning.errors import CheckpointError
from tuning.ledger import Sweep
from tuning.tracking.pending import History


def look(sweep: Sweep) -> list[Difference]:
    found = [Difference(None, f"{path} was left half written by a death") for path in _asides(sweep)]
    return found + [Difference(None, f"{path} {why}") for path, why in _useless(sweep)]


def mend(sweep: Sweep) -> None:
    for path in [*_asides(sweep), *(path for path, _ in _useless(sweep))]:
        storage.remove(path)


def resumed(sweep: Sweep) -> dict[int, History]:
    """Return how far the resume states have unfinished trials: the longest history of each."""
    found: dict[int, History] = {}
    unfinished = {trial.number for trial in sweep.trials if not trial.state.has_ended}
    for name in storage.names(paths.resume_folder(sweep.folder)) if unfinished else []:
        for number, history in (_histories(paths.resume_file(sweep.folder, name)) or {}).items():
            if number in unfinished and len(history) > len(found.get(number, [])):
                found[number] = history
    return found


def _asides(sweep: Sweep) -> list[str]:
    folder = sweep.folder
    places = [folder, paths.checkpoint_folder(folder), paths.resume_folder(folder)]
    own = [str(sweep.paths.folder), str(sweep.paths.spool)]
    return [path for place in dict.fromkeys([*own, *places]) for path in storage.asides(place)]


def _useless(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield resume files that serve nothing, each with why.

    While trials are unfinished those of other trials may lie there too: a sweep that was halted keeps
    them until the next driver sorts them out.
    """
    is_over = all(trial.state.has_ended for trial in sweep.trials)
    for name in storage.names(paths.resume_folder(sweep.folder)):
        path = paths.resume_file(sweep.folder, name)
        if is_over:
            yield path, "was left, though no trial of the sweep is unfinished"
        elif name.endswith(".pt") and _histories(path) is None:
            yield path, "is torn: its trials go on from an earlier state, or begin again"


def _histories(path: str) -> dict[int, History] | None:
    """Return the histories in a resume file; None of one that is torn or of something else."""
    try:
        return {number: state["history"] for number, state in checkpoint.load_resume(path).items()}
    except (CheckpointError, OSError):
        return None
