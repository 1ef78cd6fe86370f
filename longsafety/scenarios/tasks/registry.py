"""Every task by its name: the shipped ones, and those of Python files that the user names (``scenario.task_files``)."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType

from longsafety.errors import DataError
from longsafety.samples.language import LANGUAGES
from longsafety.scenarios.tasks import fully_harmful, partially_harmful, query_harmful
from longsafety.scenarios.tasks.phrases import options_file
from longsafety.scenarios.tasks.task import Task
from longsafety.vocabulary import ALL_TASKS


def _defined_in(module: ModuleType) -> Iterator[type[Task]]:
    """The public subclasses of Task that a module defines itself, in their order."""
    for name, value in vars(module).items():
        own = isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
        if own and not name.startswith("_"):
            yield value


TASKS: Mapping[str, Task] = MappingProxyType({
    kind.__name__: kind()
    for module in (query_harmful, partially_harmful, fully_harmful)
    for kind in _defined_in(module)
})  # fmt: skip
"""The shipped tasks. A class in one of these files is a task; nothing else lists them."""


def tasks(files: Sequence[str] = ()) -> Mapping[str, Task]:
    """The shipped tasks and those of a user's files, whose code is run.

    Raises DataError for a file that cannot be loaded or defines no task, for a name that exists, and for a class that
    breaks a rule of :class:`Task`.
    """
    return _with_files(tuple(str(Path(file).expanduser().resolve()) for file in files))


def task_files_fingerprint(files: Sequence[str]) -> str:
    """Content hash of a user's task files and of the options beside them; empty without any. Runs no code."""
    digest = hashlib.sha256()
    for file in files:
        for path in (Path(file), *(options_file(language, Path(file)) for language in LANGUAGES)):
            digest.update(path.read_bytes() if path.is_file() else b"")
            digest.update(b"\0")
    return digest.hexdigest()[:16] if files else ""


def several_needles(files: Sequence[str] = ()) -> frozenset[str]:
    """Tasks whose items have several needles: their ``depth`` is a mean, so it says of no needle where it is."""
    return frozenset(name for name, task in tasks(files).items() if task.several_needles)


def option_roles(files: Sequence[str] = ()) -> dict[str, dict[str, tuple[str, ...]]]:
    """``task`` of a seed item → the tasks that take it, each with the roles that its options have."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, task in tasks(files).items():
        for seed_task in {task.seed_task, name}:
            found.setdefault(seed_task, {})[name] = task.roles
    return found


@cache
def _with_files(files: tuple[str, ...]) -> Mapping[str, Task]:
    found = dict(TASKS)
    for file in files:
        key = f"scenario.task_files = {file}"
        kinds = list(_defined_in(_loaded(Path(file), key)))
        if not kinds:
            raise DataError(f"{key}: defines no task; derive a class from longsafety.scenarios.tasks.task.Task in it")
        for kind in kinds:
            name = kind.__name__
            if name in found or name == ALL_TASKS:
                where = "of the program's own" if name in TASKS else "already known"
                raise DataError(f"{key}: class {name} has a name {where}; give the class another name")
            if inspect.isabstract(kind):
                raise DataError(f"{key}: class {name} has no method item(seed, pool, rng, depth); define it")
            task = kind(Path(file))
            if problems := task.problems():
                raise DataError("\n".join(f"{key}: class {name}: {problem}" for problem in problems))
            found[name] = task
    return MappingProxyType(found)


def _loaded(file: Path, key: str) -> ModuleType:
    if not file.is_file() or file.suffix != ".py":
        raise DataError(f"{key}: is no Python file; give the path of a .py file with the task's class")
    name = f"longsafety_tasks_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise DataError(f"{key}: cannot be loaded ({type(error).__name__}{line}: {error}); fix the file") from error
    return module
