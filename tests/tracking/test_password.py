"""The password of a tracking server: in the environment of the command's processes, and in no file or message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longsafety.pipeline.launch import _without_password
from longsafety.settings import Tracking
from longsafety.tracking.uri import PASSWORD, hide_password, tracking_uri, without_password

if TYPE_CHECKING:
    from tests.conftest import Place

URI = "postgresql://me:sEcReT@db.example:5432/mlflow"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    yield
    os.environ.pop(PASSWORD, None)


def test_it_is_hidden_and_found_again(tmp_path: Path) -> None:
    hidden, password = hide_password(Tracking(uri=URI))
    assert (hidden.uri, password) == ("postgresql://me:***@db.example:5432/mlflow", "sEcReT")
    assert tracking_uri(hidden, tmp_path) == URI
    assert hide_password(hidden) == (hidden, "")
    assert without_password(tracking_uri(hidden, tmp_path)) == hidden.uri


@pytest.mark.parametrize("uri", [None, "http://host:5000", "sqlite:////x/mlflow.db", "http://me@host"])
def test_other_uris_stay_as_they_are(uri: str | None, tmp_path: Path) -> None:
    assert hide_password(Tracking(uri=uri)) == (Tracking(uri=uri), "")
    assert PASSWORD not in os.environ


def test_what_is_frozen_does_not_hold_it(place: Place) -> None:
    typed = ["tracking=mlflow", f"tracking.uri={URI}", "data_mix=base"]
    [job], command = _without_password([place.settings(*typed)], ["longsafety", *typed])
    assert "sEcReT" not in job.model_dump_json() + " ".join(command)
    assert f"tracking.uri={URI.replace('sEcReT', '***')}" in command
