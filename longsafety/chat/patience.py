"""How long to wait before a request is sent again: what the server asks for, else ever longer, within a total."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds; each pause is twice the one before."""
_UNIT = r"(?:ms|milliseconds?|d(?:ays?)?|h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)"
_TIME = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})?", re.IGNORECASE)
_ASKED = re.compile(
    rf"(?:try again|retry)\s*(?:in|after)\s*(\d+(?:\.\d+)?(?:\s*{_UNIT}(?:[\s,]*\d+(?:\.\d+)?\s*{_UNIT})*)?)(?![a-z])",
    re.IGNORECASE,
)
"""Such as "20s", "2 minutes" and "1h2m3.5s"."""


def asked_seconds(headers: Mapping[str, str], words: str = "") -> float | None:
    """The pause that a server asks for: ``retry-after-ms``, ``Retry-After`` (seconds or a date), or in its words."""
    if (thousandths := _number(headers.get("retry-after-ms"))) is not None:
        return thousandths / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        return seconds
    if value:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            date = None
        if date is not None:
            known = date if date.tzinfo else date.replace(tzinfo=UTC)
            return max(0.0, (known - datetime.now(UTC)).total_seconds())
    if found := _ASKED.search(words):
        return sum(float(number) * _unit_seconds(unit) for number, unit in _TIME.findall(found[1]))
    return None


def _unit_seconds(unit: str) -> float:
    small = unit.lower()
    if small.startswith(("ms", "mil")):
        return 0.001
    return {"d": 86400.0, "h": 3600.0, "m": 60.0}.get(small[:1], 1.0)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def pause_seconds(tries: int) -> float:
    """Before the next try, after ``tries`` of them (from 1)."""
    return float(min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE))


class Turnstile:
    """Lets requests pass one by one: at most so many a minute, and none before the time that the server has named."""

    def __init__(self, per_minute: int | None = None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + self._gap if self._gap else self._next
        while (left := start - time.monotonic()) > 0:
            time.sleep(left)

    def close(self, seconds: float) -> None:
        """Nothing passes for so many seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
