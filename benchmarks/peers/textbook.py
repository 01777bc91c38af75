"""The textbook script: Ray Tune with Optuna and MLflow, as their documentation shows it.

https://docs.ray.io/en/latest/tune/examples/optuna_example.html and .../tune-mlflow.html. All that is
not in there has its default; no checkpoints are written (this project writes them).
"""

import sys
import tempfile

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

from benchmarks.job import Configuration, Job
from benchmarks.peers import loop
from benchmarks.peers.space import ranges


def train(config: Configuration, job: Job, trace_path: str) -> None:
    for metrics in loop.train(job, config, trace_path):
        tune.report(metrics)


def main(job_path: str, trace_path: str) -> None:
    job = Job.read(job_path)
    space = {
        key: tune.loguniform(low, high) if log else tune.uniform(low, high)
        for key, low, high, log in ranges(job.model)
    }
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_parameters(train, job=job, trace_path=trace_path),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=job.metric,
                mode=job.mode,
                search_alg=OptunaSearch(points_to_evaluate=list(job.configurations)),
                num_samples=len(job.configurations),
            ),
            run_config=tune.RunConfig(
                name="textbook",
                storage_path=f"{folder}/ray_results",
                callbacks=[
                    MLflowLoggerCallback(
                        tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="textbook"
                    )
                ],
            ),
        )
        best = tuner.fit().get_best_result()
        print("best", best.metrics, best.config)


if __name__ == "__main__":
    main(*sys.argv[1:])
