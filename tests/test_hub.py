"""The hub: names taken apart, one question within seconds, and offline only the cache."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from longsafety.errors import DataError
from longsafety.hub import HubName, check_dataset, hub_name, model_commit


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("squad", HubName("squad", None)),
        ("owner/name", HubName("owner/name", None)),
        ("owner/na.me-1@refs/pr/2", HubName("owner/na.me-1", "refs/pr/2")),
        ("./folder", None),
        ("/root/folder", None),
        ("a/b/c", None),
        ("~/set", None),
        ("my set", None),
        ("", None),
    ],
)
def test_names(source: str, expected: HubName | None) -> None:
    assert hub_name(source) == expected
    assert expected is None or str(expected) == source


def test_the_commit_of_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(self: Any, name: str, revision: str | None, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(sha=f"{name} {revision} {timeout}")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    assert model_commit("owner/name", "v1", seconds=3) == "owner/name v1 3"


def test_a_hub_that_does_not_answer_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: time.sleep(5))
    with pytest.raises(DataError, match=r"^owner/name@v1: the Hugging Face hub .*no answer within 0\.05 seconds"):
        check_dataset(HubName("owner/name", "v1"), seconds=0.05)


def test_offline_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", asked)
    check_dataset(HubName("owner/name", None))
