"""`tuning cancel`: a sweep that runs elsewhere saves what its trials have come to, and ends."""

from argparse import Namespace

from tuning.commands import Outcome
from tuning.commands.stop import ended
from tuning.endings import Ending


def run(options: Namespace) -> Outcome:
    return ended(options, Ending.CANCELLED)
