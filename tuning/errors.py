"""The errors that reach a user: each message states the rule, the value and the way out."""

import traceback


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
    """Return an error's traceback, the last line of which says what it is, also of one of many lines."""
    text = "".join(traceback.format_exception(error)).rstrip()
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()
    headline = said[0] if said else type(error).__name__
    return text if text.splitlines()[-1] == headline else f"{text}\n\n{headline}"


def one_line(message: object) -> str:
    """Return a message as one line that does nothing to a terminal, whatever stands in what it quotes."""
    joined = " ".join(line.strip() for line in str(message).splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)
