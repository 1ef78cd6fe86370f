"""The embedded corpus: the documentation that every machine with this package already has, as prose.

Sources are ``pydoc_data.topics`` (the Python language reference) and the docstrings of installed dependencies. The
lock file fixes their versions, and with them the corpus. Docstrings are read with ``ast``: no dependency is imported.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.metadata
import inspect
import platform
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# fmt: off
DISTRIBUTIONS = (
    "hydra-core", "omegaconf", "lightning", "torchmetrics", "torch", "transformers", "datasets", "huggingface_hub",
    "mlflow", "bm25s", "peft", "rich", "scipy", "statsmodels", "matplotlib", "jinja2", "filelock", "numpy",
    "pandas", "pyarrow", "scikit-learn", "fsspec", "pydantic", "networkx", "sympy", "sqlalchemy", "alembic",
    "joblib", "pillow", "patsy", "flask", "werkzeug", "click", "requests", "urllib3",
)
# fmt: on
"""The distributions whose docstrings are read: dependencies, and dependencies of those."""

LICENCE = "PSF-2.0, Apache-2.0, BSD, MIT"
"""Licences of the embedded corpus, as cards state them: Python's own and those of the documented packages."""


def _listed(names: str) -> frozenset[str]:
    return frozenset(name.strip() for name in names.split(","))


_SKIPPED_FOLDERS = _listed(
    "tests, test, testing, vendor, vendored, extern, externals, third_party, protos, migrations, array_api_compat, "
    "array_api_extra, examples, benchmarks"
)
_SKIPPED_PREFIXES = ("transformers/models/", "torch/onnx/", "torch/distributed/_", "torch/fx/", "torch/ao/")
"""Generated from templates, or notes from developer to developer."""
_SKIPPED_FILE = re.compile(r"^_?(test|conftest)|_(test|pb2|pb2_grpc)\.py$")
_MIN_DOCUMENTED_CHARS = 1200
_MIN_DOCUMENTED_SHARE = 0.1
"""A file with less triple-quoted text, parameter tables and all, holds no document worth parsing for."""

_DROPPED_SECTIONS = _listed(
    "parameters, other parameters, returns, return, yields, receives, raises, warns, attributes, methods, "
    "properties, see also, references, reference, examples, example, usage, args, arguments, keyword args, "
    "keyword arguments, inputs, input, outputs, output, shape, kwargs, params, todo, bibliography, routine "
    "listings, contents, functions, classes"
)
_NOTES = _listed("note, warning, tip, important, caution, admonition, attention, hint")
_UNDERLINE = re.compile(r"([=\-~^*#\"'+`.])\1{2,}$")
_DIRECTIVE = re.compile(r"\.\. ?([\w:-]+?)::\s*(.*)$")
_LIST_ITEM = re.compile(r"([-*+•]|\d{1,2}[.)]|\([0-9a-z]{1,3}\)|[a-z]\)|\[\d+\])\s")
_GOOGLE_SECTION = re.compile(r"([A-Z][A-Za-z ]{2,24}):$")

_INLINE = [
    (re.compile(r":[\w:+-]+:`~[\w.]*?(\w+)(?:\(\))?`"), r"\1"),  # :class:`~torch.nn.Module` shows as Module
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*<[^`>]*>`"), r"\1"),
    (re.compile(r":[\w:+-]+:`!?([^`]*)`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"\[`~?([^`\]]*)`\]"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\((?:https?://|\.|/|#)[^)]*\)"), r"\1"),
    (re.compile(r"\s*\[#?[\w-]*\]_"), ""),
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"`([^`]*)`_{0,2}"), r"\1"),
    (re.compile(r"(?<!\w)\*\*(\S(?:[^*]*\S)?)\*\*"), r"\1"),
    (re.compile(r"(?<!\w)\*(\S(?:[^*]*\S)?)\*(?!\w)"), r"\1"),
    (re.compile(r"\$(\w{1,12})\$"), r"\1"),
    (re.compile(r"\s+([.,;])(?=\s|$)"), r"\1"),
    (re.compile(r"\s?---?\s?"), " — "),
    (re.compile(r"\s{2,}"), " "),
]
_MIN_WORDS = 15
_ENDS = (".", "!", "?", '."', ".)")
_NEEDED_CITATION = re.compile(r"\b(?:in|by|to|of|on|from|see|and|with|follows)\s+\[#?[\w-]*\]_")
_BROKEN_WORD = re.compile(r"(?<=[a-z])- (?=[a-z])(?!and |or )")
_NOT_PROSE = re.compile(r"[{}<>\\|`=$@#^~*]|::|https?:|\.\.\.|%\(|\b(?:TODO|FIXME|XXX|NB|np|pd|plt)\b|\[\s*\]")
_PLAIN_WORD = re.compile(
    r"[\"'(\[“‘]*(?:[A-Z]?[a-zé]+|[A-Z]{1,6}s?)(?:[-'’/](?:[A-Za-z]?[a-z]+|[A-Z]+))*[\])\"'’”.,;:!?]*"
)
_COMMON_WORDS = _listed(
    "a, an, the, of, to, in, is, are, be, and, or, not, that, this, it, its, as, by, for, with, from, on, at, if, "
    "when, which, can, may, will, was, has, have, but, than, then, so, no, all, any, each, one, such, these, "
    "those, there, between, into, only, also, more, most, other, both, does, do, should, must, where, while, "
    "whether, how, what, you, we, they, he, been, being, use, used, using, same, their, your"
)


def embedded_fingerprint() -> str:
    """Hash of what the corpus depends on: Python, the documented packages' versions and this file. Milliseconds."""
    versions = [f"python=={platform.python_version()}"]
    versions += [f"{name}=={_version(name)}" for name in DISTRIBUTIONS]
    digest = hashlib.blake2b("\n".join(versions).encode(), digest_size=16)
    digest.update(Path(__file__).read_bytes())  # the rules of the cleaning are part of the corpus
    return digest.hexdigest()


def embedded_texts() -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The corpus as (id, text) pairs in a fixed order, and counts of what was read and left out.

    An id is ``python/<topic>`` or ``<distribution>/<module>``. Takes about ten seconds: keep the result.
    """
    counts = Counter({"packages not installed": sum(_version(name) is None for name in DISTRIBUTIONS)})
    seen: set[str] = set()
    texts: list[tuple[str, str]] = []
    for identifier, title, paragraphs in _articles():
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
    return texts, dict(counts)


def prose_paragraphs(docstring: str, *, indented: bool = False) -> Iterator[str]:
    """The natural-language paragraphs of a docstring, on one line each and without markup.

    Code, doctests, tables, lists, directives, and sections of parameters or references are left out; so are indented
    blocks, unless ``indented`` (a rendered manual indents the description of each of its entries).
    """
    lines = inspect.cleandoc(docstring).splitlines() or [""]
    paragraph: list[str] = []
    in_section = in_fence = in_doctest = False
    block: int | None = None  # lines indented more than this belong to a dropped block
    base = 0  # indentation of running text: 0, or that of an admonition's body
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        is_header = text and _UNDERLINE.match(following.strip()) and not _UNDERLINE.match(text)
        if text.startswith(("```", "~~~")):
            in_fence = not in_fence
        if not text or is_header:
            yield from _joined(paragraph)
            in_doctest = False
            if is_header:
                in_section, block = text.rstrip(":").lower() in _DROPPED_SECTIONS, None
            continue
        if block is not None and indent <= block:
            block = None
        if in_section or in_fence or in_doctest or block is not None:
            continue
        if indent < base:
            base = 0
        directive = _DIRECTIVE.match(text)
        section = _GOOGLE_SECTION.match(text)
        if directive and directive[1].lower() in _NOTES:
            yield from _joined(paragraph)
            base = indent + 3
            paragraph.extend([directive[2]] if directive[2] else [])
        elif (
            text.startswith((".. ", ":"))
            or directive
            or (section and section[1].lower() in _DROPPED_SECTIONS)
            or _LIST_ITEM.match(text)
        ):
            yield from _joined(paragraph)
            block = indent
        elif text.startswith((">>>", "In [", "$ ", "% ")):
            paragraph.clear()
            in_doctest = True
        elif _UNDERLINE.match(text) or text.startswith("```"):
            paragraph.clear()
        elif indented or base <= indent <= (base + 1 if base else 0):
            paragraph.append(text)
        else:
            paragraph.clear()
            block = indent - 1
    yield from _joined(paragraph)


def _joined(lines: list[str]) -> Iterator[str]:
    text = _BROKEN_WORD.sub("-", " ".join(lines))
    lines.clear()
    if text.count(" ") < _MIN_WORDS - 1 or not text.endswith(_ENDS) or _NEEDED_CITATION.search(text):
        return
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    if _is_prose(text):
        yield text


def _is_prose(text: str) -> bool:
    words = text.split()
    if len(words) < _MIN_WORDS or not text[0].isupper() or _NOT_PROSE.search(text):
        return False
    if text.count("(") != text.count(")"):
        return False
    plain = sum(1 for word in words if _PLAIN_WORD.fullmatch(word))
    common = sum(1 for word in words if word.lower().strip(".,;:()\"'") in _COMMON_WORDS)
    return plain >= 0.88 * len(words) and common >= 0.26 * len(words)


def _articles() -> Iterator[tuple[str, str, list[str]]]:
    """(id, title, paragraphs) of every topic and module."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield f"python/{name}", text.split("\n", 1)[0].replace('"', ""), list(prose_paragraphs(text, indented=True))
    for distribution in DISTRIBUTIONS:
        for path, source in _sources(distribution):
            tree = _parse(source)
            module = path.with_suffix("").as_posix().removesuffix("/__init__")
            paragraphs = [p for docstring in _docstrings(tree) for p in prose_paragraphs(docstring)]
            yield f"{distribution}/{module.replace('/', '.')}", _title(tree, module), paragraphs


def _sources(distribution: str) -> Iterator[tuple[PurePosixPath, str]]:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for path in sorted(file for file in files if file.suffix == ".py"):
        if any(part in _SKIPPED_FOLDERS or _is_private(part) for part in path.parts[:-1]):
            continue
        if path.as_posix().startswith(_SKIPPED_PREFIXES) or _SKIPPED_FILE.search(path.name):
            continue
        try:
            source = path.locate().read_bytes().decode("utf-8")  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError):
            continue
        documented = sum(map(len, source.split('"""')[1::2])) + sum(map(len, source.split("'''")[1::2]))
        worth_parsing = documented >= max(_MIN_DOCUMENTED_CHARS, _MIN_DOCUMENTED_SHARE * len(source))
        if worth_parsing and "generated" not in source[:300].lower():
            yield path, source


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
    if ends_there and 2 <= len(words) <= 12 and all(_PLAIN_WORD.fullmatch(word) for word in words):
        return first
    parts = [" ".join(part.strip("_").split("_")) for part in module.split("/")]
    return ": ".join([parts[0].capitalize(), ", ".join(parts[1:])]) if len(parts) > 1 else parts[0].capitalize()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
