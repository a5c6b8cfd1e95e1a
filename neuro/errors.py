"""Every expected failure of NeuroCache, as one tree of types.

Owns the types, their stable codes and their facts. Never formats for a screen and never logs: that
is the business of whoever catches. Broken invariants are not here: those go through
`neuro.checks.check`.

    NeuroCacheError                 code                    facts
    ├── ConfigError                 config_invalid          faults
    ├── UnitError                   unit_invalid            text
    ├── StartError                  start_failed            hint
    │   └── AddressInUse            address_in_use          address, option
    ├── NativeError                 native_error
    │   ├── NativeMissing           native_missing          module
    │   └── NativeMismatch          native_mismatch         expected, found
    ├── SlabError                   slab_error
    │   ├── SlabFull                slab_full               requested_bytes
    │   ├── SlabBusy                slab_busy               pins
    │   ├── SlabClosed              slab_closed
    │   ├── ObjectTooLarge          object_too_large        requested_bytes, bytes_max
    │   ├── WrongState              wrong_state             operation
    │   ├── IncompleteBody          incomplete_body         expected_bytes, received_bytes
    │   └── InvalidArgument         invalid_argument        argument
    ├── EngineError                 engine_error
    │   ├── EngineClosed            engine_closed
    │   └── EngineFull              engine_full
    ├── HttpSyntaxError             http_syntax             section
    │   ├── InvalidFieldError       invalid_field           name, value
    │   └── InvalidTargetError      invalid_target          target
    ├── UpstreamError               upstream_error          origin, is_retryable
    │   ├── UpstreamConnectError    upstream_unreachable
    │   ├── UpstreamTimeout         upstream_timeout        phase, timeout_ms
    │   ├── UpstreamProtocolError   upstream_protocol
    │   ├── UpstreamClosed          upstream_closed         received_bytes
    │   └── UpstreamBusy            upstream_busy           limit
    ├── FrameError                  frame_error             reason, offset
    │   ├── FrameTooLarge           frame_too_large         size_bytes, bytes_max
    │   ├── FrameMalformed          frame_malformed
    │   └── FrameTruncated          frame_truncated         missing_bytes
    └── AdminError                  admin_error             url
        ├── AdminUnreachable        admin_unreachable
        └── AdminTimeout            admin_timeout           timeout_ms

A code never changes once released: operators, dashboards and clients match on it. Facts are keyword
arguments of the constructor and attributes of the exception:

    raise ObjectTooLarge("body exceeds the limit", requested_bytes=length, bytes_max=limit)
"""

from __future__ import annotations

from typing import ClassVar


class NeuroCacheError(Exception):
    """An expected failure: a stable `code`, a sentence for people, and facts as attributes.

    Raises:
        TypeError: a fact is given that the class does not declare.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "", /, **facts: object) -> None:
        super().__init__(message or self.code.replace("_", " "))
        for name, value in facts.items():
            if name in ("code", "args") or not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no fact named {name!r}")
            setattr(self, name, value)

    @property
    def message(self) -> str:
        """The sentence for people, without full stop."""
        return str(self.args[0])


class ConfigError(NeuroCacheError):
    """The configuration has faults; `faults` holds one line of text for each."""

    code = "config_invalid"
    faults: tuple[str, ...] = ()


class UnitError(NeuroCacheError, ValueError):
    """A text is not a size, duration or address; `text` is what was given."""

    code = "unit_invalid"
    text: str = ""


class StartError(NeuroCacheError):
    """The node could not start; `hint` says what to do about it, or is empty."""

    code = "start_failed"
    hint: str = ""


class AddressInUse(StartError):
    """Another process listens on `address`; `option` is the setting that chooses another."""

    code = "address_in_use"
    address: str = ""
    option: str = ""


class NativeError(NeuroCacheError):
    """The native library cannot be used, or failed in a way that has no better name."""

    code = "native_error"


class NativeMissing(NativeError):
    """The extension `module` is not built or cannot be loaded."""

    code = "native_missing"
    module: str = ""


class NativeMismatch(NativeError):
    """The extension was built for another version of the C ABI."""

    code = "native_mismatch"
    expected: int = 0
    found: int = 0


class SlabError(NeuroCacheError):
    """A failure of the slab."""

    code = "slab_error"


class SlabFull(SlabError):
    """Nothing could be evicted: every byte is pinned or filling."""

    code = "slab_full"
    requested_bytes: int = 0


class SlabBusy(SlabError):
    """The slab cannot close while objects are pinned, filling or exported as buffers."""

    code = "slab_busy"
    pins: int = 0


class SlabClosed(SlabError):
    """The slab is closed already."""

    code = "slab_closed"


class ObjectTooLarge(SlabError):
    """A body is larger than `bytes_max`, or than the length that was promised."""

    code = "object_too_large"
    requested_bytes: int = 0
    bytes_max: int = 0


class WrongState(SlabError):
    """`operation` does not fit the object's or request's state, e.g. publish after abort."""

    code = "wrong_state"
    operation: str = ""


class IncompleteBody(SlabError):
    """Fewer body bytes arrived than were promised."""

    code = "incomplete_body"
    expected_bytes: int = 0
    received_bytes: int = 0


class InvalidArgument(SlabError, ValueError):
    """An argument is outside the range that the native library documents."""

    code = "invalid_argument"
    argument: str = ""


class EngineError(NeuroCacheError):
    """A failure of the edge engine."""

    code = "engine_error"


class EngineClosed(EngineError):
    """The engine has been stopped."""

    code = "engine_closed"


class EngineFull(EngineError):
    """A bounded queue of the engine is full."""

    code = "engine_full"


class HttpSyntaxError(NeuroCacheError, ValueError):
    """A message does not follow the grammar; `section` cites the rule it breaks."""

    code = "http_syntax"
    section: str = ""


class InvalidFieldError(HttpSyntaxError):
    """A field line is malformed."""

    code = "invalid_field"
    name: str = ""
    value: str = ""


class InvalidTargetError(HttpSyntaxError):
    """A request target or target URI is malformed."""

    code = "invalid_target"
    target: str = ""


class UpstreamError(NeuroCacheError):
    """An origin failed; `is_retryable` is true when no byte of an answer had arrived."""

    code = "upstream_error"
    origin: str = ""
    is_retryable: bool = False


class UpstreamConnectError(UpstreamError):
    """No connection to the origin could be made."""

    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamError):
    """The origin took longer than `timeout_ms` in `phase` (connect, send, head, body)."""

    code = "upstream_timeout"
    phase: str = ""
    timeout_ms: int = 0


class UpstreamProtocolError(UpstreamError):
    """The origin's answer is not valid HTTP/1.1, or exceeds a limit."""

    code = "upstream_protocol"


class UpstreamClosed(UpstreamError):
    """The origin closed the connection before its answer was complete."""

    code = "upstream_closed"
    received_bytes: int = 0


class UpstreamBusy(UpstreamError):
    """Every connection that the limit allows is in use, and the queue is full."""

    code = "upstream_busy"
    limit: int = 0


class FrameError(NeuroCacheError, ValueError):
    """A frame of the client or Raft protocol cannot be read or written.

    `reason` is a stable word such as `key_duplicate`; `offset` counts bytes of the stream when
    reading and bytes of the frame when writing.
    """

    code = "frame_error"
    reason: str = ""
    offset: int = 0


class FrameTooLarge(FrameError):
    """A frame announces more than `bytes_max` bytes."""

    code = "frame_too_large"
    size_bytes: int = 0
    bytes_max: int = 0


class FrameMalformed(FrameError):
    """The payload is neither one msgpack map nor one JSON object of the protocol."""

    code = "frame_malformed"


class FrameTruncated(FrameError):
    """The stream ended inside a frame."""

    code = "frame_truncated"
    missing_bytes: int = 0


class AdminError(NeuroCacheError):
    """A node's admin API at `url` gave no usable answer."""

    code = "admin_error"
    url: str = ""


class AdminUnreachable(AdminError):
    """Nothing answers at the admin address."""

    code = "admin_unreachable"


class AdminTimeout(AdminError):
    """The admin API did not answer within `timeout_ms`."""

    code = "admin_timeout"
    timeout_ms: int = 0
