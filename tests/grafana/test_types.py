"""The dashboards against the types that Grafana publishes (``@grafana/schema``), by TypeScript's own compiler.

Neither is part of the lock. To have them: ``npm install --prefix FOLDER @grafana/schema typescript``, and
``APPLIANCE_GRAFANA_TYPES=FOLDER`` for the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from grafana import files

FOLDER = os.environ.get("APPLIANCE_GRAFANA_TYPES", "")
pytestmark = pytest.mark.skipif(
    not (Path(FOLDER) / "node_modules" / "@grafana" / "schema").is_dir(),
    reason="Grafana's types are not here: npm install --prefix FOLDER @grafana/schema typescript, then"
    " APPLIANCE_GRAFANA_TYPES=FOLDER",
)

_HEAD = """\
import type { Dashboard, Panel } from '@grafana/schema';
import type { Options as StatOptions } from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen.js';
import type { Options as TableOptions, FieldConfig as TableField } from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen.js';
import type { Options as SeriesOptions, FieldConfig as SeriesField } from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen.js';
import type { Options as BarOptions, FieldConfig as BarField } from './node_modules/@grafana/schema/dist/types/raw/composable/barchart/panelcfg/x/types.gen.js';
import type { Options as TextOptions } from './node_modules/@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen.js';
// JSON holds the words that the enumerations stand for.
type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Plain<U>> : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""
_OPTIONS = {"stat": "Stat", "table": "Table", "timeseries": "Series", "barchart": "Bar", "text": "Text"}
# What older releases want, and the types of today have no more.
_OLD_WORDS = ("definition",)


def test_dashboards_are_of_the_published_types(tmp_path: Path) -> None:
    complaints = compiled(tmp_path, {uid: one.as_json() for uid, one in ((d.uid, d) for d in files.DASHBOARDS)})
    assert not complaints, "\n".join(complaints)


def test_what_is_of_another_type_is_found(tmp_path: Path) -> None:
    """Or a compiler that looks at nothing would be content with everything."""
    for number, spoil in enumerate(
        (
            lambda d: d["panels"][1]["options"].update(colorMode="pink"),
            lambda d: d["panels"][1]["options"].update(colourMode="value"),
            lambda d: d["panels"][1].update(gridPos={"x": "0"}),
            lambda d: d.update(graphTooltip="both"),
            lambda d: d.update(nonsense=1),
        )
    ):
        dashboard = files.DASHBOARDS[1].as_json()
        spoil(dashboard)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert compiled(folder, {"spoiled": dashboard}), number


def compiled(folder: Path, dashboards: dict[str, Any]) -> list[str]:
    lines = [_HEAD]
    for uid, dashboard in dashboards.items():
        name = uid.replace("-", "_")
        lines.append(f"export const {name}: Plain<Dashboard> = {json.dumps(_without_old(dashboard))};")
        for panel in dashboard["panels"]:
            kind, number = _OPTIONS[panel["type"]], panel["id"]
            targets = json.dumps({**panel, "options": {}, "fieldConfig": {"defaults": {}, "overrides": []}})
            lines.append(f"export const {name}_{number}: Plain<Panel> = {targets};")
            lines.append(
                f"export const {name}_{number}_options: Plain<Partial<{kind}Options>> = {json.dumps(panel['options'])};"
            )
            custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
            if custom is not None:
                lines.append(f"export const {name}_{number}_field: Plain<Partial<{kind}Field>> = {json.dumps(custom)};")
    (folder / "dashboards.ts").write_text("\n".join(lines))
    (folder / "node_modules").symlink_to(Path(FOLDER).absolute() / "node_modules")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--types", ""]
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", *options, "dashboards.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    return done.stdout.splitlines()


def _without_old(dashboard: dict[str, Any]) -> dict[str, Any]:
    variables = [
        {name: value for name, value in variable.items() if name not in _OLD_WORDS}
        for variable in dashboard["templating"]["list"]
    ]
    # A query of an annotation is typed as one of any data source: what it asks is checked by running it.
    notes = [
        {**note, "target": {"refId": note["target"]["refId"], "datasource": note["target"]["datasource"]}}
        for note in dashboard["annotations"]["list"]
    ]
    return {**dashboard, "templating": {"list": variables}, "annotations": {"list": notes}}
