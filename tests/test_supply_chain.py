"""What is installed is pinned, hashed, wanted for a reason, and listed on demand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.sbom import bill, hashes

ROOT = Path(__file__).parents[1]
_WITHOUT = {"torch"}
"""The index decides between its CPU and its CUDA build, which have one version and other hashes."""


def pinned(name: str) -> set[str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return {str(Requirement(line).name).lower().replace("_", "-").replace(".", "-") + str(Requirement(line).specifier)
            for line in lines if line and not line.startswith(("#", "-r"))}  # fmt: skip


def test_every_pinned_package_has_hashes_and_no_other_is_installed() -> None:
    found = hashes()
    wanted = pinned("requirements.lock") | pinned("requirements-dev.lock")
    assert {name.partition("==")[0] for name in wanted - found.keys()} == _WITHOUT and not found.keys() - wanted
    assert all(found.values())


def test_the_hashes_are_asked_for() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    installed = re.findall(r"\$\(PIP\) (.*requirements.*)", makefile)
    assert installed == [
        "--require-hashes --no-deps -r requirements.hashes",
        "-r requirements.lock",
        "--require-hashes --no-deps -r requirements-dev.hashes",
    ]


def test_each_direct_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    [listed] = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    lines = listed.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r'    "[^"]+", # \S.*\S', line)] == []


@pytest.mark.slow
def test_the_bill_of_materials_names_what_is_installed_and_its_licence() -> None:
    made = bill()
    components = {one["name"]: one for one in made["components"]}
    assert made["bomFormat"] == "CycloneDX" and {"longsafety", "torch", "hydra-core"} <= components.keys()
    known = [name for name, one in components.items() if one["licenses"][0]["license"]["name"] != "unknown"]
    assert len(known) > 0.8 * len(components)
    assert components["hydra-core"]["properties"]
    needs = {one["ref"]: one["dependsOn"] for one in made["dependencies"]}
    assert components["omegaconf"]["purl"] in needs[components["hydra-core"]["purl"]]
    assert {ref for wanted in needs.values() for ref in wanted} <= needs.keys()
