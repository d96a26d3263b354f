"""fsspec's file system for an address, opened so that no listing is cached and every retry is ours.

Credentials are found by fsspec and by the package of the protocol, in the user's own configuration; none passes here.
"""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError, ImageVariationError
from ipy_imgvar.storage.addresses import BUCKETS, chained, fault_of, protocol_of, shown_address
from ipy_imgvar.storage.faults import reason
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["ATOMIC", "S3", "Access", "open_access"]

#: The protocols of S3 and of servers that speak it, which s3fs serves.
S3: Final = frozenset({"s3", "s3a"})
#: The protocols of Azure's containers, which adlfs serves.
_AZURE: Final = frozenset({"az", "abfs", "abfss"})
#: Protocols of object stores: an object is replaced as a whole when all of it has arrived, so no other name is needed.
ATOMIC: Final = frozenset({*BUCKETS, "adl", "oci", "ocilake", "tos", "memory", "hf"})
#: Protocols whose file systems cache listings unless they are told not to. Others refuse the argument.
_CACHING: Final = frozenset({*S3, "gs", "gcs", "az", "abfs", "abfss", "memory", "http", "https"})
#: The distribution that serves a protocol, where its name is not in fsspec's own message.
_PACKAGES: Final = {
    **dict.fromkeys(S3, "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "smb": "smbprotocol",
    "hdfs": "pyarrow",
    "oss": "ossfs",
    "oci": "ocifs",
    "hf": "huggingface_hub",
}


class Access:
    """An address with its file system.

    Parameters
    ----------
    address
        The address, as it was given.
    """

    __slots__ = ("address", "bucket", "fs", "key", "path", "protocol", "shown", "version")

    def __init__(self, address: str) -> None:
        self.address = address
        self.protocol = protocol_of(address)
        self.shown = shown_address(address)
        self.fs, self.path = _opened(address, self.protocol, self.shown)
        self.bucket = self.key = self.version = ""
        if self.is_s3:  # s3fs knows that a bucket may be an access point's name, which has a slash.
            self.bucket, self.key, _ = self.fs.split_path(self.path)
            self.version = self.path.partition("?versionId=")[2]

    @property
    def is_s3(self) -> bool:
        """Whether the address is of S3, whose public calls need fewer requests than the general ones."""
        return self.protocol in S3 and not chained(self.address)

    @property
    def is_web(self) -> bool:
        """Whether the address is of a web page, whose links are its files."""
        return self.protocol in ("http", "https") and not chained(self.address)

    @property
    def is_azure(self) -> bool:
        """Whether the address is of a container of Azure, which is listed and told of by Azure's own client."""
        return self.protocol in _AZURE and not chained(self.address)

    @property
    def top(self) -> str:
        """The first part of the path: the bucket, where the address is of an object store."""
        return self.bucket or self.path.strip("/").partition("/")[0]

    def lacks_bucket(self) -> bool:
        """Return whether this is an object store, and the bucket is known to be missing; may make a request."""
        is_known = self.protocol in ATOMIC - {"memory"} and not chained(self.address)
        return is_known and bool(self.top) and not self.fs.exists(self.top)

    def s3(self, method: str, **arguments: Any) -> Any:
        """Make one request about the bucket of an address of S3, and return its answer."""
        return self.fs.call_s3(method, Bucket=self.bucket, **arguments)

    def s3_object(self, method: str) -> Any:
        """Make one request about the object of an address of S3, and return its answer."""
        version = {"VersionId": self.version} if self.version else {}
        return self.s3(method, Key=self.key, **version)

    def sync(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine in the file system's own event loop, and return what it gives."""
        from fsspec.asyn import sync

        return sync(self.fs.loop, work)


def open_access(address: str) -> Access:
    """Return an address with its file system; no request is made.

    Raises
    ------
    ConfigurationError
        If a package is missing, the protocol is unknown, or the file system can't be made.
    """
    return Access(address)


def _opened(address: str, protocol: str, shown: str) -> tuple[Any, str]:
    if wrong := fault_of(address):
        raise ConfigurationError(wrong)
    if in_browser():
        raise ConfigurationError(f"{shown} can't be reached: Python in a browser has no sockets; give a path")
    try:
        import fsspec
    except ImportError:
        package = f" {_PACKAGES[protocol]}" if protocol in _PACKAGES else ""
        raise ConfigurationError(f"{shown} needs fsspec: pip install 'ipy-imgvar[cloud]'{package}") from None
    try:
        if protocol in S3 and not chained(address):
            return _s3(fsspec, protocol), address.partition("://")[2]
        options = {"use_listings_cache": False} if protocol in _CACHING and not chained(address) else {}
        fs, path = fsspec.core.url_to_fs(address, **options)
    except ImageVariationError:
        raise
    except ImportError:
        package = _PACKAGES.get(protocol, f"the package of fsspec for {protocol}")
        raise ConfigurationError(f"{protocol}:// needs {package}: pip install {package}") from None
    except ValueError as exc:
        if "Protocol not known" not in str(exc):
            raise _unopened(exc, protocol, shown) from None
        known = "s3, gs, az, memory, sftp and fsspec's others"
        raise ConfigurationError(f"{shown}: {protocol}:// is no known protocol; allowed: {known}") from None
    except Exception as exc:  # noqa: BLE001 - each package raises its own
        raise _unopened(exc, protocol, shown) from None
    _try_once(fs)
    return fs, path


def _s3(fsspec: Any, protocol: str) -> Any:
    """Return s3fs' file system with one try a request: s3fs and botocore would make 25 of our 1."""
    own = fsspec.config.conf.get(protocol, {}).get("config_kwargs") or {}
    retries = {**(own.get("retries") or {}), "total_max_attempts": 1}
    fs = fsspec.filesystem(protocol, use_listings_cache=False, config_kwargs={**own, "retries": retries})
    fs.retries = 1
    return fs


def _try_once(fs: Any) -> None:
    """Let gcsfs and adlfs make one try a request: theirs take 31 and 80 seconds, of which ours would make five.

    Neither has an argument for it. Where a version has other names, its own tries stay.
    """
    if once := getattr(getattr(type(fs), "_request", None), "__wrapped__", None):
        fs._request = types.MethodType(once, fs)  # noqa: SLF001
    with contextlib.suppress(AttributeError):
        fs.service_client._config.retry_policy.total_retries = 0  # noqa: SLF001


def _unopened(exc: Exception, protocol: str, shown: str) -> ConfigurationError:
    return ConfigurationError(f"{shown} can't be opened: {reason(exc, protocol)}")
