"""What a single value of a spec must be; a refusal says the rule and the value."""

from collections.abc import Sequence
from typing import Literal, get_args

from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.space import is_finite

Optimizer = Literal["sgd", "rmsprop", "adagrad", "adam"]

LEAST_SHARE = 0.0001

REAL = {
    "lr": "0 < lr",
    "momentum": "0 <= momentum < 1",
    "weight_decay": "0 <= weight_decay",
    "alpha": "0 <= alpha < 1",
    "beta2": "0 <= beta2 < 1",
    "dropout": "0 <= dropout < 1",
    "bn_momentum": "0 < bn_momentum <= 1",
}
"""Real-valued hyperparameters and the rule that each value keeps."""


def check_value(key: str, value: object, where: str | None = None) -> None:
    """Refuse a hyperparameter value that no trial could train with."""
    where = where or f"fixed.{key}"
    if key == "optimizer":
        check_word(where, value, get_args(Optimizer))
    elif key == "batch_size":
        check_count(where, value)
    elif key == "augment":
        if not isinstance(value, bool):
            raise RequestError(f"{where} must be true or false, but got {value!r}.")
    elif key in REAL and not (value is None and key == "bn_momentum"):
        if not is_finite(value):
            hint = "; a range is LOW:HIGH or LOW:HIGH:log" if where.startswith("search.") else ""
            raise RequestError(f"{where} must be a finite number, but got {value!r}{hint}.")
        upper_open = value < 1 if key != "bn_momentum" else value <= 1
        lower = value > 0 if key in ("lr", "bn_momentum") else value >= 0
        if not (lower and (upper_open or key in ("lr", "weight_decay"))):
            raise RequestError(f"`{REAL[key]}` must hold, but got {where}={value}.")


def check_word(key: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(f"`{key}`", value, known)


def check_count(key: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(f"`{key}` must be a whole number >= {least}, but got {value!r}.")


def check_amount(key: str, value: object, *, is_share: bool = True) -> None:
    if not is_finite(value) or value < 0:
        raise RequestError(f"`{key}` must be a number >= 0, but got {value!r}.")
    if is_share and 0 < value < LEAST_SHARE:
        raise RequestError(
            f"`{key}` must be 0 or at least {LEAST_SHARE}, Ray's least share, but got {value!r}."
        )
    if is_share and value > 1 and value != int(value):
        raise RequestError(
            f"`{key}` must be a share below 1 or a whole number, but got {value}: "
            "Ray gives shares of one unit only."
        )
