"""What a model refuses, and in which words: the rule, the value, the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(what: str, value: object, known: Iterable[str]) -> str:
    """Return the message for a name that nobody knows: the nearest known one, then all of them."""
    names = list(known)
    nearest = get_close_matches(str(value), names, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"unknown {what} {value!r}; {hint}Known: {', '.join(names)}."


def check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1, but got {size}; give a positive size.")


def check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(
            f"`dropout` must lie in [0, 1), but got {dropout}; it is the share of units that a "
            "training step drops, 0 for none."
        )


def check_bn_momentum(bn_momentum: float | None) -> None:
    if bn_momentum is not None and not 0 < bn_momentum <= 1:
        raise ValueError(
            f"`bn_momentum` must lie in (0, 1], but got {bn_momentum}; it is the weight of the "
            "newest batch in the running statistics, None for no batch norm."
        )
