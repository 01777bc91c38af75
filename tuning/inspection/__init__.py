"""What a trial's network does, drawn as one page: `trial` says which figures, the other modules draw them."""

from tuning.inspection.trial import inspect

__all__ = ["inspect"]
