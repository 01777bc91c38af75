"""What speaks for trials that a study does not know, and that a storage is not the one of those it knows."""

from collections.abc import Iterable, Sequence

from tuning import notation, paths, storage
from tuning.errors import SweepError
from tuning.paths import SweepPaths
from tuning.records import TrialRecord


def words(where: SweepPaths) -> str:
    """Return in words what is there of trials, for a study that has none; nothing if nothing is."""
    spec = notation.load(where.spec)
    folder = where.storage(spec.storage, str(spec.id))
    checkpoints = [name for name in storage.names(paths.checkpoint_folder(folder)) if name.endswith(".pt")]
    states = [name for name in storage.names(paths.resume_folder(folder)) if name.endswith(".pt")]
    counts = [(len(checkpoints), "checkpoint"), (len(states), "resume state")]
    found = " and ".join(f"{count} {of}{'' if count == 1 else 's'}" for count, of in counts if count)
    return f" It has {found}, so this is not how it was: put a backup back." if found else ""


def refuse(where: SweepPaths) -> None:
    """Refuse to begin a sweep's study anew over what is left of its trials, which would be overwritten.

    Raises:
        SweepError: when there is something.
    """
    if found := words(where):
        raise SweepError(
            f"The study {where.journal} of the sweep {where.name!r} knows of no trial.{found} To begin anew, "
            "give the new sweep another --name."
        )


def is_there(folder: str, trials: Iterable[TrialRecord]) -> bool:
    """Whether a storage can be the one that these trials were trained into."""
    return storage.exists(folder) or not any(trial.values for trial in trials)


def refuse_absent(folder: str, trials: Sequence[TrialRecord]) -> None:
    """Refuse a storage that is not there, as on a disk that is not mounted: to go on would train trials anew
    beside what they came to.

    Raises:
        SweepError: when it is not there, though trials were trained.
    """
    if not is_there(folder, trials):
        trained = sum(bool(trial.values) for trial in trials)
        raise SweepError(
            f"The storage {folder} must hold what {trained} trials of the sweep came to, but it is not "
            "there: is its disk mounted on this machine? Where it is lost for good, make an empty folder of "
            "that name (in a bucket: put any file there) and go on with `tuning doctor --fix`."
        )
