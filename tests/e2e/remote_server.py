"""An endpoint of the remote-VAE protocol that does as a test tells it, request by request.

    endpoint = Endpoint(ws, plan=["503", "ok"])         in this order, the last one for all that follow
    endpoint = Endpoint(ws, plan=lambda n: "ok")        n: number of the request, from 0
    endpoint.url, endpoint.requests, endpoint.seen      seen: what each POST asked for; sent: GETs are counted too
    endpoint.down(); endpoint.up()                      nobody listens there; the same port again
    endpoint.hold()                                     from now on "held" and "stuck" wait, until released.set()

Its VAE is no network: a latent has the first pixel's red, green and blue in three channels and 0.25 in the fourth, so
a plain picture's latents tell which picture they are of. Names of what it can do: BEHAVIOURS.
"""

import array
import base64
import collections
import contextlib
import http.server
import json
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
import zlib

from harness import HANGS_AFTER_S
from process_rig import own_port

SIDE = 64  # of the pictures of plain_pictures()
MODEL = {
    "latentd": "0.1.0",
    "name": "scripted",
    "recipe_vae": {
        "class": "AutoencoderKL",
        "weights_sha256": "ab" * 32,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "latent_channels": 4,
        "use_quant_conv": True,
        "mid_block_add_attention": True,
        "scaling_factor": 0.18215,
        "shift_factor": None,
    },
    "size_multiple": 8,
    "latent_channels": 4,
    "downscale": 8,
    "max_pixels": 0,
    "max_body": 0,
    "dtypes": ["float16", "bfloat16", "float32", "uint8"],
}
ITEMS = {"float16": "e", "float32": "f", "uint8": "B"}


# -- pictures


def png(side, color):
    """One of a single colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data)
        )

    rows = (b"\0" + bytes(color) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, data)
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    )


def color_of(number):
    return (number & 255, number >> 8 & 255, 7 * number & 255)


def plain_pictures(folder, n, first=0, side=SIDE):
    """@n pictures, each of its own colour, old enough for a daemon; their paths."""
    paths = []
    for i in range(first, first + n):
        paths.append(f"{i // 100:03d}/{i:05d}.png")
        full = os.path.join(folder, paths[-1])
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(png(side, color_of(i)))
        os.utime(full, (time.time() - 60,) * 2)
    return paths


def is_latent_of(values, path):
    """Whether these are the values of the latent of that one of plain_pictures(): the mean, [4][h][w]."""
    color = color_of(int(os.path.basename(path)[:-4]))
    wanted = [2 * c / 255 - 1 for c in color] + [0.25]
    area = len(values) // 4
    return len(values) == 4 * area and all(
        abs(value - wanted[i // area]) < 0.002 for i, value in enumerate(values)
    )


# -- what is asked for and answered


class Query:
    def __init__(self, path):
        self.path = path
        self.pairs = urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query)
        self.shape = [int(value) for key, value in self.pairs if key == "shape"]

    def get(self, key, otherwise=None):
        return dict(self.pairs).get(key, otherwise)


def first_pixel(query, body):
    """([red, green, blue] in [-1, 1], width, height)"""
    if not query.shape:
        assert body[:8] == b"\x89PNG\r\n\x1a\n", "neither a tensor nor a PNG"
        width, height = struct.unpack(">II", body[16:24])
        at, data = 8, b""
        while at < len(body):
            (length,) = struct.unpack(">I", body[at : at + 4])
            if body[at + 4 : at + 8] == b"IDAT":
                data += body[at + 8 : at + 8 + length]
            at += length + 12
        # nothing is before the first pixel, so every filter leaves it as it is
        return [2 * byte / 255 - 1 for byte in zlib.decompress(data)[1:4]], width, height
    n, channels, height, width = query.shape
    item = ITEMS[query.get("dtype")]
    size = struct.calcsize(item)
    assert (n, channels) == (1, 3) and len(body) == size * 3 * width * height, "another tensor"
    planes = [
        struct.unpack_from(f"<{item}", body, size * width * height * c)[0] for c in range(3)
    ]
    if item == "B":
        return [2 * byte / 255 - 1 for byte in planes], width, height
    signed = query.get("range") == "signed" or min(planes) < 0
    return [value if signed else 2 * value - 1 for value in planes], width, height


def latent_of(query, body):
    """(values as the request wants them, [1, channels, height, width])"""
    color, width, height = first_pixel(query, body)
    area = (width // 8) * (height // 8)
    shift, scale = (float(query.get(k, d)) for k, d in (("shift_factor", 0), ("scaling_factor", 1)))
    values = [(value - shift) * scale for value in (*color, 0.25) for _ in range(area)]
    if query.get("posterior") == "moments":
        values += [-30.0] * 4 * area
    return values, [1, len(values) // area, height // 8, width // 8]


def packed(values, dtype):
    if dtype == "float32":
        return array.array("f", values).tobytes()
    return struct.pack(f"<{len(values)}e", *values)


def identity_of(model):
    """Headers by which a latentd says what computed a latent; a foreign endpoint has none."""
    if model is None:
        return {}
    return {
        "latentd": model["latentd"],
        "latentd-model": model["name"],
        "latentd-weights": model["recipe_vae"]["weights_sha256"],
        "latentd-precision": "float32",
    }


# -- what it can do


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, text, **headers):
        self.answer(status, json.dumps({"error": text}).encode(), **headers)

    def may(self):
        token = self.server.owner.token
        if token is None or self.headers.get("Authorization") == f"Bearer {token}":
            return True
        self.error(401, "a token is wanted")
        return False

    def do_GET(self):
        owner = self.server.owner
        if owner.asked() == "held":
            owner.released.wait(HANGS_AFTER_S)
        if not owner.server:
            self.hang_up()
        elif self.path != "/v1/model" or owner.model is None:
            self.answer(404, b"<html>404 Not Found</html>")
        elif self.may():
            self.answer(200, json.dumps(owner.model).encode())

    def do_POST(self):
        owner, query = self.server.owner, Query(self.path)
        behaviour = owner.begin(query, self.headers)
        try:
            if behaviour == "closes mid-upload":
                self.rfile.read(100)
                self.hang_up()
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.may():
                BEHAVIOURS[behaviour](self, query, body)
        finally:
            owner.end()

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def latent(self, query, body, change=None, **headers):
        values, shape = latent_of(query, body)
        dtype = query.get("reply") or self.server.owner.dtype
        data = packed(values, dtype)
        if change:
            data, shape = change(data, shape)
        said = {"shape": json.dumps(shape), "dtype": dtype, **identity_of(self.server.owner.model)}
        self.answer(200, data, **{**said, **headers})
        self.server.owner.gave(query)


def do_ok(h, query, body):
    time.sleep(h.server.owner.delay_s)
    h.latent(query, body)


def do_slow(h, query, body):
    time.sleep(0.5)
    h.latent(query, body)


def do_held(h, query, body):
    h.server.owner.released.wait(HANGS_AFTER_S)
    h.latent(query, body)


def do_stuck(h, query, body):
    h.server.owner.released.wait(HANGS_AFTER_S)
    h.hang_up()


def do_truncated(h, query, body):
    values, shape = latent_of(query, body)
    data = packed(values, "float32")
    h.send_response(200)
    h.send_header("Content-Length", str(len(data)))
    h.send_header("shape", json.dumps(shape))
    h.send_header("dtype", "float32")
    h.end_headers()
    h.wfile.write(data[: len(data) // 2])
    h.hang_up()


def do_wrong_shape(h, query, body):
    h.latent(query, body, lambda data, shape: (data, [1, shape[1], shape[3] * 2, shape[2] // 2]))


def do_wrong_dtype(h, query, body):
    values, shape = latent_of(query, body)
    h.answer(200, bytes(len(values)), shape=json.dumps(shape), dtype="int8")


def do_nan(h, query, body):
    h.latent(query, body, lambda data, shape: (b"\xff" * len(data), shape))


def do_garbage_headers(h, query, body):
    h.wfile.write(b"\x00\xff\xfe not HTTP at all\r\n\r\n")
    h.hang_up()


def status(code, text, **headers):
    return lambda h, query, body: h.error(code, text, **headers)


BEHAVIOURS = {
    "ok": do_ok,
    "slow": do_slow,
    "held": do_held,
    "stuck": do_stuck,
    "truncated": do_truncated,
    "wrong shape": do_wrong_shape,
    "wrong dtype": do_wrong_dtype,
    "NaN": do_nan,
    "garbage headers": do_garbage_headers,
    "closes mid-upload": None,
    "HTML": lambda h, query, body: h.answer(502, b"<html>Bad Gateway</html>"),
    "HTML 200": lambda h, query, body: h.answer(200, b"<html>Welcome</html>"),
    "redirect": lambda h, query, body: h.answer(302, Location="/elsewhere"),
    "429": status(429, "too many requests", Retry_After=1),
    "503": status(503, "busy", Retry_After=1),
    "503 plain": status(503, "starting"),
    "500": status(500, "internal"),
    "400": status(400, "CUDA out of memory"),
    "401": status(401, "who are you?"),
    "403": status(403, "not yours"),
    "404": status(404, "no such route"),
    "408": status(408, "too slow"),
    "413": status(413, "the picture is too large"),
    "415": status(415, "no PNG here"),
    "422": status(422, "not this one"),
}


# -- one of them


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass  # clients go away, that is what is tested


class Endpoint:
    def __init__(self, ws, plan="ok", *, model=MODEL, token=None, dtype="float16", tls=None):
        self.plan, self.model, self.token, self.dtype, self.tls = plan, model, token, dtype, tls
        self.question = "ok"  # or "held"
        self.lock, self.released = threading.Lock(), threading.Event()
        self.sent = self.questions = self.requests = self.given = self.in_flight = self.most = 0
        self.delay_s = 0
        self.seen, self.headers = [], []  # queries and headers of the POSTs
        self.did = collections.Counter()
        self.port, self.server = own_port(ws), None
        self.up()
        ws.at_end.append(self.down)

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/"

    def up(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.owner = self
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        """Nobody listens any more; connections that are open are not answered again."""
        self.released.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def hold(self):
        self.released.clear()

    def asked(self):
        with self.lock:
            self.sent += 1
            self.questions += 1
            return self.question

    def begin(self, query, headers):
        with self.lock:
            self.sent += 1
            n, self.requests = self.requests, self.requests + 1
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            self.seen.append(query)
            self.headers.append(dict(headers))
            if callable(self.plan):
                behaviour = self.plan(n)
            elif isinstance(self.plan, str):
                behaviour = self.plan
            else:
                behaviour = self.plan[min(n, len(self.plan) - 1)]
            self.did[behaviour] += 1
            return behaviour if self.server else "closes mid-upload"

    def end(self):
        with self.lock:
            self.in_flight -= 1

    def gave(self, query):
        with self.lock:
            self.given += 1


# -- TLS and proxies


def certificate(ws, name, host="localhost"):
    """(certificate, key) of a server that signed itself; the openssl command makes it."""
    paths = ws.path(f"{name}.pem"), ws.path(f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        + ["-out", paths[0], "-keyout", paths[1]],
        check=True,
        capture_output=True,
    )
    return paths


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    """Passes whole requests on, as a proxy does with http."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def may(self):
        wanted = self.server.credentials
        given = self.headers.get("Proxy-Authorization")
        if wanted is None or given == "Basic " + base64.b64encode(wanted.encode()).decode():
            return True
        self.close_connection = True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self):
        if not self.may():
            return
        self.server.passed.append(self.path)
        self.close_connection = True
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            pair = {self.connection: there, there: self.connection}
            while data := (here := select.select(list(pair), [], [], 30)[0][0]).recv(1 << 16):
                pair[here].sendall(data)

    def forward(self):
        import http.client

        if not self.may():
            return
        url = urllib.parse.urlsplit(self.path)
        self.server.passed.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        there = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        with contextlib.closing(there):
            headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy")}
            path = url.path + (f"?{url.query}" if url.query else "")
            there.request(self.command, path, body, headers)
            answer = there.getresponse()
            data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "server", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = forward


def proxy(ws, credentials=None):
    """(URL, list of the URLs that went through it); credentials: USER:PASSWORD that it wants"""
    server = Server(("127.0.0.1", 0), ProxyHandler)
    server.passed, server.credentials = [], credentials
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    ws.at_end.append(lambda: (server.shutdown(), server.server_close()))
    return f"http://127.0.0.1:{server.server_address[1]}", server.passed
