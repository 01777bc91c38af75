"""The errors that reach a user: each message states the rule, the value and the way out."""

import re
import sysconfig
import traceback
from pathlib import Path

_OWN = ("<", f"{Path(__file__).parent}/", f"{sysconfig.get_path('stdlib')}/")
"""What the names of files begin with that are nobody's model or data, as Python's and ours."""

_INSTALLED = ("/site-packages/", "/dist-packages/")
"""What stands in the names of those of libraries."""


_SECRETS = (
    (r"(://[^/\s:@]*):[^\s@]*@", r"\1:***@"),
    (r"(https?://)[^/\s:@]+@", r"\1***@"),
    (r"([?&]password=)[^&\s\"']*", r"\1***"),
)
"""Where addresses have passwords and tokens, and what is shown instead."""


_ORIGINAL = "Original Traceback (most recent call last)"
"""What follows the first line of an error that a process of a DataLoader has raised: its own traceback."""


class RequestError(ValueError):
    """The request is wrong; nothing was started or written (exit code 2)."""


class SweepError(RuntimeError):
    """A sweep could not go on although the request was right (exit code 1)."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, torn, of another format or of something else than what was asked for.

    Args:
        is_newer: whether a newer version of this program could read it.
    """

    def __init__(self, message: str, *, is_newer: bool = False) -> None:
        super().__init__(message)
        self.is_newer = is_newer


def traced(error: BaseException) -> str:
    """Return an error's traceback; its last line says what it is, and where in the user's code it came."""
    text = "".join(traceback.format_exception(error)).rstrip()
    said = "".join(traceback.format_exception_only(error))
    tells = last_line if _ORIGINAL in said else first_line
    headline = tells(said, type(error).__name__)
    at = raised_in(error)
    if at is not None:
        headline += f" (at {Path(at.filename).name}:{at.lineno})"
    return text if text.splitlines()[-1] == headline else f"{text}\n\n{headline}"


def raised_in(error: BaseException) -> traceback.FrameSummary | None:
    """Return the last line of a user's own code on the way to an error; None where it has seen none."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if _is_users(frame.filename)), None)


def at_line(error: BaseException) -> str:
    """Return, in brackets, the last line of a user's own code on the way to an error, if it has seen one."""
    last = raised_in(error)
    return f" (at {last.filename}:{last.lineno})" if last else ""


def _is_users(file: str) -> bool:
    return not file.startswith(_OWN) and not any(folder in file for folder in _INSTALLED)


def first_line(text: object, otherwise: str = "") -> str:
    """Return the first line that says something."""
    return next(iter(str(text or "").strip().splitlines()), otherwise)


def last_line(text: object, otherwise: str = "") -> str:
    """Return the last line that says something: of a traceback, what was raised."""
    return next(reversed(str(text or "").strip().splitlines()), otherwise)


def one_line(message: object) -> str:
    """Return a message as one line without passwords that does nothing to a terminal, whatever it quotes."""
    joined = without_passwords(" ".join(line.strip() for line in str(message).splitlines()))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def without_passwords(text: str) -> str:
    """Return text whose addresses show no password or token: it is read by others, and handed around."""
    for pattern, shown in _SECRETS:
        text = re.sub(pattern, shown, text)
    return text
