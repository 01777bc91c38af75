"""The Optuna study of a sweep. The only room that knows optuna."""

from tuning.study.study import Study

__all__ = ["Study"]
