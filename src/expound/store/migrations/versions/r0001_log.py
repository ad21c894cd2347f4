"""The log, invitations, sessions and the project's secret."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE entry (
    sequence INTEGER NOT NULL PRIMARY KEY, "key" VARCHAR(200) NOT NULL, kind VARCHAR(20) NOT NULL,
    at VARCHAR(40) NOT NULL, payload TEXT, id VARCHAR(200), rater VARCHAR(200), object VARCHAR(200),
    salt BLOB, digest BLOB, previous BLOB, hash BLOB, UNIQUE ("key")
);
CREATE INDEX entry_id ON entry (kind, id);
CREATE INDEX entry_rater ON entry (rater);
CREATE INDEX entry_object ON entry (object);
CREATE TABLE invitation (
    token_hash VARCHAR(64) NOT NULL PRIMARY KEY, rater VARCHAR(200) NOT NULL, made_at VARCHAR(40) NOT NULL,
    expires_at VARCHAR(40) NOT NULL, used_at VARCHAR(40)
);
CREATE INDEX ix_invitation_rater ON invitation (rater);
CREATE TABLE session (
    id VARCHAR(40) NOT NULL PRIMARY KEY, cookie_hash VARCHAR(64) NOT NULL, rater VARCHAR(200) NOT NULL,
    secret VARCHAR(64) NOT NULL, started BOOLEAN NOT NULL, locale VARCHAR(20) NOT NULL, expires_at VARCHAR(40) NOT NULL,
    UNIQUE (cookie_hash)
);
CREATE INDEX ix_session_rater ON session (rater);
CREATE TABLE secret (name VARCHAR(40) NOT NULL PRIMARY KEY, value VARCHAR(64) NOT NULL)
"""


def upgrade() -> None:
    """Create the first tables."""
    for statement in STATEMENTS.split(";"):
        op.execute(statement)
