"""MLflow's store in a file: half-made, locked, of another version, deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from longsafety.errors import DataError
from longsafety.settings import Tracking
from longsafety.tracking import client as mlflow_client
from longsafety.tracking.sqlite import PREFIX, _revisions, ensure, holds, store_path, store_problem, store_uri
from longsafety.tracking.uri import check, is_logged, tracking_uri, unread


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store without runs."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    ensure(path)
    return path


@pytest.fixture
def copy(empty: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty.read_bytes())
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


RUN = (
    "insert into runs (run_uuid, name, status, lifecycle_stage, experiment_id) "
    "values ('r', 'n', 'FINISHED', 'active', 0)"
)


@pytest.mark.slow
def test_a_store_is_made_whole(empty: Path) -> None:
    assert store_problem(empty, 1) is None
    assert [path.name for path in empty.parent.iterdir()] == ["mlflow.db"]
    before = empty.read_bytes()
    ensure(empty)
    assert empty.read_bytes() == before


HALF_MADE: dict[str, Callable[[Path], object]] = {
    "no byte": lambda path: path.write_bytes(b""),
    "tables without a version": lambda path: change(path, "drop table alembic_version", "drop table metrics"),
    "no version in its table": lambda path: change(path, "delete from alembic_version"),
    "an early version": lambda path: change(
        path, f"update alembic_version set version_num = '{sorted(_revisions()[0] - {_revisions()[1]})[0]}'"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HALF_MADE)
def test_a_store_whose_making_was_cut_off_is_made_anew(how: str, copy: Path) -> None:
    HALF_MADE[how](copy)
    left = copy.with_name(f".{copy.name}.1.partial")
    left.write_bytes(b"of a killed process")
    check(Tracking(), copy.parent)
    with mlflow_client.session(Tracking(), copy.parent) as client:
        assert client.search_experiments(max_results=1)
    assert not left.exists()
    assert copy.with_name("mlflow.db.half-made").exists() == (how != "no byte")


def test_a_store_with_runs_is_never_set_aside(copy: Path) -> None:
    known = sorted(_revisions()[0] - {_revisions()[1]})[0]
    change(copy, RUN, f"update alembic_version set version_num = '{known}'")
    before = copy.read_bytes()
    with pytest.raises(DataError, match=r"an older MLflow wrote it; run `mlflow db upgrade sqlite:///.*tracking=none"):
        check(Tracking(), copy.parent)
    ensure(copy)
    assert copy.read_bytes() == before


FOREIGN = {
    "another program's": ("create table mine (x)", "insert into mine values (1)"),
    "another program's, without a row": ("create table mine (x)",),
    "rows under a name of MLflow's": ("create table jobs (x)", "insert into jobs values (1)"),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_the_database_of_another_program_stays_as_it_is(how: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    tracking = Tracking(enabled=True, uri=f"{PREFIX}{path}")
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma journal_mode = wal")
        for statement in FOREIGN[how]:
            other.execute(statement)
        other.commit()
        with pytest.raises(DataError, match=r"tables: (mine|jobs)\); name a new file, or tracking=none"):
            check(tracking, tmp_path)
        with (
            pytest.raises(mlflow_client.StoreError, match="name a new file"),
            mlflow_client.session(tracking, tmp_path),
        ):
            pass
        other.execute(FOREIGN[how][0].replace("(x)", "(y)").replace("create table ", "create table more_"))
        other.commit()
    assert not list(tmp_path.glob("*half-made*"))
    with closing(sqlite3.connect(path)) as other:
        assert len(other.execute("select * from sqlite_master").fetchall()) == 2


@pytest.mark.slow
def test_the_log_of_a_half_made_store_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    (tmp_path / "mlflow.db.half-made").write_bytes(b"an earlier one")
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma journal_mode = wal")
        other.execute("create table experiments (x)")
        other.execute("insert into experiments values (1)")
        other.commit()
        assert ensure(path) is None
    with closing(sqlite3.connect(tmp_path / "mlflow.db.half-made-2")) as aside:
        assert aside.execute("select x from experiments").fetchall() == [(1,)]
    assert (tmp_path / "mlflow.db.half-made").read_bytes() == b"an earlier one"
    assert store_problem(path, 1) is None


@pytest.mark.parametrize(
    ("variable", "value"), [("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "abc"), ("MLFLOW_ENABLE_WORKSPACES", "true")]
)
def test_a_variable_of_mlflows_that_stops_it_is_named(
    variable: str, value: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with (
        pytest.raises(mlflow_client.StoreError, match=rf"unset those .*{variable}.*tracking=none") as caught,
        mlflow_client.session(Tracking(), copy.parent) as client,
    ):
        client.search_experiments(max_results=1)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in str(caught.value)


def test_a_store_of_another_version_is_refused(copy: Path) -> None:
    change(copy, "update alembic_version set version_num = 'ffffffffffff'")
    with pytest.raises(DataError, match=r"another MLflow wrote it \(its schema is ffffffffffff\)"):
        check(Tracking(), copy.parent)


@pytest.mark.slow
def test_a_locked_store_is_refused(copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(DataError, match="another program has locked it for 1 s"):
            check(Tracking(timeout_seconds=1), copy.parent)
        other.execute("rollback")
    check(Tracking(timeout_seconds=1), copy.parent)


def test_a_damaged_store_is_refused(copy: Path) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[:100] + b"\xff" * 5000 + content[5100:])
    with pytest.raises(DataError, match="restore the file, or name another"):
        check(Tracking(), copy.parent)


def test_what_was_deleted_is_not_logged(copy: Path) -> None:
    outputs = copy.parent
    assert not is_logged(Tracking(), outputs, "Default", ["k"])
    tag = "insert into tags (key, value, run_uuid) values"
    change(copy, RUN, f"{tag} ('longsafety.key', 'k', 'r')")
    assert not is_logged(Tracking(), outputs, "Default", ["k"]), "cut off"
    change(copy, f"{tag} ('longsafety.content', 'c', 'r')")
    assert is_logged(Tracking(), outputs, "Default", ["k"])
    change(copy, f"update runs set artifact_uri = '{(outputs / 'a b').as_uri()}'")
    assert not is_logged(Tracking(), outputs, "Default", ["k"]), "its artifacts are gone"
    (outputs / "a b").mkdir()
    assert is_logged(Tracking(), outputs, "Default", ["k"])
    assert not is_logged(Tracking(), outputs, "Default", ["k", "another arm"])
    assert not is_logged(Tracking(), outputs, "another experiment", ["k"])
    change(copy, "update runs set lifecycle_stage = 'deleted'")
    assert not is_logged(Tracking(), outputs, "Default", ["k"])
    assert not holds(outputs / "no.db", "Default", ["k"])


def test_mlflows_own_variables_are_not_read_and_this_is_said(tmp_path: Path) -> None:
    assert unread(Tracking(), tmp_path, {}) == []
    [line] = unread(Tracking(), tmp_path, {"MLFLOW_TRACKING_URI": "http://me:secret@host:5000", "MLFLOW_RUN_ID": "1"})
    assert line.startswith("MLFLOW_TRACKING_URI, MLFLOW_RUN_ID: not read, runs are logged to tracking.uri = sqlite:///")
    assert line.endswith("give tracking.uri=http://me:***@host:5000")
    same = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    assert unread(Tracking(), tmp_path, same) == []
    assert unread(Tracking(enabled=False), tmp_path, {"MLFLOW_TRACKING_URI": "x"}) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["what?x=1", "half%20", "100%", "a#b", "\u6e2f"])
def test_a_folder_of_any_name_holds_its_store(name: str, tmp_path: Path) -> None:
    """``?`` and ``%`` mean something in a URI."""
    folder = tmp_path / name
    folder.mkdir()
    uri = tracking_uri(Tracking(enabled=True), folder)
    check(Tracking(enabled=True), folder)
    assert store_path(uri) == folder / "mlflow.db"
    ensure(store_path(uri))
    assert sorted(path.name for path in folder.iterdir()) == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name], "and nothing beside it"
    assert tracking_uri(Tracking(enabled=True, uri=uri), tmp_path) == uri
    assert store_problem(store_path(uri), 1) is None


def test_options_of_a_uri_stay() -> None:
    typed = f"{PREFIX}/data/mlflow.db?timeout=30"
    assert tracking_uri(Tracking(enabled=True, uri=typed), Path("/outputs")) == typed
    assert store_path(typed) == Path("/data/mlflow.db") and store_uri(store_path(typed)) == f"{PREFIX}/data/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        (
            "http://[::1",
            r"tracking\.uri = http://\[::1: is no address \(Invalid IPv6 URL\); correct it, or tracking=none",
        ),
        ("http://127.0.0.1:99999", r"is no address \(Port out of range 0-65535\)"),
        ("https://", r"tracking\.uri = https://: names no host and port; correct it"),
        ("sqlite:///:memory:", r"names no file; write sqlite:////absolute"),
        ("postgres://me:secret@host/db", r"postgres://me:\*{3}@host/db: no such database; write postgresql://"),
        ("ftp://me:secret@host", r"tracking\.uri = ftp://me:\*{3}@host: MLflow keeps runs in a database"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(uri: str, rule: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        check(Tracking(uri=uri), tmp_path)
    assert "secret" not in str(caught.value)


def test_mlflows_own_servers_are_named_by_a_word(tmp_path: Path) -> None:
    assert check(Tracking(uri="databricks"), tmp_path) == ""
