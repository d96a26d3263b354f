"""The exceptions of fsspec's file systems in our words, and which of them another try may mend.

Their texts are never shown: they may quote a signed address or a key. A package's classes are told by name, since each
user has other packages.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ConfigurationError, ConnectionFailedError, InvalidImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.errors import ImageVariationError

__all__ = ["NoBucketError", "ShortReadError", "is_missing", "is_refused", "is_transient", "reason", "unread"]

#: HTTP statuses that the same request may not get again: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Codes of S3 and of servers like it for the same, which may come with status 400.
_TRANSIENT_CODES: Final = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentSHA256Mismatch",
    }
)
_TRANSIENT_ERRNOS: Final = frozenset(
    {
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
        getattr(errno, "EREMOTEIO", errno.EIO),  # s3fs' for a status 500
    }
)
#: Classes of botocore, aiohttp, requests, urllib3, paramiko and google.auth for a connection that failed or broke.
_CONNECTION_CLASSES: Final = frozenset(
    {
        "ClientConnectionError",
        "ChecksumError",
        "ClientPayloadError",
        "ConnectionError",
        "HTTPClientError",
        "HttpProcessingError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseParserError",
        "ResponseStreamingError",
        "SSHException",
        "ServiceRequestError",
        "ServiceResponseError",
        "TransportError",
    }
)
#: Classes that say that no credentials were found, or not all of them.
_NO_CREDENTIALS: Final = frozenset(
    {
        "CredentialRetrievalError",
        "CredentialUnavailableError",
        "DefaultCredentialsError",
        "NoCredentialsError",
        "PartialCredentialsError",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
_EXPIRED_CLASSES: Final = frozenset(
    {"RefreshError", "SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError"}
)
_UNKNOWN_KEY: Final = frozenset(
    {"AuthenticationFailed", "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "SignatureDoesNotMatch"}
)
_NO_BUCKET: Final = frozenset({"ContainerNotFound", "NoSuchBucket"})
_ELSEWHERE: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "301",
        "307",
    }
)


class ShortReadError(OSError):
    """An object's content that ended before its announced length."""


class NoBucketError(FileNotFoundError):
    """A bucket that is missing, where a package says only that there is nothing."""

    status = 404
    error_code = "NoSuchBucket"


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from; s3fs turns botocore's into builtin ones."""
    seen: set[int] = set()
    each: BaseException | None = exc
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _own_classes(exc: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(exc).__mro__}


def _classes(exc: BaseException) -> set[str]:
    return {name for each in _causes(exc) for name in _own_classes(each)}


def _answer(exc: BaseException) -> tuple[int, str]:
    """Return the HTTP status and the error code of the server's answer, as far as an exception has them."""
    for each in _causes(exc):
        if "HttpProcessingError" in _own_classes(each):
            continue  # aiohttp's for a broken body; it has a 400 of its own that no server sent
        response: Any = getattr(each, "response", None)
        if isinstance(response, dict):  # botocore's
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            code = str(response.get("Error", {}).get("Code") or "")
            return (status if isinstance(status, int) else int(code) if code.isdecimal() else 0), code
        for holder, name in (
            (each, "status"),
            (each, "status_code"),
            (each, "code"),
            (response, "status_code"),
        ):
            status = getattr(holder, name, None)
            if isinstance(status, int) and status >= 100:  # noqa: PLR2004 - the least of HTTP's
                own = getattr(each, "error_code", None)
                return status, str(getattr(own, "value", own) or "")  # Azure's codes are an enumeration
    return 0, ""


def is_missing(exc: BaseException) -> bool:
    """Return whether an exception says that there is no such object, folder or bucket."""
    status, code = _answer(exc)
    return isinstance(exc, FileNotFoundError) or status == 404 or code.startswith("NoSuch")  # noqa: PLR2004


def is_refused(exc: BaseException) -> bool:
    """Return whether an exception says that what the request asks for is not there, or is no valid request."""
    return is_missing(exc) or _answer(exc)[0] in {400, 405}


def is_denied(exc: BaseException) -> bool:
    """Return whether an exception says that the server refused the user."""
    # gcsfs tells a status 403 by an OSError whose text begins so, and by nothing else.
    is_gcsfs = type(exc) is OSError and not exc.errno and str(exc).startswith("Forbidden: ")
    return isinstance(exc, PermissionError) or is_gcsfs or _answer(exc)[0] in {401, 403}


def is_transient(exc: BaseException) -> bool:
    """Return whether the same request may succeed a moment later."""
    status, code = _answer(exc)
    if status or code:
        return status in _TRANSIENT_STATUSES or code in _TRANSIENT_CODES
    if isinstance(exc, (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError)):
        return False
    if isinstance(exc, (TimeoutError, ConnectionError, ShortReadError, EOFError)):
        return True
    if isinstance(exc, OSError) and exc.errno in _TRANSIENT_ERRNOS:
        return True
    return bool(_classes(exc) & _CONNECTION_CLASSES)


def _login(protocol: str) -> str:
    """Return where the user's credentials for a protocol belong."""
    if protocol in ("s3", "s3a"):
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws or ~/.config/fsspec"
    if protocol in ("gs", "gcs"):
        return "`gcloud auth application-default login`, GOOGLE_APPLICATION_CREDENTIALS or ~/.config/fsspec"
    if protocol in ("az", "abfs", "abfss", "adl"):
        return (
            "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_NAME with `az login` or ~/.config/fsspec"
        )
    return "~/.config/fsspec"


def reason(exc: BaseException, protocol: str) -> str:
    """Return what failed and what to do, without a word of the exception's own text.

    Parameters
    ----------
    exc
        What a file system raised.
    protocol
        The address's protocol, which tells where credentials belong.
    """
    (status, code), classes = _answer(exc), _classes(exc)
    if wrong := _about_the_user(exc, protocol, status, code, classes):
        return wrong
    if isinstance(exc, ShortReadError):
        return "the connection broke off in the middle; try again"
    if isinstance(exc, TimeoutError) or any("Timeout" in name for name in classes):
        return "no answer in time; check the endpoint and the connection, and try again"
    if is_transient(exc):
        found = f"the server answered {code or status}" if status or code else "the server can't be reached"
        return f"{found}; check the endpoint and the connection, and try again"
    if status or code:
        return f"the server answered {code or status}"
    # A package may put a server's text into `strerror`; the system's own text for the number quotes nothing.
    return os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else type(exc).__name__


def _about_the_user(  # noqa: PLR0911 - a line for each
    exc: BaseException, protocol: str, status: int, code: str, classes: set[str]
) -> str:
    """Return what is wrong with the credentials or the settings, or ""."""
    if classes & _NO_CREDENTIALS or ("ClientAuthenticationError" in classes and not status):
        return f"no credentials were found; give them by {_login(protocol)}"
    if code in _EXPIRED or classes & _EXPIRED_CLASSES:
        return "the credentials have expired; log in again"
    if "ProfileNotFound" in classes:
        return "the profile that AWS_PROFILE names is not in ~/.aws/config"
    if isinstance(exc, ValueError) and not status:
        return f"its settings are not valid ({type(exc).__name__}); check the endpoint and {_login(protocol)}"
    if code in _UNKNOWN_KEY:
        return (
            f"the server does not accept the credentials ({code}); check {_login(protocol)}, and the endpoint"
        )
    if code in _ELSEWHERE or status in {301, 307}:
        return "the bucket is in another region or at another server; set AWS_REGION, or the right endpoint"
    if is_denied(exc):
        return f"access is denied; ask for the permission, or use other credentials ({_login(protocol)})"
    return ""


def unread(exc: BaseException, shown: str, protocol: str) -> ImageVariationError:
    """Return our error for an object that can't be read.

    Parameters
    ----------
    exc
        What a file system raised.
    shown
        The object's address, without credentials.
    protocol
        The address's protocol.
    """
    if is_missing(exc):
        if _answer(exc)[1] in _NO_BUCKET:
            bucket = shown.rpartition("::")[2].partition("://")[2].partition("/")[0].partition("@")[0]
            return InvalidImageError(f"there is no bucket {bucket} ({shown})")
        return InvalidImageError(f"there is no object {shown}: check the address")
    text = f"{shown} can't be read: {reason(exc, protocol)}"
    if _classes(exc) & _NO_CREDENTIALS:
        return ConfigurationError(text)
    return ConnectionFailedError(text) if is_transient(exc) else InvalidImageError(text)
