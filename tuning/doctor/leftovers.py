"""Files that nobody needs any more, and resume states: what they tell of unfinished trials."""

from collections.abc import Iterator

from tuning import paths, storage
from tuning.doctor.difference import Difference
from tuning.engine import resume_state
from tuning.errors import CheckpointError
from tuning.ledger import Sweep
from tuning.tracking.pending import History


def look(sweep: Sweep) -> list[Difference]:
    found = [Difference(None, f"{path} was left half written by a death") for path in _asides(sweep)]
    found += [Difference(None, f"{path} {why}") for path, why in _useless(sweep)]
    return found + [Difference(None, why, False) for why in _unreadable(sweep)]


def mend(sweep: Sweep) -> None:
    for path in [*_asides(sweep), *(path for path, _ in _useless(sweep))]:
        storage.remove(path)


def resumed(sweep: Sweep) -> dict[int, History]:
    """Return how far the resume states have unfinished trials: the longest history of each."""
    found: dict[int, History] = {}
    unfinished = {trial.number for trial in sweep.trials if not trial.state.has_ended}
    for name in storage.names(paths.resume_folder(sweep.folder)) if unfinished else []:
        states, _ = _states(sweep, name)
        for number, history in (states or {}).items():
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
        elif name.endswith(".pt") and _states(sweep, name) == (None, None):
            yield path, "is torn: its trials go on from an earlier state, or begin again"


def _unreadable(sweep: Sweep) -> Iterator[str]:
    """Yield why resume files cannot be read that may well be sound."""
    if not all(trial.state.has_ended for trial in sweep.trials):
        for name in storage.names(paths.resume_folder(sweep.folder)):
            _, why = _states(sweep, name) if name.endswith(".pt") else ({}, None)
            if why is not None:
                yield why


def _states(sweep: Sweep, name: str) -> tuple[dict[int, History] | None, str | None]:
    """Return the histories in a resume file, or why it cannot be read; neither of a torn one."""
    path = paths.resume_file(sweep.folder, name)
    try:
        states = resume_state.load(path, spec=sweep.spec)
    except CheckpointError as error:
        return None, str(error) if error.is_newer else None
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"
    return {number: state["history"] for number, state in states.items()}, None
