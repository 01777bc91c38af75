"""Where MLflow has a sweep: its experiment, and its runs in it."""

from collections.abc import Callable, Iterator
from typing import Any


def experiment_of(client: Any, name: str, sweep_id: str) -> Any:
    """Return the experiment that holds a sweep, whatever it was renamed to since.

    Where no experiment does (yet), the one of this name; None if there is none.
    """
    named = client.get_experiment_by_name(name)
    wanted = f"tags.`tuning.sweep_id` = '{sweep_id}' and tags.`tuning.kind` = 'sweep'"
    if named is not None and client.search_runs([named.experiment_id], wanted, max_results=1):
        return named
    all_ = [one.experiment_id for one in pages(client.search_experiments)]
    runs = client.search_runs(all_, wanted, max_results=1) if all_ else []
    return client.get_experiment(runs[0].info.experiment_id) if runs else named


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
