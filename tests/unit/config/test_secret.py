"""Secrets: what is accepted, and that they never show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from neuro.config.secret import read_secret
from neuro.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_never_shows_in_text(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("correct-horse-battery\n", encoding="ascii")
    secret = read_secret(file)
    assert secret.reveal() == "correct-horse-battery"
    assert "correct" not in f"{secret} {secret!r} {[secret]}"


@pytest.mark.parametrize(
    "data", [b"", b"short", b"x" * 5000, b"two words of it here", b"\xff" * 20]
)
def test_a_weak_or_odd_secret_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(data)
    with pytest.raises(ConfigError):
        read_secret(file)


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_secret(tmp_path / "nowhere")
