"""MLflow's store in a file: made whole or not at all, looked into before a run, and asked what it holds.

All without importing mlflow, which takes seconds, but to make the file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longsafety.host.modes import follow_umask

PREFIX = "sqlite:///"
KEY, PARENT_KEY, CONTENT = "longsafety.key", "longsafety.parent", "longsafety.content"
"""Tags: the run's content address, its sweep's, and a digest of what was logged (set last)."""

_FRESH = ("alembic_version", "experiments", "workspaces")
"""The tables that have rows in a store without any run."""
_TABLE = r"(?:__tablename__\s*=|create_table\(|rename_table\([^,)]*,)\s*[\"'](\w+)[\"']"


def store_uri(path: Path) -> str:
    """The URI of a store in a file; ``%`` and ``?``, which mean something in a URI, are escaped."""
    return PREFIX + str(path).replace("%", "%25").replace("?", "%3F")


def for_mlflow(uri: str) -> str:
    """The URI as MLflow takes it: with the driver's name it makes no folder of the name with the escapes."""
    return uri.replace(PREFIX, "sqlite+pysqlite:///", 1) if uri.startswith(PREFIX) and "%" in uri else uri


def store_path(uri: str) -> Path:
    """The file that a store's URI names."""
    return Path(unquote(uri.removeprefix(PREFIX).partition("?")[0]))


def store_problem(path: Path, seconds: int) -> str | None:
    """Why an existing file cannot be logged to, with the fix; None where it can, or will be made anew."""
    try:
        with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as database:
            database.execute("begin immediate")
            version, held = _version(database), _held(database)
            database.execute("rollback")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return f"another program has locked it for {seconds} s; end that program, or name another file"
        return f"{error}; make file and folder writable, or name another file"
    except sqlite3.DatabaseError as error:
        return f"{error}; restore the file, or name another"
    return _refused(path, version, held)


def _refused(path: Path, version: str | None, held: list[str]) -> str | None:
    """Why a database with this schema and these tables is neither a store of this MLflow nor a half-made one."""
    known, newest = _revisions()
    if version == newest and version is not None:
        return None
    if version in known and held:
        command = f"mlflow db upgrade {shlex.quote(store_uri(path))}"
        return f"an older MLflow wrote it; run `{command}` once, or name another file"
    if version is None and held:
        shown = ", ".join(held[:3]) + (", …" if len(held) > 3 else "")
        return f"it holds data that is not an MLflow store's (tables: {shown}); name a new file"
    if version is None or version in known:
        return None
    return f"another MLflow wrote it (its schema is {version}); install that version, or name another file"


def ensure(path: Path) -> str | None:
    """Makes the store, or makes it anew where its making was interrupted; why not, where the file is another's.

    MLflow itself makes tables one by one, and cannot go on with a half of them. Call it under a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.partial*"):
        left.unlink()
    if path.exists() and path.stat().st_size:
        with closing(sqlite3.connect(path)) as database:
            version, held = _version(database), _held(database)
        if version is not None and (held or version == _revisions()[1] or version not in _revisions()[0]):
            return None  # MLflow's; where it cannot use the file, it says so
        if problem := _refused(path, version, held):
            return problem
        _set_aside(path)
    from mlflow.tracking import MlflowClient

    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    MlflowClient(for_mlflow(store_uri(partial))).search_experiments(max_results=1)
    follow_umask(partial)
    partial.replace(path)
    return None


def _set_aside(path: Path) -> None:
    """Renames a half-made store with the files beside it. They go first: SQLite would read them into a new store."""
    names = (f"{path.name}.half-made{count}" for count in ("", *(f"-{number}" for number in range(2, 1000))))
    aside = next(place for place in map(path.with_name, names) if not place.exists())
    for ending in ("-journal", "-wal", "-shm", ""):
        if (beside := path.with_name(path.name + ending)).exists():
            beside.replace(aside.with_name(aside.name + ending))


def holds(path: Path, experiment: str, keys: Iterable[str]) -> bool:
    """Whether the store has a run for each of ``keys``, in ``experiment``, completely logged and not deleted, nor its
    artifacts."""
    sought = (
        "select r.artifact_uri from tags t join runs r on r.run_uuid = t.run_uuid "
        "join experiments e on e.experiment_id = r.experiment_id where t.key = ? and t.value = ? "
        "and r.lifecycle_stage = 'active' and r.status = 'FINISHED' "
        "and e.lifecycle_stage = 'active' and e.name = ? and exists (select 1 from tags d where d.run_uuid = "
        "r.run_uuid and d.key = ?)"
    )
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = [database.execute(sought, (KEY, key, experiment, CONTENT)).fetchall() for key in keys]
            return all(any(has_artifacts(place) for (place,) in places) for places in found)
    except sqlite3.DatabaseError:
        return False


def has_artifacts(place: str | None) -> bool:
    """Whether the folder of a run's artifacts is there; also where it is on a server, and cannot be looked into."""
    parts = urlsplit(place or "")
    return parts.scheme != "file" or Path(unquote(parts.path)).is_dir()


def _version(database: sqlite3.Connection) -> str | None:
    if not _has(database, "alembic_version"):
        return None
    row = database.execute("select version_num from alembic_version").fetchone()
    return row[0] if row else None


def _held(database: sqlite3.Connection) -> list[str]:
    """The tables that a store without any run or model has not: of other names, or with rows."""
    names = database.execute("select name from sqlite_master where type in ('table', 'view') order by name").fetchall()
    return [
        name
        for (name,) in names
        if not name.startswith("sqlite_")
        and name not in _FRESH
        and (name.removeprefix("_alembic_tmp_") not in _tables() or _has_rows(database, name))
    ]


def _has_rows(database: sqlite3.Connection, table: str) -> bool:
    return database.execute(f'select 1 from "{table}" limit 1').fetchone() is not None


def _has(database: sqlite3.Connection, table: str) -> bool:
    found = database.execute("select 1 from sqlite_master where type = 'table' and name = ?", (table,))
    return found.fetchone() is not None


@cache
def _tables() -> frozenset[str]:
    """The names of tables in the installed MLflow's models and migrations."""
    spec = importlib.util.find_spec("mlflow")
    found: set[str] = set()
    for folder in spec.submodule_search_locations or [] if spec else []:
        for file in Path(folder, "store").rglob("*.py"):
            found.update(re.findall(_TABLE, file.read_text("utf-8")))
    return frozenset(found)


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """The schemas that the installed MLflow knows, and its own; None where it lies elsewhere than expected."""
    spec = importlib.util.find_spec("mlflow")
    folders = list(spec.submodule_search_locations or []) if spec else []
    names = r"^(down_revision|revision)\s*(?::[^=]*)?=\s*[\"'](\w+)[\"']"
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for folder in folders:
        for file in Path(folder, "store", "db_migrations", "versions").glob("*.py"):
            for kind, revision in re.findall(names, file.read_text("utf-8"), re.MULTILINE):
                found[kind].add(revision)
    heads = found["revision"] - found["down_revision"]
    return frozenset(found["revision"]), heads.pop() if len(heads) == 1 else None
