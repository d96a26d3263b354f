"""What gcsfs and adlfs do in ways of their own, told by stand-ins: neither package is needed here."""

import enum
import types

import pytest

from ipy_imgvar.storage import access, faults, listings, objects

fsspec = pytest.importorskip("fsspec")


class Code(str, enum.Enum):  # noqa: UP042 - as azure.storage has it
    """Azure's error codes."""

    BUSY = "ServerBusy"
    NO_CONTAINER = "ContainerNotFound"


class HttpResponseError(Exception):
    """azure.core's error for an answer."""

    def __init__(self, status, code):
        super().__init__("secret")
        self.status_code, self.error_code = status, code


class ClientAuthenticationError(HttpResponseError):
    """azure.core's error for a user."""


def test_gcsfs_tells_denied_by_a_text():
    """The OSError of gcsfs for a status 403 is told as a denied access, and none of its text is shown."""
    text = faults.reason(OSError("Forbidden: b/secret\nsecret"), "gs")
    assert text.startswith("access is denied")
    assert "secret" not in text


def test_azures_codes_are_told_by_their_values():
    """A code of Azure is shown as the server sent it, and a missing container is told."""
    assert "answered ServerBusy;" in faults.reason(HttpResponseError(503, Code.BUSY), "az")
    missing = HttpResponseError(404, Code.NO_CONTAINER)
    assert str(faults.unread(missing, "az://c/a.png", "az")) == "there is no bucket c (az://c/a.png)"


def test_azure_without_credentials():
    """An error about the user that no server sent says that no credentials were found."""
    assert "no credentials" in faults.reason(ClientAuthenticationError(None, None), "az")
    assert "access is denied" in faults.reason(ClientAuthenticationError(403, None), "az")


class Blob(dict):
    """A blob of a listing: fields by name, and a size."""

    size = 1


class Pages:
    """A listing of Azure: one blob a page."""

    def __init__(self, blobs, token):
        self.blobs, self.at, self.continuation_token = blobs, int(token or 0), None

    def __aiter__(self):
        return self

    async def __anext__(self):
        found = self.blobs[self.at : self.at + 1]
        self.continuation_token = str(self.at + 1) if self.at + 1 < len(self.blobs) else None

        async def page():
            for each in found:
                yield each

        return page()


class Container:
    """Azure's client of a container."""

    def __init__(self, blobs):
        self.blobs = blobs

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    def list_blobs(self, name_starts_with, **_):
        found = [each for each in self.blobs if each["name"].startswith(name_starts_with)]
        return types.SimpleNamespace(by_page=lambda token: Pages(found, token))


def azure(blobs, address="az://c/in/**/*.png"):
    from fsspec.asyn import get_loop

    opened = object.__new__(access.Access)
    opened.address, opened.protocol, opened.bucket = address, "az", ""
    client = types.SimpleNamespace(get_container_client=lambda _: Container(blobs))
    opened.fs = types.SimpleNamespace(loop=get_loop(), service_client=client)
    return opened


def test_azure_is_listed_by_pages():
    """Every page is asked for, a marked folder keeps its blobs, and markers are left out."""
    blobs = [
        Blob(name="in/", size=0),
        Blob(name="in/a", size=0, metadata={"Hdi_isfolder": "true"}),
        Blob(name="in/a/1.png", size=3, etag='"0x1"'),
        Blob(name="in/b.png", size=4, etag="0x2"),
    ]
    found = list(listings.files_below(azure(blobs), "c/in/", deep=True))
    assert found == [
        ("c/in/a/1.png", objects.Object("az://c/in/a/1.png", 3, "0x1")),
        ("c/in/b.png", objects.Object("az://c/in/b.png", 4, "0x2")),
    ]


def test_a_missing_bucket_is_no_empty_one():
    """A listing of a bucket that is missing says so."""
    opened = object.__new__(access.Access)
    opened.address, opened.protocol, opened.path, opened.bucket = "gs://no/in", "gs", "no/in", ""

    def ls(*_, **__):
        raise FileNotFoundError

    opened.fs = types.SimpleNamespace(invalidate_cache=lambda: None, ls=ls, exists=lambda _: False)
    with pytest.raises(faults.NoBucketError):
        list(listings.files_below(opened, "no/in/", deep=False))
    opened.fs.exists = lambda _: True
    assert list(listings.files_below(opened, "no/in/", deep=False)) == []


def test_packages_make_one_try():
    """The tries of gcsfs and adlfs are taken away, so that ours are the only ones."""

    def once(_):
        return "once"

    def often(_):
        return "often"

    often.__wrapped__ = once
    system = type("System", (), {"_request": often})()
    policy = types.SimpleNamespace(total_retries=3)
    system.service_client = types.SimpleNamespace(_config=types.SimpleNamespace(retry_policy=policy))
    access._try_once(system)
    assert (system._request(), policy.total_retries) == ("once", 0)
