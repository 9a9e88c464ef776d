"""Migration of a database to the newest schema, loaded only for one that an older version wrote."""

from __future__ import annotations

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from auditor.errors import StateError
from auditor.state.schema_age import NEWEST, VERSION_TABLE

REVISIONS = Path(__file__).with_name("revisions")


def migrate(connection: Connection, name: str) -> None:
    """Run the revisions that a database lacks, in the caller's transaction. Raises `StateError` and database errors.

    name: place of the database, for messages.
    """
    chain = ScriptDirectory(str(REVISIONS), version_locations=[str(REVISIONS)])
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    try:
        lacking = tuple(chain.iterate_revisions(NEWEST, context.get_current_revision() or "base"))
    except CommandError as error:
        raise StateError(f"{name}: its schema is none of wgaudit's ({error})") from None
    with Operations.context(context):
        for revision in reversed(lacking):
            revision.module.upgrade()
            context.stamp(chain, revision.revision)
