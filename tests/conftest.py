"""The random tiny model and small corpora, offline, made once a session; and the command in a place of its own."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import longsafety
import tests.heard  # noqa: F401
from longsafety.host.locks import locked
from longsafety.model import tiny
from longsafety.model.tokenizer import load_tokenizer
from longsafety.pipeline.pipeline import execute
from longsafety.pipeline.run import Run
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.store import Document, TokenStore
from longsafety.scenarios.made_documents import made_documents
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.scenarios.seeds.seed import Seed
from longsafety.settings import Model, Settings
from tests import forked

pytest_plugins = ["tests.samples_made", "tests.records_made"]
NUM_DOCUMENTS, SENTENCES = 24, 60


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_cache(shared: Path) -> Path:
    return shared / "cache"


@pytest.fixture(scope="session")
def tiny_one_thread() -> Iterator[None]:
    """For matrices this small, threads that wait for each other take longer than the work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    return Model(name="tiny", source="tiny", window=2048)


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_cache: Path, tiny_model: Model) -> Any:
    return load_tokenizer(tiny_model, tiny_cache)


@pytest.fixture(scope="session")
def tiny_seeds() -> list[Seed]:
    return load_seeds("shipped").seeds


@pytest.fixture(scope="session")
def tiny_documents(tiny_tokenizer: Any) -> list[Document]:
    """Prose of made-up sentences: 24 documents of 60 sentences of 5 to 25 words, two or three tokens each."""
    vocabulary = sorted(tiny_tokenizer.get_vocab())
    starts = [token[1:].lower() for token in vocabulary if token[0] == "Ġ" and token[1:].isalpha()]
    ends = [token for token in vocabulary if re.fullmatch("[a-z]{2,}", token)] * len(starts)
    twos = (one + two for one, two in zip(starts, ends, strict=False))
    threes = (one + two + three for one, two, three in zip(starts, ends, ends[50:], strict=False))
    words = sorted({*twos, *threes})
    rng = random.Random(7)

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(5, 25))).capitalize() + rng.choice(".....!?")

    def text() -> str:
        return "".join(sentence() + rng.choice([" ", " ", " ", "\n\n"]) for _ in range(SENTENCES)).strip()

    return [Document(f"doc-{number:02d}", text()) for number in range(NUM_DOCUMENTS)]


@pytest.fixture(scope="session")
def tiny_encoder(
    tiny_tokenizer: Any,
    tiny_documents: list[Document],
    tiny_seeds: list[Seed],
    tmp_path_factory: pytest.TempPathFactory,
) -> ChatEncoder:
    """Over a store with the documents and the texts that are made of the shipped seed items."""
    folder = tmp_path_factory.mktemp("store")
    TokenStore.build(folder, [*tiny_documents, *made_documents(tiny_seeds)], tiny_tokenizer)
    return ChatEncoder(tiny_tokenizer, TokenStore.open(folder))


def pytest_configure(config: pytest.Config) -> None:
    """Benchmarks run where they are asked for alone: ``--benchmark-only``."""
    if hasattr(config.option, "benchmark_only") and not config.option.benchmark_only:
        config.option.benchmark_skip = True


# --- processes ------------------------------------------------------------------------------------------------------

TOGETHER = {
    f"tests/{name}.py"
    for name in (
        "evaluation/backends/test_processes",
        "evaluation/test_simulated",
        "pipeline/test_data",
        "pipeline/test_launch",
        "reporting/test_report",
        "samples/test_encode",
        "test_kills",
        "test_promises",
        "tracking/test_store",
    )
}
"""Files whose tests share what takes long to make: one process runs all of a file."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Scheduler of ``--dist loadgroup``, whose own marks have no effect with pytest 9.2 and pytest-xdist 3.8."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return file if file in TOGETHER else nodeid

    return ByFile(config, log)


# --- commands --------------------------------------------------------------------------------------------------------

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(longsafety.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    ),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
ARMS = ["base", "short_safety_long_align", "longsafety_short_twins", "longsafety", "longsafety_twins", "benign_only"]
"""Of ``mix_ablation``, but for ``scale=paper``, which has more."""
SMALL = [
    *("scenario.train_samples=12", "data_mix.budget=6", "data_mix.budget_unit=samples"),
    *("scenario.bench_items=3", "training.batch_size=4"),
]
BASICS = [
    "scale=smoke",
    "trainer=cpu",
    "trainer.precision=32-true",
    "evaluation.precision=32-true",
    "evaluation.scorers=[likelihood]",
]


NOUNS = ["river", "stone", "market", "winter", "letter", "garden", "engine", "harbour", "teacher", "bridge", "paper"]
NOUNS += ["music", "window", "forest", "bread", "signal", "captain", "mirror", "ladder", "valley", "copper", "village"]
VERBS = ["carries", "finds", "keeps", "follows", "crosses", "answers", "repairs", "measures", "describes", "remembers"]


def prose(number: int, paragraphs: int = 6) -> str:
    """A few hundred words of sentences, the same for the same number."""
    rng = random.Random(number)

    def sentence() -> str:
        one, two, three, four, five = rng.sample(NOUNS, 5)
        return (
            f"The {one} near the {two} {rng.choice(VERBS)} the old {three} of {four}, "
            f"and in the evening the {five} {rng.choice(VERBS)} it again."
        )

    return "\n\n".join(" ".join(sentence() for _ in range(8)) for _ in range(paragraphs)) + "\n"


def command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """``python -m longsafety``, like a process of its own: a fork of a server that has imported what takes seconds."""
    server = forked.server()
    with tempfile.TemporaryDirectory() as folder:
        process = server.Process(target=forked.command, args=(arguments, ENVIRONMENT, folder))
        process.start()
        process.join(timeout=300)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(arguments, 300)
        said = [(Path(folder) / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(arguments, process.exitcode or 0, *said)


@dataclass(frozen=True)
class Place:
    """Where the commands of one test write; they share corpus and converted models with the others."""

    outputs: Path
    corpus: Path
    cache: Path
    prose = staticmethod(prose)

    def arguments(self, *arguments: str) -> list[str]:
        given = {argument.split("=")[0].removesuffix(".source") for argument in arguments}
        paths = [f"corpus={self.corpus}", f"paths.outputs={self.outputs}", f"paths.cache={self.cache}"]
        common = [*BASICS, "tracking=none", *paths]
        kept = [argument for argument in common if argument.split("=")[0] not in given]
        return [sys.executable, "-m", "longsafety", *kept, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end, in a process that has imported its libraries already."""
        return command(self.arguments(*arguments)[3:])

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def settings(self, *arguments: str) -> Settings:
        from longsafety.configuration.compose import compose_jobs
        from longsafety.configuration.settle import settle

        [settings] = settle(compose_jobs(self.arguments(*arguments)[3:]))
        return settings

    def execute(self, *arguments: str) -> Run:
        """What the run's own process does, in this one."""
        run = Run.load(Run.freeze(self.settings(*arguments)).folder)
        execute(run)
        return run

    def kill_when(self, reached: Callable[[], bool], *arguments: str) -> None:
        """Starts the command and ends it and all its processes with SIGKILL once ``reached`` holds."""
        with (self.outputs.parent / "killed.log").open("ab") as log:
            process = subprocess.Popen(
                self.arguments(*arguments), env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )
            try:
                while not reached():
                    assert process.poll() is None, "the command ended before it could be killed"
                    time.sleep(0.005)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def stage(self, name: str) -> Path:
        """The only complete folder of a stage."""
        [folder] = self.stages(name)
        return folder

    def stages(self, name: str) -> list[Path]:
        found = (self.outputs / "stages" / name).glob("*")
        return sorted(path for path in found if path.is_dir() and path.suffix != ".partial")

    def made(self) -> dict[str, tuple[int, int]]:
        """The files of all complete stages, with inode and time of change."""
        root = self.outputs / "stages"
        files = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
        kept = [path for path in files if not path.relative_to(root).parts[1].endswith(".partial")]
        return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}

    def folder(self, kind: str, pattern: str = "*") -> Path:
        """The only folder of a run or a sweep."""
        [folder] = (self.outputs / kind).glob(pattern)
        return folder


@pytest.fixture(scope="session")
def place_at(shared: Path) -> Callable[[Path], Place]:
    """Folder of outputs → a place; all have one corpus, and one tiny model, made now."""
    cache, corpus = shared / "cache", shared / "corpus"
    with locked(shared / "corpus.lock", "the corpus of the tests"):
        tiny.model_folder(cache, 2048, 0)
        corpus.mkdir(exist_ok=True)
        for number in range(14):
            if not (path := corpus / f"{number:02}.txt").exists():
                path.write_text(prose(number), "utf-8")
    return lambda outputs: Place(outputs, corpus, cache)


@pytest.fixture(scope="session")
def small(shared: Path, place_at: Callable[[Path], Place]) -> Place:
    """Two arms, to the end, by the first process that asks for them; not to be written into."""
    place = place_at(shared / "small" / "outputs")
    place.outputs.parent.mkdir(exist_ok=True)
    with locked(shared / "small.lock", "two arms"):
        if not list(place.outputs.glob("sweeps/*/comparison.csv")):
            place.succeed(*SMALL, "data_mix=base,longsafety")
    return place


@pytest.fixture
def warm(place: Place, small: Place) -> Place:
    """A place of the test's own with the stages of ``small``: they can be carried anywhere."""
    shutil.copytree(small.outputs / "stages", place.outputs / "stages")
    return place


@pytest.fixture
def place(tmp_path: Path, place_at: Callable[[Path], Place]) -> Place:
    return place_at(tmp_path / "outputs")
