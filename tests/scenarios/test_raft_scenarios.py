"""Every story under `raft/` goes as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.raft_script import replay

STORIES = sorted((Path(__file__).parent / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_goes_as_written(path: Path) -> None:
    told = path.read_text()
    assert replay(told) == told
    assert any(not line.startswith((">", "#")) and line.strip() for line in told.splitlines())
