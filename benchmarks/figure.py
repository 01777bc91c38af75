"""Figures of results, as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure


def speedups(found: Mapping[str, Mapping[int, float]], file: Path) -> None:
    """Draw by how much a cohort is faster than its trials one after the other, against its size."""
    drawn = Figure(figsize=(7, 4))
    axes = drawn.subplots()
    for model, by_size in found.items():
        sizes = sorted(by_size)
        axes.plot(sizes, [by_size[size] for size in sizes], marker="o", label=model)
    axes.axhline(1, color="gray", linewidth=0.8, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({size for by_size in found.values() for size in by_size})
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.set_xlabel("trials in a cohort")
    axes.set_ylabel("trials per second, one by one = 1")
    axes.legend(fontsize="small")
    _save(drawn, file)


def busy(spans: Mapping[int, Sequence[tuple[float, float, int]]], file: Path) -> None:
    """Draw what each worker trains when: a bar per span of seconds, coloured by the epoch."""
    drawn = Figure(figsize=(8, 1 + 0.7 * len(spans)))
    axes = drawn.subplots()
    last = max(epoch for found in spans.values() for _, _, epoch in found)
    colours = matplotlib.colormaps["viridis"]
    for worker, found in spans.items():
        bars = [(begin_s, end_s - begin_s) for begin_s, end_s, _ in found]
        shades = [colours((epoch - 1) / max(1, last - 1)) for _, _, epoch in found]
        axes.broken_barh(bars, (worker - 0.4, 0.8), facecolors=shades)
    axes.set_yticks(list(spans), [f"worker {worker}" for worker in spans])
    axes.set_xlabel(f"seconds since the first epoch; dark: epoch 1, bright: epoch {last}")
    _save(drawn, file)


def _save(drawn: Figure, file: Path) -> None:
    drawn.tight_layout()
    with matplotlib.rc_context({"svg.hashsalt": "tuning"}):  # ids that stay the same
        drawn.savefig(file, metadata={"Date": None})
