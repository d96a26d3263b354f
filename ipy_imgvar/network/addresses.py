"""Tests whether an address leads into this machine or its own network, in any spelling.

A name proves nothing: the resolver decides where it leads, and may decide otherwise a second later. So the address that
is connected to is judged (`is_private`); a host's spelling (`is_private_host`) shows the plain cases beforehand, and is
all there is where a proxy connects.
"""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from typing import Final
from urllib.parse import unquote

__all__ = ["is_private", "is_private_host"]

#: Addresses whose last 32 bits are the IPv4 address that a translator reaches (RFC 6052, 2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: The deprecated form of an IPv4 address in an IPv6 one: its last 32 bits (RFC 4291, 2.5.5.1).
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
#: Endings of names that never leave a machine or its network: RFC 6761, RFC 6762, and ICANN's resolution of 2024 on
#: `.internal`.
_LOCAL_NAMES: Final = (".localhost", ".local", ".internal")


def is_private(address: str) -> bool:
    """Return whether an address is anything but one host on the public internet.

    Parameters
    ----------
    address
        As `socket.getaddrinfo` or `getpeername` gives it.

    Examples
    --------
    >>> is_private("64:ff9b::7f00:1"), is_private("::ffff:10.0.0.1"), is_private("1.1.1.1")
    (True, True, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # Not an internet address, such as a Unix socket's.
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_private(str(inner))
        if ip.is_site_local:
            return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to by translation or a tunnel.

    Teredo is left out: all of it counts as private.
    """
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return None


def is_private_host(host: str) -> bool:
    """Return whether a host is private by its spelling alone, without asking a resolver.

    Examples
    --------
    >>> [is_private_host(host) for host in ("127.1", "0x7f000001", "localhost.", "127.0.0.1%2e", "example.com")]
    [True, True, True, True, False]
    """
    # A proxy or a browser decodes percent signs, and reads digits and dots of other scripts as ASCII.
    plain = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")
    if plain == "localhost" or plain.endswith(_LOCAL_NAMES):
        return True
    try:
        return is_private(plain.strip("[]")) if ":" in plain else is_private(_dotted(plain))
    except ValueError:
        return False


def _dotted(host: str) -> str:
    """Return the usual form of an IPv4 address in any of C's spellings; raise ValueError for a name."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError as exc:
        raise ValueError(host) from exc
