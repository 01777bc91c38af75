"""Preflight: what will run where. Refuses the impossible before anything is started or written."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from tuning import ledger, notation, paths, places, references, resolve, storage
from tuning.data import CATALOG as DATA
from tuning.data import Splits, not_finite, unscaled
from tuning.errors import RequestError
from tuning.fitting import Fitted, late, try_model
from tuning.interrupt import within
from tuning.naming import unknown
from tuning.references import ModelReference, is_callable_reference
from tuning.space import ends
from tuning.spec import SweepSpec
from tuning.study.earlier import Earlier, look_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that can be carried out."""

    spec: SweepSpec
    """Complete; as it will stand in the sweep's folder, but for the id of a new sweep."""
    paths: paths.SweepPaths
    model: ModelReference
    splits: Splits
    fitted: Fitted
    """What the models are that may be built."""
    doubt: str | None = None
    """What the user should know of the data."""
    earlier: Earlier | None = None
    """What a new sweep takes over from another one."""


def prepare(spec: SweepSpec) -> Plan:
    """Check a request as a whole.

    Raises:
        RequestError: when it cannot be carried out.
    """
    model = references.load_model(spec.model)
    data = resolve.data_reference(spec, model)
    _check_tasks(spec.model, data)
    home = paths.home_folder(spec.home)
    where = paths.SweepPaths(home, paths.check_name(spec.name or model.name))
    _check_writable(home)
    early = places.settled(replace(spec, name=where.name), where)
    early = replace(early, storage=_storage(early.storage))
    with within(spec.trial_timeout, late(f"Data {data!r}", spec)):
        splits = references.load_data(data, seed=spec.seed)
    complete = as_it_was(resolve.resolve(early, model, splits.task), where)
    found = None if where.spec.exists() else look_at_earlier(complete, where)
    _check_ranks(complete, splits)
    fitted = try_model(complete, splits)
    _check_alike(data, splits, spec)
    return Plan(
        spec=complete,
        paths=where,
        model=model,
        splits=splits,
        fitted=fitted,
        doubt=_doubt(data, splits),
        earlier=found,
    )


def _doubt(data: str, splits: Splits) -> str | None:
    """Return what is strange about the data, if anything is; how catalog data is scaled is the document's."""
    strange = not_finite(splits) or (unscaled(splits) if is_callable_reference(data) else None)
    return f"Data {data!r}: {strange}" if strange else None


def look_at_earlier(spec: SweepSpec, where: paths.SweepPaths) -> Earlier | None:
    """Return what fits of the sweep that a new one begins from, if it begins from one.

    Raises:
        RequestError: when there is no such sweep, or nothing of it fits.
    """
    if spec.from_ is None:
        return None
    old = ledger.open_sweep(spec.from_, str(where.home))
    return look_at(spec, old.spec, old.trials, old.confirmation)


def _storage(option: str | None) -> str | None:
    """Return the storage so that it means the same from any folder."""
    if option is None:
        return None
    try:
        storage.check(option)
        return option if "://" in option else str(Path(option).expanduser().absolute())
    except RequestError:
        raise
    except Exception as error:  # whatever stands behind a URI may raise anything while it is opened
        raise RequestError(
            f"The storage {option!r} cannot be opened: {type(error).__name__}: {error}"
        ) from error


def _check_writable(home: Path) -> None:
    try:
        exists = next(folder for folder in (home, *home.parents) if folder.exists())
    except OSError as error:  # as for a name that is too long
        raise unwritable(home) from error
    if not (exists.is_dir() and os.access(exists, os.W_OK | os.X_OK)):
        raise unwritable(home)


def _check_tasks(model: str, data: str) -> None:
    """Refuse a classifier on a regression set and the reverse, before either is loaded."""
    import models

    if is_callable_reference(model) or is_callable_reference(data):
        return
    if data not in DATA:
        raise unknown("data", data, DATA)
    wants, is_ = models.CATALOG[model].task, DATA[data].task
    if wants != is_:
        fitting = ", ".join(sorted(name for name, card in DATA.items() if card.task == wants))
        raise RequestError(
            f"Model {model!r} is for {wants}, but data {data!r} is for {is_}; choose one of: {fitting}."
        )


def as_it_was(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Return the spec, or if the sweep exists already its own with what may change taken over.

    A sweep that does not exist has no id, also where the spec is a copy of another sweep's.
    """
    if where.spec.exists():
        old = notation.load(where.spec)
        for key in ("model", "data"):  # of a job that was submitted again
            if references.is_same(getattr(old, key), getattr(spec, key)):
                old = replace(old, **{key: getattr(spec, key)})
        changed = notation.differences(old, spec)
        if changed:
            raise RequestError(
                f"The sweep {spec.name!r} exists with a different spec ({'; '.join(changed)}); "
                "give this search another name (--name, in Python `name=`), or go on with the one that there "
                f"is: `{where.command('resume')} --trials TOTAL`."
            )
        return notation.continued(old, spec)
    begun = {where.claim.name, where.log.name}  # all that a driver leaves which dies at its start
    found = {path.name for path in where.folder.iterdir()} if where.folder.is_dir() else set()
    if any(name not in begun and not storage.ASIDE.fullmatch(name) for name in found):
        raise RequestError(
            f"The folder {where.folder} exists and is no sweep's; choose another --name or --home."
        )
    if where.folder.exists() and not where.folder.is_dir():
        raise RequestError(f"{where.folder} is a file; choose another --name or --home.")
    return replace(spec, id=None)


def _check_alike(data: str, splits: Splits, spec: SweepSpec) -> None:
    """Refuse data of one's own that is another each time: its trials could not be compared, nor resumed."""
    if not is_callable_reference(data):
        return
    with within(spec.trial_timeout, late(f"Data {data!r}", spec)):
        again = references.load_data(data, seed=spec.seed, num_outputs=splits.num_outputs)
    if again.fingerprint != splits.fingerprint:
        raise RequestError(
            f"Data {data!r} must be the same whenever it is loaded, but its fingerprint differs: is it drawn "
            "without a fixed seed? Give its function a parameter `seed`, and draw by that."
        )


def _check_ranks(spec: SweepSpec, splits: Splits) -> None:
    """Refuse batches of which not every GPU of a trial gets a row."""
    searched = (spec.search or {}).get("batch_size")
    sizes = [spec.fixed.get("batch_size", spec.batch_size), *(ends(searched) if searched else ())]
    least = min(int(size) for size in (*sizes, len(splits.train)) if size is not None)  # type: ignore[arg-type]
    if spec.ranks > least:
        raise RequestError(
            f"Each of the {spec.ranks} GPUs of a trial must have a row of every batch, but the smallest "
            f"batch has {least}; choose a larger --batch-size, or fewer --gpus-per-trial."
        )


def unwritable(home: Path) -> RequestError:
    return RequestError(f"The home {home} cannot be written; set --home or TUNING_HOME to a folder that can.")
