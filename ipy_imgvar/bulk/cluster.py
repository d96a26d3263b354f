"""Connects to a Dask cluster by its address; no other module needs the extra `dask`."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError, ConnectionFailedError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

__all__ = ["dask_executor"]

#: Seconds until a scheduler that does not answer counts as missing; dask's own default is 30.
_CONNECT_S: Final = 10


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to a scheduler and give its executor; the connection ends with the block.

    Parameters
    ----------
    address
        The scheduler's, such as `tcp://host:8786`.

    Raises
    ------
    ConfigurationError
        If dask is not installed.
    ConnectionFailedError
        If no scheduler answers at the address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as exc:
        raise ConfigurationError("--scheduler needs dask: pip install 'ipy-imgvar[dask]'") from exc
    try:
        client = distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as exc:
        raise ConnectionFailedError(f"there is no Dask scheduler at {shown(address)} ({exc})") from exc
    with client:
        yield client.get_executor()
