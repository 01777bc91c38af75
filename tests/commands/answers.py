"""What a command answers with."""

import json
from collections.abc import Callable
from typing import Any

Answer = Callable[..., str]


def json_of(text: str) -> dict[str, Any]:
    """Return the one JSON object that all of a standard output is."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found
