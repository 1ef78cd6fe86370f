"""The typed tree of settings: one section for each part of a run. No torch, no omegaconf.

A section is frozen and forbids unknown keys; each part of the program receives only its own section.
"""

from longsafety.settings.arms import LENGTH_KEYS, Effect, baselines, effects, factors, mix_of, only_trains
from longsafety.settings.data import (
    Corpus,
    Export,
    ExportFormat,
    Limits,
    Padding,
    Price,
    Read,
    Scenario,
    Stubs,
    TaskCounts,
    Teacher,
    WriteSeeds,
)
from longsafety.settings.evaluation import Endpoint, Evaluation, Guard, Judge, Select, Server
from longsafety.settings.model import OPTION_ROOM_TOKENS, Length, Lora, Model, Rope, TargetLengths, full_layers
from longsafety.settings.run import Clean, Gate, Launcher, Paths, Report, Reuse, Settings, Stage, Tracking, arm_of
from longsafety.settings.section import FileOrName, Fraction, LocalPath, PositiveInt, Section
from longsafety.settings.training import DataMix, Further, Source, Trainer, Training, Zero

__all__ = [
    "LENGTH_KEYS",
    "OPTION_ROOM_TOKENS",
    "Clean",
    "Corpus",
    "DataMix",
    "Effect",
    "Endpoint",
    "Evaluation",
    "Export",
    "ExportFormat",
    "FileOrName",
    "Fraction",
    "Further",
    "Gate",
    "Guard",
    "Judge",
    "Launcher",
    "Length",
    "Limits",
    "LocalPath",
    "Lora",
    "Model",
    "Padding",
    "Paths",
    "PositiveInt",
    "Price",
    "Read",
    "Report",
    "Reuse",
    "Rope",
    "Scenario",
    "Section",
    "Select",
    "Server",
    "Settings",
    "Source",
    "Stage",
    "Stubs",
    "TargetLengths",
    "TaskCounts",
    "Teacher",
    "Tracking",
    "Trainer",
    "Training",
    "WriteSeeds",
    "Zero",
    "arm_of",
    "baselines",
    "effects",
    "factors",
    "full_layers",
    "mix_of",
    "only_trains",
]
