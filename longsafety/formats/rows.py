"""The rows of a source: a data file, a folder of them, a dataset on disk or on the Hugging Face hub."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from longsafety.errors import DataError, first_line
from longsafety.files import files_hash, user_path, visible_files
from longsafety.formats.data_files import SUFFIXES, DataFile, Row, file_rows
from longsafety.hub import HubName, check_dataset, hub_name

OTHER_FILES = "files of other types"


def read_rows(
    source: str | Path, *, split: str | None = None, counts: Counter[str], key: str | None = None
) -> Iterator[Row]:
    """The rows of a source, lazily, in the order of its files (or splits) and lines.

    A file of ``SUFFIXES``; a folder of them (recursively, without hidden files; other files are added to ``counts``); a
    folder saved by ``datasets`` or with a dataset card; or a hub dataset, ``owner/name`` or ``owner/name@revision``.
    Without ``split`` all splits of a dataset are read. ``key`` is the dotted key of the source, for messages.
    Raises ``DataError`` for a source or split that does not exist.
    """
    path = user_path(source)
    if not path.exists() or is_dataset(path):
        yield from dataset_rows(source, split=split, key=key)
        return
    if split is not None:
        raise DataError(f"{_split_key(key)} = {split}: {source} is no dataset with splits; leave the split out")
    for file in data_files(path, counts, key=key):
        yield from file_rows(file)


def rows_fingerprint(source: str | None) -> str:
    """Hash of a source's content, or of a hub dataset's name (cheap: no heavy import)."""
    path = user_path(source or "")
    if not source or not path.exists():
        return sha256(f"hub\0{source}".encode()).hexdigest()[:16]
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return files_hash(files, path)[:16]


def data_files(
    source: Path, counts: Counter[str], *, suffixes: Sequence[str] = SUFFIXES, key: str | None = None
) -> list[DataFile]:
    """The files of ``suffixes`` of a file or folder, sorted by name; ``counts`` has the number of others.

    Raises DataError if there is none.
    """
    found = visible_files(source)
    files = [DataFile.below(source, file) for file in found if file.suffix.lower() in suffixes]
    if not files:
        raise DataError(
            f"{_named(source, key)}: no {', '.join(suffixes)} file among its {len(found)} file(s); "
            "give files of these types, or a Hugging Face dataset"
        )
    if len(found) > len(files):
        counts[OTHER_FILES] += len(found) - len(files)
    return files


# --- datasets


def is_dataset(path: Path) -> bool:
    """Whether a folder was saved by ``datasets``, or has a dataset card."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file() or _has_card(path)


def dataset_name(source: str | Path, key: str | None = None) -> HubName:
    """The hub name of a source that is no existing path. Raises DataError if it cannot be one."""
    name = hub_name(str(source))
    if name is None or Path(source).suffix.lower() in (*SUFFIXES, ".txt", ".md"):
        raise DataError(f"{_named(source, key)}: no such file or folder; give one, or a Hugging Face dataset's name")
    return name


def dataset_rows(
    source: str | Path, *, split: str | None = None, columns: Sequence[str] | None = None, key: str | None = None
) -> Iterator[Row]:
    """The rows of a dataset on disk or on the hub; only ``columns``, if it has all of them.

    A dataset that was saved without its splits is read whole, whatever ``split`` is. Raises DataError.
    """
    path = user_path(source)
    name = None if path.exists() else dataset_name(source, key)
    if name is not None:
        try:
            check_dataset(name)
        except DataError as error:
            raise DataError(
                f"{_named(source, key)}: no such file or folder, and no dataset of the hub: {error}; check the path, "
                "or the name and the network, or set HF_HUB_OFFLINE=1 for a dataset in the local cache"
            ) from error
    import datasets

    with TemporaryDirectory() as cache:  # datasets' own cache knows a folder by its path alone
        try:
            if name is not None:
                loaded: Any = datasets.load_dataset(name.name, revision=name.revision, split=split)
            elif _has_card(path):
                loaded = datasets.load_dataset(str(path), split=split, cache_dir=cache)
            else:
                loaded = datasets.load_from_disk(str(path))
        except Exception as error:  # the libraries raise a dozen unrelated types here
            raise DataError(
                f"{_named(source, key)}: {first_line(error, typed=True)}; check the name, its files and the split"
            ) from error
        splits = loaded if isinstance(loaded, dict) else {split or str(loaded.split or "train"): loaded}
        if split is not None and split not in splits:
            raise DataError(
                f"{_split_key(key)} = {split}: {source} has {', '.join(sorted(splits))}; choose one of these"
            )
        for part, dataset in splits.items():
            if split not in (None, part):
                continue
            if columns and {*columns} <= {*dataset.column_names}:
                dataset = dataset.select_columns(list(columns))
            for number, values in enumerate(dataset, start=1):
                yield Row(f"{source} ({part}):{number}", f"{part}:{number}", part, values)


def _has_card(path: Path) -> bool:
    """Whether a folder is laid out as on the hub: its card's header declares the data files or their features."""
    card = path / "README.md"
    if not card.is_file():
        return False
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    return len(parts) == 3 and not parts[0].strip() and bool(re.search(r"^(configs|dataset_info):", parts[1], re.M))


def _named(source: str | Path, key: str | None) -> str:
    return f"{key} = {source}" if key else str(source)


def _split_key(key: str | None) -> str:
    """The key of the split that stands beside the key of a source."""
    section = (key or "").rpartition(".")[0]
    return f"{section}.split" if section else "split"
