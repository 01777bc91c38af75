"""What a user is told of an error: where in their own code, and the line that says something."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tuning.errors import first_line, last_line, one_line, raised_in, traced, without_passwords


def own(file: Path, text: str) -> ModuleType:
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("a_users_own", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_line_is_the_users_own_although_a_library_raised(tmp_path: Path) -> None:
    module = own(tmp_path / "net.py", "import torch\ndef run():\n    torch.nn.Linear(2, 1)(torch.zeros(3))\n")
    with pytest.raises(RuntimeError) as caught:
        module.run()
    found = raised_in(caught.value)
    assert found is not None and (Path(found.filename), found.lineno) == (tmp_path / "net.py", 3)


def test_an_error_that_no_code_of_a_users_has_seen_has_no_line_of_theirs() -> None:
    error = ValueError("never raised")
    assert raised_in(error) is None
    error.__traceback__ = _inside(torch.nn.Linear(2, 1))
    assert raised_in(error) is None


def _inside(layer: torch.nn.Module) -> object:
    try:
        layer(torch.zeros(3))
    except RuntimeError as error:
        assert error.__traceback__ is not None
        return error.__traceback__.tb_next
    raise AssertionError


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("Traceback ...\n  at x\nValueError: no\n", "Traceback ...", "ValueError: no"),
        (ValueError(" one "), "one", "one"),
        ("", "nothing", "nothing"),
        (" \n ", "nothing", "nothing"),
        (None, "nothing", "nothing"),
    ],
)
def test_lines_that_say_something_are_found(text: object, first: str, last: str) -> None:
    assert (first_line(text, "nothing"), last_line(text, "nothing")) == (first, last)


class Unreadable(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise OSError("row 0 is damaged")


def test_what_a_process_of_a_loader_raised_is_told_not_that_it_was_caught() -> None:
    try:
        list(torch.utils.data.DataLoader(Unreadable(), num_workers=1))
    except OSError as error:
        assert last_line(traced(error)).startswith("OSError: row 0 is damaged")
    else:
        pytest.fail("nothing was raised")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://me:secret@host:5432/db:", "at postgresql://me:***@host:5432/db:"),
        ("postgresql://me:se/cr:et@host/db", "postgresql://me:***@host/db"),
        ("https://token@host/x", "https://***@host/x"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        (
            "postgresql://me@/db and http://127.0.0.1:5000/a",
            "postgresql://me@/db and http://127.0.0.1:5000/a",
        ),
    ],
)
def test_no_message_has_a_password(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
    assert one_line(text) == shown
