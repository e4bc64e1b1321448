"""The description of the API as a page that needs nothing from elsewhere: no script, no font, no address of a CDN."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from appliance.api.problems import TITLES

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f3f4f6; border-radius: 4px; }
code { padding: .1em .3em; } pre { padding: 1rem; overflow-x: auto; }
h2 { border-bottom: 1px solid #d0d7de; margin-top: 2.5rem; } h3 { margin-bottom: .2rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
.role { color: #57606a; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #e6e8eb; } code, pre { background: #24272d; } h2 { border-color: #3a3f47; }
  a { color: #6cb6ff; } .role { color: #9aa4af; }
}
"""

_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ api.info.title }}: API</title><style>{{ style }}</style></head>
<body>
<h1>{{ api.info.title }} {{ api.info.version }}</h1>
{% for paragraph in api.info.description.split("\\n\\n") %}<p>{{ paragraph }}</p>
{% endfor %}
<p>The columns of this box's equipment, with ranges and examples that work, are in <code>/openapi.json</code>:</p>
<pre>curl -H "Authorization: Bearer $TOKEN" {{ "http://127.0.0.1:8000" }}/openapi.json</pre>
{% for tag, operations in groups.items() %}
<h2>{{ tag | capitalize }}</h2>
{% for method, path, operation in operations %}
<h3><code>{{ method }} {{ path }}</code></h3>
<p>{{ operation.summary }}. <span class="role">{{ operation["x-role"] or "no token" }}</span></p>
{% if operation.text %}<p>{{ operation.text }}</p>{% endif %}
{% if operation.parameters %}<table>
{% for parameter in operation.parameters %}<tr><td><code>{{ parameter.name }}</code></td>\
<td>{{ parameter["in"] }}</td><td>{{ parameter.description or "" }}</td></tr>
{% endfor %}</table>{% endif %}
{% endfor %}{% endfor %}
<h2>Problems</h2>
<table>{% for code, title in problems.items() %}
<tr id="problem-{{ code }}"><td><code>{{ code }}</code></td><td>{{ title }}</td></tr>{% endfor %}
</table>
</body></html>
"""


def page(document: Mapping[str, Any]) -> tuple[str, str]:
    """The page, and the policy under which it is to be shown."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            # The role stands beside the summary already.
            text = operation.get("description", "").partition("\n\nRole: ")[0]
            text = "" if text.startswith("Role: ") else text
            groups.setdefault(operation["tags"][0], []).append((method.upper(), path, {**operation, "text": text}))
    rendered = _template().render(api=document, groups=groups, problems=TITLES, style=Markup(_STYLE))  # noqa: S704
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return rendered, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


@lru_cache(maxsize=1)
def _template() -> Any:
    return Environment(autoescape=True, trim_blocks=False).from_string(_PAGE)
