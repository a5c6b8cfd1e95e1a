"""The reference page of the metrics, made from the families that a scrape gives.

Owns its text. A test compares the page in the repository with what this gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

_INTRODUCTION = """\
# Metrics

Made by `python -m tests.unit.telemetry.samples`; do not edit by hand.

`GET /metrics` on the admin port gives the Prometheus text format. Figures are read at the scrape
from where they are counted; counting costs a hit nothing extra. Labels come from fixed lists and
from the configuration, never from clients. The usual `process_*` metrics are there as well.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def render_metrics_reference(families: Iterable[Metric]) -> str:
    """The whole page in Markdown."""
    return _INTRODUCTION + "".join(_render_family(family) for family in families)


def _render_family(family: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    shown = ", ".join(f"`{label}`" for label in labels)
    return f"| `{family.name}{suffix}` | {family.type} | {shown} | {family.documentation} |\n"
