"""The settings that the client of a server reads."""

from __future__ import annotations

from typing import Protocol


class Section(Protocol):
    """The settings of a server."""

    @property
    def base_url(self) -> str | None: ...
    @property
    def api_key_env(self) -> str | None: ...
    @property
    def retries(self) -> int: ...
    @property
    def timeout_seconds(self) -> int: ...
    @property
    def patience_seconds(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
