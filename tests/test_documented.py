"""docs/models.md: what each section says is the catalog's, and its commands run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import models
from benchmarks import documented
from tests.conftest import REPOSITORY
from tuning.cli import main

TEXT = (REPOSITORY / "docs/models.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}


def smaller(command: str) -> list[str]:
    """Return the words after `tuning` of the same command over little."""
    command = re.sub(r"--trials \d+", "--trials 2 --epochs 1 --max-concurrent 1", command)
    return shlex.split(re.sub(r"--top \d+ --seeds \d+", "--top 1 --seeds 2", command))[1:]


def test_sections_stand_in_the_catalogs_order_with_what_the_source_says_and_a_picture() -> None:
    assert list(SECTIONS) == list(models.CATALOG)
    for name, section in SECTIONS.items():
        assert models.CATALOG[name].source in section
        assert (REPOSITORY / f"docs/pictures/{name}.png").exists()


def test_the_page_is_as_its_program_writes_it_on_a_commit() -> None:
    assert TEXT.startswith(documented.HEAD)
    for name, section in SECTIONS.items():
        metric = "val_accuracy" if models.CATALOG[name].task == "classification" else "val_loss"
        assert "| " + " | ".join(documented.columns(metric)) + " |" in section
        assert re.search(r"commit [0-9a-f]{7,},", section), "made with uncommitted changes"


@pytest.mark.parametrize("name", SECTIONS)
def test_the_commands_that_found_its_best_model_run(
    name: str, home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", SECTIONS[name], flags=re.DOTALL)
    sweep, confirm, inspect = map(smaller, block.splitlines())
    assert main(sweep) == 0
    assert main(confirm) in (0, 1), "1 where the claim does not hold"
    assert "best        trial " in capsys.readouterr().out
    assert main(inspect) == 0
    assert len(list((home / name).glob("inspect*.html"))) == 1
