"""Which model ``model.source`` names: the string that identifies it, and its local folder.

Imports neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from longsafety import settings
from longsafety.errors import ConfigError, DataError, first_line
from longsafety.files import file_hash, is_lfs_pointer, kept_hash, user_path
from longsafety.hub import cached_commit, cached_file, download_model, model_commit
from longsafety.model import smollm2, tiny

WEIGHTS = ("*.safetensors",)
"""Pickles (``pytorch_model.bin``) are not read: loading one can run code."""
CONTENT = ("*.json", "*.jinja", "*.txt", "*.model")
"""Configuration, tokenizer and chat template."""
_ADAPTER = "adapter_config.json"
"""transformers attaches the adapter that it describes by itself."""


def identity(model: settings.Model, cache: Path) -> str:
    """Identifies tokenizer and weights (those of ``tiny`` together with the seed). Raises DataError.

    A folder is identified by its content, wherever it lies. ``smollm2`` is fetched and converted at its first use,
    because its weights depend on where they can be had.
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
    return f"folder:{_folder_digest(folder, cache)}"


def source_folder(model: settings.Model, cache: Path, *, weights: bool) -> Path:
    """The local folder with the files of a model other than ``tiny``, downloaded if need be.

    ``weights=False`` does not wait for a download of the weights. Raises DataError.
    """
    _check_revision(model)
    if model.source == "smollm2":
        return smollm2.resolve(cache)
    folder = _local_folder(model.source)
    if folder is None:
        folder = _hub_folder(model, weights=weights)
    _check_complete(folder, weights=weights)
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder. Raises DataError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}:{getattr(error, 'lineno', 1)}: not JSON ({error}); restore the file") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: not a JSON object; restore the file")
    return value


def _check_revision(model: settings.Model) -> None:
    local = model.source in ("smollm2", "tiny") or _local_folder(model.source) is not None
    if model.revision is not None and local:
        raise ConfigError(
            [
                f"model.revision = {model.revision!r}: only a hub name has revisions, and model.source is "
                f"{model.source!r}; set model.revision=null, or model.source to a hub name"
            ]
        )


# --- a folder


def _local_folder(source: str) -> Path | None:
    """The folder that ``source`` names, or ``None`` for a hub name (``owner/name``)."""
    path = user_path(source)
    if path.is_dir():
        return path
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source:
        raise DataError(f"model.source = {source!r}: no such folder; give a folder with a model, or a hub name")
    return None


def _check_complete(folder: Path, *, weights: bool = True) -> None:
    missing = _missing(folder, weights=weights)
    if missing:
        raise DataError(
            f"{folder}: not a complete model, it lacks {', '.join(missing)}; "
            f"give a folder that save_pretrained wrote for model and tokenizer"
        )
    read = sorted(path for pattern in (*CONTENT, *WEIGHTS) for path in folder.glob(pattern) if path.is_file())
    if pointers := [path.name for path in read if is_lfs_pointer(path)]:
        raise DataError(
            f"{folder / pointers[0]}: a pointer of Git LFS and not the file itself; run git lfs pull in its repository"
        )
    if (folder / _ADAPTER).is_file():
        raise DataError(
            f"{folder / _ADAPTER}: an adapter lies beside the model, and one of the two would be trained without the "
            "other; merge it (peft: merge_and_unload, then save_pretrained), or take its files out of the folder"
        )


def _shards(index: Path) -> set[str]:
    """The files that an index of weights names."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{index}:1: its weight_map does not name a file for each weight; restore the file")
    if outside := [name for name in names.values() if Path(name).name != name]:
        raise DataError(
            f"{index}:1: its weight_map names {outside[0]}, which is no file of the folder; restore the file"
        )
    return set(names.values())


def _missing(folder: Path, *, weights: bool) -> list[str]:
    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    missing = [] if has("config.json") else ["config.json"]
    if not (has("tokenizer.json") or has("tokenizer.model") or has("vocab.json", "merges.txt")):
        missing.append("a tokenizer (tokenizer.json)")
    if weights:
        shards = {shard for index in folder.glob("*.safetensors.index.json") for shard in _shards(index)}
        missing += sorted(shard for shard in shards if not has(shard))
        if not any(path.is_file() for pattern in WEIGHTS for path in folder.glob(pattern)):
            pickles = ", not pickles, which can run code: save the model again with transformers"
            missing.append(f"weights (model.safetensors{pickles if any(folder.glob('*.bin')) else ''})")
    return missing


def _folder_digest(folder: Path, cache: Path) -> str:
    """Hash of names and contents; that of weights, which may be large, is kept in the cache."""
    entries: list[tuple[str, str]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(path.match(pattern) for pattern in WEIGHTS):
            entries.append((path.name, kept_hash(path, cache / "hashes")))
        elif path.is_file() and any(path.match(pattern) for pattern in CONTENT):
            entries.append((path.name, file_hash(path)))
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


# --- the hub


def _commit(model: settings.Model) -> str:
    try:
        if found := cached_commit(model.source, model.revision):
            return found
        return model_commit(model.source, model.revision)
    except (DataError, ValueError) as error:
        raise _unavailable(model, error) from error


def _hub_folder(model: settings.Model, *, weights: bool) -> Path:
    """The snapshot in the Hugging Face cache; the network is used only for files that are missing there."""
    commit = _commit(model)
    config = cached_file(model.source, "config.json", commit)
    if config and not _missing(config.parent, weights=weights):
        return config.parent
    patterns = [*CONTENT, "*.safetensors"] if weights else list(CONTENT)
    try:
        model_commit(model.source, commit)  # fails within seconds, where a download would try for minutes
        return download_model(model.source, commit, patterns)
    except Exception as error:  # the types depend on the HTTP library that the client uses
        raise _unavailable(model, error) from error


def _unavailable(model: settings.Model, error: Exception) -> DataError:
    return DataError(
        f"model.source = {model.source!r}: neither smollm2, tiny, a folder, nor available from the hub "
        f"({first_line(error)}); fix the name, connect or log in (`hf auth login`), or give a downloaded folder"
    )
