"""What the program's exit code says. Scripts depend on these: a meaning never changes.

Owns the table; `neurocache --help` prints it.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
UNHEALTHY: Final = 5
COMPARE_FAILED: Final = 6
UNKNOWN: Final = 7
TIMEOUT: Final = 8

MEANINGS: Final = {
    OK: "done",
    FAILED: "failed, see the message",
    USAGE: "wrong arguments or configuration",
    NOT_FOUND: "what was asked for does not exist",
    UNREACHABLE: "the node does not answer",
    UNHEALTHY: "the node answers, and says that it is not ready",
    COMPARE_FAILED: "a comparison failed, nothing was written",
    UNKNOWN: "the command may have had its effect, or may yet have it",
    TIMEOUT: "the node answered too slowly",
    130: "ended by a second SIGINT; 143: by a second SIGTERM",
}
