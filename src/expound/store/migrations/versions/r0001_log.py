"""The log, invitations, sessions and the project's secret."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    _create_log()
    _create_admission()


def _create_log() -> None:
    op.create_table(
        "entry",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(200), nullable=False, unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("payload", sa.Text),
        sa.Column("id", sa.String(200)),
        sa.Column("rater", sa.String(200)),
        sa.Column("object", sa.String(200)),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("previous", sa.LargeBinary),
        sa.Column("hash", sa.LargeBinary),
    )
    op.create_index("entry_id", "entry", ["kind", "id"])
    op.create_index("entry_rater", "entry", ["rater"])
    op.create_index("entry_object", "entry", ["object"])


def _create_admission() -> None:
    op.create_table(
        "invitation",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("rater", sa.String(200), nullable=False, index=True),
        sa.Column("made_at", sa.String(40), nullable=False),
        sa.Column("expires_at", sa.String(40), nullable=False),
        sa.Column("used_at", sa.String(40)),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("cookie_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("rater", sa.String(200), nullable=False, index=True),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("started", sa.Boolean, nullable=False),
        sa.Column("locale", sa.String(20), nullable=False),
        sa.Column("expires_at", sa.String(40), nullable=False),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
