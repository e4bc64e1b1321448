"""``docs/settings.md``, made from the settings themselves: ``python -m appliance.cli.settings_page``."""

from __future__ import annotations

import sys
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from appliance.settings import Settings

HEAD = """# Settings

Facts about one box. They stand in `appliance.toml`, whose path is in the environment variable `APPLIANCE_CONFIG`
(`/etc/appliance/appliance.toml` where that exists); an environment variable `APPLIANCE_<NAME>` is above the file.
What describes a machine stands in its profile instead. A setting that does not exist, or a value that it cannot take,
is refused by name. This page is made by `make generate`.

| setting | default | may be | what it says |
| --- | --- | --- | --- |
"""


def page() -> str:
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    default = "" if field.default is None else f"`{field.default}`"
    return f"| `{name}` | {default} | {_bounds(field)} | {field.description} |\n"


def _bounds(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    found = []
    for rule in field.metadata:
        for kind, word, key in ((Ge, "from", "ge"), (Gt, "above", "gt"), (Le, "to", "le"), (Lt, "below", "lt")):
            if isinstance(rule, kind):
                found.append(f"{word} {getattr(rule, key):g}")
    return " ".join(found)


if __name__ == "__main__":
    sys.stdout.write(page())
