"""Where MLflow has a sweep: its experiment, and its runs in it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

MOST_AT_ONCE = 500
"""Experiments that are searched together: databases and servers bound what one question may name."""


def experiment_of(client: Any, name: str, sweep_id: str) -> Any:
    """Return the experiment that holds a sweep, whatever it was renamed to since.

    One that was deleted, or of which all the sweep's runs were, holds it still. Where none does (yet), the
    experiment of this name; None if there is none.
    """
    from mlflow.entities import ViewType

    named = client.get_experiment_by_name(name)
    wanted = f"tags.`tuning.sweep_id` = '{sweep_id}'"

    def first(experiments: Sequence[str]) -> Any:
        found = client.search_runs(experiments, wanted, ViewType.ALL, max_results=1)
        return found[0].info.experiment_id if found else None

    if named is not None and first([named.experiment_id]):
        return named
    others = [one.experiment_id for one in pages(client.search_experiments, ViewType.ALL)]
    for begin in range(0, len(others), MOST_AT_ONCE):
        holds = first(others[begin : begin + MOST_AT_ONCE])
        if holds is not None:
            return client.get_experiment(holds)
    return named


def pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """Yield all that one of MLflow's searches finds, which come page by page."""
    token = None
    while True:
        page = search(*arguments, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def find_runs(client: Any, experiment_id: str, sweep_id: str, **options: Any) -> list[Any]:
    """Return all runs of a sweep, parent and children; `options` as `search_runs` takes them."""
    wanted = f"tags.`tuning.sweep_id` = '{sweep_id}'"
    return list(pages(client.search_runs, [experiment_id], wanted, max_results=5000, **options))
