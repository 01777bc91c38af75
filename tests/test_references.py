"""Models and data by name: what is found, and how what is not found is answered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import models
from tests.conftest import REPOSITORY
from tuning import references
from tuning.errors import RequestError
from tuning.references import absolute, load_callable, load_data, load_model


@pytest.fixture(autouse=True)
def _path_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_documented_model_is_found_by_name() -> None:
    found = load_model("cnn")
    assert (found.name, found.reference) == ("cnn", "cnn")
    assert found.arguments == models.hyperparameters("cnn")
    assert found.build is models.CATALOG["cnn"].build


def test_an_unknown_model_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(RequestError) as refusal:
        load_model("batchnorm_nett")
    assert "did you mean 'batchnorm_net'?" in str(refusal.value)
    assert "cnn, dropout_net, lstm" in str(refusal.value)


def test_a_model_far_from_all_is_answered_with_all() -> None:
    with pytest.raises(RequestError) as refusal:
        load_model("transformer")
    assert "did you mean" not in str(refusal.value)
    assert "Known: batchnorm_net" in str(refusal.value)


def test_a_file_is_imported(folder: Path) -> None:
    (folder / "own.py").write_text(
        "class Net:\n    def __init__(self, width, *rest, depth=2, **others): ...\n"
    )
    found = load_model(f"{folder}/own.py:Net")
    assert found.name == "Net"
    assert found.reference == f"{folder}/own.py:Net"
    assert found.arguments == ("width", "depth")
    assert found.build.__name__ == "Net"


def test_a_module_of_the_current_folder_is_imported(folder: Path) -> None:
    """A console script, unlike `python -m`, starts without the current folder on its path."""
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(folder))]
    (folder / "module_of_mine_7.py").write_text("def net(width=1): ...\n")
    assert load_model("module_of_mine_7:net").arguments == ("width",)


def test_an_installed_module_is_imported() -> None:
    assert load_callable("torch.nn:Linear").__name__ == "Linear"


def test_a_file_finds_what_lies_beside_it(folder: Path) -> None:
    (folder / "layers_beside_7.py").write_text("WIDTH = 3\n")
    (folder / "own.py").write_text("from layers_beside_7 import WIDTH\ndef net(): return WIDTH\n")
    assert load_callable(f"{folder}/own.py:net")() == 3


def test_a_users_models_file_hides_nothing(folder: Path) -> None:
    (folder / "models.py").write_text("def net(): return 'mine'\n")
    assert load_callable(f"{folder}/models.py:net")() == "mine"
    assert load_model("cnn").name == "cnn"
    assert sys.modules["models"] is models


def test_two_files_of_one_name_are_two_modules(folder: Path) -> None:
    for part in ("a", "b"):
        (folder / part).mkdir()
        (folder / part / "own.py").write_text(f"def net(): return {part!r}\n")
    assert load_callable(f"{folder}/a/own.py:net")() == "a"
    assert load_callable(f"{folder}/b/own.py:net")() == "b"


def test_a_file_is_imported_once(folder: Path) -> None:
    (folder / "own.py").write_text("class Net: ...\ndef data(): ...\n")
    net = load_callable(f"{folder}/own.py:Net")
    load_callable(f"{folder}/own.py:data")
    assert load_callable(f"{folder}/own.py:Net") is net


def test_a_file_that_failed_is_imported_anew_once_it_is_mended(folder: Path) -> None:
    (folder / "own.py").write_text("1 / 0\n")
    with pytest.raises(RequestError):
        load_callable(f"{folder}/own.py:net")
    (folder / "own.py").write_text("def net(): return 'mended'\n# and longer than before\n")
    assert load_callable(f"{folder}/own.py:net")() == "mended"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("1 / 0", "net", "failed: ZeroDivisionError: division by zero"),
        ("def net(:", "net", "failed: SyntaxError"),
        ("import no_such_module_7", "net", "failed: ModuleNotFoundError: No module named 'no_such_module_7'"),
        ("def network(): ...", "netwrk", "did you mean 'network'?"),
        ("def _hidden(): ...", "net", "Unknown callable"),
        ("net = 3", "net", "must name a callable, but it is a int"),
        ("", "", "Unknown callable"),
    ],
)
def test_a_file_without_the_callable_is_refused(folder: Path, content: str, name: str, message: str) -> None:
    (folder / "own.py").write_text(content)
    with pytest.raises(RequestError) as refusal:
        load_callable(f"{folder}/own.py:{name}")
    assert message in str(refusal.value)
    assert "own.py" in str(refusal.value)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no file .*own\.py"):
        load_callable(f"{folder}/own.py:net")


@pytest.mark.parametrize("reference", ["no_such_module_7:net", "torch.no_such:net", ":net", "..up:net"])
def test_a_module_that_cannot_be_imported_is_refused(folder: Path, reference: str) -> None:
    with pytest.raises(RequestError) as refusal:
        load_callable(reference)
    assert repr(reference.rpartition(":")[0]) in str(refusal.value)
    assert "file.py:callable" in str(refusal.value)


def test_a_callable_without_a_signature_is_refused() -> None:
    with pytest.raises(RequestError, match="builtins:dict"):
        load_model("builtins:dict")


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("own.py:net", "/specs/own.py:net"),
        ("../own.py:net", "/own.py:net"),
        ("/abs/own.py:net", "/abs/own.py:net"),
        ("package.module:net", "package.module:net"),
        ("cnn", "cnn"),
        ("own.py", "own.py"),
    ],
)
def test_only_a_files_callable_is_made_absolute(reference: str, wanted: str) -> None:
    assert absolute(reference, Path("/specs")) == wanted


def test_the_users_own_folder_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute("~/own.py:net", Path("/specs")) == "/home/someone/own.py:net"


def test_data_is_found_by_name_and_split_by_the_seed() -> None:
    first, again, other = (load_data("noisy_square", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_own_data_is_called(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import torch\n"
        "from torch.utils.data import TensorDataset\n"
        "def load(seed):\n"
        "    return [TensorDataset(torch.full((n, 2), float(seed)), torch.zeros(n)) for n in (4, 3, 2)]\n"
    )
    splits = load_data(f"{folder}/own.py:load", seed=7)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 3, 2)  # type: ignore[arg-type]
    assert splits.train[0][0].tolist() == [7.0, 7.0]


def test_unknown_data_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'mnist5k'"):
        load_data("mnist5", seed=0)


@pytest.mark.parametrize(
    ("text", "is_one"), [("cnn", False), ("own.py:net", True), ("a.b:net", True), ("own.py", False)]
)
def test_a_colon_makes_a_callables_reference(text: str, is_one: bool) -> None:
    assert references.is_callable_reference(text) is is_one


def test_a_users_own_models_py_hides_no_catalog(tmp_path: Path) -> None:
    """As in the folder of a job, which Ray puts before all else."""
    (tmp_path / "models.py").write_text("raise AssertionError('imported')\n")
    code = "import tuning, models; print(models.CATALOG['cnn'].task)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "classification\n", done.stderr


def test_processes_of_one_machine_open_ones_own_data_one_after_the_other(tmp_path: Path) -> None:
    """So that what the first one downloads, or prepares, the others find."""
    (tmp_path / "own.py").write_text(
        "import os, time, torch\n"
        "from pathlib import Path\n"
        "from torch.utils.data import TensorDataset\n"
        "def data():\n"
        "    done = Path(__file__).with_name('done')\n"
        "    if not done.exists():\n"
        "        assert not done.with_name('begun').exists(), 'two at a time'\n"
        "        done.with_name('begun').touch()\n"
        "        time.sleep(0.5)\n"
        "        done.touch()\n"
        "    part = TensorDataset(torch.zeros(3, 1), torch.zeros(3, 1))\n"
        "    return part, part, part\n"
    )
    code = f"from tuning import references; references.load_data({f'{tmp_path}/own.py:data'!r}, seed=0)"
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [("", 0)] * 2
