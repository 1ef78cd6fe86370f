"""Imports what takes long: what the process that :mod:`tests.forked` forks from has read before the first command."""

from __future__ import annotations

from longsafety.environment import quiet
from longsafety.pipeline.workers import import_slow

quiet()
import_slow()
import matplotlib.pyplot  # noqa: E402, F401
import mlflow.tracking  # noqa: E402, F401
import peft  # noqa: E402, F401
