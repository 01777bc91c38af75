"""How an unknown name is refused: with the nearest known one, then all of them."""

import difflib
from collections.abc import Iterable

from tuning.errors import RequestError


def unknown(what: str, name: object, known: Iterable[str]) -> RequestError:
    """Return the error for a `name` that is not among `known`."""
    names = sorted(known)
    initials = "".join(word[:1] for word in str(name).split("_"))  # learning_rate: lr
    nearest = [initials] if initials in names else difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return RequestError(f"Unknown {what}: {name!r}{hint} Known: {', '.join(names)}.")
