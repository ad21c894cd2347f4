"""What SQLite says when the disk or the file fails, as one clear sentence with its remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from sqlalchemy.exc import DBAPIError

from expound.errors import StorageError

SAFE = "Nothing acknowledged is lost."
# By the beginning of SQLite's own name of the error; the first that fits speaks.
SENTENCES: Mapping[str, tuple[str, str]] = {
    "SQLITE_FULL": ("the disk is full", f"{SAFE} Free some space, then run the same command again."),
    "SQLITE_IOERR": ("the disk failed", f"{SAFE} Check the disk, then run the same command again."),
    "SQLITE_BUSY": ("another program keeps it locked", "End that program, then run the same command again."),
    "SQLITE_LOCKED": ("another program keeps it locked", "End that program, then run the same command again."),
    "SQLITE_NOTADB": ("it is not a SQLite database", "Move that file away, or restore it from a backup."),
    "SQLITE_CORRUPT": ("it is damaged", "Restore it from a backup; keep the damaged file, most of it can be read."),
    "SQLITE_READONLY": ("it may not be written", "Give yourself the right to write the file and its folder."),
    "SQLITE_CANTOPEN": ("it cannot be opened", "Check that the folder is there and that you may write in it."),
    "SQLITE_PERM": ("it may not be opened", "Give yourself the right to read and write the file."),
}


def explain(error: Exception, path: Path) -> StorageError:
    """Return the StorageError for what SQLite (perhaps through SQLAlchemy) raised about the database."""
    original = error.orig if isinstance(error, DBAPIError) else error
    name = original.sqlite_errorname if is_named(original) else ""
    for beginning, (sentence, remedy) in SENTENCES.items():
        if name.startswith(beginning):
            return StorageError(f"{path}: {sentence} ({original}).", remedy)
    return StorageError(f"{path}: the database failed ({original}).", f"{SAFE} Run 'expound status' to see what is.")


def is_fatal(error: Exception) -> bool:
    """Return whether nothing may be written any more: after a failed fsync the next one may lie."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return is_named(original) and original.sqlite_errorname.startswith("SQLITE_IOERR")


def is_named(error: object) -> TypeGuard[sqlite3.Error]:
    """Return whether SQLite itself raised this; the module's own misuse errors have no name."""
    return isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorname")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into a StorageError."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise explain(error, path) from error
