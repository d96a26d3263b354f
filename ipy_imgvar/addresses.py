"""Which addresses lead into this machine or its own network, whatever the spelling.

A name says nothing: the resolver decides where it leads, and may decide otherwise a second later. So the address that
is connected to is looked at; a host's spelling is looked at only where that address can't be known.
"""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from typing import Final
from urllib.parse import unquote

__all__ = ["is_private", "is_private_host"]

#: RFC 6052, and its twin for local use (RFC 8215): the last 32 bits are the IPv4 address that is reached.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: RFC 4291, 2.5.5.1: the old form of an IPv4 address in an IPv6 one.
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
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
    """Return whether a host's spelling alone tells that it is private; nothing is asked of a resolver.

    Examples
    --------
    >>> [is_private_host(host) for host in ("127.1", "0x7f000001", "localhost.", "127.0.0.1%2e", "example.com")]
    [True, True, True, True, False]
    """
    # What a proxy or a browser makes of it: percent signs decoded, digits and dots of other scripts made plain.
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
