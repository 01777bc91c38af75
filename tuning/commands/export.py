"""`tuning export`: a trained model as a file."""

from argparse import Namespace

from tuning import paths
from tuning.commands import Outcome


def run(options: Namespace) -> Outcome:
    from tuning.export import files

    to = paths.expanded(options.to)
    done = files.export(options.name, to, format=options.format, trial=options.trial, home=options.home)
    facts = {"sweep": options.name, "file": str(done.file.absolute()), "format": done.format}
    return facts, done.text, 0
