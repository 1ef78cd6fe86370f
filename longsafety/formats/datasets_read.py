"""Datasets of the ``datasets`` library: saved to disk, in a folder with a card, or on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from longsafety.errors import DataError, first_line
from longsafety.files import is_lfs_pointer, user_path, visible_files
from longsafety.formats.arrow_rows import arrow_rows
from longsafety.formats.data_files import SUFFIXES, Row
from longsafety.hub import HubName, check_dataset, hub_name

_ROWS = 64
"""Rows read at a time: one may hold a context of a megabyte."""


class Dataset(NamedTuple):
    """Where a dataset lies (one of the two), and which of its configurations is meant."""

    folder: Path | None
    hub: HubName | None
    config: str | None = None


def dataset_of(source: str | Path, key: str | None = None) -> Dataset | None:
    """The dataset that a source names; None for an ordinary file or folder.

    ``SOURCE:CONFIG`` names a configuration, where no file or folder is called so. Raises DataError for a source that is
    neither there nor the name of a dataset.
    """
    path = user_path(source)
    if path.exists():
        return Dataset(path, None) if _is_dataset(path) else None
    start, colon, config = str(source).rpartition(":")
    if not colon or not start or "/" in config:
        start, config = str(source), ""
    folder = user_path(start)
    if config and folder.is_dir():
        if not _has_card(folder):
            raise DataError(f"{named(source, key)}: {start} has no dataset card that declares {config}; leave it out")
        return Dataset(folder, None, config)
    name = hub_name(start)
    if name is None or Path(start).suffix.lower() in (*SUFFIXES, ".txt", ".md"):
        raise DataError(f"{named(source, key)}: no such file or folder; give one, or a Hugging Face dataset's name")
    return Dataset(None, name, config or None)


def dataset_rows(
    source: str | Path,
    *,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    key: str | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[Row]:
    """The rows of a dataset on disk or on the hub; only ``columns``, if it has all of them.

    A dataset that was saved without its splits is read whole, whatever ``split`` is. The number of a class is given as
    its name. Columns of images, sounds and films are not read, and are added to ``counts``. Raises DataError.
    """
    found = dataset_of(source, key)
    assert found is not None
    if found.hub is not None:
        try:
            check_dataset(found.hub)
        except DataError as error:
            raise DataError(
                f"{named(source, key)}: no such file or folder, and no dataset of the hub: {error}; check the path, "
                "or the name and the network, or set HF_HUB_OFFLINE=1 for a dataset in the local cache"
            ) from error
    with TemporaryDirectory() as cache:  # datasets' own cache knows a folder by its path alone
        loaded = _load(found, source, split, key, cache)
        splits = loaded if isinstance(loaded, dict) else {split or str(loaded.split or "train"): loaded}
        if split is not None and split not in splits:
            raise DataError(
                f"{split_key(key)} = {split}: {source} has {', '.join(sorted(splits))}; choose one of these"
            )
        for part, dataset in splits.items():
            if split not in (None, part):
                continue
            if columns and {*columns} <= {*dataset.column_names}:
                dataset = dataset.select_columns(list(columns))
            if media := [column for column, feature in dataset.features.items() if _is_media(feature)]:
                dataset = dataset.remove_columns(media)
                if counts is not None:
                    counts[f"columns of images, sounds or films, not read: {', '.join(media)}"] += len(media)
            for number, values in enumerate(_values(dataset), start=1):
                yield Row(f"{source} ({part}):{number}", f"{part}:{number}", part, values)


def _values(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows without the library's own conversion, which fails for a date that Python cannot hold."""
    from datasets.features.features import decode_nested_example

    names = {column: feature.names for column, feature in dataset.features.items() if hasattr(feature, "int2str")}
    coded = {column: feature for column, feature in dataset.features.items() if _decodes(feature)}
    for table in dataset.with_format("arrow").iter(_ROWS):
        for row in arrow_rows(table, names):
            yield row | {column: decode_nested_example(feature, row[column]) for column, feature in coded.items()}


def _is_media(feature: Any) -> bool:
    """Whether a feature, or one in it, is of images, sounds or the like, which libraries of their own decode."""
    return _decodes(feature, but="Json")


def _decodes(feature: Any, but: str = "") -> bool:
    if isinstance(feature, dict | list):
        return any(_decodes(part, but) for part in (feature.values() if isinstance(feature, dict) else feature))
    if hasattr(feature, "decode_example"):
        return str(type(feature).__name__) != but
    return _decodes(getattr(feature, "feature", None) or [], but)


def _load(found: Dataset, source: str | Path, split: str | None, key: str | None, cache: str) -> Any:
    import datasets

    if found.folder is not None and (pointers := [file for file in visible_files(found.folder) if _is_pointer(file)]):
        raise DataError(
            f"{named(source, key)}: {pointers[0].name} is a pointer of Git LFS and not the file itself; run git lfs "
            "pull in its repository"
        )
    if found.folder is not None and not _has_card(found.folder):
        try:
            return datasets.load_from_disk(str(found.folder))
        except Exception as error:  # the library raises a dozen unrelated types
            rule = f"cannot be loaded ({_why(error)}); save it again with save_to_disk"
            raise DataError(f"{named(source, key)}: {rule}") from error
    where, revision = (str(found.folder), None) if found.hub is None else found.hub
    place = {"cache_dir": cache} if found.hub is None else {}
    try:
        # The folder of a card is loaded with all its splits, so that a missing one is told with those that are there.
        part = split if found.hub is not None else None
        return datasets.load_dataset(where, found.config, revision=revision, split=part, **place)
    except Exception as error:
        configs = _told(datasets.get_dataset_config_names, where, revision=revision)
        splits = _told(datasets.get_dataset_split_names, where, found.config, revision=revision)
        if len(configs) > 1 and found.config not in configs:
            start = str(source).removesuffix(f":{found.config}")
            rule = "has" if found.config is None else f"has no configuration {found.config}, but"
            raise DataError(
                f"{named(source, key)}: {rule} the configurations {', '.join(configs)}; name one, {start}:{configs[0]}"
            ) from error
        if split is not None and splits and split not in splits:
            raise DataError(
                f"{split_key(key)} = {split}: {source} has {', '.join(splits)}; choose one of these"
            ) from error
        rule = f"cannot be loaded ({_why(error)}); check the name and its files"
        raise DataError(f"{named(source, key)}: {rule}") from error


def _why(error: BaseException) -> str:
    """What an exception says, and what the one says that it came of, in whose words the library often says nothing."""
    said, cause = first_line(error, typed=True), error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is error:
        return said
    end = str(cause).strip().rpartition("\n")[2].strip()
    first = first_line(cause, typed=True)
    return f"{said}: {first}{f' … {end}' if end and end not in first else ''}"


def _is_pointer(file: Path) -> bool:
    try:
        return is_lfs_pointer(file)
    except OSError:  # told where it is read
        return False


def _told(ask: Callable[..., Any], *of: Any, **more: Any) -> list[str]:
    """What the library can tell of a dataset that it could not load; empty where that fails too."""
    try:
        return [str(name) for name in ask(*of, **more)]
    except Exception:
        return []


def _is_dataset(path: Path) -> bool:
    """Whether a folder was saved by ``datasets``, or has a dataset card."""
    return _is_saved(path) or _is_saved_in_splits(path) or _has_card(path)


def _is_saved(path: Path) -> bool:
    return (path / "dataset_info.json").is_file() and "_data_files" in _held(path / "state.json")


def _is_saved_in_splits(path: Path) -> bool:
    splits = _held(path / "dataset_dict.json").get("splits")
    return isinstance(splits, list) and any(_is_saved(path / str(split)) for split in splits)


def _held(file: Path) -> dict[str, Any]:
    """What a file of one JSON object holds; nothing where it is no such file."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _has_card(path: Path) -> bool:
    """Whether a folder is laid out as on the hub: its card's header declares the data files or their features."""
    card = path / "README.md"
    if not card.is_file():
        return False
    parts = card.read_text(encoding="utf-8-sig", errors="replace").split("---", 2)
    return len(parts) == 3 and not parts[0].strip() and bool(re.search(r"^(configs|dataset_info):", parts[1], re.M))


def named(source: str | Path, key: str | None) -> str:
    """How a message names a source: with the setting that it stands in, where that is known."""
    return f"{key} = {source}" if key else str(source)


def split_key(key: str | None) -> str:
    """The key of the split that stands beside the key of a source."""
    section = (key or "").rpartition(".")[0]
    return f"{section}.split" if section else "split"
