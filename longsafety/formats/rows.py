"""The rows of a source: a data file, a folder of them, a dataset on disk or on the Hugging Face hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from longsafety.errors import DataError
from longsafety.files import files_hash, user_path, visible_files
from longsafety.formats.data_files import SUFFIXES, DataFile, Row, file_rows
from longsafety.formats.datasets_read import dataset_of, dataset_rows, named, split_key
from longsafety.formats.json_rows import describes_data

OTHER_FILES = "files of other types"
_COMPANIONS = (
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "metadata.json", "metadata.jsonl"),
    *("config.json", "croissant.json", "schema.json", "manifest.json", "manifest.jsonl", "info.json", "package.json"),
    *("package-lock.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "settings.json"),
    *("special_tokens_map.json", "metadata.csv", "metadata.parquet"),
)
"""Files that say something of the data beside them, and hold no rows. Other .json files are such where they hold one
object without anything that rows have."""
_SHOWN = 5


def read_rows(
    source: str | Path, *, split: str | None = None, counts: Counter[str], key: str | None = None
) -> Iterator[Row]:
    """The rows of a source, lazily, in the order of its files (or splits) and lines.

    A file of ``SUFFIXES``; a folder of them (recursively, without hidden files; other files, broken links and what only
    describes the data are added to ``counts``); a folder saved by ``datasets`` or with a dataset card; or a hub
    dataset, ``owner/name`` or ``owner/name@revision``, both with ``:CONFIG`` where they have several. Without ``split``
    all splits of a dataset are read. ``key`` is the dotted key of the source, for messages. Raises ``DataError`` for a
    source, configuration or split that does not exist.
    """
    if dataset_of(source, key) is not None:
        yield from dataset_rows(source, split=split, key=key, counts=counts)
        return
    if split is not None:
        raise DataError(f"{split_key(key)} = {split}: {source} is no dataset with splits; leave the split out")
    for file in data_files(user_path(source), counts, key=key):
        yield from file_rows(file)


def rows_fingerprint(source: str | None) -> str:
    """Hash of a source's content, or of a hub dataset's name (cheap: no heavy import)."""
    try:
        found = dataset_of(source) if source else None
    except DataError:  # named by the stage that reads it
        found = None
    folder = found.folder if found else user_path(source or "")
    if not source or folder is None or not folder.exists():
        return sha256(f"hub\0{source}".encode(errors="surrogateescape")).hexdigest()[:16]
    content = files_hash(visible_files(folder), folder)[:16]
    return content if found is None or found.config is None else f"{content}:{found.config}"


def data_files(
    source: Path, counts: Counter[str], *, suffixes: Sequence[str] = SUFFIXES, key: str | None = None
) -> list[DataFile]:
    """The files of ``suffixes`` of a file or folder, sorted by name; ``counts`` has the number of others.

    Raises DataError if there is none.
    """
    broken: list[str] = []
    found = visible_files(source, broken)
    files = [DataFile.below(source, file) for file in found if file.suffix.lower() in suffixes]
    rows = files if source.is_file() else [file for file in files if file.path.name.lower() not in _COMPANIONS]
    if not source.is_file():
        rows = [file for file in rows if not _describes(file)] or rows
    if not rows:
        held = f"among its {len(found)} file(s)" if not files else f"but {_listed([file.name for file in files])}"
        lost = f"; broken links: {_listed(broken)}" if broken else ""
        raise DataError(
            f"{named(source, key)}: no {', '.join(suffixes)} file {held}{lost}; give files of these types, or a "
            "Hugging Face dataset"
        )
    if len(found) > len(files):
        counts[OTHER_FILES] += len(found) - len(files)
    if described := [file.name for file in files if file not in rows]:
        counts[f"files that describe the data, not read as rows: {_listed(described)}"] += len(described)
    if broken:
        counts[f"second names, broken links, pipes and closed folders, not read: {_listed(broken)}"] += len(broken)
    return rows


def _describes(file: DataFile) -> bool:
    return file.path.suffix.lower() == ".json" and describes_data(file)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
