"""The README's tree names what exists, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "longsafety").rglob("README.md")]
PAGES.append(ROOT / "tests/benchmarks/README.md")


def tree() -> list[str]:
    """The paths that the tree names, folders with a slash at the end."""
    [block] = re.findall(r"## The tree\n```\n(.*?)```", README, re.DOTALL)
    paths, parent = [], ""
    for line in block.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        paths.append(parent + name if indent else name)
        parent = parent if indent else name
    return paths


def test_the_tree_names_what_exists() -> None:
    for path in tree():
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


def test_the_tree_names_every_package_and_module() -> None:
    named = {path.removeprefix("longsafety/").rstrip("/") for path in tree() if path != "longsafety/"}
    found = {path.name for path in (ROOT / "longsafety").iterdir() if not path.name.startswith("__pyc")}
    assert found - {"__init__.py"} <= named


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link
