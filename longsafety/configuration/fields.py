"""What the settings' tree says about a dotted key: whether its value is text, and which settings are paths."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from longsafety.settings import LocalPath, Section, Settings

_AnySection = TypeVar("_AnySection", bound=Section)


@dataclass(frozen=True)
class Kind:
    """What a setting takes."""

    text: bool = False
    nullable: bool = False
    section: type[BaseModel] | None = None
    element: Kind | None = None
    """Of a list."""
    value: Kind | None = None
    """Of a mapping with free keys (``scenario.tasks``)."""
    path: LocalPath | None = None

    def of(self, key: str) -> Kind | None:
        """The kind of what ``key`` names in this section or mapping; ``None`` where there is no such key."""
        if self.section is None:
            return self.value
        field = self.section.model_fields.get(key)
        return None if field is None else _kind(field.annotation, field.metadata)


ROOT = Kind(section=Settings)


def kind_of(key: str) -> Kind | None:
    """The kind of a dotted key; ``None``: no such setting."""
    kind: Kind | None = ROOT
    for part in key.split("."):
        kind = kind.of(part) if kind else None
    return kind


def as_written(key: str) -> str:
    """How a dotted key, or one with a slash before it, is written in a file."""
    return "write " + " and below it, indented, ".join(f"{part}:" for part in re.split("[./]", key) if part)


def _kind(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> Kind:
    path = next((mark for mark in metadata if isinstance(mark, LocalPath)), None)
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return _kind(inner, [*metadata, *marks])
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    found: dict[str, Any] = {"nullable": type(None) in members, "path": path}
    for member in members:
        if get_origin(member) is Annotated:
            member = get_args(member)[0]
        if member is str:
            found["text"] = True
        elif get_origin(member) is list:
            found["element"] = _kind(get_args(member)[0])
        elif get_origin(member) is dict:
            found["value"] = _kind(get_args(member)[1])
        elif isinstance(member, type) and issubclass(member, BaseModel):
            found["section"] = member
    return Kind(**found)


@cache
def _marks(section: type[BaseModel]) -> dict[str, LocalPath | None]:
    """A section's settings, and what marks those that are paths."""
    return {name: _kind(field.annotation, field.metadata).path for name, field in section.model_fields.items()}


# --- paths -----------------------------------------------------------------------------------------------------------


def with_absolute_paths(section: _AnySection) -> _AnySection:
    """The section with every path (:class:`longsafety.settings.LocalPath`) made absolute, in its subsections too."""
    update: dict[str, Any] = {}
    for name, mark in _marks(type(section)).items():
        value = getattr(section, name)
        if isinstance(value, Section):
            update[name] = with_absolute_paths(value)
        elif isinstance(value, dict):
            update[name] = {
                key: with_absolute_paths(item) if isinstance(item, Section) else item for key, item in value.items()
            }
        elif isinstance(value, str) and mark is not None and _is_path(mark, section, value):
            update[name] = absolute(value)
        elif isinstance(value, list) and mark is not None:
            update[name] = [absolute(item) if _is_path(mark, section, item) else item for item in value]
    return section.model_copy(update=update)


def path_problems(section: Section, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted key and message of every path that no file could have."""
    found: list[tuple[str, str]] = []
    for name, mark in _marks(type(section)).items():
        value, key = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, Section):
            found += path_problems(value, f"{key}.")
        elif isinstance(value, dict):
            for part, item in value.items():
                found += path_problems(item, f"{key}.{part}.") if isinstance(item, Section) else []
        elif mark is not None:
            texts = value if isinstance(value, list) else [value] if value is not None else []
            found += [(key, f"{key} = {text}: {problem}") for text in texts if (problem := _problem(text, mark))]
    return found


def exists(path: str) -> bool:
    """Whether there is such a file or folder; no error for what cannot be a path."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def absolute(path: str) -> str:
    """The absolute path; ``FOLDER:CONFIG``, a dataset's configuration, keeps its end."""
    folder, _, config = path.rpartition(":")
    if folder and not exists(path) and exists(folder):
        return f"{absolute(folder)}:{config}"
    return str(Path(path).expanduser().resolve())


def _is_path(mark: LocalPath, section: Section, value: str) -> bool:
    if value in mark.words or (mark.only_where and getattr(section, mark.only_where[0]) != mark.only_where[1]):
        return False
    folder = value.rpartition(":")[0]
    return exists(value) or bool(folder and exists(folder)) if mark.or_name else True


def _problem(value: str, mark: LocalPath) -> str:
    if not mark.or_name and (address := _ADDRESS.match(value)):
        return f"{address[0]} begins an address, and this setting takes a local path; {_LOCAL}"
    try:
        longest = max((len(part.encode()) for part in Path(value).expanduser().parts), default=0)
    except RuntimeError:
        return "~ names no user of this machine; give the home folder in full, or ./~… for a folder of that name"
    if longest > _LONGEST_NAME or len(value.encode()) > _LONGEST_PATH:
        return f"a file name has at most {_LONGEST_NAME} bytes and a path {_LONGEST_PATH}; give a shorter one"
    return ""


_LONGEST_NAME, _LONGEST_PATH = 255, 4095
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL = "give one, and copy from or to that place with its own program"
