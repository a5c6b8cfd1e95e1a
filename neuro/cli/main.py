"""Entry point: chooses the command before anything heavy is imported.

Owns the list of commands and its help. `ctl` has to answer in milliseconds, and typer alone takes
longer than that to load; so the first word decides, and only `serve` loads typer and the server.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import neuro
from neuro.cli import exit_codes
from neuro.cli.messages import print_error, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("serve", "ctl", "version")

_HELP = """\
NeuroCache {version}: a caching edge for any HTTP origin

usage: neurocache COMMAND [OPTIONS]

commands:
  serve     run a node
  ctl       ask a node or a cluster: status, health, put, get, scan, watch, members, ...
  version   print the version

examples:
  neurocache serve --origin http://127.0.0.1:9000
  neurocache serve --config neurocache.toml --check-config
  neurocache ctl status
  neurocache ctl health || echo "not ready"

exit codes:
{exit_codes}

`neurocache COMMAND --help` tells more"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words[0] if words else "--help"
    try:
        return _run(command, words[1:])
    except BrokenPipeError:
        # The reader has left (`neurocache ctl status | head -1`): nothing to say, nobody to tell.
        sys.stderr.close()
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return 130


def _run(command: str, words: list[str]) -> int:
    if command in ("--help", "-h", "help"):
        print(_make_help())
        return exit_codes.OK
    if command in ("--version", "-V", "version"):
        print(f"neurocache {neuro.__version__}")
        return exit_codes.OK
    if command == "ctl":
        from neuro.cli import ctl  # noqa: PLC0415 (light, and only for this command)

        return ctl.main(words)
    if command == "serve":
        from neuro.cli import serve  # noqa: PLC0415 (loads typer)

        return serve.main(words)
    print_error(f"unknown command `{command}`", suggest(command, COMMANDS, prefix="neurocache"))
    return exit_codes.USAGE


def _make_help() -> str:
    lines = (f"  {code:>3}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())
    return _HELP.format(version=neuro.__version__, exit_codes="\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
