"""The embedded corpus: the documentation of Python and of installed packages, as prose.

Sources are ``pydoc_data.topics`` (the Python language reference) and the docstrings of installed dependencies. The
lock file fixes their versions, and with them the corpus. Docstrings are read with ``ast``; no dependency is imported.
The bilingual corpus has Chinese documents beside them (``embedded_zh.jsonl``: prose written for this project, CC0-1.0).
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from longsafety.corpus.prose import PLAIN_WORD, listed, prose_paragraphs

# fmt: off
DISTRIBUTIONS = (
    "hydra-core", "omegaconf", "lightning", "torchmetrics", "torch", "transformers", "datasets", "huggingface_hub",
    "mlflow", "bm25s", "peft", "rich", "scipy", "statsmodels", "matplotlib", "jinja2", "filelock", "numpy",
    "pandas", "pyarrow", "scikit-learn", "fsspec", "pydantic", "networkx", "sympy", "sqlalchemy", "alembic",
    "joblib", "pillow", "patsy", "flask", "werkzeug", "click", "requests", "urllib3",
)
# fmt: on
"""The distributions whose docstrings are read: dependencies, and dependencies of those."""

ENGLISH, BILINGUAL = "embedded", "embedded_bilingual"
EMBEDDED = (ENGLISH, BILINGUAL)
"""What ``corpus.source`` names them."""
_LICENCE = "PSF-2.0, Apache-2.0, BSD, MIT"
"""Licences of the embedded corpus, as cards state them: Python's own and those of the documented packages."""
_CHINESE = files("longsafety.corpus") / "embedded_zh.jsonl"

_SKIPPED_FOLDERS = listed(
    "tests, test, testing, vendor, vendored, extern, externals, third_party, protos, migrations, array_api_compat, "
    "array_api_extra, examples, benchmarks"
)
_SKIPPED_PREFIXES = ("transformers/models/", "torch/onnx/", "torch/distributed/_", "torch/fx/", "torch/ao/")
"""Generated from templates, or notes from developer to developer."""
_SKIPPED_FILE = re.compile(r"^_?(test|conftest)|_(test|pb2|pb2_grpc)\.py$")
_MIN_DOCUMENTED_CHARS = 1200
_MIN_DOCUMENTED_SHARE = 0.1
"""A file with less triple-quoted text, parameter tables and all, holds no document worth parsing for."""


def embedded_licence(source: str) -> str:
    """The licences of an embedded corpus, as cards state them."""
    return f"{_LICENCE}, CC0-1.0" if source == BILINGUAL else _LICENCE


def chinese_texts() -> list[tuple[str, str]]:
    """The Chinese documents of the bilingual corpus as (id, text) pairs."""
    rows = map(json.loads, _CHINESE.read_text("utf-8").split("\n")[:-1])
    return [(row["id"], row["text"]) for row in rows]


def embedded_fingerprint(source: str = ENGLISH) -> str:
    """Hash of what the corpus depends on besides this code: the versions of Python and of the documented packages; of
    the bilingual one its Chinese documents too."""
    versions = [f"python=={platform.python_version()}"]
    versions += [f"{name}=={_version(name)}" for name in DISTRIBUTIONS]
    versions += [_CHINESE.read_text("utf-8")] if source == BILINGUAL else []
    return hashlib.blake2b("\n".join(versions).encode(), digest_size=16).hexdigest()


def embedded_texts() -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The corpus as (id, text) pairs in a fixed order, and counts of what was read and left out.

    An id is ``python/<topic>`` or ``<distribution>/<module>``. Takes ten seconds or more, once a process: a sweep over
    seed items or tokenizers makes several corpora of them.
    """
    texts, counts = _texts(DISTRIBUTIONS)
    return list(texts), dict(counts)


@lru_cache(maxsize=1)
def _texts(distributions: Sequence[str]) -> tuple[list[tuple[str, str]], Counter[str]]:
    counts = Counter({"packages not installed": sum(_version(name) is None for name in distributions)})
    seen: set[str] = set()
    texts: list[tuple[str, str]] = []
    for identifier, title, paragraphs in _articles(distributions):
        fresh = []
        for paragraph in paragraphs:
            counts["paragraphs"] += 1
            # Templated docstrings differ in a name or a number only: compare without them.
            key = re.sub(r"\W*\b\w*[\d_.A-Z]\w*\b\W*", " ", paragraph[1:]) or paragraph
            if key in seen:
                counts["repeated paragraphs"] += 1
            else:
                seen.add(key)
                fresh.append(paragraph)
        if fresh:
            texts.append((identifier, "\n\n".join([title, *fresh]) + "\n"))
    return texts, counts


def _articles(distributions: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """(id, title, paragraphs) of every topic and module."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield f"python/{name}", text.split("\n", 1)[0].replace('"', ""), list(prose_paragraphs(text, indented=True))
    files = [(f"{name}/{path}", str(path.locate())) for name in distributions for path in _files(name)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:  # most of the time is Python's parser's
        for article in pool.map(_article, *zip(*files, strict=True), chunksize=16):
            if article is not None:
                yield article


def _files(distribution: str) -> list[importlib.metadata.PackagePath]:
    """The modules of an installed distribution that may hold prose."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        path
        for path in sorted(file for file in files if file.suffix == ".py")
        if not any(part in _SKIPPED_FOLDERS or _is_private(part) for part in path.parts[:-1])
        and not path.as_posix().startswith(_SKIPPED_PREFIXES)
        and not _SKIPPED_FILE.search(path.name)
    ]


def _article(name: str, path: str) -> tuple[str, str, list[str]] | None:
    """(id, title, paragraphs) of the module ``distribution/path``; None where its docstrings are not worth parsing."""
    try:
        source = Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    documented = sum(map(len, source.split('"""')[1::2])) + sum(map(len, source.split("'''")[1::2]))
    if documented < max(_MIN_DOCUMENTED_CHARS, _MIN_DOCUMENTED_SHARE * len(source)):
        return None
    if "generated" in source[:300].lower():
        return None
    tree = _parse(source)
    distribution, _, file = name.partition("/")
    module = file.removesuffix(".py").removesuffix("/__init__")
    paragraphs = [paragraph for docstring in _docstrings(tree) for paragraph in prose_paragraphs(docstring)]
    return f"{distribution}/{module.replace('/', '.')}", _title(tree, module), paragraphs


def _parse(source: str) -> ast.Module:
    collecting = gc.isenabled()
    gc.disable()  # a tree has no cycles, and collecting while it grows takes a quarter of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings in source order, those that C functions are given by ``add_newdoc`` and ``add_docstr`` among them."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield docstring
    if isinstance(node, ast.Module | ast.ClassDef | ast.If | ast.Try):
        for child in node.body:
            if not _is_private(getattr(child, "name", "")):
                yield from _docstrings(child)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name.startswith(("add_newdoc", "add_docstr")):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and "\n" in part.value:
                    yield part.value


def _is_private(name: str) -> bool:
    return name.startswith("_") and name != "_core" and not name.endswith("__")


def _title(tree: ast.Module, module: str) -> str:
    """The module's own title where it is a short plain line, else its dotted name in words."""
    first, _, rest = (ast.get_docstring(tree) or "").partition("\n")
    first = first.strip(" .=*-")
    words = first.split()
    ends_there = not rest or rest.startswith(("\n", "=", "-"))
    if ends_there and 2 <= len(words) <= 12 and all(PLAIN_WORD.fullmatch(word) for word in words):
        return first
    parts = [" ".join(part.strip("_").split("_")) for part in module.split("/")]
    return ": ".join([parts[0].capitalize(), ", ".join(parts[1:])]) if len(parts) > 1 else parts[0].capitalize()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
