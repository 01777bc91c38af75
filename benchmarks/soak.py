"""`python -m benchmarks.soak`: sweeps that are long, resumed again and again, side by side, or out of luck.

Every part runs `tuning` as a user does, in processes, with a home and a temporary folder of their own. With
--keep, the parts that ran take the place of theirs in benchmarks/results/soak.md; the others stay.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import children, endurance, findings, machine, misfortunes
from benchmarks.__main__ import RESULTS
from benchmarks.children import Site
from benchmarks.endurance import Part, Sizes
from benchmarks.findings import Findings
from benchmarks.trace import BenchmarkError

PARTS: dict[str, Part] = {
    "load": endurance.load,
    "resume": endurance.resume,
    "litter": endurance.litter,
    "side_by_side": endurance.side_by_side,
    "outage": misfortunes.outage,
    "broken": misfortunes.broken,
}


def main() -> int:
    options = _parser().parse_args()
    sizes = Sizes(**{part: getattr(options, part) for part in PARTS})
    said = ("python -m benchmarks.soak " + " ".join(sys.argv[1:])).strip()
    try:
        with children.adopted():
            for name in options.only or PARTS:
                circumstances = machine.describe(said)
                found = {**circumstances, **findings.plain(_apart(PARTS[name], sizes))}
                print(findings.section(found), end="\n\n", flush=True)
                if options.keep:
                    _keep(name, found)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _apart(part: Part, sizes: Sizes) -> Findings:
    """Measure in a folder that is removed, once nothing runs in it any more."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            return part(sizes, Site(Path(folder)))
        finally:
            children.end_all()


def _keep(name: str, found: dict[str, Any]) -> None:
    """Put a part into the results, which are written anew from all that they hold."""
    file = RESULTS / "soak.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kept[name] = found
    parts = {part: kept[part] for part in PARTS if part in kept}
    file.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "soak.md").write_text(findings.document("Load and soak", parts.values()), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (may be given again)")
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    sizes = parser.add_argument_group("sizes")
    for part, what in (
        ("load", "trials of the one sweep"),
        ("resume", "trials that have ended before the resume"),
        ("litter", "resumes in a row"),
        ("side_by_side", "trials of each of the two sweeps"),
        ("outage", "trials of each sweep whose tracking server is slow or dead"),
        ("broken", "trials that are asked for of a model that always fails"),
    ):
        option, default = "--" + part.replace("_", "-"), getattr(Sizes(), part)
        sizes.add_argument(option, type=int, metavar="N", default=default, help=f"{what} ({default:,})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
