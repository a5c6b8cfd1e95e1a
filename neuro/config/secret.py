"""Secrets: read from a file, compared in constant time, never shown.

Owns the one type that a secret may travel in. Its text leaves only through `reveal`, which is easy
to search for; `repr`, `str` and format show nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES_MIN = 16  # shorter ones can be guessed over the network
SECRET_BYTES_MAX = 4_096


class Secret:
    """A text that must not be printed."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for whoever has to compare or send it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__


def read_secret(file: Path) -> Secret:
    """The first line of a file, without the white space around it.

    Raises:
        ConfigError: not readable, not one line of printable ASCII, too short or too long.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise _fault(file, f"cannot be read: {error.strerror}") from error
    text = data.strip()
    if len(data) > SECRET_BYTES_MAX or len(text) < SECRET_BYTES_MIN:
        raise _fault(file, f"must hold {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} characters")
    if any(not 0x21 <= byte <= 0x7E for byte in text):
        raise _fault(file, "must hold one line of printable ASCII without spaces")
    return Secret(text.decode("ascii"))


def _fault(file: Path, reason: str) -> ConfigError:
    return ConfigError(f"secret file `{file}` {reason}", faults=(f"`{file}` {reason}",))
