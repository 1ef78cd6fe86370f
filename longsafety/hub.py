"""The Hugging Face hub, asked with a time limit of seconds."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from longsafety.errors import DataError

_HUB_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@(?P<revision>[\w./-]+))?")


_HUB_TIMEOUT_SECONDS = 5


def _require_reachable(name: str, revision: str) -> None:
    """Asks the hub once: ``load_dataset`` takes half a minute to give up on a hub that does not answer."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return  # the user's cache is asked instead
    try:
        HfApi().dataset_info(name, revision=revision or None, timeout=_HUB_TIMEOUT_SECONDS)
    except Exception as error:
        raise DataError(
            f"corpus.source = {name}: no such file or folder, and the Hugging Face hub does not give such a dataset "
            f"({_one_line(error)}); check the path, or the name and the network, or set HF_HUB_OFFLINE=1 for a dataset "
            "that is cached already"
        ) from error


def _is_dataset(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file() or _has_card(path)


def _has_card(path: Path) -> bool:
    """Whether a folder is laid out as on the hub: its card's header declares the data files or their features."""
    card = path / "README.md"
    if not card.is_file():
        return False
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    return len(parts) == 3 and not parts[0].strip() and bool(re.search(r"^(configs|dataset_info):", parts[1], re.M))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]


PROBE_SECONDS = 5.0


def cached_commit(repository: str, revision: str | None = None) -> str | None:
    """The commit that the local Hugging Face cache holds for ``revision`` (``None``: main), without the network."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else None


def probe_commit(repository: str, revision: str | None = None, seconds: float = PROBE_SECONDS) -> str:
    """The commit that the hub gives for ``revision``; one question, no retries, an answer or DataError in ``seconds``.

    Asked in a thread, for name resolution and the many addresses of a host heed no timeout.
    """
    from huggingface_hub import HfApi

    answers: list[str | Exception] = []

    def ask() -> None:
        try:
            answers.append(str(HfApi().model_info(repository, revision=revision, timeout=seconds).sha))
        except Exception as error:  # the client's error types are those of whichever HTTP library it uses
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    answer = answers[0] if answers else TimeoutError(f"no answer within {seconds:g} seconds")
    if isinstance(answer, str):
        return answer
    name = repository if revision is None else f"{repository}@{revision}"
    reason = (str(answer).strip().splitlines() or [""])[0]
    raise DataError(f"{name}: the Hugging Face hub does not give it ({type(answer).__name__}: {reason})") from answer
