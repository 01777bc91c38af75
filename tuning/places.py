"""Where a sweep's parts are when the request leaves it open: where it began, or what the environment says.

A cluster's nodes name these places once, for everybody's sweeps (`cluster.yaml`).
"""

import os
from dataclasses import replace

from tuning import notation
from tuning.paths import STORAGE, SweepPaths
from tuning.spec import SweepSpec

ADDRESS, TRACKING_URI = "RAY_ADDRESS", "TUNING_TRACKING_URI"


def address(option: str | None) -> str | None:
    """Return the Ray cluster's address: as asked, else RAY_ADDRESS, which Ray sets inside its jobs.

    `local` is Ray's word for one of the process's own, which is what there is without an address.
    """
    found = option or os.environ.get(ADDRESS) or None
    return None if found == "local" else found


def settled(spec: SweepSpec, where: SweepPaths) -> SweepSpec:
    """Fill in address, storage and tracking URI; a sweep that exists keeps what it began with."""
    spec = replace(spec, address=address(spec.address))
    if where.spec.exists():
        old = notation.load(where.spec)
        storage, tracking_uri = old.storage, old.tracking_uri
    else:
        storage, tracking_uri = os.environ.get(STORAGE), os.environ.get(TRACKING_URI)
    return replace(
        spec,
        storage=spec.storage or storage or None,
        tracking_uri=spec.tracking_uri or tracking_uri or None,
    )
