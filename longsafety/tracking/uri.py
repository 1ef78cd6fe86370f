"""The URI of MLflow's store, and a check before any run that it can be used. Imports no mlflow."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longsafety.errors import DataError
from longsafety.settings import Tracking
from longsafety.tracking.sqlite import PREFIX, holds, store_path, store_problem, store_uri

_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_OWN_CLIENTS = ("databricks", "databricks-uc", "uc")
_NO_FILE = ("", ":memory:")
_NONE = "or tracking=none"
LATER = "no run needs it: the same command, given again once it answers, logs what it lacks"
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
_SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
_LONGEST_ANSWER = 1 << 20


PASSWORD = "LONGSAFETY_TRACKING_PASSWORD"
"""In the environment of the command's processes: the password of ``tracking.uri``, which no file holds."""
_HIDDEN = "***"


def hide_password(tracking: Tracking) -> tuple[Tracking, str]:
    """With ``***`` for the password of ``tracking.uri``, which goes into :data:`PASSWORD`; and it, or ``""``."""
    password = _password(tracking.uri or "")
    if not password or password == _HIDDEN:
        return tracking, ""
    os.environ[PASSWORD] = password
    return tracking.model_copy(update={"uri": without_password(str(tracking.uri))}), password


def tracking_uri(tracking: Tracking, outputs: Path) -> str:
    """The store's URI: ``tracking.uri``, or by default ``sqlite:///<outputs>/mlflow.db`` (absolute)."""
    if tracking.uri is not None and f":{_HIDDEN}@" in tracking.uri and PASSWORD in os.environ:
        return tracking.uri.replace(f":{_HIDDEN}@", f":{os.environ[PASSWORD]}@", 1)
    if tracking.uri is None:
        return store_uri(outputs.absolute() / "mlflow.db")
    if tracking.uri.startswith(PREFIX):
        _, mark, options = tracking.uri.partition("?")
        return store_uri(store_path(tracking.uri).absolute()) + mark + options
    return tracking.uri


def is_logged(tracking: Tracking, outputs: Path, experiment: str, keys: Sequence[str]) -> bool:
    """Whether a store in a file has finished runs with all these keys; a server is asked by logging again."""
    uri = tracking_uri(tracking, outputs)
    return uri.startswith(PREFIX) and holds(store_path(uri), experiment, keys)


def unread(tracking: Tracking, outputs: Path, environment: Mapping[str, str] = os.environ) -> list[str]:
    """What is said of MLflow's own variables, by which a user may have meant another place."""
    if not tracking.enabled:
        return []
    uri = tracking_uri(tracking, outputs)
    found = [name for name in _ELSEWHERE if environment.get(name, uri) != uri]
    if not found:
        return []
    place = without_password(environment.get(_ELSEWHERE[0], ""))
    fix = f"; to log to that store give tracking.uri={place}" if _ELSEWHERE[0] in found else ""
    return [f"{', '.join(found)}: not read, runs are logged to tracking.uri = {without_password(uri)}{fix}"]


def check(tracking: Tracking, outputs: Path) -> str:
    """Refuses a store that a run could not log to.

    A tracking server should answer, and a database server accept a connection, within ``tracking.timeout_seconds``. One
    that is away stops no run: the line that says so is returned, else ``""``.

    Raises:
        DataError: one line with tracking.uri, its value, the rule and the fix.
    """
    if not tracking.enabled:
        return ""
    uri = tracking_uri(tracking, outputs)
    scheme = uri.partition(":")[0].partition("+")[0].lower() if ":" in uri or uri in _OWN_CLIENTS else ""
    if scheme in ("http", "https", *_PORTS) and (reason := _no_address(uri)):
        raise DataError(f"tracking.uri = {without_password(uri)}: {reason}; correct it, {_NONE}")
    if scheme == "sqlite":
        _check_sqlite(uri, tracking.timeout_seconds)
    elif scheme in ("http", "https"):
        return _check_answer(uri, tracking.timeout_seconds, _ask)
    elif scheme in _PORTS:
        return _check_answer(uri, tracking.timeout_seconds, _connect)
    elif scheme == "postgres":
        raise DataError(f"tracking.uri = {without_password(uri)}: no such database; write postgresql://…, {_NONE}")
    elif scheme not in _OWN_CLIENTS:
        raise DataError(
            f"tracking.uri = {without_password(uri)}: MLflow keeps runs in a database or on a server, not in a folder; "
            f"use tracking.uri=sqlite:////absolute/path/mlflow.db or http://host:port, {_NONE}"
        )
    return ""


def _check_sqlite(uri: str, seconds: int) -> None:
    if not uri.startswith(PREFIX) or store_path(uri).name in _NO_FILE:
        raise DataError(
            f"tracking.uri = {uri}: names no file; write sqlite:////absolute/path/mlflow.db (four slashes), {_NONE}"
        )
    path = store_path(uri)
    start = b""
    if path.is_file() and os.access(path, os.R_OK):
        with path.open("rb") as file:
            start = file.read(16)
        if start and not start.startswith(b"SQLite format 3"):
            raise DataError(f"tracking.uri = {uri}: this file is no SQLite database; name another file, {_NONE}")
    if path.is_file():
        place, right = path, os.R_OK | os.W_OK
    else:
        place, right = next(folder for folder in path.parents if folder.exists()), os.W_OK | os.X_OK
    if path.is_dir() or not (place.is_file() or place.is_dir()) or not os.access(place, right):
        raise DataError(f"tracking.uri = {uri}: {place} cannot be written; name a file in a writable folder, {_NONE}")
    if start and (problem := store_problem(path, seconds)):
        raise DataError(f"tracking.uri = {uri}: {problem}, {_NONE}")


class _Away(str):
    """Why a server does not answer now, though it may later."""


def _ask(uri: str, seconds: int) -> str | None:
    """Why the server at this address is unusable, or None where it lists experiments as MLflow does."""
    request = urllib.request.Request(f"{_without_user(uri).rstrip('/')}{_SEARCH}", headers=_credentials(uri))
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            listed = json.loads(answer.read(_LONGEST_ANSWER))
            usable = isinstance(listed, dict) and (not listed or "experiments" in listed)
            return None if usable else "another program listens there: its answer is not MLflow's"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return (
                f"it answers {error.code}: it wants a user; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
                "or MLFLOW_TRACKING_TOKEN"
            )
        if error.code >= 500:
            return _Away(f"it answers {error.code}")
        return f"it answers {error.code}, as no MLflow server does"
    except urllib.error.URLError as error:
        return _Away(_late(seconds) if isinstance(error.reason, TimeoutError) else error.reason)
    except TimeoutError:
        return _Away(_late(seconds))
    except (OSError, ValueError) as error:  # a connection that broke, an answer that is not HTTP, a port out of range
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            return "another program listens there: its answer is not MLflow's"
        return _Away(str(error) or type(error).__name__)


def _credentials(uri: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What MLflow's own client sends, from the same variables."""
    parts = urlsplit(uri)
    user = unquote(parts.username or "") or environment.get("MLFLOW_TRACKING_USERNAME", "")
    password = unquote(parts.password or "") or environment.get("MLFLOW_TRACKING_PASSWORD", "")
    if user:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _connect(uri: str, seconds: int) -> str | None:
    parts = urlsplit(uri)
    try:
        port = parts.port or _PORTS[parts.scheme.partition("+")[0].lower()]
        socket.create_connection((parts.hostname or "localhost", port), timeout=seconds).close()
    except TimeoutError:
        return _Away(_late(seconds))
    except (OSError, ValueError) as error:
        return _Away(error)
    return None


def _late(seconds: int) -> str:
    """The same words whoever looks at the clock first: the connection or the thread that waits for it."""
    return f"no answer within {seconds} s"


def _check_answer(uri: str, seconds: int, ask: Callable[[str, int], str | None]) -> str:
    """Asks in a thread: a name lookup has no timeout, and a server may answer byte by byte."""
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(ask(uri, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    reason = found[0] if found else _Away(_late(seconds))
    if reason is None:
        return ""
    rule = f"tracking.uri = {without_password(uri)}: no MLflow server answers there ({reason}"
    if not isinstance(reason, _Away):
        raise DataError(f"{rule}); correct it, {_NONE}")
    return f"{rule}; waited at most tracking.timeout_seconds = {seconds}); {LATER}"


def without_password(uri: str) -> str:
    password = _password(uri)
    return uri.replace(f":{password}@", f":{_HIDDEN}@", 1) if password else uri


def _password(uri: str) -> str:
    try:
        return urlsplit(uri).password or ""
    except ValueError:  # told by :func:`check`
        return ""


def _no_address(uri: str) -> str:
    """Why a URI leads to no server; empty where it may. A database of this machine may be without a host."""
    try:
        parts = urlsplit(uri)
        named = bool(parts.hostname) or not uri.lower().startswith("http")
        return "" if named and parts.port != 0 else "names no host and port"
    except ValueError as error:
        return f"is no address ({error})"
