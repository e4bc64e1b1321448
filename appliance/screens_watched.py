"""The screens as a service of systemd: ``python -m appliance.screens_watched URL COMMAND...`` runs the command, and looks at URL.

Streamlit knows nothing of systemd. Its own answer of health comes from the loop that serves every browser, so who hangs
there gives none. Nothing but the standard library is loaded: this process stays as long as the screens do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from appliance import answers, watched

_NOBODY = "The screens do not answer."


def look(url: str) -> str | None:
    """What is wrong with the screens that should answer at ``url``, in one sentence; None where they do."""
    status = answers.status(url)
    if status is None:
        return _NOBODY
    return None if status == 200 else f"The screens answer with {status}."


def main(arguments: Sequence[str]) -> int:
    url, *command = arguments
    return watched.run(command, os.environ, lambda: look(url))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
