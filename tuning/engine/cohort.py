"""A cohort's training: its members in step, epoch by epoch, up to the next rung or the end.

Members that differ in numbers only train as one stacked program; those that are alone in their
structure, or cannot be stacked, train one after the other by the solo engine.
"""

import math
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.solo import Training
from tuning.engine.stacked import StackedTraining
from tuning.records import Cohort, EpochReport, Member, State, TrialSpec
from tuning.spec import SweepSpec
