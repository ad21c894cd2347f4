"""Bring a database to the newest schema; the only file that imports Alembic, which takes its time."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from expound.files import STAGING

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, path: Path, *, existing: bool, scripts: Path = SCRIPTS) -> None:
    """Run every revision that the database lacks, in one transaction that holds the write lock.

    An existing database is copied first, to a file beside it. Two processes may do this at once: the second finds
    nothing to do.
    """
    if existing:
        _back_up(connection, path)
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _back_up(connection: Connection, path: Path) -> None:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    target = path.with_name(f"{path.name}.{moment}.backup")
    staging = path.with_name(f"{STAGING}{target.name}")
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.execute("VACUUM INTO ?", (str(staging),)).close()
    staging.chmod(0o600)
    with staging.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(staging, target)
