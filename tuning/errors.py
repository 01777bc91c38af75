"""The errors that reach a user: each message states the rule, the value and the way out."""


class RequestError(ValueError):
    """The request is wrong; nothing was started or written (exit code 2)."""


class SweepError(RuntimeError):
    """A sweep could not go on although the request was right (exit code 1)."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, torn or of another format."""
