"""`neurocache serve`: one flag for each option of the schema, then a node.

Owns the flags and what is printed when a start fails. The flags are made from
`neuro.config.OPTIONS`: an option added there has its flag, help and check without a line here.
"""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuro.cli import exit_codes
from neuro.cli.messages import print_error
from neuro.config import OPTIONS, LoadedConfig, Option, load_config
from neuro.config.kinds import BOOLEAN
from neuro.errors import ConfigError, NativeMissing, NeuroCacheError, StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HELP = """Run a node: a cache in front of an origin, and an object store below /cache/

Stop it with Ctrl-C: requests in flight are finished, a second Ctrl-C ends it at once.

Each option can also stand in the environment (`NEUROCACHE_` and the flag in capitals) and in a
`neurocache.toml`; flags win, then the environment, then the file.
"""
_EPILOG = """Examples:

neurocache serve --origin http://127.0.0.1:9000

neurocache serve --id 2 --origin https://example.org --memory 2GiB --data /var/lib/neurocache

neurocache serve --config neurocache.toml --check-config
"""


def main(words: Sequence[str]) -> int:
    """Runs the command; the exit code."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(help=_HELP, epilog=_EPILOG)(_make_command())
    try:
        app(list(words), prog_name="neurocache serve")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exit_codes.FAILED
    return exit_codes.OK


def _make_command() -> Any:
    """A function whose signature is the list of options."""

    def command(**given: Any) -> None:
        config_file = given.pop("config")
        check_only = given.pop("check_config")
        flags = {
            option.flag: _as_text(given[option.parameter_name])
            for option in OPTIONS
            if given[option.parameter_name] is not None
        }
        raise typer.Exit(serve(flags, config_file=config_file, check_only=check_only))

    parameters = [
        _parameter(
            "config",
            Path | None,
            None,
            typer.Option(
                "--config",
                metavar="FILE",
                help="Configuration file; must exist",
            ),
        ),
        _parameter(
            "check_config",
            bool,
            False,
            typer.Option(
                "--check-config",
                help="Check the configuration, show it with its sources, and exit",
            ),
        ),
        *(_make_parameter(option) for option in OPTIONS),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def _make_parameter(option: Option) -> inspect.Parameter:
    default = option.default_text or option.format(option.default)
    text = f"{option.help} (default: {default})"
    if option.kind is BOOLEAN:
        flag = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
        info = typer.Option(flag, help=text, show_default=False)
        return _parameter(option.parameter_name, bool | None, None, info)
    info = typer.Option(
        option.flag,
        metavar=option.kind.metavar,
        help=text,
        show_default=False,
    )
    return _parameter(option.parameter_name, str | None, None, info)


def _parameter(name: str, kind: Any, default: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def serve(flags: Mapping[str, str], *, config_file: Path | None, check_only: bool) -> int:
    """Loads the configuration, then runs a node or shows what it would run with."""
    try:
        loaded = load_config(flags, os.environ, config_file=config_file)
    except ConfigError as error:
        print_error(error.message)
        for fault in error.faults:
            typer.echo(f"  {fault}", err=True)
        return exit_codes.USAGE
    if check_only:
        _print_effective(loaded)
        return exit_codes.OK
    return _run(loaded)


def _run(loaded: LoadedConfig) -> int:
    try:
        from neuro.server.lifecycle import run_node  # noqa: PLC0415 (loads the server)

        return run_node(loaded.config)
    except ConfigError as error:
        print_error(error.message)
        return exit_codes.USAGE
    except StartError as error:
        print_error(error.message, error.hint)
    except NativeMissing as error:
        print_error(error.message, "make build")
    except NeuroCacheError as error:
        print_error(error.message)
    return exit_codes.FAILED


def _print_effective(loaded: LoadedConfig) -> None:
    if not sys.stdout.isatty():
        typer.echo(render_effective(loaded))
        return
    console = Console(highlight=False)
    console.print("OK", style="bold")
    console.print(f"file: {loaded.file or 'none'}", markup=False)
    console.print(make_effective_table(loaded))


def make_effective_table(loaded: LoadedConfig) -> Table:
    """The same for a terminal; what somebody has set is bold, defaults are not."""
    table = Table("option", "value", "set by", box=None, pad_edge=False)
    for value in loaded.values:
        style = "" if value.source == "default" else "bold"
        cells = (value.option.path, value.option.format(value.value), value.source)
        table.add_row(*(Text(cell, style) for cell in cells))
    return table


def render_effective(loaded: LoadedConfig) -> str:
    """`OK`, then each option with its value and where that comes from, in aligned columns."""
    rows = [
        (value.option.path, value.option.format(value.value), value.source)
        for value in loaded.values
    ]
    name_width = max(len(row[0]) for row in rows)
    value_width = max(len(row[1]) for row in rows)
    lines = [
        f"{name:<{name_width}}  {value:<{value_width}}  {source}" for name, value, source in rows
    ]
    file = f"file: {loaded.file}" if loaded.file else "file: none"
    return "\n".join(["OK", file, *lines])
