"""`tuning doctor`: whether study, MLflow and checkpoints agree."""

from argparse import Namespace

from tuning.commands import Outcome


def run(options: Namespace) -> Outcome:
    from tuning.doctor import visit

    return visit.outcome(visit.visit(options.name, options.home, fix=options.fix))
