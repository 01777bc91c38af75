"""How often workers report."""

import pytest

from tuning.schedule.outbox import report_interval_s

REPORT_S = 0.008
"""What one takes the driver (`docs/scale.md`)."""


@pytest.mark.parametrize("workers", [1, 2, 64, 1000])
def test_all_workers_together_leave_the_driver_half_of_its_time(workers: int) -> None:
    per_second = workers / report_interval_s(workers)
    assert per_second * REPORT_S <= 0.5


def test_few_workers_report_as_often_as_people_look() -> None:
    assert report_interval_s(1) == report_interval_s(62) == 1.0 < report_interval_s(64)
