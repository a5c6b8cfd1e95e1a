"""Logs: both formats, fields, and a queue that never blocks."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from neuro.telemetry import logs
from neuro.telemetry.logs import TRACE, ConsoleFormatter, JsonFormatter, start_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restored_levels() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("neuro")
    levels = root.level, own.level
    yield
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def write(level: str = "info", log_format: str = "json") -> tuple[io.StringIO, logs.LogPipe]:
    stream = io.StringIO()
    return stream, start_logs(level, log_format, node_id=7, stream=stream)


def test_a_json_line_carries_the_fields_given_as_extra() -> None:
    stream, pipe = write()
    logging.getLogger("neuro.test").info("stored %s", "it", extra={"bytes": 5, "key": b"a\xff"})
    pipe.stop()
    line = json.loads(stream.getvalue())
    assert line["event"] == "stored it"
    assert (line["level"], line["logger"], line["node"]) == ("info", "neuro.test", 7)
    assert (line["bytes"], line["key"]) == (5, "a\\xff")
    assert line["ts"].endswith("Z")
    assert set(line) == {"ts", "level", "event", "logger", "node", "bytes", "key"}


def test_an_exception_stands_in_its_own_field() -> None:
    stream, pipe = write()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("neuro.test").exception("failed")
    pipe.stop()
    line = json.loads(stream.getvalue())
    assert line["event"] == "failed"
    assert "ValueError: broken" in line["exception"]


def test_trace_is_below_debug_and_off_by_default() -> None:
    logger = logging.getLogger("neuro.test")
    stream, pipe = write("debug")
    logger.log(TRACE, "frame")
    logger.debug("election")
    pipe.stop()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["election"]
    stream, pipe = write("trace")
    logger.log(TRACE, "frame")
    pipe.stop()
    assert json.loads(stream.getvalue())["level"] == "trace"


def test_libraries_speak_from_warning_on() -> None:
    stream, pipe = write("trace")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.error").warning("matter")
    pipe.stop()
    assert json.loads(stream.getvalue())["event"] == "matter"


def test_a_stream_that_is_no_terminal_gets_json_by_itself() -> None:
    stream, pipe = write(log_format="auto")
    logging.getLogger("neuro.test").info("x")
    pipe.stop()
    assert stream.getvalue().startswith("{")


def test_input_cannot_forge_a_console_line() -> None:
    record = logging.makeLogRecord({"msg": "a\nb\x1b[2J", "levelname": "INFO", "path": "x\ry z"})
    line = ConsoleFormatter(is_colored=False).format(record)
    assert "a\\nb\\x1b[2J" in line
    assert line.endswith('path="x\\ry z"')
    assert len(line.splitlines()) == 1


def test_colour_only_repeats_the_word() -> None:
    record = logging.makeLogRecord({"msg": "x", "levelname": "ERROR"})
    plain = ConsoleFormatter(is_colored=False).format(record)
    colored = ConsoleFormatter(is_colored=True).format(record)
    assert "ERROR" in plain
    assert colored.replace("\033[31m", "").replace("\033[0m", "") == plain


def test_json_lines_stay_single_lines() -> None:
    record = logging.makeLogRecord({"msg": "a\nb", "levelname": "INFO", "thing": object()})
    assert "\n" not in JsonFormatter(1).format(record)


def test_a_slow_stream_loses_lines_and_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_RECORDS_MAX", 4)
    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(10)
            return super().write(text)

    pipe = start_logs("info", "json", node_id=1, stream=Stuck())
    for number in range(20):
        logging.getLogger("neuro.test").info("line", extra={"number": number})
    assert pipe.dropped >= 20 - 4 - 1
    gate.set()
    pipe.stop()
    pipe.stop()
