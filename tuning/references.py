"""Models and data by name: a catalog entry, `package.module:callable` or `file.py:callable`."""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tuning import copies
from tuning.errors import RequestError
from tuning.naming import unknown

if TYPE_CHECKING:
    from tuning.data import Splits


def is_callable_reference(text: str) -> bool:
    return ":" in text


def absolute(reference: str, folder: Path) -> str:
    """Resolve the file of `file.py:callable` against `folder`; other references stay as they are."""
    source, colon, name = reference.rpartition(":")
    if not colon or not source.endswith(".py"):
        return reference
    try:
        return f"{(folder / Path(source).expanduser()).resolve()}:{name}"
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name that is too long or has a NUL
        raise RequestError(f"A file must be one that there can be, but got {source!r}: {error}.") from error


JOB_FOLDER = re.compile(r"^/.*/runtime_resources/working_dir_files/[^/]+/")
"""Where Ray puts a job's files: under another name whenever one of them changes, and not for long."""


def is_same(one: str | None, other: str | None) -> bool:
    """Whether two references name the same, be it in the folders of two Ray jobs."""
    return one == other or (None not in (one, other) and _in_job(str(one)) == _in_job(str(other)))


def _in_job(reference: str) -> str:
    """Return the reference as seen from the folder of the Ray job in which its file lies."""
    return JOB_FOLDER.sub("", reference)


def source(reference: str) -> Path | None:
    """Return the file or the package's folder that a user's reference names; None for what is installed.

    A module counts as the user's own if it lies under the current folder.
    """
    name, colon, _ = reference.rpartition(":")
    if not colon:
        return None
    if name.endswith(".py"):
        return Path(name)
    top = Path.cwd() / name.partition(".")[0]
    return next((path for path in (top, top.with_name(f"{top.name}.py")) if path.exists()), None)


def source_hash(reference: str) -> str | None:
    """Return a hash of the code that `source` finds; None for what is installed, or cannot be read."""
    found = source(reference)
    if found is None:
        return None
    hashed = hashlib.sha256()
    try:
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            hashed.update(file.read_bytes())
    except OSError:
        return None
    return hashed.hexdigest()


def source_doubt(reference: str, found: str | None, known: str | None) -> str | None:
    """Return a warning where the hash that a user's own code has is not the one that is `known`."""
    if known is None or found in (None, known):
        return None
    return (
        f"the code of {reference} has changed since trials were trained: whether they can be compared with "
        "what is trained now is yours to judge"
    )


def load_callable(reference: str) -> Callable[..., Any]:
    """Import what `package.module:callable` or `/folder/file.py:callable` names.

    Raises:
        RequestError: when there is no such file, module or callable, or importing it fails.
    """
    source, _, name = reference.rpartition(":")
    module = (
        _import_file(copies.on_this_machine(Path(source)))
        if source.endswith(".py")
        else _import_module(source)
    )
    found = getattr(module, name, None)
    if found is None:
        raise unknown(f"callable in {source}", name, _public_callables(module))
    if not callable(found):
        raise RequestError(f"{reference!r} must name a callable, but it is a {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


def check_file(reference: str) -> None:
    """Refuse a callable whose file is not there, before anything is imported, which takes seconds."""
    source = reference.rpartition(":")[0]
    if source.endswith(".py"):
        _require_file(copies.on_this_machine(Path(source)))


def _require_file(path: Path) -> None:
    if not os.path.isfile(path):  # False also for a name that is too long
        if JOB_FOLDER.match(str(path)):
            raise RequestError(
                f"There is no file {path} any more: it was a Ray job's; to go on with the sweep submit the "
                "job again."
            )
        raise RequestError(
            f"There is no file {path}, which `file.py:callable` must name; correct the path, or put it back."
        )


def _import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that a user's `models.py` hides nothing."""
    _require_file(path)
    name = f"tuning_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for what the file itself imports from beside it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise RequestError(f"Importing {path} failed: {type(error).__name__}: {error}") from error
    return module


def _import_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script, unlike `python -m`, starts without it
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise RequestError(
            f"Importing module {name!r} failed: {type(error).__name__}: {error}; "
            "give `package.module:callable` or `file.py:callable`."
        ) from error


def _public_callables(module: ModuleType) -> list[str]:
    """Return what a module defines itself, without what it imports."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "") == module.__name__
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A model of the catalog or a user's callable, as far as a sweep needs to know it."""

    name: str
    """Catalog name, or the callable's own name: the MLflow experiment."""
    reference: str
    arguments: tuple[str, ...]
    """Hyperparameters that the constructor takes."""
    build: Callable[..., Any]


def model_name(reference: str) -> str:
    """Return a catalog name, or a callable's own name: the MLflow experiment."""
    return reference.rpartition(":")[2]


@functools.cache
def load_model(reference: str) -> ModelReference:
    """Find a model by catalog name or callable reference; once per process, as Python imports modules."""
    import models  # imports torch, which a command that only reads a spec does not need

    if not is_callable_reference(reference):
        if reference.endswith(".py"):
            raise RequestError(
                f"A model in a file is named with what builds it, but got {reference!r}; "
                f"write {reference}:Net for its class or function `Net`."
            )
        if reference not in models.CATALOG:
            raise unknown("model", reference, models.CATALOG)
        return ModelReference(
            name=reference,
            reference=reference,
            arguments=models.hyperparameters(reference),
            build=models.CATALOG[reference].build,
        )
    function = load_callable(reference)
    return ModelReference(
        name=model_name(reference),
        reference=reference,
        arguments=_parameters(function, reference),
        build=function,
    )


def load_data(reference: str, *, seed: int, num_outputs: int | None = None) -> "Splits":
    """Load a data set by catalog name or callable reference, split by `seed`.

    Args:
        num_outputs: of a user's own, where it is known from having been loaded before: to count the classes
            of a set that is read example by example takes reading all of it.
    """
    from tuning import data

    if not is_callable_reference(reference):
        return data.load(reference, seed=seed)
    with _one_at_a_time(reference):
        return data.from_callable(
            load_callable(reference), name=reference, seed=seed, num_outputs=num_outputs
        )


def _one_at_a_time(reference: str) -> AbstractContextManager[None]:
    """Let one process of a machine open this data: what the first one downloads the others find."""
    from tuning.data.folder import locked

    name = hashlib.sha256(reference.encode()).hexdigest()[:16]
    return locked(Path(tempfile.gettempdir()) / f"tuning-{os.getuid()}-{name}.lock")


def _parameters(function: Callable[..., Any], reference: str) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as error:
        raise RequestError(
            f"A model's signature must name its hyperparameters, but {reference!r} has none."
        ) from error
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(name for name, p in parameters.items() if p.kind in kinds)
