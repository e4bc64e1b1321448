"""How much the tests try: by default as much as each change can wait for, and all of it in ``make soak``."""

from __future__ import annotations

import os

LONG = os.environ.get("APPLIANCE_TESTS_LONG") == "1"


def examples(many: int) -> int:
    """Of Hypothesis, which draws others in every run."""
    return many if LONG else max(min(many, 5), many // 4)
