"""Logs: levels, two formats, and a thread that writes.

Owns the set-up of `logging` for the process. Modules log with `logging.getLogger("neuro.AREA")` and
give facts as `extra={...}`; they become fields. TRACE is for frames, DEBUG for decisions, INFO for
changes of state, WARNING for what an operator should look at, ERROR for what was lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import queue
import threading
from datetime import UTC, datetime
from typing import IO, Final

TRACE: Final = 5
QUEUE_RECORDS_MAX = 8_192
"""Records that may wait for a slow stderr; further ones are dropped and counted."""
STOP_TIMEOUT_S = 2
"""How long the end of the process waits for a stream that does not take its lines."""

LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_OWN_LOGGER = "neuro"
_STANDARD_ATTRIBUTES = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
)
_COLORS = {"TRACE": "2", "DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, event, logger, node, then the record's fields."""

    def __init__(self, node_id: int) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        """The line, without line feed. Values that JSON does not know become text."""
        line: dict[str, object] = {
            "ts": _timestamp(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "node": self._node_id,
        }
        line.update((name, _plain(value)) for name, value in fields_of(record).items())
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


class ConsoleFormatter(logging.Formatter):
    """A line for people: time, level, sentence, fields. Colour repeats what the word says."""

    def __init__(self, *, is_colored: bool) -> None:
        super().__init__()
        self._is_colored = is_colored

    def format(self, record: logging.LogRecord) -> str:
        """The line; control characters are escaped so that input cannot forge lines."""
        time = _timestamp(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<7}"
        if self._is_colored:
            level = f"\033[{_COLORS.get(record.levelname, '0')}m{level}\033[0m"
        fields = "".join(f" {name}={_shown(value)}" for name, value in fields_of(record).items())
        line = f"{time} {level} {_printable(record.getMessage())}{fields}"
        return f"{line}\n{record.exc_text}" if record.exc_text else line


class _BoundedQueueHandler(logging.handlers.QueueHandler):
    """Hands records to the writing thread; drops and counts when that one cannot keep up."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(records)
        self.records = records
        self.dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Makes the texts here, where the arguments are still what they were."""
        record.msg = record.getMessage()
        record.args = None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        return record


class _Writer(threading.Thread):
    """Writes records until it meets None. A daemon: a stuck stderr must not keep the process."""

    def __init__(
        self, records: queue.Queue[logging.LogRecord | None], out: logging.Handler
    ) -> None:
        super().__init__(name="logs", daemon=True)
        self._records = records
        self._out = out

    def run(self) -> None:
        while (record := self._records.get()) is not None:
            self._out.handle(record)

    def stop(self) -> None:
        """Lets it write what waits, for up to STOP_TIMEOUT_S."""
        with contextlib.suppress(queue.Full):
            self._records.put(None, timeout=STOP_TIMEOUT_S)
            self.join(STOP_TIMEOUT_S)


class LogPipe:
    """The running set-up; `stop()` writes what waits and restores the loggers."""

    def __init__(self, handler: _BoundedQueueHandler, output: logging.Handler) -> None:
        self._handler = handler
        self._writer = _Writer(handler.records, output)
        self._writer.start()
        self._is_running = True

    @property
    def dropped(self) -> int:
        """Records lost because stderr was too slow."""
        return self._handler.dropped

    def stop(self) -> None:
        """Idempotent."""
        if self._is_running:
            self._is_running = False
            logging.getLogger().removeHandler(self._handler)
            self._writer.stop()


def start_logs(level: str, log_format: str, *, node_id: int, stream: IO[str]) -> LogPipe:
    """Sends all logging of the process to `stream` through a thread.

    Args:
        level: A name of LEVELS, for our own loggers; those of libraries start at WARNING.
        log_format: `console`, `json`, or `auto`: console when the stream is a terminal.
        node_id: Stands in every JSON line.
        stream: Usually stderr; stdout is for data.
    """
    logging.addLevelName(TRACE, "TRACE")
    is_terminal = stream.isatty()
    if log_format == "auto":
        log_format = "console" if is_terminal else "json"
    output = logging.StreamHandler(stream)
    if log_format == "json":
        output.setFormatter(JsonFormatter(node_id))
    else:
        is_colored = is_terminal and not os.environ.get("NO_COLOR")
        output.setFormatter(ConsoleFormatter(is_colored=is_colored))
    handler = _BoundedQueueHandler(queue.Queue(QUEUE_RECORDS_MAX))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN_LOGGER).setLevel(LEVELS[level])
    return LogPipe(handler, output)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def _timestamp(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _plain(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    text = _printable(str(_plain(value)))
    return f'"{text}"' if " " in text or not text else text


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
