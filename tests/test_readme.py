"""What README and docs show is run, and what they name is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tuning import notation

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
ALL = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_its_ten_lines_of_python_run_beside_the_sweep_of_make(home: Path, ray_cluster: Any) -> None:
    (code,) = blocks("python")
    assert "name=" in code, "under the model's own name stands what `make sweep` has swept"
    quick = code.replace("trials=8,", "trials=2, epochs=1,")
    assert quick != code
    names: dict[str, Any] = {}
    exec(compile(quick, "README.md", "exec"), names)
    assert names["digits"].shape == (5, 1, 28, 28)


def test_its_spec_file_is_one() -> None:
    (text,) = blocks("yaml")
    spec = notation.from_plain(yaml.safe_load(text), folder=REPOSITORY)
    assert (spec.name, spec.trials, len(spec.try_)) == ("wide", 64, 1)


def test_every_command_and_option_it_names_exists() -> None:
    from tuning.arguments import parser

    commands = next(iter(action.choices for action in parser()._actions if action.dest == "command"))
    assert commands is not None
    assert set(re.findall(r"`tuning ([a-z]+)", ALL)) <= set(commands)
    options = {name for command in commands.values() for name in command._option_string_actions}
    cluster = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")  # it has Ray's and ssh's, too
    text = re.sub(r"`python -m [^`]*`", "", ALL.replace(cluster, ""))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options


def test_the_benchmarks_it_names_can_be_run() -> None:
    from benchmarks import __main__, documented, engine, report

    named = re.findall(r"`python -m (benchmarks[.a-z]*) ([^`]*)`", ALL)
    assert len(named) > 1
    parsers = {
        "benchmarks": __main__._parser(),
        "benchmarks.documented": documented._parser(),
        "benchmarks.engine": engine._parser(),
        "benchmarks.report": report._parser(),
    }
    for module, arguments in named:
        parsers[module].parse_args(arguments.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_it_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
