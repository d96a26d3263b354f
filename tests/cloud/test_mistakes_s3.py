"""Mistakes in a bulk run of a real S3 server on loopback are told in one line, and no good record is lost."""

import io

import pytest
from painter import Painter
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError
from ipy_imgvar.storage.folder import open_folder


def put(bucket, *names):
    for number, name in enumerate(names):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), (number, 90, 40)).save(buffer, "png")
        open_folder(bucket).write(name, buffer.getvalue())


def test_one_line_for_each_mistake(bucket):
    """The images' own folder, an object as folder, a version or object that is missing, and a missing bucket."""
    put(bucket, "odd/p00.png", "odd/p01.png")
    client = Client(Painter())
    for images in (f"{bucket}/odd", f"{bucket}/odd/", f"{bucket}/odd/*.png"):
        with pytest.raises(InvalidRequestError, match="out_dir is the folder of the images"):
            client.map(images, out_dir=f"{bucket}/odd")
    with pytest.raises(InvalidRequestError, match=r"p00\.png is an object, not a folder"):
        client.map(f"{bucket}/odd", out_dir=f"{bucket}/odd/p00.png")
    with pytest.raises(InvalidImageError, match=r"query \(versionId\) that the server refused"):
        client.map(f"{bucket}/odd/p00.png?versionId=n0ne", out_dir=f"{bucket}/out")
    with pytest.raises(InvalidImageError, match=r"there is no object .*none\.png"):
        client.map(f"{bucket}/none.png", out_dir=f"{bucket}/out")
    with pytest.raises(InvalidImageError, match=r"there is no bucket nobucket-1 \(s3://nobucket-1/\*\.png\)"):
        client.map("s3://nobucket-1/*.png", out_dir=f"{bucket}/out")
    with pytest.raises(ImageVariationError, match="names no bucket"):
        client.map("s3://", out_dir=f"{bucket}/out")
    left = [each.address for each in open_folder(f"{bucket}/odd").names()]
    assert left == [f"{bucket}/odd/p00.png", f"{bucket}/odd/p01.png"]
    assert list(open_folder(f"{bucket}/out").names()) == []


def test_an_address_with_a_user_does_not_undo_what_is_done(bucket):
    """An address with a password fails in a list, and the same image by its own address is still done."""
    put(bucket, "in/p00.png")
    painter = Painter()
    client = Client(painter)
    client.map([f"{bucket}/in/p00.png"], out_dir=f"{bucket}/out")
    with_user = f"s3://user:pw5ecret@{bucket[5:]}/in/p00.png"
    (failed,) = client.map([with_user], out_dir=f"{bucket}/out")
    assert failed.status == "failed"
    assert "user or password" in failed.error
    assert "pw5ecret" not in failed.error
    (again,) = client.map([f"{bucket}/in/p00.png"], out_dir=f"{bucket}/out")
    assert again.status == "skipped"
    assert len(painter.requests) == 1
