"""The folder of a seed file that a teacher wrote: seeds, review, review page, and a card of how they were made."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from longsafety.errors import DataError
from longsafety.files import write_text
from longsafety.scenarios.seeds.review import HEAD, REVIEW, SEED_FILE, write_review
from longsafety.scenarios.seeds.seed import Seed
from longsafety.stages import address

PAGE, CARD = "review.html", "card.yaml"
_FILES = {SEED_FILE, REVIEW, PAGE, CARD, "review.before.csv"}


def folder_problem(folder: Path) -> str:
    """Why a seed file may not be written into the folder; empty where it may."""
    if folder.exists() and not folder.is_dir():
        return f"write_seeds.path = {folder}: is a file; give a folder"
    others = sorted(path.name for path in folder.iterdir() if path.name not in _FILES) if folder.is_dir() else []
    visible = [name for name in others if not name.startswith(".")]
    if visible:
        return f"write_seeds.path = {folder}: holds other files ({visible[0]}); give a new or empty folder, or its own"
    return ""


def write_folder(folder: Path, seeds: Sequence[Seed], card: Mapping[str, Any]) -> int:
    """Writes everything, each file whole or not at all; returns how many decisions of an earlier review are lost.

    The review is written first, so that no decision is ever without its file. Raises DataError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows, lost = write_review(folder / REVIEW, seeds)
        write_text(folder / SEED_FILE, "".join(map(_line, seeds)))
        write_text(folder / PAGE, review_page(rows))
        write_text(folder / CARD, yaml.safe_dump(dict(card), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise DataError(
            f"write_seeds.path = {folder}: cannot be written ({error}); free space, or give another"
        ) from error
    return lost


def review_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """A page that works without a server or network. Texts are data in it: none can become markup or code."""
    key = address([[row["id"], row["content"]] for row in rows])
    data = json.dumps({"head": HEAD, "rows": rows, "key": key}, ensure_ascii=False)
    page = (files("longsafety.scenarios.write_seeds") / "review_page.html").read_text("utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    page = page.replace("$hash", f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}")  # no other may run
    return page.replace("$data", data.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


def _line(seed: Seed) -> str:
    row = {name: value for name, value in asdict(seed).items() if value not in ("", (), {})}
    return json.dumps(row, ensure_ascii=False) + "\n"
