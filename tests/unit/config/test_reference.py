"""The reference page is what the schema says."""

from __future__ import annotations

from pathlib import Path

from neuro.config import OPTIONS
from neuro.config.reference import render_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_in_the_repository_is_up_to_date() -> None:
    hint = "run: python -m neuro.config.reference > docs/reference/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == render_reference(), hint


def test_every_option_says_why_its_default_is_what_it_is() -> None:
    text = render_reference()
    for option in OPTIONS:
        assert f"`{option.flag}`" in text
        assert option.help
        assert option.reason or option.default is None, option.path
