"""`neurocache ctl` on the directory of a stopped member."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from neuro.cli import exit_codes
from neuro.cli.main import main
from neuro.cluster.machine import Op, make_payload
from tests.unit.cluster.test_replica_contract import start_driver


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A member's directory with two keys, and a saved snapshot beside it."""

    async def write() -> None:
        driver, _ = await start_driver(tmp_path / "member")
        await driver.propose(make_payload(Op.PUT, "a", b"1", 0))
        await driver.take_snapshot()
        (tmp_path / "backup").write_bytes(b"".join(driver.open_snapshot()))
        await driver.propose(make_payload(Op.PUT, "b", b"2", 0))
        await driver.close()

    asyncio.run(write())
    return tmp_path / "member"


async def read_keys(directory: Path) -> list[str]:
    driver, machine = await start_driver(directory)
    await driver.read_barrier()
    page = machine.scan("")
    await driver.close()
    assert page is not None
    return [key for key, _ in page.items]


def test_a_whole_directory_is_verified_and_a_damaged_one_refused(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ctl", "wal", "verify", str(directory), "-o", "json"]) == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["cluster_id"], found["node"]) == ("test", 1)
    assert found["snapshot_bytes"] > 0
    segment = min(path for path in directory.iterdir() if "wal" in path.name)
    data = bytearray(segment.read_bytes())
    data[16] ^= 1
    segment.write_bytes(data)
    assert main(["ctl", "wal", "verify", str(directory)]) == exit_codes.FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


def test_a_dump_has_the_commands_in_order(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ctl", "wal", "dump", str(directory), "-o", "jsonl"]) == exit_codes.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    commands = [row for row in rows if row["kind"] == "command"]
    assert "b" in commands[-1]["preview"]
    assert [row["index"] for row in commands] == sorted(row["index"] for row in commands)


def test_a_rescue_wants_to_be_confirmed(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ctl", "cluster", "force-new", str(directory), "--cluster-id", "new"]
    assert main(words) == exit_codes.USAGE
    assert main(["ctl", "wal", "verify", str(directory), "-o", "json"]) == exit_codes.OK
    assert json.loads(capsys.readouterr().out)["cluster_id"] == "test"
    assert main([*words, "--yes", "-o", "json"]) == exit_codes.OK
    assert json.loads(capsys.readouterr().out) == {"cluster_id": "new", "node": 1}


def test_a_saved_snapshot_begins_a_new_cluster(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, fresh = directory.parent / "backup", directory.parent / "fresh"
    words = ["ctl", "snapshot", "restore", str(backup), str(fresh)]
    assert main([*words, "--cluster-id", "test", "--node", "1"]) == exit_codes.OK
    assert asyncio.run(read_keys(fresh)) == ["a"]
    assert main([*words, "--cluster-id", "test", "--node", "1"]) == exit_codes.FAILED


@pytest.mark.parametrize(
    "words",
    [
        ["wal", "dump", "nowhere"],
        ["wal", "verify", "nowhere"],
        ["cluster", "force-new", "nowhere", "--cluster-id", "x", "--yes"],
        ["snapshot", "restore", "nowhere", "empty", "--cluster-id", "x", "--node", "1"],
    ],
)
def test_what_is_not_there_is_a_failure_with_a_sentence(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ctl", *words]) == exit_codes.FAILED
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "nowhere").exists()
