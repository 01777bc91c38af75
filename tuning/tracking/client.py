"""Asking MLflow: does it answer, which run is a trial's, give me a checkpoint."""

import contextlib
import glob
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuning import notation, paths
from tuning.errors import RequestError, one_line, without_passwords
from tuning.spec import SweepSpec
from tuning.tracking.finding import experiment_of, pages

ID_BEGIN = 8
"""So many characters of a sweep's id tell sweeps of one name apart."""

DATABASES = ("postgresql", "mysql", "mssql")
"""Schemes of databases behind a network."""

OWN_DATABASES = ("sqlite", *DATABASES)
"""Schemes of what is opened without a tracking server."""


def default_uri(home: Path) -> str:
    return f"sqlite:///{paths.tracking_database(home)}"


def uri_of(spec: SweepSpec, home: Path) -> str:
    """Return where the records of a sweep go."""
    return spec.tracking_uri or default_uri(home)


def reason(error: Exception) -> str:
    """Return what MLflow, or what stands behind it, complains of, as one line."""
    return one_line(str(error).partition("\n")[0] or type(error).__name__)[:300]


def _unreached(error: Exception) -> Exception:
    """Return what the system says of a server that cannot be reached: MLflow says all that stands between."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    last = chain[-1]
    return last if isinstance(last, ConnectionError | TimeoutError | socket.gaierror) else error


def check(uri: str) -> None:
    """Refuse a tracking server that does not answer, before anything is started.

    A database in a file is not made yet: it is enough that it can be.
    """
    bound_waiting()
    file = uri.removeprefix("sqlite:///")
    if file != uri:
        if not Path(file).parent.is_dir():
            raise RequestError(f"--tracking-uri {uri!r} must lie in a folder that exists.")
        return
    try:
        if uri.startswith(DATABASES):
            _connect_once(uri)
        connect(uri).search_experiments(max_results=1)
    except Exception as error:  # of MLflow, of a database's driver that is not installed, of a network
        raise RequestError(
            f"The tracking server --tracking-uri {uri!r} must answer, but: {reason(_unreached(error))}. "
            "Start it (`mlflow server`), or leave --tracking-uri out for a database in the home."
        ) from error


def _connect_once(uri: str) -> None:
    """Connect to a database: MLflow tries ten times, which takes 100 s."""
    from mlflow.store.db.utils import create_sqlalchemy_engine

    create_sqlalchemy_engine(uri).connect().close()  # type: ignore[no-untyped-call]


def bound_waiting() -> None:
    """MLflow's own retries of a server that is away take minutes; whoever sets these keeps them."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


def run_id_of(uri: str, experiment: str, sweep_id: str, number: int) -> str | None:
    """Return the MLflow run of a trial; None if there is none (yet), or no server answers."""
    bound_waiting()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None  # to ask would be to make it
    from mlflow.exceptions import MlflowException

    wanted = f"tags.`tuning.sweep_id` = '{sweep_id}' and tags.`tuning.trial` = '{number}'"
    try:
        client = connect(uri)
        found = experiment_of(client, experiment, sweep_id)
        runs = client.search_runs([found.experiment_id], wanted, max_results=1) if found else []
    except (MlflowException, OSError):
        return None
    return runs[0].info.run_id if runs else None


def attach(
    uri: str, experiment: str, sweep_id: str, file: Path, name: str, trial: int | None = None
) -> tuple[str | None, str | None]:
    """Put a file among the artifacts of a sweep's own run, or of a trial's, under this name.

    Returns:
        That run, and what stood against it: the one or the other is None.
    """
    bound_waiting()
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():  # MLflow would make it
        return None, "there is no such database"
    which = "tags.`tuning.kind` = 'sweep'" if trial is None else f"tags.`tuning.trial` = '{trial}'"
    try:
        client = connect(uri)
        found = experiment_of(client, experiment, sweep_id)
        wanted = f"tags.`tuning.sweep_id` = '{sweep_id}' and {which}"
        runs = client.search_runs([found.experiment_id], wanted, max_results=1) if found else []
        if not runs:
            of = "the sweep" if trial is None else f"trial {trial}"
            return None, f"{of} has no run there (yet)"
        run_id = str(runs[0].info.run_id)
        put_file(client, run_id, file, name)
        return run_id, None
    except Exception as error:  # of MLflow, of a database, of whatever keeps the artifacts
        return None, reason(error)


def put_file(client: Any, run_id: str, file: Path, name: str) -> None:
    """Put a file among a run's artifacts, where it has this name."""
    with tempfile.TemporaryDirectory() as scratch:  # an artifact has its file's name
        named = Path(scratch) / name
        try:
            os.link(file, named)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, named)
        client.log_artifact(run_id, str(named))


@contextlib.contextmanager
def downloaded_checkpoint(uri: str, name: str, trial: int | None) -> Iterator[tuple[str, SweepSpec]]:
    """Fetch the checkpoint of a sweep's best trial, or of trial number `trial`, and the sweep's spec.

    Raises:
        RequestError: when the server has no such sweep or trial, or several sweeps of that name, or when it
            does not answer.
    """
    bound_waiting()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file, spec = _download(uri, name, trial, scratch)
        except RequestError as error:
            raise RequestError(without_passwords(str(error))) from None
        except Exception as error:  # of MLflow, of a network, of whatever keeps the artifacts
            raise RequestError(
                f"The tracking server {without_passwords(uri)!r} must answer, but: {reason(error)}."
            ) from error
        yield str(file), notation.load(spec)


def _download(uri: str, name: str, trial: int | None, scratch: str) -> tuple[Path, Path]:
    """Return a trial's checkpoint and the sweep's spec, as files in the folder `scratch`."""
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    parent = _parent(client, experiments, name, uri)
    tags = parent.data.tags
    number = tags.get("tuning.best_trial") if trial is None else str(trial)
    if number is not None and not number.isdecimal():
        raise RequestError(f"The best trial of {name!r} on {uri} must be a number, but it is {number!r}.")
    wanted = f"tags.`tuning.sweep_id` = '{tags['tuning.sweep_id']}' and tags.`tuning.trial` = '{number}'"
    runs = client.search_runs(experiments, wanted) if number is not None else []
    if not runs:
        raise RequestError(
            f"The sweep {name!r} on {uri} has no {'best trial yet' if trial is None else f'trial {trial}'}."
        )
    spec = client.download_artifacts(parent.info.run_id, "spec.yaml", scratch)
    folder = client.download_artifacts(runs[0].info.run_id, "checkpoint", scratch)
    return Path(folder) / f"{paths.trial_name(int(str(number)))}.pt", Path(spec)


def _parent(client: Any, experiments: Sequence[str], name: str, uri: str) -> Any:
    """Return the run of the sweep of this name, or of `<name>-<the first 8 of its id>`."""
    named = _named(client, experiments, name)
    base, _, begin = name.rpartition("-")
    if not named and len(begin) == ID_BEGIN:
        named = [run for run in _named(client, experiments, base) if _id(run).startswith(begin)]
    if len(named) == 1:
        return named[0]
    if not named:
        raise RequestError(f"One sweep named {name!r} must be on {uri}, but there are: none.")
    several = " or ".join(f"{name}-{_id(run)[:ID_BEGIN]}" for run in named)
    raise RequestError(
        f"One sweep named {name!r} must be on {uri}, but there are: {len(named)}, the latest first; name one "
        f"of them: {several}."
    )


def _named(client: Any, experiments: Sequence[str], name: str) -> list[Any]:
    wanted = f"tags.`tuning.sweep` = '{name}' and tags.`tuning.kind` = 'sweep'"
    return list(client.search_runs(experiments, wanted, order_by=["attributes.start_time DESC"]))


def _id(run: Any) -> str:
    return str(run.data.tags["tuning.sweep_id"])


def connect(uri: str) -> Any:
    """Return MLflow's client; a database in a file that is not there yet is made, whole or not at all."""
    from mlflow.tracking import MlflowClient

    file = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not file.exists() and file.parent.is_dir():
        _make_database(file)
    return MlflowClient(tracking_uri=uri)


def _make_database(file: Path) -> None:
    """Make a database aside and put it in its place.

    MLflow makes its tables for seconds, and opens no database of which a death has left a half.
    """
    from mlflow.tracking import MlflowClient

    mark = f".{file.name}-{socket.gethostname()}-"
    for left in file.parent.glob(f"{glob.escape(mark)}*"):
        maker = re.fullmatch(r"(\d+)-\w+", left.name.removeprefix(mark))  # else another host's
        if maker and not _is_alive(int(maker[1])):  # it was killed meanwhile
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{mark}{os.getpid()}-", dir=file.parent) as scratch:
        aside = Path(scratch) / file.name
        MlflowClient(tracking_uri=f"sqlite:///{aside}").search_experiments(max_results=1)
        try:
            os.link(aside, file)
        except FileExistsError:  # another sweep of this home was quicker
            pass
        except OSError:  # a disk without links
            os.replace(aside, file)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
