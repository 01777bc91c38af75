"""The errors that reach a user: each message states the rule, the value and the way out."""


class RequestError(ValueError):
    """The request is wrong; nothing was started or written (exit code 2)."""


class SweepError(RuntimeError):
    """A sweep could not go on although the request was right (exit code 1)."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, torn, of another format or of something else than what was asked for."""


def one_line(message: object) -> str:
    """Return a message as one line that does nothing to a terminal, whatever stands in what it quotes."""
    joined = " ".join(line.strip() for line in str(message).splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)
