"""Give hostile files to one door of the package, and print what came of it: what was started, written and said.

Run as `python hostile.py DOOR` in an empty folder; tests/test_hostile.py does. An audit hook can't be taken back, so
this is a process of its own.
"""

import base64
import contextlib
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ipy_imgvar import Client, cli
from ipy_imgvar.errors import ImageVariationError

#: PostScript that creates a file in the folder that Ghostscript may write to, in the shape that Pillow hands on.
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n"
    b"(/tmp/ipy-imgvar-was-here) (w) file closefile\nshowpage\n%%EOF\n"
)
HEADS = {
    "eps": POSTSCRIPT,
    "eps-binary": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + POSTSCRIPT,
    "eps-bom": b"\xef\xbb\xbf" + POSTSCRIPT,
    "eps-blank": b"\n\n" + POSTSCRIPT,
    "pdf": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n",
    "xbm": b"#define im_width 8\n#define im_height 8\nstatic char im_bits[] = {\n0,0,0,0,0,0,0,0};\n",
    "xpm": b'/* XPM */\nstatic char *a[] = {\n"1 1 1 1",\n"a c #000",\n"a"};\n',
    "fli": (140).to_bytes(4, "little") + b"\x12\xaf\1\0\x40\1\xc8\0\x08\0" + bytes(126),
    "psd": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3" + bytes(64),
    "icns": b"icns\0\0\0\x10icp4\0\0\0\x08",
    "ico": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x28\0\0\0\x16\0\0\0" + bytes(60),
    "tga": bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 24, 0]) + bytes(192),
    "pcx": b"\x0a\5\1\x08" + bytes(4) + b"\7\0\7\0" + bytes(200),
    "ppm": b"P6 8 8 255\n" + bytes(192),
    "pgm": b"P5 8 8 255\n" + bytes(64),
    "sgi": b"\x01\xda\0\1\0\2\0\x08\0\x08\0\1" + bytes(600),
    "dds": b"DDS " + (124).to_bytes(4, "little") + bytes(200),
    "msp": b"DanM\x08\0\x08\0" + bytes(100),
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(100),
    "emf": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60),
    "fits": b"SIMPLE  =                    T" + b" " * 2850,
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "grib": b"GRIB" + bytes(3) + b"\1" + bytes(100),
    "bufr": b"BUFR" + bytes(100),
    "im": b"Image type: RGB image\r\nImage size (x*y): 8*8\r\n\x1a" + bytes(300),
    "mpeg": b"\0\0\1\xb3\x01\0\x10" + bytes(60),
    "mcidas": b"\0\0\0\0\0\0\0\4" + bytes(300),
    "sun": b"\x59\xa6\x6a\x95" + bytes(28) + bytes(100),
    "qoi": b"qoif\0\0\0\x08\0\0\0\x08\3\0" + bytes(80),
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "dcx": b"\xb1\x68\xde\x3a" + bytes(60),
    "gbr": b"\0\0\0\x1c\0\0\0\2\0\0\0\x08\0\0\0\x08\0\0\0\4GIMP" + bytes(300),
    "ftex": b"FTEX" + bytes(100),
    "blp": b"BLP2" + bytes(200),
    "iptc": b"\x1c\3\x3c\0\1\1" + bytes(60),
    "cur": b"\0\0\2\0\1\0\x10\x10\0\0\1\0\x20\0\x28\0\0\0\x16\0\0\0" + bytes(60),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "html": b"<!DOCTYPE html><img src=x>",
    "mvg": b"push graphic-context\nimage over 0,0 0,0 'file:///etc/passwd'\npop graphic-context\n",
    "nothing": b"\0" * 64,
}
NAMES = ("a.png", "a.jpg", "a.eps", "a.webp", "a")
#: Every head under every name: 200 files.
FILES = [(f"{kind}-{name}", data) for kind, data in HEADS.items() for name in NAMES]

_events = []
_armed = False
_STARTED = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")
_TOUCHED = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")


def _hook(event, arguments):
    if not _armed:
        return
    if event in _STARTED or event in _TOUCHED:
        _events.append(f"{event} {arguments[:2]!r}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        _events.append(f"open {arguments[0]!r}")


@contextlib.contextmanager
def watched():
    """Note what is started and written while the block runs."""
    global _armed  # noqa: PLW0603 - a hook has no other memory
    _armed = True
    try:
        yield
    finally:
        _armed = False


def refused(function, *arguments, **named):
    """Return the message of our error that a call ends in, or what happened instead."""
    try:
        value = function(*arguments, **named)
    except ImageVariationError as exc:
        return str(exc)
    return f"NOT REFUSED: {value!r}"


def python(folder):
    """Pass bytes, paths and masks."""
    client = Client("patch")
    for name, data in FILES:
        with watched():
            yield refused(client.variations, data, size=64)
            yield refused(client.variations, folder / name, size=64)
            yield refused(client.variations, folder / "good.png", mask=data, size=64)


def magic(folder):
    """Give them to a line of the magic."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "ipy_imgvar")
    for name, _ in FILES:
        text = io.StringIO()
        with watched(), contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            shell.run_cell(f"%imagevariation '{folder / name}' --engine patch -s 64")
        yield text.getvalue()


def panel(_):
    """Upload them to the panel."""
    from ipy_imgvar.panel.actions import PanelActions
    from ipy_imgvar.panel.job import Worker
    from ipy_imgvar.panel.state import PanelState

    inline = Worker(lambda work: work())
    for name, data in FILES:
        state = PanelState()
        actions = PanelActions(state, {}, Client("patch"), inline, inline)
        with watched():
            actions.upload(name, data)
        yield state.error


def command(folder):
    """Call `imgvar create`."""
    for name, _ in FILES:
        text = io.StringIO()
        with watched(), contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
            code = cli.main(["create", str(folder / name), "--engine", "patch", "-s", "64"])
        yield f"exit {code}: {text.getvalue()}" if code == 0 else text.getvalue()


def server(_):
    """Upload them to our server, under each declared type."""
    import socket
    import threading

    import httpx
    import uvicorn

    from ipy_imgvar.server.app import Service, create_app
    from ipy_imgvar.server.guard import Policy
    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.offer import Offer

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(Service(Offer(Client("patch")), Limits(), Policy())), log_config=None)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/images/variations"
    with httpx.Client(timeout=200) as http:
        for number, (name, data) in enumerate(FILES):
            kind = ("image/png", "image/jpeg", "application/postscript")[number % 3]
            with watched():
                answer = http.post(address, files={"image": (name, data, kind)}, data={"size": "64x64"})
            yield answer.text if answer.status_code == 400 else f"NOT REFUSED: {answer.status_code}"
    running.should_exit = True
    thread.join()


def bulk(folder):
    """Run them in bulk."""
    with ThreadPoolExecutor(1) as executor:
        result = Client("patch").map(
            [folder / name for name, _ in FILES],
            out_dir=folder.parent / "out",
            executor=executor,
            size=64,
            progress=False,
        )
    # The run itself writes a ledger; what it must not have is a picture or a process, which other doors count.
    for item in result:
        yield item.error or f"NOT REFUSED: {item.paths}"


def answer(folder):
    """Have a server answer with them, as base64 and at an address."""
    from loopback import Api, answer_of, response

    api = Api()
    # One for all: reading the certificates that a client trusts takes longer than the rest.
    client = Client("openai", api_base=api.base, api_key="none-is-needed")
    for number, (_, data) in enumerate(FILES):
        if number % 2:
            body = answer_of(data)
        else:
            body = {
                "created": 1,
                "data": [{"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}],
            }
        api.script([response(200, body, "application/json")])
        with watched():
            yield refused(client.variations, folder / "good.png", size=256)
    client.close()
    api.close()


DOORS = {door.__name__: door for door in (python, magic, panel, command, server, bulk, answer)}


def main(door):
    """Write the files, give them to a door, and print what it said of each and what was seen."""
    from PIL import Image

    folder = Path("files").absolute()
    folder.mkdir()
    for name, data in FILES:
        (folder / name).write_bytes(data)
    Image.new("RGB", (64, 64), "red").save(folder / "good.png")
    # What is loaded late, and the caches of it, are no part of decoding.
    refused(Client("patch").variations, b"\xff\xd8\xff\xe0 broken", size=64)
    sys.addaudithook(_hook)
    said = list(DOORS[door](folder))
    sys.stdout.write(json.dumps({"said": said, "events": _events}))


if __name__ == "__main__":
    main(sys.argv[1])
