"""The httpx client of every request: proxies and certificates of the environment, on connections that obey `watch`."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from typing import Final

import httpx

from ipy_imgvar import settings
from ipy_imgvar.errors import ConfigurationError, shown
from ipy_imgvar.network.transport import PROXIED, Transport

__all__ = ["AGENT", "make_client", "peer_of"]

#: The `User-Agent` of every request, to an API or for a picture.
AGENT: Final = "ipy-imgvar"


def make_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client with a pool of connections; proxies and certificates come from the environment.

    It has no time limits of its own, since `watch.watched` has one for the whole request, and follows no redirect,
    since a key must not go to another host.

    Parameters
    ----------
    transport
        Used instead of the network, for tests.

    Raises
    ------
    ConfigurationError
        If the environment names a proxy or certificates that can't be used.
    """
    if transport is not None:
        return httpx.Client(timeout=None, follow_redirects=False, transport=transport)  # noqa: S113 - see above
    try:
        context = httpx.create_ssl_context()
        mounts = {
            pattern: None if address is None else _through(address, context)
            for pattern, address in _routes().items()
        }
        return httpx.Client(timeout=None, follow_redirects=False, transport=Transport(context), mounts=mounts)  # noqa: S113
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as exc:
        raise _misconfigured(exc) from None  # httpx's text may quote a proxy's user.


def peer_of(response: httpx.Response) -> str | None:
    """Return the server's address; None where a proxy is between us, or the answer came by no connection."""
    stream = response.extensions.get("network_stream")
    if stream is None or response.extensions.get(PROXIED):
        return None
    try:
        return str(stream.get_extra_info("server_addr")[0])
    except (OSError, IndexError, TypeError):  # The other side has gone, or it is no internet address.
        return None


def _through(address: str, context: ssl.SSLContext) -> Transport:
    return Transport(context, httpx.Proxy(address if "://" in address else f"http://{address}"))


def _routes() -> dict[str, str | None]:
    """Return the address of the proxy for each pattern of addresses; None for those that need no proxy.

    The patterns are those of `httpx.Client(mounts=...)`, where the narrowest that fits is taken. On macOS and Windows,
    the system's settings count where no variable is set.
    """
    named = urllib.request.getproxies()
    without = [host.strip() for host in named.get("no", "").split(",") if host.strip()]
    if "*" in without:
        return {}
    routes: dict[str, str | None] = {
        f"{scheme}://": named[scheme] for scheme in ("http", "https", "all") if named.get(scheme)
    }
    return routes | {_pattern(host): None for host in without}


def _pattern(host: str) -> str:
    """Return the pattern for an entry of NO_PROXY; a name stands for the hosts below it as well, as in curl."""
    if "://" in host:
        return host
    try:
        version = ipaddress.ip_address(host.partition("/")[0]).version
    except ValueError:
        return f"all://{host}" if host.lower() == "localhost" else f"all://*{host}"
    return f"all://{host}" if version == 4 else f"all://[{host}]"  # noqa: PLR2004 - IPv4


def _misconfigured(exc: Exception) -> ConfigurationError:
    """Return the error for an environment with which no client can be made; it names the variable at fault."""
    if isinstance(exc, OSError):
        named = " or ".join(settings.certificate_variables()) or "the system's store of certificates"
        return ConfigurationError(
            f"{named} can't be used ({exc.strerror or exc}); allowed: a file that exists, of certificates in PEM form "
            "for SSL_CERT_FILE; or unset it"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Nothing is sent.
    for name, address in settings.proxy_variables().items():
        try:
            _through(address, context).close()
        except ImportError:
            return ConfigurationError(
                f"{name} names a SOCKS proxy, which needs the package socksio: pip install 'httpx[socks]'; or unset it"
            )
        except (ValueError, httpx.InvalidURL):
            scheme = address.partition("://")[0] if "://" in address else ""
            return ConfigurationError(
                f"{name} is no address of a proxy{f' (it begins with {shown(scheme)})' if scheme else ''}; allowed: "
                "http://host:port, https://host:port or socks5://host:port; or unset it"
            )
    return ConfigurationError(
        "NO_PROXY, or a proxy in the system's settings, is not valid; allowed in NO_PROXY: names of hosts with commas "
        "between them; or unset it"
    )
