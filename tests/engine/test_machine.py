"""How many threads a training in this process has."""

import pytest

from tuning.engine import machine


@pytest.mark.parametrize(
    ("used", "threads"),
    [(0, 4), (500, 4), (750, 2), (1000, 1)],
    ids=["idle", "half of eight used", "two are left", "none is left"],
)
def test_kernels_share_only_processors_that_nobody_uses(
    used: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "_processor_seconds", lambda: ((100, 1000), (100 + used, 2000)))
    with machine.threads(4):
        assert machine.idle_threads() == threads


def test_here_there_is_at_least_one() -> None:
    assert 1 <= machine.idle_threads() <= machine.torch.get_num_threads()
