"""Objects of a real S3 server on loopback: reads, listings, refusals and faults."""

import io
import json
import os
import subprocess
import sys
import time

import pytest

from ipy_imgvar.errors import (
    CancelledError,
    ConfigurationError,
    ConnectionFailedError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
    RequestTimeoutError,
)
from ipy_imgvar.storage import attempts, objects
from ipy_imgvar.storage.folder import open_folder

#: Keys that a URL or a pattern would read in another way.
ODD = (
    "a b.png",
    "100%.png",
    "x#1.png",
    "what?.png",
    "ü/猫.png",
    "d//e.png",
    "f::g.png",
    "h[1].png",
    "i&j+k.png",
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    """Wait a tenth of a second at most between two tries."""
    monkeypatch.setattr(attempts, "_LONGEST_S", 0.1)


def addresses(address, **wanted):
    return [each.address for each in objects.listing(address, **wanted)]


class TestListing:
    """Listings."""

    def test_odd_keys(self, bucket):
        """An object of any key is listed, looked at, read and removed."""
        folder = open_folder(bucket)
        for name in ODD:
            folder.write(name, name.encode())
        assert set(addresses(f"{bucket}/**/*.png")) == {f"{bucket}/{name}" for name in ODD}
        for name in ODD:
            assert objects.read(f"{bucket}/{name}", most_bytes=100) == name.encode()
            assert objects.stat(f"{bucket}/{name}").size == len(name.encode())
        folder.remove(ODD)
        assert addresses(f"{bucket}/**/*.png") == []

    def test_folders_and_patterns(self, bucket):
        """A folder is what lies right in it; a pattern looks as deep as it says; markers and dots are left out."""
        folder = open_folder(bucket)
        for name in (
            "b.png",
            "a.png",
            "note.txt",
            ".no.png",
            "in/c.png",
            "in/deep/d.png",
            "in/.no/e.png",
            "a10.png",
        ):
            folder.write(name, b"1")
        import fsspec

        fsspec.filesystem("s3").call_s3("put_object", Bucket=bucket[5:], Key="in/", Body=b"")
        images = {"wanted": lambda name: name.endswith(".png")}
        assert addresses(bucket, **images) == [f"{bucket}/{name}" for name in ("a.png", "a10.png", "b.png")]
        assert addresses(f"{bucket}/in/") == [f"{bucket}/in/c.png"]
        assert addresses(f"{bucket}/a*.png") == [f"{bucket}/a.png", f"{bucket}/a10.png"]
        assert addresses(f"{bucket}/*/*.png") == [f"{bucket}/in/c.png"]
        assert addresses(f"{bucket}/in/**/*.png") == [f"{bucket}/in/c.png", f"{bucket}/in/deep/d.png"]
        assert addresses(f"{bucket}/a.png") == [f"{bucket}/a.png"]

    def test_pages(self, s3):
        """A listing of several pages has every object once, in order, and asks for a page when it is needed."""
        address = s3.make_bucket("three-pages", fill=2500)
        s3.requests()
        found = objects.listing(address)
        assert next(found).address == f"{address}/000000.png"
        assert s3.requests() == {"GET": 1}
        assert [each.address for each in found] == [f"{address}/{number:06}.png" for number in range(1, 2500)]
        assert s3.requests() == {"GET": 2}

    @pytest.mark.slow
    def test_bounded_memory(self, s3):
        """Thirty thousand objects are listed in a few megabytes over the first page's."""
        address = s3.make_bucket("many-objects", count=30_000, key="cats/of/the/year/{:06}.png")
        code = f"""
from ipy_imgvar.storage.objects import listing
import resource
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = listing({address + "/cats/**/*.png"!r})
for _ in range(2000): next(found)
start = peak()
print(sum(1 for _ in found), peak() - start)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=True
        )
        count, more_kib = map(int, done.stdout.split())
        assert count == 28_000
        assert more_kib < 8 << 10


class TestRefusals:
    """What a server refuses is told in one line, and never tried again."""

    def told(self, work):
        before = objects.retries()
        with pytest.raises(ImageVariationError) as caught:
            work()
        assert objects.retries() == before
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        text = str(caught.value)
        assert "\n" not in text
        assert not any(word in text for word in ("AKIA", "testing-", "http://"))
        return text

    def test_missing(self, bucket):
        """A missing object and a missing bucket are told apart."""
        assert self.told(lambda: objects.read(f"{bucket}/no.png", most_bytes=9)) == (
            f"there is no object {bucket}/no.png: check the address"
        )
        for work in (
            lambda: objects.read("s3://no-such-bucket/a.png", most_bytes=9),
            lambda: addresses("s3://no-such-bucket/*.png"),
            lambda: open_folder("s3://no-such-bucket/out").write("a.png", b"1"),
            open_folder("s3://no-such-bucket/out").check,
            lambda: open_folder("s3://no-such-bucket/out").check(write=False),
        ):
            told = self.told(work)
            assert (
                "no bucket no-such-bucket" in told
                or "no-such-bucket does not exist" in told
                or ("its bucket does not exist" in told)
            )

    def test_folders(self, bucket):
        """A folder that is read as an image names an image in it."""
        open_folder(f"{bucket}/cats").write("tom.png", b"1")
        for address in (f"{bucket}/cats", f"{bucket}/cats/", bucket):
            assert "is a folder; name an object in it" in self.told(
                lambda a=address: objects.read(a, most_bytes=9)
            )
        assert f"{bucket}/cats/tom.png" in self.told(lambda: objects.read(f"{bucket}/cats", most_bytes=9))

    def test_too_large(self, bucket):
        """An object above the bound is refused by its length, before it is read."""
        open_folder(bucket).write("big.png", bytes(3 << 20))
        assert "has 3.1 MB; allowed: 1 MiB" in self.told(
            lambda: objects.read(f"{bucket}/big.png", most_bytes=1 << 20)
        )

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("denied", "access is denied"),
            ("expired", "the credentials have expired"),
            ("wrong-key", "does not accept the credentials"),
        ],
    )
    def test_denied(self, s3, bucket, kind, words):
        """A refusal of the credentials says which one it is, for a read and before a run."""
        s3.fail(kind)
        assert words in self.told(lambda: objects.read(f"{bucket}/a.png", most_bytes=9))
        assert words in self.told(lambda: addresses(f"{bucket}/*.png"))
        with pytest.raises(InvalidRequestError, match=words) as caught:
            open_folder(f"{bucket}/out").check()
        assert caught.value.field == "out_dir"

    def test_read_only(self, s3, bucket):
        """A bucket that may only be read is told before a run; a dry run may read it."""
        s3.fail("denied", methods=("PUT",))
        folder = open_folder(f"{bucket}/out")
        assert "can't be written: access is denied" in self.told(folder.check)
        assert "can't be written: access is denied" in self.told(lambda: folder.write("a.png", b"1"))
        folder.check(write=False)

    def test_no_credentials(self, bucket, monkeypatch):
        """A user without credentials is told where they belong."""
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(
            ConfigurationError, match="no credentials were found; give them by AWS_ACCESS_KEY_ID"
        ):
            objects.read(f"{bucket}/a.png", most_bytes=9)

    def test_wrong_endpoint(self, bucket, monkeypatch):
        """A server that is not there is tried five times, and told."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        before = objects.retries()
        with pytest.raises(ConnectionFailedError, match="can't be reached; check the endpoint"):
            objects.read(f"{bucket}/a.png", most_bytes=9)
        assert objects.retries() == before + 4


class TestFaults:
    """Faults that pass are tried again, and counted."""

    @pytest.mark.parametrize("kind", ["slow-down", "internal", "short"])
    def test_a_request_in_three(self, s3, bucket, kind):
        """Where one request in three fails, every object is read and written whole, and each fault is counted once."""
        folder = open_folder(bucket)
        data = os.urandom(3000)
        s3.fail(kind, every=3, methods=("GET", "PUT") if kind != "short" else ("GET",))
        s3.requests()
        before = objects.retries()
        for number in range(10):
            folder.write(f"{number}.bin", data)
            assert objects.read(f"{bucket}/{number}.bin", most_bytes=3000) == data
        failed = s3.requests()["failed"]
        assert failed > 3
        assert objects.retries() - before == failed

    def test_broken_connections(self, s3, bucket):
        """Connections that break before the answer lose nothing, whoever tries again."""
        folder = open_folder(bucket)
        s3.fail("reset", every=3)
        for number in range(10):
            folder.write(f"{number}.bin", b"abc")
            assert folder.read(f"{number}.bin") == b"abc"

    def test_a_server_that_goes_on_failing(self, s3, bucket):
        """A server that fails five times is given up, with its answer."""
        s3.fail("slow-down")
        s3.requests()
        with pytest.raises(ConnectionFailedError, match="the server answered SlowDown"):
            objects.read(f"{bucket}/a.png", most_bytes=9)
        assert s3.requests() == {"GET": 5, "failed": 5}
        with pytest.raises(
            ImageVariationError, match="can't be written after 5 tries: the server answered SlowDown"
        ):
            open_folder(bucket).write("a.png", b"1")

    def test_time_limit_and_cancel(self, s3, bucket):
        """A slow server is left at the limit, or at the caller's wish."""
        open_folder(bucket).write("a.png", b"1")
        s3.fail("slow", seconds=30, methods=("GET",))
        started = time.monotonic()
        with pytest.raises(RequestTimeoutError, match=r"not read within the timeout of 0\.3 s"):
            objects.read(f"{bucket}/a.png", most_bytes=9, timeout_s=0.3)

        def check():
            if time.monotonic() - started > 1:
                raise CancelledError("stop")

        with pytest.raises(CancelledError):
            objects.read(f"{bucket}/a.png", most_bytes=9, check=check)
        assert time.monotonic() - started < 25

    def test_one_request_for_a_read(self, s3, bucket):
        """A read, a look and a write are one request each."""
        folder = open_folder(bucket)
        s3.requests()
        folder.write("a.png", b"1")
        assert s3.requests() == {"PUT": 1}
        objects.read(f"{bucket}/a.png", most_bytes=9)
        assert s3.requests() == {"GET": 1}
        objects.stat(f"{bucket}/a.png")
        assert s3.requests() == {"HEAD": 1}


class TestFolder:
    """A folder in a bucket."""

    def test_large_files(self, bucket):
        """A file of several parts is put whole, and one that breaks off leaves nothing."""
        folder = open_folder(f"{bucket}/out")
        data = os.urandom(1 << 20) * 20
        folder.write_file("big.bin", io.BytesIO(data))
        assert folder.size("big.bin") == len(data)
        out = io.BytesIO()
        assert folder.download("big.bin", out)
        assert out.getvalue() == data

        class Broken(io.BytesIO):
            def read(self, size=-1):
                if self.tell() >= 16 << 20:
                    raise ValueError
                return super().read(size)

        with pytest.raises(ImageVariationError):
            folder.write_file("half.bin", Broken(data))
        assert [each.address for each in folder.names()] == [f"{bucket}/out/big.bin"]

    def test_a_page_is_shown(self, bucket):
        """An object has the content type of its name, so that a browser shows a page in place of saving it."""
        import fsspec

        folder = open_folder(bucket)
        for name, kind in (("index.html", "text/html"), ("a.png", "image/png")):
            folder.write(name, b"1")
            assert fsspec.filesystem("s3").info(f"{bucket}/{name}")["ContentType"] == kind

    def test_an_earlier_version(self, bucket):
        """An address may name a version of an object."""
        import fsspec

        fs = fsspec.filesystem("s3")
        fs.call_s3("put_bucket_versioning", Bucket=bucket[5:], VersioningConfiguration={"Status": "Enabled"})
        versions = []
        for data in (b"first", b"second!"):
            open_folder(bucket).write("a.png", data)
            versions.append(fs.call_s3("head_object", Bucket=bucket[5:], Key="a.png")["VersionId"])
        first = f"{bucket}/a.png?versionId={versions[0]}"
        assert objects.read(first, most_bytes=9) == b"first"
        assert objects.stat(first).size == 5
        assert objects.read(f"{bucket}/a.png", most_bytes=9) == b"second!"

    def test_the_check_leaves_nothing(self, bucket):
        """The check of a bucket that may be written leaves no object."""
        folder = open_folder(f"{bucket}/out")
        folder.check()
        assert list(folder.names()) == []

    def test_many_are_removed_together(self, s3, bucket):
        """Up to a thousand objects are removed by one request."""
        folder = open_folder(bucket)
        for number in range(5):
            folder.write(f"{number}.bin", b"1")
        s3.requests()
        folder.remove(f"{number}.bin" for number in range(9))
        assert s3.requests() == {"POST": 1}
        assert list(folder.names()) == []


def test_an_image(bucket, painted):
    """An address is an image, a mask too; its bucket is named in a plan, and it is fetched once."""
    from ipy_imgvar import Client

    folder = open_folder(bucket)
    folder.write("cat.png", painted)
    client = Client("patch")
    result = client.variations(f"{bucket}/cat.png", size="64x64", seed=1)
    assert result[0].source.stem == "cat"
    assert result[0].bytes == client.variations(painted, size="64x64", seed=1)[0].bytes
    assert f"cat.png is fetched from {bucket} first" in str(client.plan(f"{bucket}/cat.png", size="64x64"))
    with pytest.raises(InvalidImageError, match=r"there is no object .*none\.png") as caught:
        client.variations(f"{bucket}/cat.png", mask=f"{bucket}/none.png", size="64x64")
    assert caught.value.field == "mask"


def test_the_command_line(bucket, painted, tmp_path):
    """`imgvar create` takes an address and a pattern of addresses, and refuses to save to one."""
    for name in ("a.png", "b.png"):
        open_folder(bucket).write(name, painted)

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "ipy_imgvar.cli", "create", *words, "-s", "64x64"],
            cwd=tmp_path,
            env={**os.environ, "IMGVAR_STORE": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(f"{bucket}/*.png")
    assert done.stdout.split() == ["a-1.png", "b-1.png"], done.stderr
    for words in (
        [f"{bucket}/no.png"],
        [f"{bucket}/no*.png"],
        [f"{bucket}/a.png", "--out-file", f"{bucket}/o.png"],
    ):
        done = run(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert json.dumps(sorted(path.name for path in tmp_path.glob("*.png"))) == '["a-1.png", "b-1.png"]'
