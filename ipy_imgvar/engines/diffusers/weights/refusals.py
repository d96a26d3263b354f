"""Our errors for those of huggingface_hub, in one line each, with the next step.

The library's own messages hold addresses, which may hold a password; ours hold the model's name and the server's.
"""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import (
    APIStatusError,
    AuthenticationError,
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from ipy_imgvar.engines.diffusers.weights.reference import Reference
    from ipy_imgvar.errors import ImageVariationError

__all__ = ["of", "offline"]

#: The packages whose exceptions mean that a connection failed: huggingface_hub uses one of them, by its version.
_HTTP: Final = frozenset(("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"))
#: A whole repository may have ten times the bytes: pickles, other formats, and everything again in one file at the top.
_INCLUDES: Final = "".join(
    f' --include "{pattern}"' for pattern in ("*.json", "*.txt", "*.jinja", "*.model", "*/*.safetensors")
)
_LOG_IN: Final = "log in with: hf auth login"


def offline(name: str, files: tuple[str, ...] = ()) -> InvalidRequestError:
    """Return the error for a model that isn't on this disk, or not all of it, while no network is allowed.

    `files` are those that are needed, for a repository that holds no pipeline.
    """
    repo, _, revision = name.partition("@")
    command = f"hf download {' '.join((repo, *files))}" + (f" --revision {revision}" if revision else "")
    command += "" if files else _INCLUDES
    return InvalidRequestError(
        f"model {name} isn't complete on this disk, and no network is allowed (HF_HUB_OFFLINE or local_files_only); "
        f"allow it once, or fetch the model with: {command}",
        field="model",
    )


def of(exc: BaseException, reference: Reference, host: str) -> BaseException:
    """Return our error for one that the library raised; an interrupt stays what it is."""
    if not isinstance(exc, Exception):
        return exc
    names = {each.__name__ for each in type(exc).__mro__}
    status = getattr(getattr(exc, "response", None), "status_code", 0)
    if status:
        return _by_name(names, status, reference, host) or _by_status(status, reference, host)
    if "LocalEntryNotFoundError" in names and exc.__cause__ is not None:
        # The library looked for a copy after a failure; the failure says more.
        return of(exc.__cause__, reference, host)
    if "OfflineModeIsEnabled" in names:
        return offline(reference.name)
    if "HFValidationError" in names:
        return InvalidRequestError(f"model {reference.name} is no valid id of {host}", field="model")
    return _of_transfer(exc, names, reference.name, host)


def _of_transfer(exc: Exception, names: set[str], name: str, host: str) -> EngineError:
    """Return the error for a failure of the network or of the disk."""
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return EngineError(
            f"the disk is full while {name} is fetched; finished files stay: make room there, or set HF_HOME to a "
            "folder on another disk, and run it again"
        )
    packages = {each.__module__.partition(".")[0] for each in type(exc).__mro__}
    if (
        packages & _HTTP
        or isinstance(exc, (ConnectionError, TimeoutError))
        or "LocalEntryNotFoundError" in names
    ):
        return ConnectionFailedError(
            f"{host} can't be reached, or broke off, while {name} is fetched ({type(exc).__name__}); finished files "
            "stay: check the connection and run it again"
        )
    if isinstance(exc, OSError) and exc.errno is None:
        # The library's plain OSError: a file came shorter or longer than the hub said.
        return ConnectionFailedError(
            f"a file of {name} came incomplete from {host}; finished files stay: run it again"
        )
    if isinstance(exc, OSError):
        return EngineError(
            f"{name} can't be written to the hub's cache ({exc.strerror}); set HF_HOME to a folder that can be written"
        )
    return EngineError(f"{name} can't be fetched from {host} ({type(exc).__name__})")


def _by_name(names: set[str], status: int, reference: Reference, host: str) -> ImageVariationError | None:
    """Return the error for a refusal that the library has a class for; None for any other."""
    repo, page = reference.repo, f"https://{host}/{reference.repo}"
    errors: dict[str, ImageVariationError] = {
        "GatedRepoError": AuthenticationError(
            f"model {reference.name} is gated: accept its terms on {page}, then {_LOG_IN}", status=status
        ),
        "RevisionNotFoundError": InvalidRequestError(
            f"model {repo} has no revision {reference.revision} on {host}; leave it out, or see {page}",
            field="model",
        ),
        # The hub says 401 to strangers, so that they can't learn which private ones exist.
        "RepositoryNotFoundError": InvalidRequestError(
            f"there is no model {repo} on {host}, or it is private; check the spelling, or {_LOG_IN}",
            field="model",
        ),
        "DisabledRepoError": InvalidRequestError(
            f"model {repo} was disabled on {host}; choose another", field="model"
        ),
    }
    return next((error for name, error in errors.items() if name in names), None)


def _by_status(status: int, reference: Reference, host: str) -> ImageVariationError:
    name = reference.name
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AuthenticationError(f"{host} refused access to {name} ({status}); {_LOG_IN}", status=status)
    if status == HTTPStatus.NOT_FOUND:
        return InvalidRequestError(f"{host} has no such file of {name} (404)", field="model")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError(
            f"{host} had too many requests (429); wait some minutes, or {_LOG_IN}", status=status
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(
            f"{host} failed while {name} is fetched ({status}); run it again later", status=status
        )
    return APIStatusError(f"{host} refused to send {name} ({status})", status=status)
