"""Prints a bill of materials (CycloneDX 1.6, JSON) of what is installed: ``make sbom``."""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
_PINNED = re.compile(r"^([\w.-]+)==(\S+)((?:.*\\\n)*.*)", re.MULTILINE)


def hashes() -> dict[str, list[str]]:
    """``name==version`` → the SHA-256 of its files, from the files of hashes."""
    found = {}
    for file in ("requirements.hashes", "requirements-dev.hashes"):
        for name, version, rest in _PINNED.findall((ROOT / file).read_text("utf-8")):
            found[f"{_plain(name)}=={version}"] = re.findall(r"sha256:([0-9a-f]{64})", rest)
    return found


def bill() -> dict[str, Any]:
    """The components, each with its licence and the hashes of its files, and which depends on which."""
    known = hashes()
    installed = {_plain(one.name): one for one in distributions()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [_component(name, one, known) for name, one in sorted(installed.items())],
        "dependencies": [
            {"ref": _purl(name, one), "dependsOn": [_purl(other, installed[other]) for other in _needs(one, installed)]}
            for name, one in sorted(installed.items())
        ],
    }


def _component(name: str, one: Distribution, known: dict[str, list[str]]) -> dict[str, Any]:
    about: Any = one.metadata
    said = about.get("License-Expression") or (about.get("License") or "").split("\n")[0][:80]
    licence = said or ", ".join(
        line.rpartition("::")[2].strip() for line in about.get_all("Classifier", []) if line.startswith("License")
    )
    files = known.get(f"{name}=={one.version}", [])
    return {
        "type": "library",
        "bom-ref": _purl(name, one),
        "name": name,
        "version": one.version,
        "purl": _purl(name, one),
        "licenses": [{"license": {"name": licence or "unknown"}}],
        # One of these is the file that was installed: pip has checked it.
        "properties": [{"name": "longsafety:allowed-sha256", "value": digest} for digest in files],
    }


def _needs(one: Distribution, installed: dict[str, Distribution]) -> list[str]:
    wanted = [Requirement(text) for text in one.requires or []]
    names = {_plain(item.name) for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})}
    return sorted(names & installed.keys())


def _purl(name: str, one: Distribution) -> str:
    return f"pkg:pypi/{name}@{one.version}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print(json.dumps(bill(), indent=1))
