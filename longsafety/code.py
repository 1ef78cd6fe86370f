"""Which source code a stage's result depends on: found by following imports, not kept by hand.

The version of a module is a hash over the syntax trees of everything that it imports, without docstrings and
comments; over the package data that those modules name; and over the versions of the libraries that decide results.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source
from pathlib import Path

from longsafety.environment import DECISIVE
from longsafety.files import write_text

PACKAGE = Path(__file__).resolve().parent
_NOT_DATA = (".py", ".pyc", ".md", ".png")
_STATEMENTS = ("body", "orelse", "finalbody")
_WILD = frozenset("*?[")
_MOST_KEPT = 5_000
"""Texts. An editor's days leave many: then those that nobody has read since are forgotten."""


@dataclass(frozen=True)
class Module:
    """What the version of a module is made of."""

    code: str
    """A hash of the module's syntax tree without docstrings."""
    imports: frozenset[str]
    """Dotted names that it imports, inside functions too; each may be a module or a definition in one."""
    strings: frozenset[str]
    """Its string literals that may name a file (``"shapes.yaml"``, ``tasks_*.yaml`` of an f-string)."""


class Code:
    """The source of one package. ``name``: the package's; ``root``: its folder, in which files come and go only before
    the first question.

    What was read of a text is kept beside Python's compiled files, under the text's hash: parsing all modules takes
    three seconds. Where Python may keep nothing, nothing is kept."""

    def __init__(self, root: Path = PACKAGE, name: str = "longsafety") -> None:
        self.root, self.name = root, name
        self._new, self._used = False, set[str]()
        self._file = cache(self._found)
        self._packages = cache(self._packages_of)

    def version(self, *modules: str, without: Iterable[str] = ()) -> str:
        """Twelve hex digits over ``modules`` (dotted, below the package) and all that they import.

        ``without``: modules and packages that are neither counted nor followed. A module that is named itself always
        counts. Raises ModuleNotFoundError for a name that is no module.
        """
        digest = hashlib.sha256()
        files, libraries = self.closure(*modules, without=without)
        for file in files:
            digest.update(f"\0{file.relative_to(self.root).as_posix()}\0".encode())
            digest.update(self._read(file).code.encode() if file.suffix == ".py" else file.read_bytes())
        for library in libraries:
            digest.update(f"\0{library}\0{_installed(library)}".encode())
        self._keep()
        return digest.hexdigest()[:12]

    def closure(self, *modules: str, without: Iterable[str] = ()) -> tuple[list[Path], list[str]]:
        """The files that :meth:`version` counts, and the decisive libraries that they import; both sorted."""
        stops = tuple(f"{self.name}.{stop}" for stop in without)
        waiting = [f"{self.name}.{module}" for module in modules]
        if missing := [module for module in waiting if self._file(module) is None]:
            raise ModuleNotFoundError(missing[0])
        files: set[Path] = set()
        libraries: set[str] = set()
        while waiting:
            module = waiting.pop()
            file = self._file(module)
            if file is None:
                libraries |= {found for found in (_library(module),) if found}
                continue
            for source in (file, *self._packages(file)):
                if source not in files:
                    found = self._read(source)
                    files |= {source, *_named(source.parent, found.strings)}
                    waiting += [name for name in found.imports if not _below(name, stops)]
        return sorted(files), sorted(libraries)

    def digest(self) -> str:
        """Over all source and data files as they are: whether those on disk are still the ones that were read."""
        digest = hashlib.sha256()
        shown = (*_NOT_DATA[1:], ".tmp", ".swp")
        files = (path for path in self.root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for file in sorted(path for path in files if path.suffix not in shown):
            digest.update(f"\0{file.relative_to(self.root).as_posix()}\0".encode() + file.read_bytes())
        return digest.hexdigest()[:12]

    def _found(self, name: str) -> Path | None:
        """The file of a dotted name: its module, its package, or the module that defines it; None for a library."""
        top, *parts = name.split(".")
        if top != self.name:
            return None
        for count in range(len(parts), 0, -1):
            path = self.root.joinpath(*parts[:count])
            if path.with_suffix(".py").is_file():
                return path.with_suffix(".py")
            if (path / "__init__.py").is_file():
                return path / "__init__.py"
        return None

    def _packages_of(self, file: Path) -> list[Path]:
        """The ``__init__.py`` of each package that the file lies in, but of the whole one, which has the version."""
        folders = [folder for folder in file.parents if self.root in folder.parents]
        return [folder / "__init__.py" for folder in folders if (folder / "__init__.py").is_file()]

    def _read(self, file: Path) -> Module:
        """What a module's text says, parsed once for the same text in the same package."""
        package = ".".join([self.name, *file.relative_to(self.root).parent.parts])
        source = file.read_bytes()
        key = hashlib.sha256(package.encode() + b"\0" + source).hexdigest()
        if key not in self._modules:
            self._modules[key] = _parsed(source, package)
            self._new = True
        self._used.add(key)
        return self._modules[key]

    @property
    def _place(self) -> Path:
        return Path(cache_from_source(str(self.root / "syntax.py"))).with_suffix(".json")

    @cached_property
    def _modules(self) -> dict[str, Module]:
        """What is kept by this very reader and this Python; empty where that is nothing, or cannot be read."""
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            kept = json.loads(self._place.read_text("utf-8"))
            if kept["by"] == _reader():
                modules = kept["modules"].items()
                return {key: Module(code, frozenset(names), frozenset(texts)) for key, (code, names, texts) in modules}
        return {}

    def _keep(self) -> None:
        if not self._new or sys.dont_write_bytecode:
            return
        self._new = False
        kept = self._modules if len(self._modules) <= _MOST_KEPT else {key: self._modules[key] for key in self._used}
        modules = {key: (one.code, sorted(one.imports), sorted(one.strings)) for key, one in kept.items()}
        with suppress(OSError):
            self._place.parent.mkdir(exist_ok=True)
            write_text(self._place, json.dumps({"by": _reader(), "modules": modules}))


def _parsed(source: bytes, package: str) -> Module:
    """Reads a module of ``package`` (dotted)."""
    tree = ast.parse(source)
    imports, strings = _strip_docstrings(tree, package)
    named = frozenset(text for text in strings if "." in text.strip("*") and "\n" not in text)
    return Module(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(imports), named)


@cache
def _reader() -> str:
    """Which parser read a text: this file, in this Python."""
    return hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()


def _named(folder: Path, names: frozenset[str]) -> list[Path]:
    """The data files of a folder that one of the names or patterns fits."""
    beside = [path for path in folder.iterdir() if path.suffix not in _NOT_DATA and path.is_file()]
    patterns = [name for name in names if not _WILD.isdisjoint(name)] if beside else []
    return [path for path in beside if path.name in names or any(fnmatch.fnmatchcase(path.name, p) for p in patterns)]


def _below(name: str, stops: tuple[str, ...]) -> bool:
    return any(name == stop or name.startswith(f"{stop}.") for stop in stops)


def _strip_docstrings(tree: ast.Module, package: str) -> tuple[set[str], set[str]]:
    """Takes statements that are only a string out of the tree (comments are in none), and returns what it names.

    That is: what the module imports when it runs (imports under ``if TYPE_CHECKING`` decide nothing), and its string
    literals as patterns, where what is put into an f-string is ``*``. One walk, because a walk takes most of the time.
    """
    imports: set[str] = set()
    strings: set[str] = set()
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, runs = waiting.pop()
        skipped = False
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                strings.add(node.value)
            continue
        if isinstance(node, ast.JoinedStr):
            strings.add("".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values))
        elif not runs:
            pass
        elif isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            imports.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If):
            skipped = "TYPE_CHECKING" in ast.dump(node.test)
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                if field in _STATEMENTS and value:
                    kept = [one for one in value if not (type(one) is ast.Expr and _is_string(one.value))]
                    value = kept or [ast.Pass()]
                    setattr(node, field, value)
                followed = runs and not (skipped and field == "body")
                waiting += [(one, followed) for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST) and field != "ctx":
                waiting.append((value, runs))
    return imports, strings


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _library(name: str) -> str | None:
    """The decisive library that a dotted name belongs to; module and distribution differ by dashes only."""
    top = name.split(".")[0].replace("_", "-")
    return top if top in DECISIVE else None


@cache
def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


CODE = Code()
"""This package's."""
