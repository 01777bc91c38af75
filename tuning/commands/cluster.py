"""`tuning cluster check`: of a cluster file, or of a running cluster."""

import os
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from tuning.commands import Outcome
from tuning.errors import RequestError


def run(options: Namespace) -> Outcome:
    """Check a cluster file, or a running cluster."""
    if options.address is None:
        return _check_file(Path(options.file or "cluster.yaml"))
    if options.file is not None:
        raise RequestError("`tuning cluster check` takes a file or --address, not both.")
    from tuning import paths
    from tuning.schedule import connection, survey

    with connection.connect(options.address) as held:
        held.nodes()
        nodes = survey.survey(options.storage or os.environ.get(paths.STORAGE))
    findings = survey.faults(nodes)
    facts = {"address": options.address, "nodes": [asdict(node) for node in nodes], "findings": findings}
    lines = [f"{node.host:20} cpus={node.cpus:g}, gpus={node.gpus:g}" for node in nodes]
    return facts, "\n".join([*lines, *findings]), 1 if findings else 0


def _check_file(file: Path) -> Outcome:
    from tuning.schedule import launcher

    findings = launcher.check(launcher.read(file))
    text = "\n".join(findings) or f"{file} is fit for: ray up {file}"
    return {"file": str(file), "findings": findings}, text, 1 if findings else 0
