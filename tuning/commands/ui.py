"""`tuning ui`: the MLflow UI over a home."""

from argparse import Namespace

from tuning import paths
from tuning.commands import Outcome


def run(options: Namespace) -> Outcome:
    from tuning.ui import serve

    serve(paths.home_folder(options.home), options.port)
    return {}, "", 0
