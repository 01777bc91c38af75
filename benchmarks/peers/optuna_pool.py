"""Plain Optuna: a study in SQLite, asked and told by one process, trials in a process pool."""

import os
import sys
import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

import optuna
import torch

from benchmarks.job import Configuration, Job
from benchmarks.peers import loop
from benchmarks.peers.space import ranges


def train(job: Job, configuration: Configuration, trace_path: str) -> list[float]:
    return [metrics[job.metric] for metrics in loop.train(job, configuration, trace_path)]


def suggest(job: Job, trial: optuna.Trial) -> Configuration:
    return {key: trial.suggest_float(key, low, high, log=log) for key, low, high, log in ranges(job.model)}


def search(job: Job, trace_path: str, study: optuna.Study, pool: ProcessPoolExecutor, size: int) -> None:
    running: dict[Future[list[float]], optuna.Trial] = {}
    left = len(job.configurations)
    while left or running:
        while left and len(running) < size:
            trial = study.ask()
            running[pool.submit(train, job, suggest(job, trial), trace_path)] = trial
            left -= 1
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            trial, values = running.pop(future), future.result()
            for epoch, value in enumerate(values, start=1):
                trial.report(value, epoch)
            study.tell(trial, values[-1])


def main(job_path: str, trace_path: str) -> None:
    job = Job.read(job_path)
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/optuna.db",
            direction="maximize" if job.mode == "max" else "minimize",
        )
        for configuration in job.configurations:
            study.enqueue_trial(configuration)
        with ProcessPoolExecutor(
            cores, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            search(job, trace_path, study, pool, cores)
        print("best", study.best_value, study.best_params)


if __name__ == "__main__":
    main(*sys.argv[1:])
