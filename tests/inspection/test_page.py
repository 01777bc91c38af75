"""One file that needs no network, in which text is text."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import plotly.graph_objects as go
import pytest

from tuning.inspection.page import Section, page

HOSTILE = "</script><script>alert(1)</script><!-- & \"'"


def test_text_is_text_whatever_stands_in_it() -> None:
    figure = go.Figure(go.Bar(x=[HOSTILE], y=[1], name=HOSTILE))
    html = page(HOSTILE, HOSTILE, [Section(HOSTILE, HOSTILE, figure), Section("empty", "nothing")])
    body = html[html.index("<body>") :]
    assert "alert(1)</script>" not in body and "<!--" not in body
    assert body.count("&lt;/script&gt;&lt;script&gt;alert(1)") == 5, (
        "heading, text, title, caption, what is said of the figure"
    )
    (held,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, flags=re.DOTALL)
    assert json.loads(held)["data"][0]["name"] == HOSTILE


def test_it_refers_to_nothing_outside_and_lets_a_browser_fetch_nothing() -> None:
    from plotly.offline import get_plotlyjs

    html = page("title", "text", [Section("heading", "text", go.Figure(go.Bar(y=[1])))])
    assert html.count(get_plotlyjs()) == 1
    own = html.replace(get_plotlyjs(), "")
    assert not re.search(r"(src|href)=|https?://|@import|url\(", own)
    assert "default-src 'none'" in own


def test_a_browser_draws_every_figure(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (make packages)")
    figures = [Section(str(n), "text", go.Figure(go.Bar(y=[1, n]))) for n in range(3)]
    (tmp_path / "page.html").write_text(page("title", "text", figures))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [chromium, *options, "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count('<g class="bars"') + done.stdout.count('class="trace bars"') == 3
