"""The SQLite file: found or made, checked, migrated, and opened with the guarantees the log needs.

Write-ahead log with `synchronous=FULL`: what is committed survives a power cut, and readers never wait for the writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from expound.errors import StorageError
from expound.store.failures import storage_errors
from expound.store.writer import Writer

T = TypeVar("T")
Pragma = str | int
FILE_NAME = "expound.db"
REVISIONS = ("0001",)
NEWEST = REVISIONS[-1]
BUSY_SECONDS = 10.0


class Database:
    """An open database: any number of readers, one writer; close it."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        _make_private(path)
        revision = _examine(path, busy_seconds)
        self._writing = _engine(path, busy_seconds, "BEGIN IMMEDIATE")
        self._reading = _engine(path, busy_seconds, "BEGIN")
        with storage_errors(path):
            self._connection = self._writing.connect()
        try:
            with storage_errors(path):
                self._prepare(self._connection, revision, busy_seconds)
        except BaseException:
            self._let_go()
            raise
        self._writer = Writer(self._connection, path)

    def _prepare(self, connection: Connection, revision: str | None, busy_seconds: float) -> None:
        _use_write_ahead_log(connection, time.monotonic() + busy_seconds)
        with connection.begin():
            require(pragmas(connection), _wanted(busy_seconds), self.path)
        if revision != NEWEST:
            # Alembic takes a quarter of a second to import, and a database is migrated once.
            from expound.store.upgrade import upgrade

            upgrade(connection, self.path, existing=revision is not None)

    def write(self, work: Callable[[Connection], T], rows: int = 1) -> T:
        """Run `work` in a writing transaction and return its result after the commit; see `Writer.write`."""
        return self._writer.write(work, rows)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading, one state of the database throughout the block.

        Errors: StorageError when disk or database fail.
        """
        with storage_errors(self.path), self._reading.connect() as connection, connection.begin():
            yield connection

    def reader(self) -> Connection:
        """Return a reading connection to keep; `close` ends it."""
        with storage_errors(self.path):
            return self._reading.connect()

    def close(self) -> None:
        """Finish what waits to be written and let go of the file."""
        self._writer.close()
        self._let_go()

    def _let_go(self) -> None:
        self._connection.close()
        self._reading.dispose()
        self._writing.dispose()


def pragmas(connection: Connection) -> Mapping[str, Pragma]:
    """Return the settings of a connection that durability depends on."""
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names}


def require(found: Mapping[str, Pragma], wanted: Mapping[str, Pragma], path: Path) -> None:
    """Refuse to start with other settings than wanted. Errors: StorageError."""
    for name, value in wanted.items():
        if found[name] != value:
            raise StorageError(
                f"{path}: SQLite answers {name} = {found[name]!r} where {value!r} is needed to lose nothing.",
                "Move the project folder to a local disk.",
            )


def _wanted(busy_seconds: float) -> Mapping[str, Pragma]:
    return {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": round(busy_seconds * 1000)}


def _engine(path: Path, busy_seconds: float, begin: Literal["BEGIN", "BEGIN IMMEDIATE"]) -> Engine:
    # isolation_level None: sqlite3 opens no transactions of its own, so that ours begin as they say.
    arguments = {"timeout": busy_seconds, "check_same_thread": False, "isolation_level": None}
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args=arguments)

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA query_only=" + ("ON" if begin == "BEGIN" else "OFF"))
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _use_write_ahead_log(connection: Connection, deadline: float) -> None:
    """Switch the file to its write-ahead log; SQLite does not wait for another process that does so too."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# --- before anything is written -----------------------------------------------------------------------------------


def _make_private(path: Path) -> None:
    """Make the file if need be, readable by its owner alone: it holds the secrets of sessions."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened: {error.strerror}.", "Check that the folder is there and yours to write in."
        ) from error


def _examine(path: Path, busy_seconds: float) -> str | None:
    """Return the schema's revision, None for a new file, without changing anything.

    Errors: StorageError for what is damaged, locked, another program's, or a newer version's.
    """
    with storage_errors(path), closing(sqlite3.connect(path, timeout=busy_seconds)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if not tables:
            return None
        if not {"entry", "alembic_version"} <= set(tables):
            raise StorageError(
                f"{path} belongs to another program: it holds the tables {', '.join(sorted(tables)[:5])}.",
                "Move that file away, or use another folder.",
            )
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("none",)
    if revision not in REVISIONS:
        raise StorageError(
            f"{path} has the format {revision}, and this version of expound knows formats up to {NEWEST}.",
            "Update expound, or restore the file from a backup.",
        )
    return str(revision)
