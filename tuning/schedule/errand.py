"""One piece of work of a command on a worker of a cluster: what happens there comes as it happens."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from tuning.data import Splits
from tuning.errors import SweepError, first_line
from tuning.schedule import datasets, resources, sharing, survey, worker
from tuning.schedule.work import Work
from tuning.sizing import Sizing
from tuning.spec import SweepSpec


def sized(spec: SweepSpec, kept: Sizing) -> SweepSpec:
    """Return a sweep's spec with what one of its workers gets of the connected cluster.

    Raises:
        RequestError: when no node can hold one.
    """
    share, _ = resources.share(sharing.with_share(spec, kept), resources.expected_nodes())
    return replace(spec, resources=share)


def events(
    work: Callable[..., Iterator[Any]], spec: SweepSpec, seed: int, splits: Splits, *arguments: Any
) -> Iterator[Any]:
    """Yield what `work(*arguments, spec, splits, device)` yields on a node that has the spec's resources.

    Args:
        seed: of the data's splits.

    Raises:
        SweepError: when that raises one, its node is lost, or has other versions or other data.
        Exception: whatever else it raises.
    """
    what = Work(
        spec=spec,
        folder="",
        attempt="",
        versions=survey.versions(),
        fingerprint=splits.fingerprint,
        num_outputs=splits.num_outputs,
        data=datasets.put(splits),
        gate=None,
        workers=1,
    )
    cpus, gpus = spec.resources.cpus, spec.resources.gpus or 0
    task = ray.remote(_carry_out).options(
        num_cpus=cpus, num_gpus=gpus, max_retries=0, num_returns="streaming"
    )
    stream: Any = task.remote(work, what, seed, arguments)
    try:
        for event in stream:
            yield ray.get(event)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        why = first_line(error)
        raise SweepError(f"The worker on the cluster was lost: {why}; repeat the command.") from error
    finally:
        with contextlib.suppress(RayError, TypeError):  # it has ended
            ray.cancel(stream)


def _carry_out(
    work: Callable[..., Iterator[Any]], what: Work, seed: int, arguments: tuple[Any, ...]
) -> Iterator[Any]:
    what.check_versions()
    device = worker.prepare_process(what.spec)
    splits = worker.load_splits(str(what.spec.data), seed, what.data, what.num_outputs)
    what.check_data(splits)
    yield from work(*arguments, what.spec, splits, device)
