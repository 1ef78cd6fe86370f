"""The Hugging Face hub. It is asked whether it has something for a few seconds only, before any download is begun.

The client's own retries take half a minute to give up on a hub that does not answer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from longsafety.errors import DataError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_SECONDS = 5.0
_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@(?P<revision>[\w./-]+))?")


class HubName(NamedTuple):
    """A repository and its branch, tag or commit (``None``: main)."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def hub_name(source: str) -> HubName | None:
    """``name``, ``owner/name`` or ``owner/name@revision`` taken apart; None if ``source`` is no such name."""
    match = _NAME.fullmatch(source)
    return HubName(match["name"], match["revision"]) if match else None


def cached_file(repository: str, file: str, revision: str | None = None) -> Path | None:
    """A model's file in the local Hugging Face cache, without the network."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def cached_commit(repository: str, revision: str | None = None) -> str | None:
    """The commit of ``revision`` in the local Hugging Face cache, without the network."""
    config = cached_file(repository, "config.json", revision)
    return config.parent.name if config else None


def model_commit(repository: str, revision: str | None = None, seconds: float = TIMEOUT_SECONDS) -> str:
    """The commit of a model's ``revision`` on the hub. Raises DataError if there is no answer within ``seconds``."""
    return _ask(
        HubName(repository, revision),
        lambda hub: str(hub.model_info(repository, revision=revision, timeout=seconds).sha),
        seconds,
    )


def check_dataset(dataset: HubName, seconds: float = TIMEOUT_SECONDS) -> None:
    """Raises DataError if the hub does not confirm within ``seconds`` that it has the dataset.

    With ``HF_HUB_OFFLINE=1`` the hub is not asked: the dataset then comes from the user's cache.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        _ask(
            dataset,
            lambda hub: str(hub.dataset_info(dataset.name, revision=dataset.revision, timeout=seconds).sha),
            seconds,
        )


def download_model(repository: str, commit: str, patterns: Sequence[str]) -> Path:
    """The snapshot in the local cache, with the files in the repository's top folder that match ``patterns``.

    Raises whatever the client raises; call :func:`model_commit` first, which fails within seconds.
    """
    from huggingface_hub import snapshot_download

    ignored = ["*/*", "consolidated*"]  # the same weights in other formats
    folder = snapshot_download(repository, revision=commit, allow_patterns=list(patterns), ignore_patterns=ignored)
    return Path(folder)


def _ask(what: HubName, question: Callable[[HfApi], str], seconds: float) -> str:
    """One request without retries, in a thread: resolving a host's name and trying its addresses heed no timeout."""
    from huggingface_hub import HfApi

    answers: list[str | Exception] = []

    def ask() -> None:
        try:
            answers.append(question(HfApi()))
        except Exception as error:  # the types depend on the HTTP library that the client uses
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    answer = answers[0] if answers else TimeoutError(f"no answer within {seconds:g} seconds")
    if isinstance(answer, Exception):
        raise DataError(f"{what}: the Hugging Face hub does not give it ({first_line(answer, typed=True)})") from answer
    return answer
