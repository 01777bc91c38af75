"""Resume states and last words that workers leave in a sweep's folder, as the driver looks after them."""

from collections.abc import Collection

from tuning import paths, storage


def exists(folder: str, name: str) -> bool:
    return storage.exists(paths.resume_file(folder, name))


def remove(folder: str, names: Collection[str | None]) -> None:
    """Remove resume states; None stands for that of a trial which has none."""
    for name in names:
        if name is not None:
            storage.remove(paths.resume_file(folder, name))


def keep_only(folder: str, names: Collection[str | None]) -> None:
    """Remove what deaths have left behind beside these."""
    remove(folder, set(storage.names(paths.resume_folder(folder))) - set(names))


def last_words(folder: str, cohort_id: str) -> str | None:
    """Take why a worker ended its own process; None if it was ended."""
    file = paths.last_words_file(folder, cohort_id)
    if not storage.exists(file):
        return None
    words = storage.read(file).decode()
    storage.remove(file)
    return words
