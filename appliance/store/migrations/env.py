"""What Alembic runs: on the connection, and in the transaction, that :func:`migrate` gave it."""

from __future__ import annotations

from alembic import context

from appliance.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
