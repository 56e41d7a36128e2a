"""The first tables, and the offers to begin with."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("password", sa.Text, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
    )
    op.create_index("tasks_of_user", "tasks", ["user_id", "id"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
    )
    op.create_table(
        "payment_events",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
    )
    offers = op.create_table(
        "offers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cents", sa.Integer, nullable=False),
    )
    op.bulk_insert(
        offers,
        [
            {"name": "Tea", "cents": 450},
            {"name": "Teapot", "cents": 3900},
            {"name": "Whistle", "cents": 1250},
        ],
    )


def downgrade() -> None:
    for table in ("offers", "payment_events", "uploads", "tasks", "users"):
        op.drop_table(table)
