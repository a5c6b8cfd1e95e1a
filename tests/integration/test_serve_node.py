"""A running node: what it serves, and what it says about itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

import neuro
from tests.integration.serving import (
    ServedNode,
    clean_environment,
    request,
    running_origin,
    served,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.serving import Origin


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with running_origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def node(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    directory = tmp_path_factory.mktemp("node")
    with served(directory, "--origin", origin.url, "--access-log") as node:
        yield node


def ctl(node: ServedNode, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "neuro.cli.main", "ctl", *words, "--admin", str(node.admin)]
    return subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), check=False
    )


def metric(node: ServedNode, name: str, **labels: str) -> float:
    status, fields, body = node.get("/metrics", admin=True)
    assert status == 200
    assert fields["content-type"].startswith("text/plain; version=0.0.4")
    return sum(
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_the_second_request_is_a_hit_that_the_metrics_count(
    node: ServedNode, origin: Origin
) -> None:
    before = metric(node, "neurocache_requests_total", cache="hit")
    asked = origin.request_count
    status, fields, body = node.get("/fresh?metrics")
    assert (status, body) == (200, b"hello from the origin")
    assert "cache-status" in fields
    status, fields, body = node.get("/fresh?metrics")
    assert (status, body) == (200, b"hello from the origin")
    assert "hit" in fields["cache-status"]
    assert int(fields["age"]) >= 0
    assert origin.request_count == asked + 1
    wait_until(
        lambda: metric(node, "neurocache_requests_total", cache="hit") == before + 1, "a hit"
    )
    assert metric(node, "neurocache_cache_objects", state="live") >= 1
    assert metric(node, "neurocache_origin_requests_total", origin=origin.url) >= 1
    assert metric(node, "neurocache_build_info", version=neuro.__version__) == 1


def test_readiness_and_health_are_good(node: ServedNode) -> None:
    assert node.get("/healthz", admin=True)[0] == 200
    assert node.get_json("/readyz") == (200, {"ready": True, "reasons": []})
    result = ctl(node, "health")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ready\n", "")


def test_the_object_api_stores_and_the_status_counts_it(node: ServedNode) -> None:
    before = node.get_json("/api/v1/status")[1]["cache"]["objects"]
    assert request(node.edge, "PUT", "/cache/status.txt", b"kept")[0] in (200, 201, 204)
    assert node.get("/cache/status.txt")[2] == b"kept"
    document = node.get_json("/api/v1/status")[1]
    assert document["cache"]["objects"] == before + 1
    assert document["id"] == "1"
    assert document["edge"]["address"] == str(node.edge)
    assert any(row["slots_live"] for row in document["slab"]["size_classes"])


def test_status_has_the_same_figures_in_every_format(node: ServedNode) -> None:
    document = json.loads(ctl(node, "status", "-o", "json").stdout)
    plain = ctl(node, "status", "-o", "plain").stdout
    rows = dict(line.split(" ", 1) for line in plain.splitlines())
    assert rows["version"] == document["version"] == neuro.__version__
    assert rows["slab.arena_bytes"] == str(document["slab"]["arena_bytes"])
    header, row = ctl(node, "status", "-o", "table").stdout.splitlines()
    assert header.split()[:3] == ["ENDPOINT", "ID", "VERSION"]
    assert row.split()[:3] == [str(node.admin), "1", neuro.__version__]


def test_the_status_page_is_served(node: ServedNode) -> None:
    status, fields, body = node.get("/", admin=True)
    assert status == 200
    assert fields["content-type"].startswith("text/html")
    assert b"status.js" in body


def test_the_access_log_has_a_line_for_a_request(node: ServedNode) -> None:
    node.get("/fresh?access")
    wait_until(lambda: node.find("access"), "an access line")
    line = node.find("access")
    assert line is not None
    assert line["status"] == 200
    assert line["logger"] == "neuro.access"


def test_start_says_what_to_try(node: ServedNode, origin: Origin) -> None:
    text = node.output_file.read_text(encoding="utf-8")
    assert f"in front of {origin.url}" in text
    assert f"curl -i http://{node.edge}/" in text
    assert f"http://{node.admin}/" in text
    assert node.log_file.read_text(encoding="utf-8").startswith("{")
