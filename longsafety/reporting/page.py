"""HTML pages from the templates beside this file: self-contained, written whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from longsafety.errors import visible
from longsafety.files import write_text
from longsafety.reporting.comparison_view import (
    ABSENT,
    ACCURACY,
    AWARE,
    COMPLIES,
    DIFFERENCE,
    REFUSES,
    REVERSED,
    RIGHT,
    SAFE,
    SWAP,
    TITLES,
)
from longsafety.reporting.numbers import decimals, interval, p_text, signed, signed_interval
from longsafety.reporting.tables import TEST


def write_page(path: Path, template: str, **values: Any) -> None:
    """Renders ``template`` (``report.html.j2``, ``gallery.html.j2``) and writes it to ``path``."""
    write_text(path, _environment().get_template(template).render(**values))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("longsafety", "reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    environment.filters |= {
        "decimals": decimals, "signed": signed, "p": p_text, "seconds": _seconds, "thousands": _thousands,
    }  # fmt: skip
    environment.globals |= {
        "interval": interval, "signed_interval": signed_interval, "SAFE": SAFE, "COMPLIES": COMPLIES, "AWARE": AWARE,
        "SWAP": SWAP, "DIFFERENCE": DIFFERENCE, "RIGHT": RIGHT, "REVERSED": REVERSED, "REFUSES": REFUSES,
        "ABSENT": ABSENT, "ACCURACY": ACCURACY, "TITLES": TITLES, "TEST": TEST,
    }  # fmt: skip
    return environment


_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_TURNED = re.compile(rf"[{_RIGHT_TO_LEFT}]+(?:[\s\u0300-\u036f'\"-]+[{_RIGHT_TO_LEFT}]+)*")


def _shown(value: Any) -> Any:
    """A text with nothing hidden in it, and what is written from right to left apart from what stands around it."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TURNED.sub("\u2068\\g<0>\u2069", visible(value))


def _seconds(value: float) -> str:
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def _thousands(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
