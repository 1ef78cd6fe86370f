"""Settings of the data: documents, scenarios, who writes, what is read and exported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longsafety.settings.section import FileOrName, Fraction, LocalPath, PositiveInt, Section
from longsafety.vocabulary import TwinKind

ExportFormat = Literal[
    "longsafety_17k",
    "longsafety_bench",
    "messages",
    "trl_preference",
    "llama_factory_preference",
    "verl",
    "lm_eval",
    "inspect",
    "weights",
]

Stubs = Literal["withheld", "form"]
Padding = Literal["task", "random", "related", "repeated"]


class Corpus(Section):
    """Where the documents of the contexts come from."""

    source: Annotated[str, LocalPath(words=("embedded", "embedded_bilingual"), or_name=True)] = "embedded"
    """``embedded`` (English; ``embedded_bilingual``: with Chinese documents), a folder or file (.txt .md .jsonl
    .parquet), or a Hugging Face dataset (path or hub name; of several configurations one is named,
    ``owner/name:CONFIG``)."""
    text_key: str = "text"
    """The column or JSON key that holds a document's text."""
    id_key: str | None = None
    """The column or JSON key that names a document; without it, file name and row number do."""
    split: str = "train"
    """The split of a Hugging Face dataset."""
    encoding: str | None = None
    """The encoding of files that are not in Unicode (``cp1252``, ``gb18030``, ``shift_jis``); ``None``: such files are
    refused."""
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
    """Stops the run, before anything is trained, where the audit's gate fails: where words alone tell which option is
    right."""
    seeds: Annotated[str, LocalPath(words=("shipped",))] = "shipped"
    """``shipped``; or your harmful requests or statements: a .jsonl, .json, .csv or .parquet file, a folder of these,
    or a hub dataset. Rows that a label column calls benign are lent as twins."""
    only_own_seeds: bool = False
    """Leaves the shipped seed items out. Tasks that ``seeds`` cannot serve are then left out too, and named."""
    only_accepted: bool = False
    """Of a seed file that a teacher wrote (``stages=[write_seeds]``), only the rows that somebody has accepted are
    used. Otherwise all are but the rejected ones, and a line says how many nobody has accepted."""
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
    bench_goal: Literal["before", "after"] | None = None
    """The place of the question in benchmark items; ``None``: that of ``goal``. The training is the same for both."""
    bench_padding: Padding = "task"
    """What benchmark items of the scenarios QH and PH are made long with. ``task``: what the task takes; ``random``:
    passages in random order; ``related``: those that the question's words find first; ``repeated``: one passage, again
    and again. Fully harmful contexts are what they are: their filler is the harmful text itself."""
    harm_fraction: Fraction = 1.0
    """Share of the filler of fully harmful contexts that is harmful."""
    stubs: Stubs = "withheld"
    """What "compliant" answers are, in many-shot contexts and as the rejected side of preference pairs. ``withheld``: a
    seed item's own stub, or a sentence with ``[withheld]``; ``form``: the form of an answer of ordinary length. Neither
    has any content."""
    harmful_documents: list[str] = []
    """Patterns (``sherlock*``) of the ids of documents that are harmful texts, such as crime fiction. Only the fully
    harmful tasks use these documents. Empty: those tasks use short texts about invented people's crimes."""
    bench_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of documents and seed items reserved for the benchmark."""
    leave_out: list[str] = []
    """Tasks, and scenarios (``QH``, ``PH``, ``FH``), that no training sample is made of. The others take their place,
    so that there are as many samples; the benchmark keeps all of its tasks."""
    train_seeds: PositiveInt | None = None
    """Distinct seed items of a task that training samples are made of, at most; a smaller number is a part of a larger
    one. ``None``: all."""


class Limits(Section):
    """What a scale allows; ``None``: the scenario's own counts."""

    train_samples: PositiveInt | None = None
    bench_items: PositiveInt | None = None
    builds: bool = False
    """Whether the counts also limit data that is only built, for no model."""
    min_tokens: dict[str, PositiveInt] = {}
    """Task name → the shortest target length that its needles fit. At shorter ones the task is left out, and a line
    says so."""


class Price(Section):
    """What a server charges per million tokens, in any one currency; 0: nothing."""

    prompt: Annotated[float, Field(ge=0)] = 0.0
    reply: Annotated[float, Field(ge=0)] = 0.0


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
    price: Price = Price()
    budget_money: Annotated[float | None, Field(gt=0)] = None
    """Upper bound on what prompts and replies cost at ``price``, in its currency; ``None``: no limit."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a prompt is sent again when the server fails or the validator rejects the reply."""
    timeout_seconds: PositiveInt = 60
    patience_seconds: PositiveInt = 1800
    """Upper bound on what one request may take, with its retries and the pauses that the server asks for."""
    concurrency: PositiveInt = 4
    """Concurrent requests (``openai``)."""


class WriteSeeds(Section):
    """The seed file that ``stages=[write_seeds]`` has a teacher write, and what it is made of."""

    path: Annotated[str | None, LocalPath()] = None
    """The folder of the seed file, new or one that this stage made; its ``review.csv`` is kept."""
    requests: FileOrName = None
    """Harmful requests, in any form that ``scenario.seeds`` takes."""
    statements: FileOrName = None
    """Harmful statements: rows with a ``statement``."""
    documents: FileOrName = None
    """Ordinary documents: harmful questions are asked of their passages (the paper's QH (b))."""
    harmful_documents: FileOrName = None
    """Harmful documents: questions are asked (FH (2)) and statements are taken from their passages, and these are
    back-translated into questions (PH)."""
    tasks: list[str] = []
    """Tasks to write seed items for; empty: the paper's thirteen."""
    train_items: Annotated[int, Field(ge=0)] = 100
    """Most seed items for training of each kind of them."""
    bench_items: Annotated[int, Field(ge=0)] = 40
    """Most seed items for the benchmark of each kind of them, with options and passages."""
    bench_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of requests, statements and documents that only the benchmark's seed items are made of."""
    answers: PositiveInt = 2
    """Answers of a training seed item, in different words, to its request and to the benign one."""
    passages_per_document: PositiveInt = 5


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
