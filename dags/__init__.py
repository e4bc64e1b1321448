"""When the appliance's passes run, and what follows on what. The work itself is in :mod:`appliance`."""
