"""The status page and what feeds it cannot drift apart."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from neuro.clock import ManualClock
from tests.unit.server.test_status import make_status
from tests.unit.telemetry.samples import upstream_stats

STATIC = resources.files("neuro.admin") / "static"
PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
SCRIPT = (STATIC / "status.js").read_text(encoding="utf-8")
STYLE = (STATIC / "status.css").read_text(encoding="utf-8")


def test_every_element_that_the_script_fills_is_on_the_page() -> None:
    used = set(re.findall(r'(?:byId|show|fill)\("([\w-]+)"', SCRIPT))
    assert used
    assert used <= set(re.findall(r'id="([\w-]+)"', PAGE))


def test_every_figure_that_the_script_reads_is_in_the_status_document() -> None:
    document = make_status(ManualClock(), {"http://o": upstream_stats()}).describe()
    parts = {
        "status": document,
        "edge": document["edge"],
        "cache": document["cache"],
        "slab": document["slab"],
        "item": document["slab"]["size_classes"][0],
        "origin": document["origins"][0],
    }
    for name, part in parts.items():
        used = set(re.findall(rf"\b{name}\.([a-z_]+)", SCRIPT))
        assert used, name
        assert used <= set(part), name


def test_colours_have_enough_contrast_in_both_schemes() -> None:
    schemes = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for text in ("ink", "muted", "blue", "orange"):
            for ground in ("page", "card"):
                assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_contrast_formula_is_the_one_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_table_and_picture_has_a_name() -> None:
    assert PAGE.count("<table>") == PAGE.count("<caption>")
    assert PAGE.count("<svg") == PAGE.count("aria-label=")
    assert PAGE.count("<section") == PAGE.count("aria-labelledby=")
    assert 'lang="en"' in PAGE
