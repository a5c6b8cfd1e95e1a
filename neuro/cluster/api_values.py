"""Bytes in messages that may be JSON.

Owns one rule: in msgpack bytes are bytes; in JSON a field `x` that is valid UTF-8 is text, and any
other is `x_b64`, base64. Both spellings are understood in both encodings.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from neuro.cluster.client_errors import InvalidRequest


def take_bytes(message: dict[str, Any], name: str) -> bytes | None:
    """The bytes of a field, or None where neither spelling of it is there.

    Raises:
        InvalidRequest: it is neither text nor bytes nor base64.
    """
    value = message.get(name)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    encoded = message.get(f"{name}_b64")
    if value is None and encoded is None:
        return None
    try:
        if value is None and isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        pass
    raise InvalidRequest(f"`{name}` is text or bytes, or `{name}_b64` is base64")


def make_json_ready(value: Any) -> Any:
    """The same message without bytes."""
    if isinstance(value, dict):
        ready: dict[str, Any] = {}
        for name, item in value.items():
            if isinstance(item, bytes):
                try:
                    ready[name] = item.decode()
                except UnicodeDecodeError:
                    ready[f"{name}_b64"] = base64.b64encode(item).decode("ascii")
            else:
                ready[name] = make_json_ready(item)
        return ready
    if isinstance(value, list | tuple):
        return [make_json_ready(item) for item in value]
    return value
