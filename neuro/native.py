"""The one door to the native code in `neuro._core`.

Owns loading and the version check. Never holds state of a slab or engine. It exists so that a
missing or stale build is one clear error instead of an ImportError somewhere inside. Importing this
module loads nothing native: each name is fetched when it is first asked for, so both work:

    from neuro.native import Slab          # loads the extension now
    from neuro import native               # loads nothing; native.Slab loads it
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from neuro.errors import NativeMismatch, NativeMissing

if TYPE_CHECKING:
    from neuro._core.engine import (
        ACCESS_RECORD_BYTES,
        OUTCOME_BYPASS,
        OUTCOME_COLLAPSED,
        OUTCOME_ERROR,
        OUTCOME_HIT,
        OUTCOME_MISS,
        OUTCOME_OBJECT_API,
        OUTCOME_PREFETCHED,
        OUTCOME_REVALIDATED,
        OUTCOME_STALE,
        WRITE_HIGH_BYTES,
        BodyEvent,
        ClosedEvent,
        Engine,
        Event,
        RequestEvent,
        WritableEvent,
    )
    from neuro._core.frame import (
        DEPTH_MAX,
        FRAME_BYTES_MAX,
        HEADER_BYTES,
        ITEM_COUNT_MAX,
        JSON,
        MSGPACK,
        STRING_BYTES_MAX,
        FrameDecoder,
        FrameEncoder,
    )
    from neuro._core.raftlog import RECORD_HEADER_BYTES, RaftLogStore, agreed_index
    from neuro._core.slab import (
        AUTHORIZED_OK,
        BODILESS,
        KEY_BYTES_MAX,
        NEEDS_PYTHON,
        PAGE_BYTES,
        PREFETCHED,
        TIME_NEVER,
        Fill,
        Object,
        Slab,
        crc32c,
    )

__all__ = [
    "ABI_VERSION",
    "ACCESS_RECORD_BYTES",
    "AUTHORIZED_OK",
    "BODILESS",
    "FrameDecoder",
    "FrameEncoder",
    "HEADER_BYTES",
    "ITEM_COUNT_MAX",
    "JSON",
    "KEY_BYTES_MAX",
    "MSGPACK",
    "NEEDS_PYTHON",
    "OUTCOME_BYPASS",
    "OUTCOME_COLLAPSED",
    "OUTCOME_ERROR",
    "OUTCOME_HIT",
    "OUTCOME_MISS",
    "OUTCOME_OBJECT_API",
    "OUTCOME_PREFETCHED",
    "OUTCOME_REVALIDATED",
    "OUTCOME_STALE",
    "PAGE_BYTES",
    "PREFETCHED",
    "RECORD_HEADER_BYTES",
    "TIME_NEVER",
    "WRITE_HIGH_BYTES",
    "BodyEvent",
    "ClosedEvent",
    "DEPTH_MAX",
    "Engine",
    "Event",
    "FRAME_BYTES_MAX",
    "Fill",
    "Object",
    "RaftLogStore",
    "RequestEvent",
    "STRING_BYTES_MAX",
    "Slab",
    "WritableEvent",
    "agreed_index",
    "check_abi_version",
    "crc32c",
    "load",
]

ABI_VERSION = 1
"""The NC_ABI_VERSION of zig/include/neurocache.h that this package is written for."""

_LINKED_MODULE = "neuro._core.slab"
_UNLINKED_MODULES = ("neuro._core.frame", "neuro._core.raftlog")
"""Plain Cython without the native library: a client of a node need not load a slab for it."""
_MODULE_OF_NAME = {
    "neuro._core.slab": (
        "AUTHORIZED_OK BODILESS KEY_BYTES_MAX NEEDS_PYTHON PAGE_BYTES PREFETCHED TIME_NEVER "
        "Fill Object Slab crc32c"
    ),
    "neuro._core.engine": (
        "ACCESS_RECORD_BYTES OUTCOME_BYPASS OUTCOME_COLLAPSED OUTCOME_ERROR OUTCOME_HIT "
        "OUTCOME_MISS OUTCOME_OBJECT_API OUTCOME_PREFETCHED OUTCOME_REVALIDATED OUTCOME_STALE "
        "WRITE_HIGH_BYTES BodyEvent ClosedEvent Engine RequestEvent WritableEvent"
    ),
    "neuro._core.frame": (
        "DEPTH_MAX FRAME_BYTES_MAX HEADER_BYTES ITEM_COUNT_MAX JSON MSGPACK STRING_BYTES_MAX "
        "FrameDecoder FrameEncoder"
    ),
    "neuro._core.raftlog": "RECORD_HEADER_BYTES RaftLogStore agreed_index",
}
_MODULES = {name: module for module, names in _MODULE_OF_NAME.items() for name in names.split()}
# Event is a union that exists for type checkers only.


def __getattr__(name: str) -> object:
    module_name = _MODULES.get(name)
    if module_name is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(load(module_name), name)
    globals()[name] = value
    return value


def load(module_name: str) -> object:
    """The extension module, after its library has passed the version check.

    Raises:
        NativeMissing: it is not built, or cannot be loaded on this machine.
        NativeMismatch: it was built from another version of the header.
    """
    if module_name not in _UNLINKED_MODULES:
        check_abi_version()
    return _import(module_name)


def check_abi_version() -> None:
    """Compares the library's ABI version with the one this package expects.

    Raises:
        NativeMissing: there is no library.
        NativeMismatch: the versions differ.
    """
    found = int(getattr(_import(_LINKED_MODULE), "ABI_VERSION", 0))
    if found != ABI_VERSION:
        raise NativeMismatch(
            f"the native library has ABI version {found}, this package needs {ABI_VERSION}; "
            "build again with `make build`",
            expected=ABI_VERSION,
            found=found,
        )


def _import(module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise NativeMissing(
            f"the native module `{module_name}` cannot be loaded ({error}); "
            "build it with `make build`",
            module=module_name,
        ) from error
