"""Which GPUs a process may use, told without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from longsafety.host.gpus import visible_gpus

LISTED = "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    ("named", "found"),
    [("0,2", ["0", "2"]), (" GPU-a , MIG-b", ["GPU-a", "MIG-b"]), ("", []), ("-1", []), ("1,-1,2", ["1"])],
)
def test_the_variable_decides(named: str, found: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == found


def test_without_it_all_are_visible_that_the_driver_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{LISTED}'\n", "utf-8")
    tool.chmod(0o755)
    assert visible_gpus({}) == ["0", "1"]
