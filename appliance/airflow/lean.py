"""What keeps Airflow's services small on a box whose parts are all of one release.

Each function leaves alone what it does not find as it knows it, for then a newer Airflow is larger, and not broken.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
from typing import Any

log = logging.getLogger(__name__)

# What a worker loads for its first task, each worker for itself unless the scheduler has it already.
_OF_WORKERS = (
    "airflow.executors.workloads",
    "airflow.sdk",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.bundles.manager",
)
# Our tasks speak the newest. It left out a route that the one before still has, and the oldest of a list may change none.
_VERSIONS = 3


def share_with_workers() -> None:
    """Let workers that are forked from here share what is loaded, for as long as they live.

    The collector writes into every object that it looks at, and a page that is written to is shared no more. Airflow
    takes objects out of its reach only while it forks; here they stay out of it: they are modules, which live on.
    """
    for name in _OF_WORKERS:
        try:
            importlib.import_module(name)
        except ImportError:
            log.info("This Airflow has no %s.", name)
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    give_back()
    gc.freeze()
    gc.unfreeze = lambda: None


def forget_old_versions() -> None:
    """Let the api-server build the task interface for tasks of this release, and not for those of every earlier one."""
    try:
        cadwyn: Any = importlib.import_module("cadwyn")
        versions: Any = importlib.import_module("airflow.api_fastapi.execution_api.versions")
        kept = list(versions.bundle.versions)[:_VERSIONS]
        for version in versions.bundle.versions:
            for change in version.changes:
                change._bound_version_bundle = None
        kept[-1] = cadwyn.Version(kept[-1].value)
        versions.bundle = cadwyn.VersionBundle(cadwyn.HeadVersion(), *kept)
    except Exception as error:
        log.info("The task interface keeps all its versions: %s", error)


def give_back() -> None:
    """Return to the system what the start took and needs no more."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
