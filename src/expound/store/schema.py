"""The tables. `entry` is the log and only book.py writes it; the others are the only rows that change.

What an existing database goes through to get here is in migrations/; a test holds the two equal.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

entry = Table(
    "entry",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("at", String(40), nullable=False),
    Column("payload", Text),
    Column("id", String(200)),
    Column("rater", String(200)),
    Column("object", String(200)),
    Column("salt", LargeBinary),
    Column("digest", LargeBinary),
    Column("previous", LargeBinary),
    Column("hash", LargeBinary),
    Index("entry_id", "kind", "id"),
    Index("entry_rater", "rater"),
    Index("entry_object", "object"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("rater", String(200), nullable=False, index=True),
    Column("made_at", String(40), nullable=False),
    Column("expires_at", String(40), nullable=False),
    Column("used_at", String(40)),
)

session = Table(
    "session",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("cookie_hash", String(64), nullable=False, unique=True),
    Column("rater", String(200), nullable=False, index=True),
    Column("secret", String(64), nullable=False),
    Column("started", Boolean, nullable=False),
    Column("locale", String(20), nullable=False),
    Column("expires_at", String(40), nullable=False),
)

secret = Table(
    "secret",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", String(64), nullable=False),
)
