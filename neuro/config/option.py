"""What one option is: the record that flags, environment, file, checks and reference page share.

Owns the record, and the field function that puts it into a dataclass. Knows no particular option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.config.kinds import Kind

Values = Mapping[str, Any]
"""Values by path; what derived defaults may look at."""


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set. Its range is in the value's unit: count, bytes, milliseconds."""

    section: str
    key: str
    attribute: str
    kind: Kind
    help: str
    reason: str
    default: Any
    default_text: str
    flag: str
    minimum: int | None
    maximum: int | None
    derive: Callable[[Values], Any] | None

    @property
    def path(self) -> str:
        """The name in the file, `section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def environment_name(self) -> str:
        """The environment variable: the flag in capitals."""
        return "NEUROCACHE_" + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def parameter_name(self) -> str:
        """The flag as an identifier, as the command line hands it over."""
        return self.flag.removeprefix("--").replace("-", "_")

    def format(self, value: Any) -> str:
        """The value as an operator writes it; `none` where nothing is set."""
        return "none" if value is None else self.kind.format(value)


def option(
    kind: Kind,
    text: str,
    *,
    reason: str = "",
    default: Any = None,
    default_text: str = "",
    key: str = "",
    flag: str = "",
    minimum: int | None = None,
    maximum: int | None = None,
    derive: Callable[[Values], Any] | None = None,
) -> Any:
    """A dataclass field that carries its option."""
    facts = {
        "kind": kind,
        "help": text,
        "reason": reason,
        "default": default,
        "default_text": default_text,
        "key": key,
        "flag": flag,
        "minimum": minimum,
        "maximum": maximum,
        "derive": derive,
    }
    return dataclasses.field(metadata={"option": facts})
