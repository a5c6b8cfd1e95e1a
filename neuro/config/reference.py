"""The reference page of the configuration, made from the schema.

Owns its text: `python -m neuro.config.reference > docs/reference/configuration.md`. A test compares
the page in the repository with what this gives.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from neuro.config.schema import OPTIONS, SECTIONS

if TYPE_CHECKING:
    from neuro.config.option import Option

_INTRODUCTION = """\
# Configuration

Made by `python -m neuro.config.reference`; do not edit by hand.

Every option can be given in three ways. The first of these that sets it wins:

1. a flag of `neurocache serve`,
2. an environment variable,
3. a key in a TOML file: the one named by `--config` or `NEUROCACHE_CONFIG`, else the first that
   exists of `./neurocache.toml`, `$XDG_CONFIG_HOME/neurocache/config.toml` (by default below
   `~/.config`) and `/etc/neurocache/config.toml`. One file is read; files are not merged.

Unknown keys, sections and `NEUROCACHE_*` variables are errors. All faults are reported at once, each
with its file and line. `neurocache serve --check-config` prints what would be in force, and where each
value comes from; it exits with 0, or with 2 when there are faults.

**Values.** Sizes are whole numbers with a unit: `256MiB`, `64KiB`, `10MB`; in the file also plain
bytes. Durations are whole numbers with a unit: `250ms`, `10s`, `5m`, `1h30m`. Relative paths start at
the file's directory, or at the working directory for flags and variables. Secrets stand in files of
their own, never in a value.

```toml
[node]
memory = "2GiB"
data_dir = "/var/lib/neurocache"

[origin]
url = "https://example.org"

[log]
format = "json"
```
"""


def render_reference() -> str:
    """The whole page in Markdown."""
    parts = [_INTRODUCTION]
    for section, section_type in SECTIONS.items():
        parts.append(f"## `[{section}]`\n\n{(section_type.__doc__ or '').strip()}\n")
        parts.extend(_render_option(option) for option in OPTIONS if option.section == section)
    return "\n".join(parts)


def _render_option(option: Option) -> str:
    rows = [f"### `{option.key}`", "", f"{option.help}.", ""]
    rows.append(f"- type: {option.kind.name}{_render_range(option)}")
    default = option.default_text or f"`{option.format(option.default)}`"
    reason = f" ({option.reason})" if option.reason else ""
    rows.append(f"- default: {default}{reason}")
    rows.append(f"- flag: `{option.flag}`, environment: `{option.environment_name}`")
    return "\n".join(rows) + "\n"


def _render_range(option: Option) -> str:
    if option.kind.choices:
        return ", " + " ".join(f"`{name}`" for name in option.kind.choices)
    if option.minimum is None or option.maximum is None:
        return ""
    return f", from `{option.format(option.minimum)}` to `{option.format(option.maximum)}`"


if __name__ == "__main__":
    sys.stdout.write(render_reference())
