"""``python -m grafana``: write the files that Grafana reads."""

from __future__ import annotations

import sys
from pathlib import Path

from grafana import files


def main() -> int:
    here = Path(__file__).parent
    for name, content in files.all_files().items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
