"""Every random number is a function of what it is for: there is no hidden state to save or lose.

Data order is a function of (sweep seed, epoch), the same for every trial; initial weights of (sweep
seed, trial); what a module draws itself of (sweep seed, trial, epoch).
"""

import hashlib


def derive(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part and nothing else."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
