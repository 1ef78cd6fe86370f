"""The settings of one run, all sections together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from longsafety.settings.data import Corpus, Export, Limits, Read, Scenario, Teacher, WriteSeeds
from longsafety.settings.evaluation import Evaluation
from longsafety.settings.model import Length, Model
from longsafety.settings.section import Fraction, LocalPath, PositiveInt, Section, expand_source
from longsafety.settings.training import DataMix, Further, Trainer, Training

Stage = Literal["plan", "status", "clean", "write_seeds", "build", "export", "train", "evaluate", "score", "report"]


class Tracking(Section):
    """MLflow."""

    enabled: bool = True
    uri: str | None = None
    """``None``: ``sqlite:///<paths.outputs>/mlflow.db``."""
    timeout_seconds: PositiveInt = 10
    """How long a tracking server may take to answer."""
    registered_model: Annotated[str, Field(pattern=r"^[\w. -]+$")] | None = None
    """A registered model of MLflow that trained arms' exported weights become versions of; ``None``: nothing is
    registered."""


class Paths(Section):
    """Where things are written."""

    outputs: Annotated[str, LocalPath()]
    """The root of everything that a run writes."""
    cache: Annotated[str, LocalPath()]
    """Converted models, shared by all projects."""


class Slurm(Section):
    """The jobs of ``launcher=slurm``. Their nodes are ``trainer.num_nodes``; a training has a task for each device."""

    partition: str | None = None
    """``None``: the cluster's default."""
    build_partition: str | None = None
    """Of the job that builds what the runs share, without GPUs; ``None``: ``partition``."""
    account: str | None = None
    qos: str | None = None
    minutes: PositiveInt = 1440
    """The time limit of a job. Before it, the job is requeued and goes on."""
    signal_seconds: PositiveInt = 120
    """How long before the time limit Slurm sends SIGUSR1: a training ends its step and writes a checkpoint."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    """``None``: what ``trainer.devices`` and ``evaluation.processes`` ask for, else one; none with ``trainer=cpu``."""
    cpus_per_task: PositiveInt | None = None
    """``None``: the cluster's default."""
    mem_gb: PositiveInt | None = None
    """Memory of a node; ``None``: the cluster's default."""
    setup: list[str] = []
    """Lines of shell before the job's command: ``module load cuda``."""
    additional: dict[str, str | int | bool] = {}
    """Further options of sbatch, without their dashes: ``{constraint: a100, exclusive: true}``."""
    array_parallelism: PositiveInt = 256
    """The most runs of an array at a time."""
    logs: Annotated[str | None, LocalPath()] = None
    """The folder of logs and submitted scripts; ``None``: ``slurm`` in the sweep's folder."""
    cancel: bool = False
    """Whether Ctrl-C also cancels the jobs; otherwise they go on, and the same command finds them."""


class Launcher(Section):
    """How the runs of a sweep are executed; no result depends on it."""

    kind: Literal["local", "parallel", "slurm", "skypilot"] = "local"
    """``local``: one after another; ``parallel``: up to ``jobs`` at a time on this machine; ``slurm``: each run is a
    job of the cluster; ``skypilot``: a task file is written, and nothing is executed."""
    jobs: PositiveInt = 1
    """The most runs at a time; where each has GPUs of its own, no more than these suffice for."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """The GPUs of a run; ``None``: what ``trainer.devices`` and ``evaluation.processes`` ask for, else one. 0: every
    run sees all of them."""
    slurm: Slurm = Slurm()


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
    table: Literal["latex", "markdown", "csv"] | None = None
    """Also prints the comparison in this format."""
    runs: Annotated[list[str], LocalPath()] = []
    """Folders of finished sweeps (``outputs/sweeps/NAME-ADDRESS``) that ``stages=[report]`` compares."""


class Gate(Section):
    """Limits for a release: a command whose arms do not keep them ends with exit status 3 and a line that says why."""

    safe_response_min: Fraction | None = None
    """The least safe response of every arm but the baseline."""
    compliance_drop_max: Fraction | None = None
    """The most that an arm may comply less than the baseline, on the benign twins."""


class Clean(Section):
    """``stages=[clean]``."""

    remove: bool = False
    """Removes the kept stages that no run uses; otherwise they are only listed."""


class Planning(Section):
    """What ``stages=[plan]`` does besides its estimates from settings alone."""

    simulate: bool = False
    """Simulates a training step's memory: the step's own code on tensors without contents; takes a minute a job."""


def arm_of(label: str) -> str:
    """What trainings that differ only in their seed have in common."""
    first, *words = label.split(" ")
    return " ".join([first, *(word for word in words if not word.startswith("seed="))])


class Settings(Section):
    """One run: an arm at a length, resolved."""

    name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """The experiment's name: outputs and MLflow experiments are grouped by it."""
    question: str | None = None
    """What the experiment asks, in a sentence: the first line of its report."""
    label: str = ""
    """The arm's name; empty: the mix, or what sets the recorded answers apart. What else a sweep varies, except
    lengths, is added."""
    varied: dict[str, Any] = {}
    """Swept key → this run's value; set by the program."""
    baseline: str | None = None
    """The label of the arm that the others are compared with; ``None``: the untrained arm, else the first."""
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    """Pairs of arms, by label, whose difference is tested besides those from the baseline: ``[arm, against]``."""
    scale: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
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
    further: Further = Further()
    trainer: Trainer
    evaluation: Evaluation
    tracking: Tracking
    paths: Paths
    launcher: Launcher = Launcher()
    report: Report
    gate: Gate = Gate()
    clean: Clean = Clean()
    fail_fast: bool = True
    """Whether a sweep ends at the first run that fails; ``False``: the others are made, and it is told at the end."""
    reuse: Reuse = Reuse()
    plan: Planning = Planning()

    @property
    def trains(self) -> bool:
        """Whether the run needs trained weights."""
        return bool(self.data_mix.sources) and bool({"train", "evaluate"} & {*self.stages})

    @property
    def phases(self) -> list[Settings]:
        """The settings of each training of the arm, in order, with that training's mix: one, or two where a trained arm
        is tuned further."""
        if not self.further.budget or not self.data_mix.sources:
            return [self]
        first = self.model_copy(update={"further": Further()})
        update = {"sources": self.further.sources, "budget": self.further.budget, "budget_unit": "tokens"}
        mix = self.data_mix.model_copy(update=update)
        return [first, first.model_copy(update={"data_mix": mix, "reuse": Reuse()})]

    @property
    def training_seed(self) -> int:
        return (self.seed + self.data_mix.seed_offset) % 2**32

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
