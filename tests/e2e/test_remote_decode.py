#!/usr/bin/env python3
"""Decoding elsewhere: `decode`, `preview` and `verify --decode` with --endpoint, of latentd serve and of an endpoint that
tells nothing of itself, and what becomes of answers that are none."""

import http.client
import http.server
import json
import os
import threading

import tiny_models
from harness import DAMAGED, FAILED, SOURCE_DIR, demo_model, equal, one_line, run_tests, test
from pixels import image_run, psnr
from reference import shard_files
from serve_rig import Server

ENCODER_ONLY = os.path.join(SOURCE_DIR, "tests", "golden", "kl_sd")


class Foreign(http.server.BaseHTTPRequestHandler):
    """A server of remote_decode that tells no model: passes requests on to a latentd, and does first what its list says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.asked += 1
        if self.server.asked <= self.server.starting:
            self.answer(503, [], b'{"error":"starting"}')
        elif self.server.model:
            self.answer(200, [], json.dumps(self.server.model).encode())
        else:
            self.answer(404, [], b"no such page")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), body))
        if self.server.first:
            self.answer(*self.server.first.pop(0))
            return
        there = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=240)
        there.request("POST", self.path, body, {"Accept": self.headers["Accept"]})
        answer = there.getresponse()
        data = answer.read()
        there.close()
        headers = [(name, answer.headers[name]) for name in ("shape", "dtype", "content-type") if name in answer.headers]
        self.answer(answer.status, headers, data)


def foreign(ws, to, first=()):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    server.to, server.first, server.seen, server.daemon_threads = to, list(first), [], True
    server.model = None  # what it tells, after so many answers that it is starting:
    server.starting, server.asked = 0, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ws.at_end.append(server.shutdown)
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    return server


def url(server):
    return f"http://127.0.0.1:{server.port}/"


def encode(ws, *options, vae=None):
    ws.encode("--bucketing", "square", "--color", "ignore", *options, vae=vae or demo_model())
    (shard,) = shard_files(os.path.join(ws.out, "set"))
    return shard


def decoded(ws, shard, *where, name="decoded.png"):
    ws.latentctl("decode", shard, "rocket", *where, "-o", ws.path(name))
    return image_run(ws.path(name), ws.root)


def same(got, wanted):
    equal(got[:2], wanted[:2], "size")
    assert got[2] == wanted[2], f"another picture: {psnr(got[2], wanted[2]):.2f} dB"


@test
def a_latentd_elsewhere_decodes_bit_for_bit_what_this_machine_does(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    server = Server(ws, vae=demo_model()).start()
    for number, options in enumerate(([], ["--scaled"], ["--posterior", "moments"])):
        ws.out = ws.path(f"out{number}")
        shard = encode(ws, *options)
        same(decoded(ws, shard, "--endpoint", url(server)), decoded(ws, shard, "--vae", demo_model()))
    server.stop()


@test
def an_endpoint_that_tells_nothing_gets_raw_latents_as_comfyui_sends_them(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws, "--scaled", "--dtype", "float32")
    server = Server(ws, vae=demo_model()).start()
    there = foreign(ws, server.port)
    same(decoded(ws, shard, "--endpoint", there.url), decoded(ws, shard, "--vae", demo_model()))
    ((path, headers, body),) = there.seen
    wanted = "/?output_type=pt&partial_postprocess=True&shape=1&shape=4&shape=16&shape=16&dtype=float32&do_scaling=False"
    equal(path, wanted, "the request")
    equal((headers["Content-Type"], headers["Accept"]), ("tensor/binary", "tensor/binary"), "headers")
    equal(len(body), 4 * 4 * 16 * 16, "bytes")
    server.stop()


@test
def an_autoencoder_tiny_elsewhere_gets_scaled_latents(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws, "--dtype", "float32")
    vae = tiny_models.folder(ws.path("taesd"))
    server = Server(ws, vae=vae).start()
    same(decoded(ws, shard, "--endpoint", url(server)), decoded(ws, shard, "--vae", vae))
    server.stop()


@test
def sheets_and_proofs_are_made_elsewhere(ws):
    for name in ("rocket.jpg", "grey.jpg"):
        ws.golden(name, name)
    encode(ws)
    server = Server(ws, vae=demo_model()).start()
    there = foreign(ws, server.port)
    sheets = []
    for where in (["--vae", demo_model()], ["--endpoint", url(server)], ["--endpoint", there.url]):
        ws.latentctl("preview", ws.path("out", "set"), *where, "-o", ws.path("sheet.png"))
        sheets.append(image_run(ws.path("sheet.png"), ws.root))
    same(sheets[1], sheets[0])
    same(sheets[2], sheets[0])
    verify = ["verify", "--out", ws.out, "--decode", "2", "--endpoint"]
    result = ws.latentctl(*verify, url(server))
    assert "2 latents decoded" in result.out, result
    ws.latentctl(*verify, url(server), "--min-psnr", "90", code=DAMAGED)
    result = ws.latentctl(*verify, there.url)
    assert "latents are not" in result.out and "2 latents decoded" in result.out, result
    server.stop()
    other = Server(ws, vae=tiny_models.folder(ws.path("taesd")), name="other").start()
    one_line(ws.latentctl(*verify, url(other), code=FAILED), "another model")
    other.stop()


@test
def what_may_work_in_a_moment_is_tried_again(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws)
    server = Server(ws, vae=demo_model()).start()
    shape = [("shape", "[1,128,128,3]"), ("dtype", "uint8")]
    bad = [
        (503, [("Retry-After", "0")], b'{"error":"starting"}'),
        (200, [("content-type", "text/html")], b"<html>"),
        (200, shape, b"short"),
        (200, [("shape", "[1,128,128,3]"), ("dtype", "float16")], bytes(2 * 128 * 128 * 3)),
        (200, [("shape", "[1,100,128,3]"), ("dtype", "uint8")], bytes(100 * 128 * 3)),
        (400, [], b'{"error":"out of memory"}'),
    ]
    want = decoded(ws, shard, "--vae", demo_model())
    for answer in bad:
        there = foreign(ws, server.port, [answer])
        same(decoded(ws, shard, "--endpoint", there.url), want)
        equal(len(there.seen), 2, f"requests after {answer[0]}")
    there = foreign(ws, server.port)
    there.starting = 1
    same(decoded(ws, shard, "--endpoint", there.url), want)
    equal(there.asked, 2, "questions for the model")
    server.stop()


@test
def a_pause_that_a_server_asks_for_is_said(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws)
    server = Server(ws, vae=demo_model()).start()
    there = foreign(ws, server.port, [(503, [("Retry-After", "2")], b'{"error":"loading weights"}')])
    result = ws.latentctl("decode", shard, "rocket", "-o", ws.path("back.png"), "--endpoint", there.url)
    assert "waiting 2 s: " in result.err and "loading weights" in result.err, result
    server.stop()


@test
def what_will_not_work_is_one_clear_line(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard, png = encode(ws), ws.path("x.png")
    server = Server(ws, vae=demo_model()).start()

    def refused(*words, says, first=(), requests=None, code=FAILED):
        there = foreign(ws, server.port, first)
        where = ["--endpoint", there.url] if first or requests is not None else []
        one_line(ws.latentctl("decode", shard, "rocket", "-o", png, *where, *words, code=code), *says)
        assert not os.path.exists(png), "a picture was written"
        if requests is not None:
            equal(len(there.seen), requests, f"requests of {says}")

    nothing = (200, [("content-type", "text/html")], b"<html>")
    refused("--retries", "1", first=[nothing] * 2, says=["no picture", "uint8"], requests=2)
    refused("--retries", "0", first=[(500, [], b'{"error":"boom"}')], says=["status 500", "boom"], requests=1)
    refused(first=[(401, [], b"{}")], says=["wants a token"], requests=1)
    refused(first=[(422, [], b'{"error":"not mine"}')], says=["not mine"], requests=1)
    refused(first=[(400, [], b'{"error":"no"}')] * 2, says=["status 400", "no"], requests=2)
    refused("--endpoint", "http://127.0.0.1:1/", "--retries", "1", says=["127.0.0.1:1"])
    refused("--endpoint", url(server), "--vae", demo_model(), says=["here or there"])
    refused("--token-file", shard, "--vae", demo_model(), says=["--endpoint, which is missing"])
    token = ws.write("token", b"x")
    os.chmod(token, 0o600)
    refused("--endpoint", "http://example.org/", "--token-file", token, says=["unencrypted"])
    server.stop()
    there = foreign(ws, server.port)
    vae = {"class": "fake", "weights_sha256": "0" * 64}
    there.model = {"latentd": "1", "recipe_vae": vae, "size_multiple": 8, "latent_channels": 4, "decodes": True}
    refused("--endpoint", there.url, says=["it has no decoder"])
    for name, words, vae, says in (
        ("encoder", [], ENCODER_ONLY, "it has no decoder"),
        ("told", ["--encode-only"], demo_model(), "it has no decoder"),
        ("other", [], tiny_models.folder(ws.path("wide"), 16), "16"),
    ):
        other = Server(ws, *words, vae=vae, name=name).start()
        one_line(ws.latentctl("decode", shard, "rocket", "-o", png, "--endpoint", url(other), code=FAILED), says)
        other.stop()


run_tests()
