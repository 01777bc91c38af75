"""How many processors are idle."""

import pytest

from tuning import processors


@pytest.mark.parametrize(
    ("used", "allowed", "idle"),
    [(0, 8, 8), (500, 8, 4), (750, 8, 2), (1000, 8, 1), (0, 2, 2)],
    ids=["all", "half of eight used", "two are left", "none is left", "a container's quota"],
)
def test_idle_is_what_nobody_uses(
    used: int, allowed: int, idle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(processors, "local_cpus", lambda: allowed)
    monkeypatch.setattr(processors, "_processor_seconds", lambda: ((100, 1000), (100 + used, 2000)))
    assert processors.idle_cpus() == idle


def test_here_there_is_at_least_one() -> None:
    assert 1 <= processors.idle_cpus() <= processors.local_cpus()
