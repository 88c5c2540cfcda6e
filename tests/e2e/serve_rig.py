"""A `latentd serve` for a test: the process, requests over HTTP, and what a client of diffusers sees.

    server = Server(ws, vae=demo_model())
    server.start()                                 waits until its model is loaded
    z = server.encode(png(64, 64, rgb), posterior="mean", reply="float32")
    z.shape, z.dtype, z.values
    server.stop()

Only the standard library.
"""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import urllib.parse
import zlib

from harness import HANGS_AFTER_S, equal, wait_until
from process_rig import Running

ITEM = {"float16": 2, "bfloat16": 2, "float32": 4, "uint8": 1}


def png(width, height, rgb, mode=2):
    """An 8-bit PNG: mode 0 grey, 2 RGB, 6 RGBA."""
    row = width * {0: 1, 2: 3, 6: 4}[mode]
    assert len(rgb) == row * height

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + rgb[y * row : (y + 1) * row] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def noise(n, seed=1):
    """@n bytes that are always the same."""
    made = bytearray()
    while len(made) < n:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        made += struct.pack("<Q", seed)[3:]
    return bytes(made[:n])


def planes(rgb):
    """[height][width][3] to [3][height][width]"""
    return b"".join(rgb[c::3] for c in range(3))


class Latent:
    def __init__(self, headers, body):
        self.shape, self.dtype, self.body = json.loads(headers["shape"]), headers["dtype"], body
        n = ITEM[self.dtype]
        for side in self.shape:
            n *= side
        equal(len(body), n, "bytes of the latent")

    @property
    def values(self):
        n = len(self.body) // ITEM[self.dtype]
        if self.dtype == "bfloat16":
            shorts = struct.unpack(f"<{n}H", self.body)
            return struct.unpack(f"<{n}f", struct.pack(f"<{n}I", *(s << 16 for s in shorts)))
        return struct.unpack(f"<{n}{'e' if self.dtype == 'float16' else 'f'}", self.body)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __str__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]!r}"

    def latent(self):
        equal(self.status, 200, f"the status of {self}")
        return Latent(self.headers, self.body)

    def error(self, status, *words):
        """It is refused, as JSON, and says why."""
        equal(self.status, status, f"the status of {self}")
        equal(self.headers["content-type"], "application/json", "the type")
        message = json.loads(self.body)
        equal(list(message), ["error"], "members")
        for word in words:
            assert word in message["error"], f"{word!r} is not in {message['error']!r}"
        return message["error"]


class Server(Running):
    def __init__(self, ws, *words, vae="fake", name="serve"):
        super().__init__(ws, "latentd serve", ws.path(f"{name}.stderr"))
        self.context = None
        listen = [] if "--listen" in words else ["--listen", "127.0.0.1:0"]
        self.words = [os.path.join(ws.programs, "latentd"), "serve", "--vae", vae, *listen, *words]
        self.host, self.port, self.headers = "127.0.0.1", None, {}

    def __str__(self):
        return f"latentd serve\n{self.said()}"

    # -- process

    def spawn(self, **options):
        self.begin(self.words, mode="wb", **options)

    def start(self, **options):
        self.spawn(**options)
        wait_until(self.is_ready, "the server to be ready")
        return self

    def is_ready(self):
        self.is_alive()
        found = re.search(r" at (https?)://[^ ]*:(\d+)$", self.said(), re.M)
        if not found:
            return False
        self.port = int(found[2])
        if found[1] == "https":
            self.context = ssl.create_default_context()
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE
        return True

    # -- requests

    def connection(self, timeout=HANGS_AFTER_S):
        if self.context:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout, context=self.context
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def socket(self, timeout=HANGS_AFTER_S):
        return socket.create_connection((self.host, self.port), timeout)

    def request(self, method, path, body=None, headers=None, connection=None):
        used = connection or self.connection()
        try:
            used.request(method, path, body, {**self.headers, **(headers or {})})
            answer = used.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            if not connection:
                used.close()

    def post(self, body, *, path="/", headers=None, connection=None, **query):
        words = urllib.parse.urlencode(query, doseq=True)
        return self.request(
            "POST", f"{path}?{words}" if words else path, body, headers, connection
        )

    def encode(self, body, **query):
        return self.post(body, **query).latent()

    def tensor(self, body, shape, dtype, **query):
        return self.post(body, shape=shape, dtype=dtype, **query)

    def metrics(self):
        answer = self.request("GET", "/metrics")
        equal(answer.status, 200, "status")
        lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def wait_for_metric(self, name, least):
        wait_until(
            lambda: self.metrics()[f"latentd_serve_{name}"] >= least, f"{name} to be {least}"
        )


def hang_up(sock):
    """Closes at once, whatever is under way."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
