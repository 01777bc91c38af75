"""What a sweep would do, for who wants to know before it does: `--dry-run`. Writes nothing."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tuning import notation, plan, sizing
from tuning.errors import without_passwords
from tuning.schedule import layout
from tuning.screen import duration
from tuning.space import Choice, Int
from tuning.spec import TRAINING_HYPERPARAMETERS, SweepSpec

AROUND = "some 20 s to start and to end"
"""What a sweep on one machine takes besides: benchmarks/results/startup.md."""

COPIES, BYTES = 2, 4
"""Of each trial's best weights: in the storage and in MLflow; bytes of a weight."""


def dry_run(spec: SweepSpec) -> tuple[dict[str, Any], str, int]:
    """Check a request, and measure how many trials would train together; write nothing."""
    planned = plan.prepare(spec)
    kept = sizing.Sizing.load(planned.paths.sizing)
    found = layout.lay_out(planned.spec, planned.splits, kept, partial(print, file=sys.stderr, flush=True))
    facts: dict[str, Any] = {
        "spec": notation.to_plain_spec(planned.spec),
        "folder": str(planned.paths.folder),
        "parameters": planned.fitted.num_parameters,
        "training_rows": len(planned.splits.train),  # type: ignore[arg-type]
        "nodes": [asdict(node) for node in found.nodes],
        "workers": found.workers,
        "resources": asdict(found.resources),
        "train_s": found.seconds(planned.spec.trials),
        "disk_bytes": COPIES * BYTES * planned.fitted.num_parameters * planned.spec.trials,
        "cohort": found.sizing.size,
        "sizing": asdict(found.sizing),
        "doubt": planned.doubt,
        "from": planned.earlier.note if planned.earlier else None,
    }
    lines = [without_passwords(notation.dump(planned.spec)).rstrip(), "", f"folder      {facts['folder']}"]
    lines += [f"model       {planned.fitted.num_parameters:,} parameters{_largest(planned.spec)}"]
    lines += [f"data        {facts['training_rows']:,} training rows"]
    size = found.resources
    lines += [f"nodes       {_nodes(found.nodes)}"]
    lines += [f"workers     {found.workers} (each cpus={size.cpus:g}, gpus={size.gpus or 0:g})"]
    lines += [f"time        {_time(facts['train_s'])}"]
    lines += [f"disk        {facts['disk_bytes'] / 1e6:,.3g} MB of checkpoints, half of them in MLflow"]
    lines += [f"cohort      {found.sizing.describe()}"]
    if planned.doubt:
        lines.append(f"warning     {planned.doubt}")
    if planned.earlier:
        lines.append(f"history     {planned.earlier.note}")
    for one in found.sizing.measured:
        rate, memory = f"{one.trials_per_s:.3g} trials/s", f"{one.memory_bytes / 1e6:.3g} MB"
        lines.append(f"            {one.size:4} at once: {rate} per worker, {memory}")
    return facts, "\n".join(lines), 0


def _largest(spec: SweepSpec) -> str:
    """Return that the models may differ in size, where some of what is searched goes to the constructor."""
    sizes = {key for key, dimension in (spec.search or {}).items() if isinstance(dimension, Int | Choice)}
    return ", the largest that may be built" if sizes - set(TRAINING_HYPERPARAMETERS) else ""


def _nodes(nodes: Sequence[Any]) -> str:
    """Return what nodes there are, those alike together."""
    alike = Counter((node.cpus, node.gpus) for node in nodes)
    return "; ".join(f"{count} with {cpus:g} CPUs and {gpus:g} GPUs" for (cpus, gpus), count in alike.items())


def _time(train_s: float | None) -> str:
    if train_s is None:
        return "not known, since nothing was measured"
    training = f"at least {duration(train_s)} of training if no trial is stopped early"
    return f"{training}, longer where epochs are short; and {AROUND}"
