"""Ctrl-C twice: at once, whatever MLflow does, and nothing is lost."""

import signal
import time
from pathlib import Path

from tests.chaos import driver, ledger, server
from tests.chaos.matrix import MODES

AT_ONCE_S = 30.0
"""More than the few seconds that it takes, less than the minute for which a sweep's end waits for MLflow."""


def test_a_second_ctrl_c_waits_neither_for_epochs_nor_for_a_server_that_is_away(tmp_path: Path) -> None:
    with server.server(tmp_path / "mlflow") as mlflow:
        options = ("--tracking-uri", mlflow.uri)
        with driver.started(tmp_path, *options, place="mid-epoch", count=12, **MODES["cohort"]) as first:
            first.wait_until("mid-epoch")  # the epoch does not end: its worker stands still
            mlflow.kill()
            first.process.send_signal(signal.SIGINT)
            while "Ctrl-C again" not in first.output():
                time.sleep(0.05)
            pressed_s = time.monotonic()
            first.process.send_signal(signal.SIGINT)
            assert first.end() == 130, first.output()
            assert time.monotonic() - pressed_s < AT_ONCE_S
        said = first.output()
        assert "resume with: tuning resume chaos" in said and "Traceback" not in said
        mlflow.start()
        with driver.started(tmp_path, *options, **MODES["cohort"]) as second:
            assert second.end() == 0, second.output()
        ledger.assert_nothing_is_lost(second.home, "cohort", mlflow.uri)
