"""Spec files with tags or without bounds, and names with path parts, are refused in one line."""

from pathlib import Path

import pytest

import tuning
from tests.hostile.planted import Refused
from tuning import notation

TAGGED = [
    "!!python/object/apply:os.system ['touch {trace}']",
    "{{model: net, name: !!python/object/apply:os.system ['touch {trace}']}}",
    "model: !!python/name:os.system",
    "model: !!python/module:os",
    "model: net\nfixed: {{lr: !!python/object/new:os.system ['touch {trace}']}}",
    "model: !net net",
    "model: net\nseed: !!timestamp soon",
    "model: net\ntrials: !!int many",
]


@pytest.mark.parametrize("content", TAGGED)
def test_tags_in_a_spec_are_refused(demo: Path, trace: Path, refused: Refused, content: str) -> None:
    file = demo / "spec.yaml"
    file.write_text(content.format(trace=trace))
    refused(["sweep", str(file), "--dry-run"], "must be YAML", "spec.yaml", code=2)
    refused(["status", "demo"], "must be YAML", "spec.yaml", code=2)


BOMB = "\n".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
MERGES = "\n".join(f"k{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12))


@pytest.mark.parametrize(
    "content",
    [
        f"k0: &a0 lol\n{BOMB}\nmodel: net\nsearch: *a11",
        f"k0: &a0 {{lr: 1}}\n{MERGES}\nmodel: net\nfixed: *a11",
        "model: net\nfixed: &a {lr: *a}",
        f"model: {'[' * 5000}",
        f"model: net\nfixed: {{lr: {'{a: ' * 50}1{'}' * 50}}}",
        f"model: net\nseed: 0x{'9' * 5000}",
    ],
    ids=["aliases", "merges", "itself", "unclosed", "deep", "digits"],
)
def test_a_spec_that_would_fill_the_memory_is_refused(tmp_path: Path, refused: Refused, content: str) -> None:
    (tmp_path / "spec.yaml").write_text(content)
    refused(["sweep", str(tmp_path / "spec.yaml"), "--dry-run"], "must be YAML", code=2)


def test_an_alias_is_what_it_stands_for(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("{model: net, try: [&a {lr: 0.1}, {<<: *a, momentum: 0.5}]}")
    assert notation.load(tmp_path / "spec.yaml").try_ == ({"lr": 0.1}, {"lr": 0.1, "momentum": 0.5})


NAMES = [
    "..",
    ".",
    "../demo",
    "demo/../demo",
    "/demo",
    "demo/",
    "de/mo",
    "demo\n",
    "demo\0",
    ".demo",
    "~",
    "",
]


@pytest.mark.parametrize("command", [["status"], ["best"], ["resume"], ["export", "--to", "model.pt"]])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_path_parts_is_refused(
    demo: Path, refused: Refused, command: list[str], name: str
) -> None:
    refused([*command, name], "1 to 100 letters", repr(name), code=2)


@pytest.mark.parametrize("name", [*NAMES, "x' or '1' = '1"])
def test_a_new_sweep_with_such_a_name_is_refused_and_no_server_is_asked_for_one(
    tmp_path: Path, refused: Refused, name: str
) -> None:
    refused(["sweep", "net", "--name", name, "--dry-run"], "1 to 100 letters", code=2)
    refused(["sweep", "all", "--name", f"{name}/", "--dry-run"], "1 to 100 letters", code=2)
    with pytest.raises(tuning.RequestError, match="1 to 100 letters"):
        tuning.load_best(name, tracking_uri=f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
