"""What each command does, a module each: `run` takes its options.

Returns facts (for --json), text and exit code. Nothing is imported here, so that `--help` answers at once.
"""

from typing import Any

Outcome = tuple[dict[str, Any], str, int]
"""Facts, text and exit code."""
