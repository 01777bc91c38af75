"""The model's default search ranges, for the search libraries of the peers."""

import models


def ranges(model: str) -> list[tuple[str, float, float, bool]]:
    """Return (hyperparameter, low, high, is logarithmic) of each."""
    search = models.CATALOG[model].search
    return [(key, one["low"], one["high"], one.get("log", False)) for key, one in search.items()]
