"""TLS for the loopback servers, and a proxy that tunnels, itself with TLS or without."""

import asyncio
import shutil
import ssl
import subprocess
import threading


def make_certificate(folder):
    """Make a certificate for 127.0.0.1, as `cert.pem` and `key.pem` in a folder, and return the folder."""
    command = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([shutil.which("openssl"), *command.split(), *files], check=True, capture_output=True)
    return folder


def server_context(certificate):
    """Return the TLS settings of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def over_tls(api_class, certificate, monkeypatch):
    """Make servers of a class answer over TLS, until the test ends."""
    context = server_context(certificate)
    serve = api_class._serve

    def secured(self, connection):
        try:
            secure = context.wrap_socket(connection, server_side=True)
        except (ssl.SSLError, OSError):
            connection.close()
            return
        serve(self, secure)  # It closes both.

    monkeypatch.setattr(api_class, "_serve", secured)


class TunnelProxy:
    """A proxy that answers CONNECT; `heads` has what it was told, one text for each connection."""

    def __init__(self, certificate=None):
        self.heads = []
        self._context = server_context(certificate) if certificate else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context))
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(100)

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        host, _, port = head.split(" ")[1].rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError):
            writer.write(b"HTTP/1.1 502 No way\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    def close(self):
        """Break off all that is open and end the thread."""

        async def end():
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0.05)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(100)
        self._loop.close()


async def _copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
