"""A report that is opened from the disk, in Chromium, where there is no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import LATEST_S
from tests.report import made_up
from tests.report.test_page import rendered
from tuning.report.write import PANELS

DRAWN = "place => place.querySelectorAll('.main-svg').length > 0 && place._fullData.length > 0"
"""Of the place of a figure: whether Plotly has drawn it, and has taken all that it was given."""


@pytest.fixture
def offline(browser: Browser) -> Iterator[Page]:
    """A page without a network, on which no script fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, offline=True)
    page = context.new_page()
    page.set_default_timeout(LATEST_S * 1000)
    expect.set_options(timeout=LATEST_S * 1000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@pytest.mark.parametrize("trials", [5, 10_000])
def test_every_figure_is_drawn_and_the_table_shows_more_on_demand(
    trials: int, offline: Page, tmp_path: Path
) -> None:
    more = made_up.more_hyperparameters(13)
    found = made_up.search(trials, more=more, parts=3)
    file = tmp_path / "report.html"
    file.write_text(rendered(made_up.sweep(found, search={**made_up.SEARCH, **more})), encoding="utf-8")
    offline.goto(file.as_uri())
    expect(offline.locator("#trials tbody tr")).to_have_count(min(trials, 200))
    figures = offline.locator("[data-figure]").all()
    drawn = {place.get_attribute("data-figure"): place.evaluate(DRAWN) for place in figures}
    assert all(drawn.values())
    if trials == 10_000:
        assert set(drawn) == {f"{draw.__name__}-data" for draw in PANELS}
        offline.get_by_role("button", name="show more (200 of 10000)").click()
        expect(offline.locator("#trials tbody tr")).to_have_count(1200)
