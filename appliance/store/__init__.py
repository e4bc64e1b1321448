"""Everything that the appliance keeps in PostgreSQL; all SQL lives here.

Functions take a connection and never commit: whoever opened :func:`appliance.store.engine.transaction` owns it.
"""
