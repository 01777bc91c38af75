"""Who may know whom. Every import is looked at, also those inside functions; only what stands under
`if TYPE_CHECKING:` is free."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LEVELS = {
    # the vocabulary
    "errors": 0,
    "faults": 0,
    "naming": 0,
    "seeds": 0,
    "space": 0,
    # values, names, files and pure decisions
    "attempts": 1,
    "claim": 1,
    "confirmed": 1,
    "copies": 1,
    "data": 1,
    "endings": 1,
    "gpus": 1,
    "halving": 1,
    "interrupt": 1,
    "packing": 1,
    "paths": 1,
    "processors": 1,
    "records": 1,
    "references": 1,
    "resolve": 1,
    "resume_files": 1,
    "tolerance": 1,
    "sizing": 1,
    "notation": 1,
    "rules": 1,
    "spec": 1,
    "storage": 1,
    # training
    "engine": 2,
    # one room per big library, and the decisions between them
    "dispatch": 3,
    "telling": 3,
    "schedule": 3,
    "study": 3,
    "tracking": 3,
    # what a user asks for
    "__init__": 4,
    "__main__": 4,
    "arguments": 4,
    "cli": 4,
    "closing": 4,
    "commands": 4,
    "cost": 4,
    "doctor": 4,
    "drive": 4,
    "inspection": 4,
    "export": 4,
    "fitting": 4,
    "ledger": 4,
    "standing": 4,
    "listener": 4,
    "options": 4,
    "pages": 4,
    "plan": 4,
    "report": 4,
    "ui": 4,
    "watching": 4,
    "unfinished": 4,
    "reuse": 4,
    "run": 4,
    "screen": 4,
    "streams": 4,
    "places": 4,
    "preview": 4,
    "remains": 4,
    "settle": 4,
    "texts": 4,
    "trust": 4,
}
"""A room of `tuning` imports rooms of its own level or lower ones."""

HOMES = {
    "ray": {"schedule"},
    "optuna": {"study", "report"},  # a report may draw with it
    "mlflow": {"tracking"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "torchvision": {"data"},
    "mlxtend": {"data"},
    "plotly": {"inspection", "pages", "report"},
    "sklearn": {"data"},
    "scipy": {"trust"},
}
"""The only rooms of `tuning` that import a library."""

ENGINE_KNOWS = {
    "data",
    "engine",
    "errors",
    "faults",
    "naming",
    "paths",
    "records",
    "references",
    "resolve",
    "seeds",
    "sizing",
    "space",
    "spec",
    "storage",
}
"""All that the engine may know of `tuning`."""

MODELS_KNOW = {"torch", "models", *sys.stdlib_module_names}


@dataclass(frozen=True)
class Import:
    """`module` is dotted and absolute; of `from a import b` it is `a.b`."""

    module: str
    line: int

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room(self) -> str | None:
        """The room of `tuning` that is imported; the package itself is `__init__`."""
        if self.package != "tuning":
            return None
        name = self.module.split(".")[1] if "." in self.module else "__init__"
        is_room = (ROOT / "tuning" / name).is_dir() or (ROOT / f"tuning/{name}.py").is_file()
        return name if is_room else "__init__"


def imports_of(source: str, package: str = "") -> Iterator[Import]:
    """Yield every import of a source file that lies in `package`."""
    yield from _imports(ast.parse(source), package)


def _imports(node: ast.AST, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        start = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            yield Import(f"{start}.{alias.name}", node.lineno)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant):
                yield Import(str(argument.value), node.lineno)
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if isinstance(node, ast.If) and is_for_types else ast.iter_child_nodes(node):
        yield from _imports(child, package)


def files_of(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


def imports_in(file: str) -> list[Import]:
    package = ".".join(Path(file).parent.parts)
    return list(imports_of((ROOT / file).read_text(encoding="utf-8"), package))


def room_of(file: str) -> str:
    return Path(file).parts[1].removesuffix(".py")


ROOM_FILES = pytest.mark.parametrize("file", files_of("tuning"))


@pytest.mark.parametrize("file", files_of("models"))
def test_models_know_torch_and_nothing_else(file: str) -> None:
    found = [f"{file}:{i.line} imports {i.module}" for i in imports_in(file) if i.package not in MODELS_KNOW]
    assert found == []


@ROOM_FILES
def test_every_room_has_a_level(file: str) -> None:
    assert room_of(file) in LEVELS, f"give the room {room_of(file)!r} a level in {Path(__file__).name}"


@ROOM_FILES
def test_no_room_imports_a_higher_one(file: str) -> None:
    level = LEVELS[room_of(file)]
    found = [
        f"{file}:{i.line} (level {level}) imports {i.module} (level {LEVELS[i.room]})"
        for i in imports_in(file)
        if i.room is not None and LEVELS[i.room] > level
    ]
    assert found == []


@ROOM_FILES
def test_each_big_library_is_known_to_one_room(file: str) -> None:
    found = [
        f"{file}:{i.line} imports {i.module}, which only {', '.join(sorted(HOMES[i.package]))} may"
        for i in imports_in(file)
        if room_of(file) not in HOMES.get(i.package, {room_of(file)})
    ]
    assert found == []


@pytest.mark.parametrize("file", files_of("tuning/engine"))
def test_the_engine_knows_what_it_needs_and_no_more(file: str) -> None:
    found = [
        f"{file}:{i.line} imports {i.module}"
        for i in imports_in(file)
        if i.room is not None and i.room not in ENGINE_KNOWS
    ]
    assert found == []


# ---- the walk itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import ray", ["ray"]),
        ("import ray.tune as t, os", ["ray.tune", "os"]),
        ("from ray import tune", ["ray.tune"]),
        ("def f():\n    def g():\n        from ray import tune", ["ray.tune"]),
        ("class A:\n    import ray", ["ray"]),
        ("try:\n    import ray\nexcept ImportError:\n    import optuna", ["ray", "optuna"]),
        ("if TYPE_CHECKING:\n    import ray", []),
        ("if typing.TYPE_CHECKING:\n    import ray", []),
        ("if TYPE_CHECKING:\n    import ray\nelse:\n    import optuna", ["optuna"]),
        ("if True:\n    import ray", ["ray"]),
        ("importlib.import_module('ray')", ["ray"]),
        ("__import__('ray')", ["ray"]),
        ("from . import study", ["tuning.data.study"]),
        ("from .. import study", ["tuning.study"]),
        ("from ..study import Study", ["tuning.study.Study"]),
        ("'import ray'", []),
    ],
)
def test_every_import_is_seen(source: str, modules: list[str]) -> None:
    assert [one.module for one in imports_of(source, "tuning.data")] == modules


def test_an_import_knows_its_line() -> None:
    assert list(imports_of("\n\nimport ray")) == [Import("ray", 3)]


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("tuning.study.Study", "study"),
        ("tuning.data.splits.Splits", "data"),
        ("tuning.schedule", "schedule"),
        ("tuning.sweep", "__init__"),
        ("tuning", "__init__"),
        ("torch.nn", None),
    ],
)
def test_the_room_of_an_import(module: str, room: str | None) -> None:
    assert Import(module, 1).room == room


# ---- what is imported at run time --------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "strangers"),
    [
        ("import tuning", {"torch", "ray", "optuna", "mlflow"}),
        ("from tuning import SweepSpec, Float", {"torch", "ray", "optuna", "mlflow"}),
        ("from tuning import load_checkpoint, load_best", {"ray", "optuna", "mlflow"}),
        ("import tuning.engine.solo, tuning.engine.cohort", {"ray", "optuna", "mlflow"}),
        ("import tuning.study", {"torch", "ray", "mlflow"}),
        ("import models", {"tuning", "ray", "optuna", "mlflow"}),
    ],
)
def test_a_part_brings_only_the_libraries_that_it_needs(statement: str, strangers: set[str]) -> None:
    tells = f"{statement}\nimport sys\nprint(*sorted({strangers} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", tells], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == []
