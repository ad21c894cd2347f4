"""The file is opened with the guarantees the log needs, or refused in one clear sentence."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from expound.errors import InputError, StorageError
from expound.records import Rater
from expound.store import schema
from expound.store.book import open_book
from expound.store.database import FILE_NAME, NEWEST, Database, pragmas, require
from expound.store.failures import explain, is_fatal
from expound.store.upgrade import SCRIPTS, upgrade

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_pragmas_are_what_durability_needs(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        found = book.database.write(pragmas)
        with book.database.read() as connection:
            assert pragmas(connection) == found
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_another_pragma_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="journal_mode = 'delete' where 'wal' is needed"):
        require({"journal_mode": "delete"}, {"journal_mode": "wal"}, tmp_path)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with (
        open_book(tmp_path) as book,
        pytest.raises(StorageError, match="may not be written"),
        book.database.read() as connection,
    ):
        connection.execute(text("DELETE FROM entry"))


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    with open_book(tmp_path):
        assert stat.S_IMODE((tmp_path / "expound.db").stat().st_mode) == 0o600


# --- files that are no book of ours -----------------------------------------------------------------------------


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    open_book(path.parent).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()


def damaged(path: Path) -> None:
    with open_book(path.parent) as book:
        book.add([Rater(f"r{number}", "x" * 500) for number in range(100)])
    content = bytearray(path.read_bytes())
    content[4096 * 3 :] = b"\x5a" * (len(content) - 4096 * 3)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (foreign, "belongs to another program: it holds the tables customers"),
        (newer, "has the format 0999"),
        (damaged, "is damaged"),
        (
            lambda path: path.write_text("not a database, but long enough to have a header" * 30),
            "is not a SQLite database",
        ),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_a_file_that_is_no_book_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "expound.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StorageError, match=sentence) as caught:
        open_book(tmp_path)
    assert caught.value.remedy.endswith(".")
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        open_book(tmp_path / "nowhere")


def test_a_locked_file_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    with open_book(tmp_path, busy_seconds=0.2) as book:
        other = sqlite3.connect(tmp_path / "expound.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program keeps it locked"):
            book.add(Rater("r1", "Ada"))
        other.execute("ROLLBACK")
        other.close()
        assert book.add(Rater("r1", "Ada")) == 1


def test_a_new_file_that_another_program_is_filling_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "expound.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE customers (name TEXT)")
    with pytest.raises(StorageError, match="another program keeps it locked"):
        open_book(tmp_path, busy_seconds=0.2)
    other.execute("ROLLBACK")
    other.close()
    open_book(tmp_path).close()


def test_many_open_a_new_book_at_once(tmp_path: Path) -> None:
    def work(number: int) -> None:
        with open_book(tmp_path) as book:
            book.add(Rater(f"r{number}", "Ada"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_book(tmp_path) as book:
        assert len(book.raters()) == 6


# --- failures of the disk -----------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_works_again_when_there_is_space(tmp_path: Path) -> None:
    raters = [Rater(f"r{number}", "x" * 1000) for number in range(500)]
    with open_book(tmp_path) as book:
        book.add(raters[:50])
        book.database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 40"))
        with pytest.raises(StorageError, match="the disk is full") as caught:
            book.add(raters)
        assert "Free some space" in caught.value.remedy
        assert len(book.raters()) == 50
        book.database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
        assert book.add(raters) == 450


IO_ERROR = """
import resource, sys
from expound.errors import StorageError
from expound.records import Rater
from expound.store.book import open_book
book = open_book(sys.argv[1])
book.add(Rater("r0", "Ada"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for attempt in range(2):
    try:
        book.add([Rater(f"r{number}", "x" * 1000) for number in range(1, 500)])
    except StorageError as error:
        print(error.what)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(book.raters()))
"""


def test_after_a_failed_write_nothing_more_is_written_by_this_process(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", IO_ERROR, str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env={"PYTHONPATH": str(ROOT / "src")}
    )
    first, second, number = result.stdout.splitlines()
    assert "the disk failed" in first
    assert second == first
    assert number == "1"
    with open_book(tmp_path) as book:
        assert [rater.id for rater in book.raters()] == ["r0"]


def test_an_error_without_a_name_is_still_a_sentence(tmp_path: Path) -> None:
    error = explain(sqlite3.ProgrammingError("Cannot operate on a closed database."), tmp_path)
    assert "the database failed (Cannot operate on a closed database.)" in error.what
    assert not is_fatal(sqlite3.ProgrammingError("x"))


# --- the writer -----------------------------------------------------------------------------------------------------


def test_a_request_that_breaks_a_constraint_hurts_no_other_in_its_group(tmp_path: Path) -> None:
    database = Database(tmp_path / FILE_NAME)
    release = threading.Event()
    outcomes: dict[str, str] = {}

    def insert(key: str) -> Callable[[Connection], None]:
        statement = text(f"INSERT INTO secret VALUES ('{key}', 'x')")
        return lambda connection: connection.execute(statement) and None

    def ask(name: str, work: Callable[[Connection], object]) -> None:
        try:
            database.write(work)
            outcomes[name] = "stored"
        except StorageError as error:
            outcomes[name] = error.what

    threads = [threading.Thread(target=ask, args=("held", lambda _: release.wait(10)))]
    threads += [threading.Thread(target=ask, args=(name, insert(name[0]))) for name in ("a", "b", "a again")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # so that the three wait together and become one group
    release.set()
    for thread in threads:
        thread.join()
    assert outcomes["held"] == outcomes["b"] == "stored"
    failed = outcomes.pop("a") if outcomes["a"] != "stored" else outcomes.pop("a again")
    assert "UNIQUE constraint failed" in failed
    assert set(outcomes.values()) == {"stored"}
    database.close()
    with pytest.raises(StorageError, match="is closed"):
        database.write(insert("c"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_request_comes_back_and_ends_the_writer(tmp_path: Path) -> None:
    database = Database(tmp_path / FILE_NAME)
    with pytest.raises(ZeroDivisionError):
        database.write(lambda _: 1 // 0)
    with pytest.raises(StorageError, match="stopped"):
        database.write(lambda _: 1)
    database.close()


def test_what_waits_when_the_book_is_closed_is_still_written(tmp_path: Path) -> None:
    database = Database(tmp_path / FILE_NAME)
    release = threading.Event()
    done: list[int] = []
    works: list[Callable[[Connection], int]] = [lambda _: int(release.wait(10)), lambda _: 2, lambda _: 3]
    threads = [threading.Thread(target=lambda work=work: done.append(database.write(work))) for work in works]
    threads.append(threading.Thread(target=database.close))
    for thread in threads:
        thread.start()
        time.sleep(0.1)  # so that each comes after the one before
    release.set()
    for thread in threads:
        thread.join()
    assert sorted(done) == [1, 2, 3]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_waits_behind_a_bug_is_told(tmp_path: Path) -> None:
    database = Database(tmp_path / FILE_NAME)
    release = threading.Event()
    told: list[str] = []

    def refused(_: Connection) -> None:
        raise InputError("no.", "Never.")

    def ask(work: Callable[[Connection], object], rows: int) -> None:
        try:
            database.write(work, rows)
        except (ZeroDivisionError, StorageError, InputError) as error:
            told.append(type(error).__name__)

    # The first fills a group; the second is refused, so that the group of the last three is run one by one.
    asked = [(lambda _: release.wait(10), 2000), (refused, 1), (lambda _: 1 // 0, 1), (lambda _: 1, 1)]
    threads = [threading.Thread(target=ask, args=arguments) for arguments in asked]
    for thread in threads:
        thread.start()
        time.sleep(0.1)  # so that each waits behind the one before
    release.set()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["InputError", "StorageError", "ZeroDivisionError"]
    database.close()


# --- migrations -----------------------------------------------------------------------------------------------------


def test_the_migrations_end_where_the_tables_and_the_newest_revision_are(tmp_path: Path) -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [NEWEST]
    open_book(tmp_path).close()
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    schema.metadata.create_all(made)
    migrated = create_engine(f"sqlite:///{tmp_path / 'expound.db'}")
    found = [describe(engine) for engine in (made, migrated)]
    found[1].pop("alembic_version")
    assert found[0] == found[1]
    made.dispose()
    migrated.dispose()


def describe(engine) -> dict[str, object]:
    inspector = inspect(engine)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(table)),
            [unique["column_names"] for unique in inspector.get_unique_constraints(table)],
        )
        for table in inspector.get_table_names()
    }


NEXT = """
revision = "0002"
down_revision = "0001"

def upgrade():
    from alembic import op
    import sqlalchemy as sa
    op.create_table("extra", sa.Column("id", sa.Integer, primary_key=True))
    {then}
"""


def next_scripts(folder: Path, then: str = "") -> Path:
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "r0002_extra.py").write_text(NEXT.format(then=then))
    return folder


def run_next(path: Path, scripts: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            upgrade(connection, path, existing=True, scripts=scripts)
    finally:
        engine.dispose()


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


def test_an_existing_database_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    with open_book(tmp_path) as book:
        book.add(Rater("r1", "Ada"))
    run_next(tmp_path / "expound.db", next_scripts(tmp_path / "scripts"))
    assert "extra" in tables(tmp_path / "expound.db")
    (copy,) = tmp_path.glob("expound.db.*.backup")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    (tmp_path / "old").mkdir()
    copy.rename(tmp_path / "old" / "expound.db")
    with open_book(tmp_path / "old") as old:
        assert old.raters() == (Rater("r1", "Ada"),)
    assert not list(tmp_path.glob(".staging-*"))


def test_a_new_database_has_no_copy(tmp_path: Path) -> None:
    open_book(tmp_path).close()
    open_book(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["expound.db"]
