"""`python -m tuning ...` is `tuning ...`."""

from tuning.cli import run

run()
