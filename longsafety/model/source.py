"""Which model a source names: its identity and its folder. Imports neither torch nor transformers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.hub import cached_commit, probe_commit
from longsafety.model import smollm2, tiny

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


CONTENT = ("*.json", "*.jinja", "*.txt", "*.model")


def identity(model: settings.Model, cache: Path) -> str:
    """Fixes tokenizer and weights (for ``tiny``: together with the seed). Imports neither torch nor transformers.

    The one exception: the first time that ``smollm2`` is asked for, it is fetched and converted, for what can be
    had decides which weights they are. A folder is fixed by its content, wherever it lies. Raises DataError.
    """
    _check_revision(model)
    if model.source == "smollm2":
        return smollm2.identity(cache)
    if model.source == "tiny":
        return tiny.identity(model.window)
    folder = _local_folder(model.source)
    if folder is None:
        return f"{model.source}@{_commit(model)}"
    _check_complete(folder)
    return f"folder:{_digest(folder)}"


def _check_revision(model: settings.Model) -> None:
    local = model.source in ("smollm2", "tiny") or _local_folder(model.source) is not None
    if model.revision is not None and local:
        raise ConfigError(
            [
                f"model.revision = {model.revision!r}: only a hub name has revisions, and model.source is "
                f"{model.source!r}; set model.revision=null, or model.source to a hub name"
            ]
        )


def _local_folder(source: str) -> Path | None:
    """The folder that ``source`` names, or ``None`` for a hub name (``owner/name``)."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source:
        raise DataError(f"model.source = {source!r}: no such folder; give a folder with a model, or a hub name")
    return None


def _commit(model: settings.Model) -> str:
    try:
        if found := cached_commit(model.source, model.revision):
            return found
        return probe_commit(model.source, model.revision)
    except (DataError, ValueError) as error:
        raise _not_had(model, error) from error


def _not_had(model: settings.Model, error: Exception) -> DataError:
    return DataError(
        f"model.source = {model.source!r}: neither smollm2, tiny, a folder, nor to be had from the hub "
        f"({_first_line(error)}); mend the name, connect or log in (`hf auth login`), or give a downloaded folder"
    )


def _folder(model: settings.Model, cache: Path, *, weights: bool) -> Path:
    """The local folder with the files of ``model``, downloaded if need be; without the weights if they can wait."""
    _check_revision(model)
    if model.source == "smollm2":
        return smollm2.resolve(cache)
    folder = _local_folder(model.source)
    if folder is None:
        folder = _download(model, weights=weights)
    _check_complete(folder, weights=weights)
    return folder


def _download(model: settings.Model, *, weights: bool) -> Path:
    """The snapshot in the Hugging Face cache; the network is asked only for what is missing there."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    commit = _commit(model)
    cached = try_to_load_from_cache(model.source, "config.json", revision=commit)
    if isinstance(cached, str) and not _missing(Path(cached).parent, weights=weights):
        return Path(cached).parent
    patterns = [*CONTENT, "*.safetensors"] if weights else list(CONTENT)
    try:
        probe_commit(model.source, commit)  # fails within seconds, where a download would try for minutes
        folder = snapshot_download(
            model.source,
            revision=commit,
            allow_patterns=patterns,
            ignore_patterns=["*/*", "consolidated*"],  # other formats of the same weights
        )
        return Path(folder)
    except Exception as error:  # the client's error types are those of whichever HTTP library it uses
        raise _not_had(model, error) from error


def _missing(folder: Path, *, weights: bool) -> list[str]:
    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    missing = [] if has("config.json") else ["config.json"]
    if not (has("tokenizer.json") or has("tokenizer.model") or has("vocab.json", "merges.txt")):
        missing.append("a tokenizer (tokenizer.json)")
    if weights:
        shards = {
            shard for index in folder.glob("*.index.json") for shard in _read_json(index).get("weight_map", {}).values()
        }
        missing += sorted(shard for shard in shards if not has(shard))
        if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
            missing.append("weights (model.safetensors)")
    return missing


def _check_complete(folder: Path, *, weights: bool = True) -> None:
    missing = _missing(folder, weights=weights)
    if missing:
        raise DataError(
            f"{folder}: not a complete model, it lacks {', '.join(missing)}; "
            f"give a folder that save_pretrained wrote for model and tokenizer"
        )


def _digest(folder: Path) -> str:
    """Over the content of configuration, tokenizer and template, and size and time of change of the weights."""
    entries: list[tuple[str, str | int, str | int]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(path.match(pattern) for pattern in WEIGHTS):
            entries.append((path.name, path.stat().st_size, path.stat().st_mtime_ns))
        elif path.is_file() and any(path.match(pattern) for pattern in CONTENT):
            entries.append((path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()))
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}:{getattr(error, 'lineno', 1)}: not JSON ({error}); restore the file") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: not a JSON object; restore the file")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
