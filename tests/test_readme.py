"""What the README shows is run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.conftest import REPOSITORY
from tuning import notation

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_its_ten_lines_of_python_run_beside_the_sweep_of_make(home: Path, ray_cluster: Any) -> None:
    (code,) = blocks("python")
    assert "name=" in code, "under the model's own name stands what `make sweep` has swept"
    quick = code.replace("trials=8,", "trials=2, epochs=1,")
    assert quick != code
    names = {"raw_images": np.zeros((3, 28, 28), dtype=np.uint8)}
    exec(compile(quick, "README.md", "exec"), names)
    assert names["digits"].shape == (3, 1, 28, 28)  # type: ignore[attr-defined]


def test_its_spec_file_is_one() -> None:
    (text,) = blocks("yaml")
    spec = notation.from_plain(yaml.safe_load(text), folder=REPOSITORY)
    assert (spec.name, spec.trials, len(spec.try_)) == ("wide", 64, 1)


def test_every_command_and_option_it_names_exists() -> None:
    from tuning.cli import _parser

    parser = _parser()
    commands = next(iter(action.choices for action in parser._actions if action.dest == "command"))
    assert commands is not None
    assert set(re.findall(r"`tuning ([a-z]+)", README)) <= set(commands)
    options = {name for command in commands.values() for name in command._option_string_actions}
    text = re.sub(r"`python -m [^`]*`", "", README)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= options


def test_the_benchmarks_it_names_can_be_run() -> None:
    from benchmarks import __main__, engine

    named = re.findall(r"`python -m (benchmarks[.a-z]*) ([^`]*)`", README)
    assert len(named) > 1
    parsers = {"benchmarks": __main__._parser(), "benchmarks.engine": engine._parser()}
    for module, arguments in named:
        parsers[module].parse_args(arguments.split())
