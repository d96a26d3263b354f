"""The clients that are served: rules for Host, Origin and keys, as pure functions.

A web page can make its browser send a form to a server on this machine. A page whose domain resolves to 127.0.0.1
(DNS rebinding) can also read the answer. `Origin` shows the first attack and `Host` the second, so both are checked.

References
----------
https://www.rfc-editor.org/rfc/rfc6454 (origins); https://en.wikipedia.org/wiki/DNS_rebinding
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ipy_imgvar.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipy_imgvar.settings import Secret

__all__ = ["Policy", "is_loopback", "refusal_for"]

#: Routes that need no key: the health check, and pictures, whose names are secret.
_KEYLESS: Final = ("/healthz", "/images/")


@dataclass(frozen=True, slots=True)
class Policy:
    """The keys and host names that a server accepts.

    Parameters
    ----------
    keys
        The accepted keys; without any, a client needs no key.
    hosts
        The accepted host names, in lower case, beside this machine's own addresses.
    """

    keys: tuple[Secret, ...] = ()
    hosts: frozenset[str] = field(default_factory=frozenset)


def is_loopback(host: str) -> bool:
    """Return whether a name or address reaches this machine only."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    # A socket for IPv4 and IPv6 shows IPv4 addresses as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def refusal_for(
    path: str, headers: Iterable[tuple[bytes, bytes]], server: str | None, policy: Policy
) -> Refusal | None:
    """Return the answer to a request that must not be served, or None for any other.

    Parameters
    ----------
    path
        The decoded path of the request.
    headers
        ASGI's pairs, names in lower case.
    server
        This machine's address on the connection, if known.
    policy
        The accepted keys and host names.
    """
    # A header that comes twice is ambiguous, so `_only` returns neither value.
    values: dict[bytes, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.decode("latin-1"))
    host, origin = _only(values, b"host"), _only(values, b"origin")
    if host is None or not _is_ours(host, server, policy):
        return Refusal(
            421,
            "the Host header names another server; ask by this one's address, or start it with --allow-host",
            code="wrong_host",
        )
    is_foreign = b"origin" in values and (origin is None or not _is_same(origin, host))
    needs_key = not path.startswith(_KEYLESS)
    if is_foreign or (needs_key and "cross-site" in values.get(b"sec-fetch-site", [])):
        return Refusal(403, "web pages of other origins may not use this server", code="foreign_origin")
    if policy.keys and needs_key:
        return _wrong_key(_only(values, b"authorization") or "", policy.keys)
    return None


def _only(values: Mapping[bytes, list[str]], name: bytes) -> str | None:
    named = values.get(name, [])
    return named[0] if len(named) == 1 else None


def _is_ours(host: str, server: str | None, policy: Policy) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if parts.netloc != host or "@" in host or not name:
        return False
    # DNS rebinding needs a name, so the server's own address is safe.
    own = _address(name) is not None and server is not None and _address(name) == _address(server)
    return own or is_loopback(name) or name in policy.hosts


def _is_same(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _wrong_key(authorization: str, keys: Iterable[Secret]) -> Refusal | None:
    scheme, _, given = authorization.partition(" ")
    # Digests have one length, and each key is compared, so the time tells nothing about the keys.
    digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
    matches = [hmac.compare_digest(digest, hashlib.sha256(key.reveal().encode()).digest()) for key in keys]
    if scheme.lower() == "bearer" and any(matches):
        return None
    return Refusal(
        401,
        f"the API key is {'wrong' if authorization else 'missing'}; send it as Authorization: Bearer KEY",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
