"""What speaks for trials that a study does not know, as where its journal was lost or not copied."""

from tuning import notation, paths, storage
from tuning.errors import SweepError
from tuning.paths import SweepPaths


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
