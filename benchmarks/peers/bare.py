"""Bare PyTorch: one process per core that takes configurations from a queue; nothing is recorded.

The processes wait for each other before the first trial, so that their start is no part of the trials.
"""

import multiprocessing
import os
import sys
from functools import partial
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.job import Configuration, Job
from benchmarks.peers import loop


def prepare(job: Job, everyone: Barrier) -> None:
    torch.set_num_threads(1)
    loop.data(job.data, job.seed)
    everyone.wait()


def train(configuration: Configuration, *, job: Job, trace_path: str) -> dict[str, float]:
    *_, last = loop.train(job, configuration, trace_path)
    return last


def main(job_path: str, trace_path: str) -> None:
    job = Job.read(job_path)
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores, prepare, (job, context.Barrier(cores))) as pool:
        finals = pool.map(partial(train, job=job, trace_path=trace_path), job.configurations, chunksize=1)
    choose = max if job.mode == "max" else min
    print("best", choose(final[job.metric] for final in finals))


if __name__ == "__main__":
    main(*sys.argv[1:])
