"""The typed tree of settings: one section for each part of a run. No torch, no omegaconf.

A section is frozen and forbids unknown keys; each part of the program receives only its own section.
"""

from longsafety.settings.data import (
    Corpus,
    Export,
    ExportFormat,
    Limits,
    Price,
    Read,
    Scenario,
    Stubs,
    TaskCounts,
    Teacher,
    WriteSeeds,
)
from longsafety.settings.evaluation import Endpoint, Evaluation, Judge, Select, Server
from longsafety.settings.model import OPTION_ROOM_TOKENS, Length, Lora, Model, Rope, TargetLengths, full_layers
from longsafety.settings.run import Paths, Report, Reuse, Settings, Stage, Tracking, arm_of
from longsafety.settings.section import FileOrName, Fraction, LocalPath, PositiveInt, Section
from longsafety.settings.training import DataMix, Source, Trainer, Training, Zero

__all__ = [
    "OPTION_ROOM_TOKENS",
    "Corpus",
    "DataMix",
    "Endpoint",
    "Evaluation",
    "Export",
    "ExportFormat",
    "FileOrName",
    "Fraction",
    "Judge",
    "Length",
    "Limits",
    "LocalPath",
    "Lora",
    "Model",
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
    "full_layers",
]
