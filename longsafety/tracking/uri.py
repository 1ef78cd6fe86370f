"""The URI of MLflow's store, and a check before any run that it can be used. Imports no mlflow."""

from __future__ import annotations

import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from longsafety.errors import DataError
from longsafety.settings import Tracking

_SQLITE = "sqlite:///"
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_OWN_CLIENTS = ("databricks", "databricks-uc", "uc")
_NONE = "or tracking=none"


def tracking_uri(tracking: Tracking, outputs: Path) -> str:
    """The store's URI: ``tracking.uri``, or by default ``sqlite:///<outputs>/mlflow.db`` (absolute)."""
    if tracking.uri is None:
        return f"{_SQLITE}{outputs.absolute() / 'mlflow.db'}"
    if tracking.uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(tracking.uri.removeprefix(_SQLITE)).absolute()}"
    return tracking.uri


def check(tracking: Tracking, outputs: Path) -> None:
    """Refuses a store that a run could not log to.

    A tracking server must answer, and a database server accept a connection, within ``tracking.timeout_seconds``.

    Raises:
        DataError: one line with tracking.uri, its value, the rule and the fix.
    """
    if not tracking.enabled:
        return
    uri = tracking_uri(tracking, outputs)
    scheme = uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""
    if scheme == "sqlite":
        _check_sqlite(uri)
    elif scheme in ("http", "https"):
        _check_answer(uri, tracking.timeout_seconds, _ask)
    elif scheme in _PORTS:
        _check_answer(uri, tracking.timeout_seconds, _connect)
    elif scheme not in _OWN_CLIENTS:
        raise DataError(
            f"tracking.uri = {uri}: MLflow keeps runs in a database or on a server, not in a folder; "
            f"use tracking.uri=sqlite:////absolute/path/mlflow.db or http://host:port, {_NONE}"
        )


def _check_sqlite(uri: str) -> None:
    if not uri.startswith(_SQLITE) or uri == _SQLITE:
        raise DataError(
            f"tracking.uri = {uri}: names no file; write sqlite:////absolute/path/mlflow.db (four slashes), {_NONE}"
        )
    path = Path(uri.removeprefix(_SQLITE))
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
        if start and not start.startswith(b"SQLite format 3"):
            raise DataError(f"tracking.uri = {uri}: this file is no SQLite database; name another file, {_NONE}")
        place, right = path, os.R_OK | os.W_OK
    else:
        place, right = next(folder for folder in path.parents if folder.exists()), os.W_OK | os.X_OK
    if path.is_dir() or not (place.is_file() or place.is_dir()) or not os.access(place, right):
        raise DataError(f"tracking.uri = {uri}: {place} cannot be written; name a file in a writable folder, {_NONE}")


def _ask(uri: str, seconds: int) -> str | None:
    """Why the server at this address is unusable, or None. Any answer below status 500 will do."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}" if error.code >= 500 else None
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:  # a timeout while reading, an answer that is not HTTP, a port out of range
        return str(error) or type(error).__name__


def _connect(uri: str, seconds: int) -> str | None:
    parts = urlsplit(uri)
    try:
        port = parts.port or _PORTS[parts.scheme.partition("+")[0].lower()]
        socket.create_connection((parts.hostname or "localhost", port), timeout=seconds).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _check_answer(uri: str, seconds: int, ask: Callable[[str, int], str | None]) -> None:
    """Asks in a thread: a name lookup has no timeout, and a server may answer byte by byte."""
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(ask(uri, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    reason = found[0] if found else f"no answer within {seconds} s"
    if reason is not None:
        raise DataError(
            f"tracking.uri = {_without_password(uri)}: no MLflow server answers there ({reason}; waited at most "
            f"tracking.timeout_seconds = {seconds}); start the server, {_NONE}"
        )


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@", 1)
