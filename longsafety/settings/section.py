"""What all sections of the settings have in common: frozen, strictly typed, no unknown keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

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


def expand_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def expand_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Section(BaseModel):
    """A group of settings: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*")
    @classmethod
    def _no_empty_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses empty texts: an unset shell variable must not become the current folder."""
        texts = value if isinstance(value, list) else [value]
        if info.field_name != "label" and any(isinstance(text, str) and not text.strip() for text in texts):
            raise PydanticCustomError("empty_text", "not be empty")
        return value
