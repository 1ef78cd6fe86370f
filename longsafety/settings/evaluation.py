"""Settings of the evaluation: which items, who answers, who judges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from longsafety.settings.data import Price, Read
from longsafety.settings.section import Fraction, LocalPath, PositiveInt, Section, expand_path
from longsafety.vocabulary import CONTROLS, TWINS, Control, ScenarioName, TwinKind


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
    price: Price = Price()
    """What it charges; ``stages=[plan]`` estimates the cost."""
    budget_money: Annotated[float | None, Field(gt=0)] = None
    """Upper bound on what a run's prompts and replies cost at ``price``; prompts beyond it are not sent."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a request is sent again where its failure can pass; a pause that the server asks for is no retry."""
    timeout_seconds: PositiveInt = 600
    patience_seconds: PositiveInt = 1800
    """Upper bound on what one request may take, with its retries and pauses."""
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


class Guard(Section):
    """A guard model that judges open replies, on this machine or behind a server, by the prompt of its format."""

    format: Literal[
        "llama_guard_3", "llama_guard_4", "wildguard", "shieldgemma", "harmbench", "qwen3guard", "gpt_oss_safeguard",
        "strong_reject",
    ]  # fmt: skip
    """Its prompt format and label words. ``strong_reject``: StrongREJECT's rubric, for any chat model."""
    model: Annotated[str, LocalPath(words=("tiny",), or_name=True)]
    """A folder or a hub name; with ``backend=server`` the server's name for it."""
    backend: Literal["transformers", "vllm", "server"] = "transformers"
    base_url: str | None = None
    """The address of ``backend=server`` up to ``/v1``: any server with OpenAI's chat completions; for ``wildguard``,
    ``shieldgemma`` and ``harmbench``, whose prompts are raw texts, with its ``/completions``."""
    api_key_env: str | None = None
    """The environment variable that holds the server's key; ``None``: the server needs none."""
    max_reply_tokens: PositiveInt = 2048
    """Of ``backend=server``, thoughts included. Of a raw prompt's answer only the labels are asked for."""
    concurrency: PositiveInt = 4
    """Concurrent requests to the server."""
    window: PositiveInt = 8192
    """Tokens of its window; what does not fit whole gets no verdict."""
    labelled: Annotated[str | None, LocalPath()] = None
    """As in ``evaluation.judge``."""


class Evaluation(Section):
    """How a model is evaluated."""

    answers: Annotated[str | None, LocalPath()] = None
    """A model's folder of the published evaluator (``<Task>.jsonl``) whose recorded answers ``stages=[score]``
    scores; ``evaluation.items`` may then name the benchmark's file. ``[ONE,OTHER]`` compares several; each may be
    ``NAME=FOLDER``."""
    write_official: bool = False
    """Also writes the answers to harmful items (of the first scorer that shows the options) in that format, into
    ``official/`` in the run's folder. The files contain harmful statements."""
    items: Annotated[Read, BeforeValidator(expand_path)] = Read()
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
    system: Annotated[str, LocalPath(words=("none",), or_name=True)] = "none"
    """The system message of every item: a text, or a file with it; ``none``: no such message. Items keep their length;
    it comes on top."""
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
    max_thought_tokens: PositiveInt = 1024
    """Maximum tokens of the thought before a reply, where the model thinks; one that is longer is *cut off in
    thought*, which is no reply."""
    open_prompts: Literal["one", "both"] = "one"
    """``both``: the question is placed before the context and after it; the strict metrics need both to be right."""
    judge: Judge | None = None
    """The model that judges open replies; ``None``: the refusal detector does."""
    guards: list[Guard] = []
    """Guard models that judge open replies too: their agreement, and where they differ, is reported. Without
    ``evaluation.judge`` the first gives the verdicts."""
    sheet: PositiveInt | None = None
    """Open replies to harmful items that the stage ``score`` writes into ``sheet.csv`` in the sweep's folder, for
    people to label; ``None``: no sheet. The file contains harmful replies."""
    labels: Annotated[str | None, LocalPath()] = None
    """A filled ``sheet.csv``, with its ``sheet_key.csv`` beside it: detector, judge and guards are measured by its
    labels."""
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
    processes: PositiveInt | Literal["auto"] = "auto"
    """Processes that share the items (``backend=transformers``), each with its own GPU, or with its own copy of the
    model and a part of the CPU threads. ``auto``: one for each visible GPU; one on the CPU. The answers are the
    same."""
    server: Server | None = None
    """The server of ``backend=openai``. It applies its own chat template; the local model only provides the tokenizer
    that counts lengths."""
    equivalence_margin: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Arms that differ by less count as equal (two one-sided tests); choose it before the runs."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
