"""Every request that the node accepts means the same to h11 and to nginx.

The dangerous direction only: to refuse what others accept is fine, to read it otherwise is request
smuggling. A thousand cases run in the suite with a new seed each time; more with

    NEUROCACHE_FUZZ_CASES=20000 python -m pytest tests/fuzz/test_request_differential.py

A failure prints the command that repeats it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.request_grammar import Grammar
from tests.fuzz.request_readers import (
    END,
    Meaning,
    Sender,
    read_with_h11,
    running_nginx,
    without_port,
)
from tests.integration.serving import served
from tests.recording_origin import RecordingOrigin

CASE_COUNT = 1000


def find_difference(ours: list[Meaning], h11s: list[Meaning], nginxs: list[Meaning]) -> str | None:
    """What the node read otherwise than the others, or None. Each list holds what that reader accepted."""
    for index, mine in enumerate(ours):
        if index >= len(h11s):
            return f"request {index} exists for the node only: {mine}; h11 ended before"
        if mine != h11s[index]:
            return f"request {index}: {mine}, but h11: {h11s[index]}"
    is_whole = bool(ours) and ours[-1].target == b"/end"
    for index, theirs in enumerate(nginxs):
        if index >= len(ours):
            if is_whole:
                return f"request {index} exists for nginx only: {theirs}"
            break  # the node refused it: stricter
        mine = replace(ours[index], authority=without_port(ours[index].authority))
        if mine != theirs:
            return f"request {index}: {mine}, but nginx: {theirs}"
    return None


@pytest.mark.needs("nginx")
def test_accepted_requests_mean_the_same_to_h11_and_nginx(tmp_path: Path) -> None:
    """Scenario line 12."""
    seed = int(os.environ.get("NEUROCACHE_TEST_SEED", random.randrange(1 << 32)))
    case_count = int(os.environ.get("NEUROCACHE_FUZZ_CASES", CASE_COUNT))
    counts: Counter[str] = Counter()
    grammar = Grammar(seed)
    with (
        RecordingOrigin() as origin,
        RecordingOrigin() as nginx_origin,
        served(tmp_path, "--origin", origin.url) as node,
        running_nginx(tmp_path, nginx_origin) as nginx_port,
    ):
        node_sender = Sender(node.edge.port, origin)
        nginx_sender = Sender(nginx_port, nginx_origin)
        for tag in range(case_count):
            data = grammar.case(tag) + END
            h11s, ending = read_with_h11(data)
            ours, received = node_sender.read(data)
            nginxs, _ = nginx_sender.read(data) if ours else ([], b"")
            difference = find_difference(ours, h11s, nginxs)
            assert difference is None, (
                f"{difference}\ncase {tag}: {data!r}\nh11: {h11s} {ending}\nnginx: {nginxs}\n"
                f"answers: {received!r}\n"
                f"repeat: NEUROCACHE_TEST_SEED={seed} NEUROCACHE_FUZZ_CASES={tag + 1} "
                f"python -m pytest {Path(__file__).name}"
            )
            counts["accepted"] += len(ours)
            counts["compared with nginx"] += min(len(ours), len(nginxs))
            counts["refused"] += len(ours) < len(h11s)
            counts["bodies"] += sum(bool(request.body) for request in ours)
    # The grammar would prove nothing if hardly anything were accepted, or hardly anything refused.
    assert counts["accepted"] > case_count / 2, counts
    assert counts["compared with nginx"] > case_count / 3, counts
    assert counts["bodies"] > case_count / 20, counts
    assert counts["refused"] > case_count / 50, counts
    print(f"seed {seed}, {case_count} cases: {dict(counts)}")
