"""One piece of work of a command on a node of a cluster: what happens there comes as it happens."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from tuning.data import Splits
from tuning.errors import SweepError, first_line
from tuning.schedule import datasets, worker
from tuning.spec import Resources, SweepSpec


def in_words(resources: Resources) -> str:
    gpus = f", {resources.gpus:g} GPU" if resources.gpus else ""
    return f"{resources.cpus:g} CPU{gpus}"


def events(
    work: Callable[..., Iterator[Any]], spec: SweepSpec, seed: int, splits: Splits, *arguments: Any
) -> Iterator[Any]:
    """Yield what `work(*arguments, spec, splits, device)` yields on a node that has the spec's resources.

    Args:
        seed: of the data's splits.

    Raises:
        SweepError: when that raises one, or its node is lost.
        Exception: whatever else it raises.
    """
    task = ray.remote(_carry_out).options(
        num_cpus=spec.resources.cpus,
        num_gpus=spec.resources.gpus or 0,
        max_retries=0,
        num_returns="streaming",
    )
    stream: Any = task.remote(work, spec, seed, datasets.put(splits), splits.num_outputs, arguments)
    try:
        for event in stream:
            yield ray.get(event)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise SweepError(
            f"The worker on the cluster was lost: {first_line(error)}; repeat the command."
        ) from error
    finally:
        with contextlib.suppress(RayError, TypeError):  # it has ended
            ray.cancel(stream)


def _carry_out(
    work: Callable[..., Iterator[Any]],
    spec: SweepSpec,
    seed: int,
    held: datasets.Held | None,
    num_outputs: int,
    arguments: tuple[Any, ...],
) -> Iterator[Any]:
    device = worker.prepare_process(spec)
    splits = worker.load_splits(str(spec.data), seed, held, num_outputs)
    yield from work(*arguments, spec, splits, device)
