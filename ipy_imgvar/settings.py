"""Settings from arguments, notebook variables and the environment, and `Secret`, which hides keys.

No other module reads `os.environ`.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs

from ipy_imgvar.errors import ConfigurationError, shown
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "HUB_ENDPOINT",
    "OPENAI_BASE",
    "STORE_MAX_BYTES",
    "STORE_OFF",
    "Connection",
    "Secret",
    "connection",
    "hub_cache",
    "hub_endpoint",
    "hub_offline",
    "keys_in",
    "server_keys",
    "store_max_bytes",
    "store_problem",
    "store_root",
]

#: The base that answers if no setting names another (https://platform.openai.com/docs/api-reference).
OPENAI_BASE: Final = "https://api.openai.com/v1"

#: Hugging Face's hub, if no variable names a mirror (https://huggingface.co/docs/huggingface_hub).
HUB_ENDPOINT: Final = "https://huggingface.co"

#: The endpoint's path, which people copy from a server's documentation together with the base.
_ENDPOINT: Final = re.compile(r"/images(/(generations|edits|variations))?$", re.IGNORECASE)
#: Bytes of the store, 500 pictures of 2 MB; above it the oldest runs go first. `IPY_IMGVAR_STORE_BYTES` changes it.
STORE_MAX_BYTES: Final = 1_000_000_000
#: The value of `IPY_IMGVAR_STORE`, or of the trait `store` in `%config`, that turns the store off.
STORE_OFF: Final = "off"


class Secret:
    """A key that no output shows by accident.

    Its repr, str and format are stars, a copy is the same object, and it refuses to be pickled, since a pickle would
    hold the text in the clear.

    Examples
    --------
    >>> key = Secret("sk-123")
    >>> key
    Secret('********')
    >>> key.reveal()
    'sk-123'
    """

    __slots__ = ("_reveal",)
    _reveal: Callable[[], str]

    def __init__(self, value: str | Secret) -> None:
        text = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(text, str) or not text.strip():
            received = "empty text" if isinstance(text, str) else f"a {type(text).__name__}"
            raise ConfigurationError(f"the secret is {received}; allowed: text")
        # A closure, so that no attribute holds the text where vars() or a debugger's variable view would print it.
        stripped = text.strip()
        object.__setattr__(self, "_reveal", lambda: stripped)

    def reveal(self) -> str:
        """Return the text; use it at once and don't store it."""
        return self._reveal()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Secret can't be changed; make a new one")

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __format__(self, spec: str) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret can't be pickled; pass the name of an environment variable instead")


@dataclass(frozen=True, slots=True)
class Connection:
    """The server of a hosted engine, and the credentials for it.

    Parameters
    ----------
    api_key
        The key; None sends no key.
    api_base
        The address with its path, without a slash at the end. The repr leaves it out, since it may hold a password.
    organization, project
        Sent as `OpenAI-Organization` and `OpenAI-Project`; None sends no such header.
    key_source
        The source of the key: `argument`, `variable` or `environment`; None without a key.
    chosen
        Some source gave a key or a base, so a hosted engine is the default engine.
    """

    api_key: Secret | None = None
    api_base: str = field(default=OPENAI_BASE, repr=False)
    organization: str | None = None
    project: str | None = None
    key_source: str | None = None
    chosen: bool = False

    @property
    def is_openai(self) -> bool:
        """Whether the server belongs to OpenAI."""
        # Regional hosts, such as eu.api.openai.com, are OpenAI's too.
        host = urlsplit(self.api_base).hostname or ""
        return host == "api.openai.com" or host.endswith(".api.openai.com")

    @property
    def server(self) -> str:
        """The server's name and port, for messages: without path, user and password."""
        # From the last "@", since a password may hold one that is not escaped.
        return urlsplit(self.api_base).netloc.rpartition("@")[2]

    @property
    def address(self) -> str:
        """The base without user and password."""
        return urlsplit(self.api_base)._replace(netloc=self.server).geturl()

    @property
    def login(self) -> tuple[str, str] | None:
        """The user and password that the base holds, for servers behind a proxy that asks for them."""
        parts = urlsplit(self.api_base)
        if parts.username is None:
            return None
        return unquote(parts.username), unquote(parts.password or "")

    def without_secrets(self) -> Connection:
        """Return a copy that may leave the process: without the key, its base without user and password."""
        return replace(self, api_key=None, api_base=self.address)

    @property
    def authorization(self) -> str | None:
        """The value of the `Authorization` header: the key, else user and password; None without either."""
        if self.api_key is not None:
            return f"Bearer {self.api_key.reveal()}"
        if self.login is not None:
            return f"Basic {base64.b64encode(':'.join(self.login).encode()).decode('ascii')}"
        return None


def connection(
    *,
    api_key: str | Secret | None = None,
    api_base: str | None = None,
    organization: str | None = None,
    project: str | None = None,
    namespace: Mapping[str, Any] | None = None,
) -> Connection:
    """Return the connection of a hosted engine: from arguments, else notebook variables, else the environment.

    Parameters
    ----------
    api_key, api_base, organization, project
        Arguments; None for one that the caller left out.
    namespace
        The notebook's variables; `OPENAI_API_KEY`, `OPENAI_API_BASE`, `OPENAI_BASE_URL`, `OPENAI_ORGANIZATION`,
        `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID` are read there and in the environment.

    Raises
    ------
    ConfigurationError
        If the base is no http(s) address, or a value is not text.
    """
    variables = _Variables(namespace or {})
    key, key_source = variables.find(api_key, "OPENAI_API_KEY")
    # Both names are bound to the secret, since a traceback with variables would show either.
    key = api_key = None if key is None else Secret(key)
    base, base_source = variables.find(api_base, "OPENAI_API_BASE", "OPENAI_BASE_URL")
    return Connection(
        api_key=key,
        api_base=OPENAI_BASE if base is None else _normal_base(base),
        organization=variables.text(organization, "OPENAI_ORGANIZATION", "OPENAI_ORG_ID"),
        project=variables.text(project, "OPENAI_PROJECT_ID"),
        key_source=key_source,
        chosen=key_source is not None or base_source is not None,
    )


class _Variables:
    """The notebook's variables and the environment, in that order."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def find(self, argument: Any, *names: str) -> tuple[Any, str | None]:
        """Return a value and its source; an empty text counts as not set."""
        if argument is not None:
            return argument, "argument"
        for variables, source in ((self._namespace, "variable"), (os.environ, "environment")):
            for name in names:
                value = variables.get(name)
                if value is not None and value != "":
                    return value, source
        return None, None

    def text(self, argument: Any, *names: str) -> str | None:
        """Return a text without spaces around it; None where it is not set."""
        value, _ = self.find(argument, *names)
        if value is None:
            return None
        if not isinstance(value, str):
            raise ConfigurationError(f"{names[0]} is a {type(value).__name__}; allowed: text")
        return value.strip() or None


def _normal_base(base: Any) -> str:
    """Return a base that the client can append an endpoint to; else raise `ConfigurationError`."""
    text = base.strip().rstrip("/") if isinstance(base, str) else ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        received = shown(base) if isinstance(base, str) and "@" not in base else f"a {type(base).__name__}"
        raise ConfigurationError(
            f"the API base is {received}; allowed: an address such as http://localhost:8000/v1"
        )
    server = parts.netloc.rpartition("@")[2]
    if parts.query or parts.fragment:
        # The value may be a key, so the message shows the name alone.
        name = parse_qsl(parts.query or parts.fragment, keep_blank_values=True)[:1]
        raise ConfigurationError(
            f"the API base of {server} has a query; give the address without it, and the rest as "
            f"--extra-query \"{{'{plain(name[0][0]) if name and parts.query else 'NAME'}': 'VALUE'}}\""
        )
    if endpoint := _ENDPOINT.search(parts.path):
        rest = f"{parts.scheme}://{server}{parts.path[: endpoint.start()]}"
        raise ConfigurationError(
            f"the API base ends with {endpoint[0]}, which is added to it; give {plain(rest)}"
        )
    # Servers with OpenAI's API answer below /v1, and people leave it out.
    return text if parts.path else f"{text}/v1"


def proxy_variables() -> dict[str, str]:
    """Return the variables that are set and name a proxy, with their values, which may hold a password."""
    # Lower case comes first and wins, as in curl; an empty value names no proxy.
    names = ("all_proxy", "https_proxy", "http_proxy")
    values = {spelling: os.environ.get(spelling, "") for name in names for spelling in (name, name.upper())}
    return {name: value for name, value in values.items() if value}


def certificate_variables() -> list[str]:
    """Return the variables that are set and name a file that TLS opens."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
    return [name for name in names if os.environ.get(name)]


def server_keys() -> list[Secret]:
    """Return the keys that `imgvar serve` accepts: `IMGVAR_API_KEYS`, with commas between them."""
    keys = os.environ.get("IMGVAR_API_KEYS", "").split(",")
    return [Secret(key) for key in keys if key.strip()]


def keys_in(path: str | Path, write: str) -> list[Secret]:
    """Return the keys of a file, at least one: its lines that are neither empty nor comments.

    Parameters
    ----------
    path
        The file's.
    write
        What to write into it, for messages.

    Raises
    ------
    ConfigurationError
        If it can't be read or has no key.
    """
    try:
        lines = Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError) as exc:  # RuntimeError: there is no home of "~nobody".
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigurationError(f"the key file {path} can't be read ({reason}); {write}") from exc
    keys = [Secret(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise ConfigurationError(f"the key file {path} has no key; {write}")
    return keys


def hub_cache() -> Path:
    """Return the folder of Hugging Face's cache of models, by the variables that huggingface_hub reads."""
    caches = os.environ.get("XDG_CACHE_HOME", _expanded("~/.cache"))
    home = _expanded(os.environ.get("HF_HOME", f"{caches}/huggingface"))
    folder = os.environ.get("HUGGINGFACE_HUB_CACHE", f"{home}/hub")
    return Path(_expanded(os.environ.get("HF_HUB_CACHE", folder))).absolute()


def _expanded(path: str) -> str:
    # As in huggingface_hub; pathlib would raise where no home can be found, and leaves variables inside a value.
    return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111


def hub_offline() -> bool:
    """Return whether a variable forbids requests to Hugging Face's hub, as huggingface_hub reads it."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def hub_endpoint() -> str:
    """Return the address of Hugging Face's hub, or of the mirror that `HF_ENDPOINT` names; it may hold a password."""
    return (os.environ.get("HF_ENDPOINT") or HUB_ENDPOINT).rstrip("/")


def store_root() -> Path | None:
    """Return the folder of the store: `IPY_IMGVAR_STORE`, else the user's cache; None for off, and without a home.

    Raises
    ------
    ConfigurationError
        If the variable begins with the home of a user who doesn't exist.
    """
    folder = os.environ.get("IPY_IMGVAR_STORE", "").strip()
    if folder.lower() == STORE_OFF:
        return None
    if not folder:
        try:
            cache = platformdirs.user_cache_path("ipy_imgvar", appauthor=False)
        except RuntimeError:
            # A user without an entry and without HOME, as containers have; see `store_problem`.
            return None
        # There, older versions of platformdirs leave the ~, which would be a folder of that name.
        return cache if cache.is_absolute() else None
    try:
        # Absolute at once, since a notebook may change its folder while results hold paths into the store.
        return Path(folder).expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigurationError(
            f"IPY_IMGVAR_STORE is {shown(folder)}: {exc}; allowed: a folder, or off"
        ) from exc


def store_problem() -> str | None:
    """Return the reason why there is no store although no setting turned it off; None if there is one."""
    if os.environ.get("IPY_IMGVAR_STORE", "").strip() or store_root() is not None:
        return None
    return "no home folder can be found; IPY_IMGVAR_STORE names another place"


def store_max_bytes() -> int:
    """Return the bound of the store in bytes: `IPY_IMGVAR_STORE_BYTES`, else 1 GB.

    Raises
    ------
    ConfigurationError
        If the variable holds anything but a whole number of bytes.
    """
    text = os.environ.get("IPY_IMGVAR_STORE_BYTES", "").strip()
    if not text:
        return STORE_MAX_BYTES
    if not text.isdecimal():
        raise ConfigurationError(f"IPY_IMGVAR_STORE_BYTES is {shown(text)}; allowed: a whole number of bytes")
    return int(text)
