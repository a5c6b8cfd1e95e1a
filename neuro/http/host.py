"""Host names: what the authority of a request says about the way it came.

Owns one question. A name other than `localhost` may be anybody's: a web page can point a name of
its own at 127.0.0.1 (DNS rebinding) and then speak to a loopback port as "same origin". A numeric
address cannot be pointed anywhere.
"""

from __future__ import annotations

import ipaddress


def is_direct(authority: str) -> bool:
    """Whether an authority is `localhost` or a numeric address, with or without port."""
    host = authority
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host in ("localhost", ""):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
