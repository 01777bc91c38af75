"""Whatever befalls a healthy sweep together: no completed trial is lost, and what can be mended is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doctor.damages import CURABLE
from tests.doctor.ward import Patient

repeatable = settings(derandomize=True, deadline=None, max_examples=30)

COPY = {"copy gone", "copy torn"}
"""What takes the good copy of a trial's files, of which MLflow has the only one."""

LAST = ("deleted run", "no parent", "no experiment")
"""After these MLflow refuses what the others do to runs."""

damages = st.lists(
    st.tuples(st.sampled_from(sorted(CURABLE)), st.sampled_from([0, 2, 3, 4])),
    min_size=2,
    max_size=7,
    unique=True,
)


def befall(patient: Patient, chosen: list[tuple[str, int]]) -> None:
    for name, number in sorted(chosen, key=lambda one: (one[0] in LAST, one)):
        try:
            CURABLE[name][0](patient, number)
        except (FileNotFoundError, FileExistsError, IndexError):
            continue  # an earlier one has taken what it would damage


@given(chosen=damages)
@repeatable
def test_no_completed_trial_is_lost_whatever_befalls_a_sweep(
    admission: Patient, chosen: list[tuple[str, int]]
) -> None:
    admission.heal()
    before = admission.sweep()
    befall(admission, chosen)
    assert not admission.visit().is_healthy

    mended = admission.visit(fix=True)
    without_copy = {number for name, number in chosen if name in COPY}
    assert {one.trial for one in mended.differences if not one.fixable} <= without_copy
    assert not any(one.fixable for one in mended.differences), mended.differences
    again = admission.visit(fix=True)
    assert (again.differences, again.fixed) == (mended.differences, [])

    after = admission.sweep()
    assert (after.trials, after.best, after.test) == (before.trials, before.best, before.test)
    if mended.is_healthy:
        admission.assert_it_agrees()
