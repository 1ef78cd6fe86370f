"""The settings of one run, all sections together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from longsafety.settings.data import Corpus, Export, Limits, Read, Scenario, Teacher, WriteSeeds
from longsafety.settings.evaluation import Evaluation
from longsafety.settings.model import Length, Model
from longsafety.settings.section import LocalPath, PositiveInt, Section, expand_source
from longsafety.settings.training import DataMix, Trainer, Training

Stage = Literal["plan", "write_seeds", "build", "export", "train", "evaluate", "score", "report"]


class Tracking(Section):
    """MLflow."""

    enabled: bool = True
    uri: str | None = None
    """``None``: ``sqlite:///<paths.outputs>/mlflow.db``."""
    timeout_seconds: PositiveInt = 10
    """How long a tracking server may take to answer before the run is refused."""


class Paths(Section):
    """Where things are written."""

    outputs: Annotated[str, LocalPath()]
    """The root of everything that a run writes."""
    cache: Annotated[str, LocalPath()]
    """Converted models, shared by all projects."""


class Reuse(Section):
    """Kept results that are adopted by hand, where the source code has changed but not what matters to them."""

    weights: Annotated[str | None, LocalPath()] = None
    """A folder of trained weights (``outputs/stages/weights/ADDRESS``), or one with several such folders: a trained
    arm takes the weights whose mix, model, recipe, length and seed are its own instead of training. The report marks
    it."""


class Report(Section):
    """The report."""

    redact: bool = True
    """Replaces harmful text by its category."""


class Planning(Section):
    """What ``stages=[plan]`` does besides its estimates from settings alone."""

    simulate: bool = False
    """Simulates a training step's memory: the step's own code on tensors without contents; takes a minute a job."""


def arm_of(label: str) -> str:
    """What trainings that differ only in their seed have in common."""
    return " ".join(word for word in label.split(" ") if not word.startswith("seed="))


class Settings(Section):
    """One run: an arm at a length, resolved."""

    name: str
    """The experiment's name: outputs and MLflow experiments are grouped by it."""
    label: str = ""
    """The arm's name: the mix, and what else a sweep varies except lengths; set by the program."""
    varied: dict[str, Any] = {}
    """Swept key → this run's value; set by the program."""
    baseline: str | None = None
    """The label of the arm that the others are compared with; ``None``: the untrained arm, else the first."""
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    """Pairs of arms, by label, whose difference is tested besides those from the baseline: ``[arm, against]``."""
    scale: str
    seed: Annotated[int, Field(ge=0)] = 0
    """Seeds the training: the order of samples, and the first weights of
    adapters. ``scenario.seed`` draws the data."""
    stages: list[Stage] = ["build", "train", "evaluate", "score", "report"]
    scoring: Literal["fixed", "official"] = "fixed"
    corpus: Annotated[Corpus, BeforeValidator(expand_source)]
    scenario: Scenario
    limits: Limits = Limits()
    teacher: Teacher = Teacher()
    write_seeds: WriteSeeds = WriteSeeds()
    on_bad_row: Literal["error", "skip"] = "error"
    """What to do with broken rows of a file: raise an error that names all of them before anything is written, or
    leave them out, named and counted."""
    read: Read = Read()
    """A public file that ``stages=[build,export]`` converts instead of building samples."""
    export: Export = Export()
    data_mix: DataMix
    model: Model
    length: Length
    training: Training
    trainer: Trainer
    evaluation: Evaluation
    tracking: Tracking
    paths: Paths
    report: Report
    reuse: Reuse = Reuse()
    plan: Planning = Planning()

    @property
    def trains(self) -> bool:
        """Whether the run needs trained weights."""
        return bool(self.data_mix.sources) and bool({"train", "evaluate"} & {*self.stages})

    @property
    def training_seed(self) -> int:
        return self.seed + self.data_mix.seed_offset

    @property
    def writes_seeds(self) -> bool:
        """Whether a teacher writes a seed file, and nothing else is done."""
        return "write_seeds" in self.stages

    @property
    def reads_items(self) -> bool:
        """Whether the benchmark is the user's file."""
        return self.evaluation.items.path is not None

    @property
    def tracks(self) -> bool:
        """Whether the run is logged to MLflow."""
        return self.tracking.enabled and {"score", "report"} <= {*self.stages}

    @property
    def exports_weights(self) -> bool:
        """Whether a trained model is exported, not data."""
        return "export" in self.stages and self.export.format == "weights"

    @property
    def rescores(self) -> bool:
        """Whether recorded answers are scored: no data is built, no model is trained or evaluated."""
        return self.evaluation.answers is not None

    @property
    def only_builds(self) -> bool:
        """Whether data is only built (and exported): no model is trained or evaluated."""
        return {*self.stages} <= {"build", "export"} and not self.exports_weights
