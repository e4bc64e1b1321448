"""The HTTP API: thin handlers over the store, the models and the one feature function."""
