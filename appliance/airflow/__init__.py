"""Airflow as a part of the box: its configuration, its secrets, how it is set up, started and watched.

Nothing here imports ``airflow`` but :mod:`.process` and :mod:`.prepare`, which run in processes of their own.
"""
