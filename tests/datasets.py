"""Where tests find public data sets, which are too large or not free enough to come with the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "APPLIANCE_DATASETS"
_BESIDE = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def dataset(name: str) -> Path:
    """The file or folder ``name`` of the data sets; the calling test is skipped where it is not to be had.

    It is looked for in the folder that APPLIANCE_DATASETS names, else in ../shared/data beside the repository.
    """
    folder = Path(os.environ.get(VARIABLE, _BESIDE))
    if not (folder / name).exists():
        pytest.skip(f"data set {name} is not in {folder}; set {VARIABLE} to the folder that holds it")
    return folder / name
