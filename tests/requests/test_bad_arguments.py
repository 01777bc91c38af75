"""A wrong command line of a sweep: exit code 2, one message with the rule, the value and the way out.

`--dry-run` checks all that a sweep checks, without Ray.
"""

import pytest

from tests.requests.refusals import Refused


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # model and data
        ("nett", ["Unknown model: 'nett'", "did you mean 'net'?", "quick_net"]),
        ("CNN", ["Unknown model: 'CNN'", "cnn"]),
        ("transformer", ["Unknown model: 'transformer'", "Known: batchnorm_net, cnn"]),
        ("net --data parabol", ["Unknown data: 'parabol'", "did you mean 'parabola'?"]),
        ("own.py:Net --data parabol", ["Unknown data: 'parabol'", "did you mean 'parabola'?"]),
        ("cnn --data parabola", ["'cnn' is for classification", "'parabola' is for regression", "mnist5k"]),
        ("net --data mnist5k", ["'net' is for regression", "'mnist5k' is for classification", "parabola"]),
        ("own.py:Net", ["'Net' needs `data`", "--data"]),
        ("missing.py:Net --data parabola", ["There is no file", "missing.py"]),
        ("own.py:Nett --data parabola", ["Unknown callable", "'Nett'", "did you mean 'Net'?"]),
        ("own.py:three --data parabola", ["must name a callable", "int"]),
        ("broken.py:net --data parabola", ["broken.py", "SyntaxError"]),
        ("raising.py:net --data parabola", ["raising.py", "ZeroDivisionError: division by zero"]),
        ("no_such_module:net --data parabola", ["'no_such_module'", "ModuleNotFoundError"]),
        ("builtins:dict --data parabola", ["builtins:dict"]),
        ("own.py:number --data parabola", ["must return a torch.nn.Module", "int"]),
        ("own.py:raises --data parabola", ["RuntimeError: no such layer"]),
        ("own.py:momentous --data parabola", ["must not take 'momentum' without a default"]),
        ("own.py:needs --data parabola", ["own.py:needs", "height", "--set height=VALUE"]),
        ("own.py:Listed --data parabola", ["must return a tensor", "list"]),
        ("own.py:Three --data parabola", ["must return (1,) per example", "(3,)"]),
        ("own.py:Net --data own.py:pictures", ["cannot take data", "of shape (1, 8, 8)"]),
        ("net --data own.py:pictures", ["cannot take data", "(1, 8, 8)", "must be a vector"]),
        ("lstm --data own.py:colours", ["cannot take data", "(3, 8, 8)", "turn the images to grey"]),
        ("net --data own.py:missing", ["Unknown callable", "'missing'"]),
        ("net --data own.py:two_sets", ["must return three data sets", "2 values"]),
        # numbers
        ("net --trials 0", ["`trials` must be a whole number >= 1, but got 0"]),
        ("net --trials -3", ["`trials`", "-3"]),
        ("net --trials many", ["--trials", "'many'"]),
        ("net --trials 1.5", ["--trials", "'1.5'"]),
        ("net --epochs 0", ["`epochs` must be a whole number >= 1, but got 0"]),
        ("net --batch-size 0", ["`batch_size`", "0"]),
        ("net --seed -1", ["`seed` must be a whole number >= 0, but got -1"]),
        ("net --cohort 0", ["`cohort` must be a whole number >= 1, but got 0"]),
        ("net --cohort many", ["`cohort`", "'many'"]),
        ("net --grace-epochs 0", ["`early_stopping.grace_epochs` must be a whole number >= 1"]),
        ("net --reduction 1", ["`early_stopping.reduction` must be a whole number >= 2"]),
        ("net --max-concurrent 0", ["`max_concurrent`"]),
        ("net --max-failures 0", ["`max_failures`"]),
        # what is searched
        ("net --metric val_accuracy", ["Unknown metric of a regression sweep: 'val_accuracy'", "val_loss"]),
        ("net --metric val_los", ["'val_los'", "did you mean 'val_loss'?"]),
        ("net --mode best", ["--mode", "'best'", "min", "max"]),
        ("net --set learning_rate=0.1", ["Unknown hyperparameter of model 'net'", "'learning_rate'", "lr"]),
        ("net --set momentun=0.9", ["did you mean 'momentum'?"]),
        ("net --search depth=1:3", ["Unknown hyperparameter of model 'net'", "'depth'"]),
        ("own.py:Net --data parabola --set depth=3", ["hyperparameter of model 'Net': 'depth'", "width"]),
        ("net --set lr", ["--set must be KEY=VALUE, but got 'lr'"]),
        ("net --set lr=", ["--set must be KEY=VALUE"]),
        ("net --set =1", ["--set must be KEY=VALUE"]),
        ("net --set lr=fast", ["fixed.lr must be a finite number, but got 'fast'"]),
        ("net --set lr=0", ["`0 < lr` must hold, but got fixed.lr=0"]),
        ("net --set lr=nan", ["fixed.lr must be a finite number"]),
        ("net --set dropout=1.5", ["`0 <= dropout < 1` must hold, but got fixed.dropout=1.5"]),
        ("net --set bn_momentum=0", ["`0 < bn_momentum <= 1` must hold"]),
        ("net --set optimizer=sdg", ["'sdg'", "did you mean 'sgd'?", "adagrad, adam, rmsprop, sgd"]),
        ("net --set activation=reluu", ["activation=reluu"]),
        ("net --set lr=0.1 --search lr=0.1:0.2", ["'lr'", "searched or fixed, not both"]),
        ("net --search lr", ["--search must be KEY=LOW:HIGH[:log] or KEY=A,B,C, but got 'lr'"]),
        ("net --search lr=1:2:3", ["--search lr", "LOW:HIGH:log", "'1:2:3'"]),
        ("net --search lr=a:b", ["search.lr", "`low` must be a number, but got 'a'"]),
        ("net --search lr=0.3:0.1", ["`low < high` must hold", "low=0.3, high=0.1", "--set KEY=VALUE"]),
        ("net --search lr=0.1:0.1", ["`low < high` must hold", "--set KEY=VALUE"]),
        ("net --search lr=0:1:log", ["`low > 0` must hold on a log scale, but got low=0"]),
        ("net --search lr=-1:1", ["`0 < lr` must hold, but got search.lr=-1"]),
        ("net --search dropout=0:1.5", ["`0 <= dropout < 1` must hold, but got search.dropout=1.5"]),
        ("net --search optimizer=sgd,lion", ["search.optimizer", "'lion'"]),
        ("net --search optimizer=sgd,sgd", ["must differ"]),
        ("net --search lr=abc", ["finite number", "'abc'", "LOW:HIGH:log"]),
        ("net.py", ["'net.py'", "write net.py:Net"]),
        ("net --no-search lrr", ["'lrr'", "did you mean 'lr'?"]),
        (
            "net --no-search lr --no-search momentum --no-search dropout --no-search bn_momentum",
            ["leaves nothing to search", "`trials` is 32", "--trials 1"],
        ),
        (
            "net --set optimizer=adagrad --search momentum=0:0.9",
            ["`momentum` belongs to sgd or rmsprop or adam, but the optimizer is adagrad"],
        ),
        ("net --set optimizer=adagrad --set momentum=0.9", ["`momentum` belongs to", "adagrad"]),
        ("net --set alpha=0.9", ["`alpha` belongs to rmsprop, but the optimizer is sgd"]),
        ("net --set optimizer=sgd --search beta2=0.9:0.99", ["`beta2` belongs to adam"]),
        ("net --early-stopping hyperband", ["--early-stopping", "'hyperband'", "asha"]),
        # where it is run
        ("net --gpus-per-trial 64", ["cpus=1, gpus=64", "no node has that", "--gpus-per-trial"]),
        ("net --cpus-per-trial 100000", ["cpus=100000", "no node has that", "--cpus-per-trial"]),
        ("net --cpus-per-trial -1", ["`resources.cpus` must be a number >= 0"]),
        ("net --gpus-per-trial nan", ["`resources.gpus` must be a number >= 0"]),
        ("net --gpus-per-trial 1.5", ["`resources.gpus`", "a share below 1 or a whole number"]),
        ("net --gpus-per-trial all", ["--gpus-per-trial", "'all'"]),
        ("net --cpus-per-trial 0 --gpus-per-trial 0", ["needs a CPU or a GPU share"]),
        ("net --address ray://head:10001", ["'ray://head:10001'", "ray job submit"]),
        ("net --cpus-per-trial 0.00001", ["`resources.cpus` must be 0 or at least 0.0001"]),
        ("net --storage nosuchprotocol://bucket", ["nosuchprotocol://bucket"]),
        ("net --storage reference://x", ["'reference://x' cannot be opened", "TypeError"]),
        ("net --storage ~nobody-of-that-name/x", ["'~nobody-of-that-name/x' cannot be opened"]),
        ("net --data ~nobody-of-that-name/x.py:y", ["'~nobody-of-that-name/x.py'"]),
        # names
        ("net --name a/b", ["1 to 100 letters, digits, '.', '_' or '-'", "'a/b'"]),
        ("net --name ../net", ["1 to 100 letters", "'../net'"]),
        ("net --name mlflow.db", ["'mlflow.db' is taken by a file of the home"]),
        ("all --data mnist", ["each model's default data", "leave --data out"]),
        # options
        ("net --trails 3", ["--trails"]),
        ("net --no-search=--", ["argument --no-search", "must have a value"]),
        ("net --trial 3", ["--trial"]),  # no abbreviations: what one means today may be two tomorrow
        ("net lstm", ["lstm"]),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(refused: Refused, line: str, words: list[str]) -> None:
    refused(["sweep", *line.split(), "--dry-run"], *words)


@pytest.mark.parametrize("option", ["--name", "--data", "--metric", "--storage", "--tracking-uri", "--home"])
def test_an_option_that_is_given_empty_is_refused(refused: Refused, option: str) -> None:
    """As by a script whose variable is not set: `--name "$NAME"`."""
    refused(["sweep", "net", option, "", "--dry-run"], option.removeprefix("--").replace("-", "_"))


def test_a_relative_home_is_refused_inside_a_ray_job(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refused(["sweep", "net", "--home", "runs", "--dry-run"], "Inside a Ray job", "'runs'", "TUNING_HOME")
