"""The command line of `neurocache ctl`: options all verbs share, and how a verb is added.

Owns that frame. Loads nothing but argparse and the small modules of units and errors.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuro.cli.rows import FORMATS
from neuro.cli.store_link import StoreLink
from neuro.errors import UnitError
from neuro.units import parse_address, parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuro.units import Address

DEFAULT_ENDPOINTS: Final = "127.0.0.1:3001"


def argument(parse: Any) -> Any:
    """A parser of `neuro.units` as argparse wants one."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except UnitError as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return convert


duration_ms = argument(parse_duration_ms)


def whole_number(text: str) -> int:
    """0 or more."""
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number of 0 or more")
    return int(text)


@argument
def parse_endpoints(text: str) -> list[Address]:
    """Addresses with commas between them."""
    return [parse_address(item) for item in text.split(",")]


class Verbs:
    """Where verbs are added; each has the options shared by all."""

    def __init__(self, parser: argparse.ArgumentParser, dest: str) -> None:
        self._verbs = parser.add_subparsers(dest=dest, required=True, metavar=dest.upper())

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str, *, epilog: str = ""
    ) -> argparse.ArgumentParser:
        """Adds a verb; `run` gets the parsed words and gives the exit code."""
        parser: argparse.ArgumentParser = self._verbs.add_parser(
            name,
            help=text,
            description=text[:1].upper() + text[1:],
            epilog=epilog or None,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_store_options(parser)
        parser.set_defaults(run=run)
        return parser

    def add_group(self, name: str, text: str) -> Verbs:
        """Adds a word that is followed by a verb."""
        parser = self._verbs.add_parser(
            name, help=text, description=text[:1].upper() + text[1:], allow_abbrev=False
        )
        return Verbs(parser, "subverb")


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Where the members are, and how to show what they say."""
    parser.add_argument(
        "--endpoints",
        metavar="HOST:PORT,...",
        type=parse_endpoints,
        default=os.environ.get("NEUROCACHE_ENDPOINTS", DEFAULT_ENDPOINTS),
        help=f"client addresses (default: $NEUROCACHE_ENDPOINTS or {DEFAULT_ENDPOINTS})",
    )
    parser.add_argument(
        "--tls",
        metavar="CA,CERT,KEY",
        default=os.environ.get("NEUROCACHE_TLS", ""),
        help="files of a client certificate (default: $NEUROCACHE_TLS, else in clear)",
    )
    add_shown_options(parser)


def add_shown_options(parser: argparse.ArgumentParser) -> None:
    """How long to wait, and how to show the answer."""
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=duration_ms,
        default="5s",
        help="how long to wait for the answer (default: 5s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=FORMATS,
        help="table on a terminal, else plain: tabs between the cells, no head",
    )


def open_link(options: argparse.Namespace) -> StoreLink:
    """The connection that the options describe."""
    tls = None
    if options.tls:
        from neuro.cluster.ca import (  # noqa: PLC0415 (loads cryptography, for TLS only)
            CertificateError,
            TlsFiles,
            make_client_context,
        )

        files = options.tls.split(",")
        if len(files) != 3:
            raise CertificateError("`--tls` takes three files: CA,CERT,KEY")
        tls = make_client_context(TlsFiles(*(Path(name) for name in files)))
    return StoreLink(options.endpoints, timeout_ms=options.timeout, tls=tls)
