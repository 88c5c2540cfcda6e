#!/usr/bin/env python3
"""Latents back to pictures: `decode`, `encode-image`, `decode-latent`, and what `verify --decode` finds when latents are
wrong in each of the ways that ruin a training run."""

import array
import http.client
import http.server
import json
import math
import os
import re
import shutil
import struct
import tarfile
import threading

from harness import DAMAGED, FAILED, OK, SOURCE_DIR, USAGE, demo_model, equal, one_line, run_tests, test
from pixels import image_run, psnr
from reference import read_dataset, shard_files
from serve_rig import Server

ENCODER_ONLY = os.path.join(SOURCE_DIR, "tests", "golden", "kl_sd")


def encode(ws, *options, name="set"):
    ws.encode("--name", name, "--bucketing", "square", "--resolution", "128", "--color", "ignore", *options, vae=demo_model())
    (shard,) = shard_files(ws.path("out", name))
    return shard


def decoded(ws, shard, key, name="decoded.png"):
    ws.latentctl("decode", shard, key, "--vae", demo_model(), "-o", ws.path(name))
    return image_run(ws.path(name), ws.root)


def prepared(ws, path, name="set"):
    """What its record says that was encoded."""
    (record,) = [s.record for s in read_dataset(ws.path("out", name)) if path.endswith(s.path)]
    width, height = record["resized_size"]
    top, left = record["crop_top_left"]
    _, _, data = image_run(path, ws.root, "--size", f"{width}x{height}", "--filter", "lanczos")
    return b"".join(data[3 * (y * width + left) :][: 3 * 128] for y in range(top, top + 128))


def with_another_bias(model):
    """One weight of the encoder is another one; returns the weights' file."""
    path = os.path.join(model, "diffusion_pytorch_model.safetensors")
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        file.seek(8 + length + header["encoder.conv_in.bias"]["data_offsets"][0])
        file.write(b"\0\x30")
    return path


# -- one picture


@test
def a_latent_of_a_shard_becomes_its_picture_again(ws):
    source = ws.golden("rocket.jpg", "a/rocket.jpg")
    width, height, data = decoded(ws, encode(ws), "a/rocket")
    equal((width, height), (128, 128), "size")
    quality = psnr(data, prepared(ws, source))
    assert quality > 18, f"{quality:.2f} dB"


@test
def it_is_the_same_picture_however_the_latent_is_stored(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    plain = decoded(ws, encode(ws), "rocket")[2]
    for name, options in (
        ("full", ["--dtype", "float32"]),
        ("moments", ["--posterior", "moments"]),
        ("scaled", ["--scaled", "--dtype", "float32"]),
        ("open", ["--codec", "none"]),
        ("drawn", ["--posterior", "draw"]),
    ):
        quality = psnr(decoded(ws, encode(ws, *options, name=name), "rocket")[2], plain)
        assert quality > (25 if name == "drawn" else 45), f"{name}: {quality:.2f} dB"


@test
def an_image_goes_to_a_file_and_back(ws):
    source = ws.golden("rocket.jpg", "rocket.jpg")
    latent, picture = ws.path("rocket.safetensors"), ws.path("rocket.png")
    result = ws.latentctl("encode-image", source, latent, "--vae", demo_model())
    shape = [int(n) for n in re.search(r"\[([0-9, ]+)\]", result.out)[1].split(",")]
    ws.latentctl("decode-latent", latent, "--vae", demo_model(), "-o", picture)
    width, height, data = image_run(picture, ws.root)
    equal([1, 4, height // 8, width // 8], shape, "shape")
    wanted = image_run(source, ws.root, "--size", f"{width}x{height}", "--filter", "lanczos")[2]
    quality = psnr(data, wanted)
    assert quality > 18, f"{quality:.2f} dB"


@test
def a_latent_of_a_trainer_is_decoded_with_scaled(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    pictures = []
    for name, options, words in (("plain", [], []), ("scaled", ["--scaled"], ["--scaled"])):
        shard = encode(ws, "--dtype", "float32", *options, name=name)
        ws.latentctl("extract", shard, "rocket", "--to", ws.path(name))
        npy, png = ws.path(name, "rocket.latent.npy"), ws.path(f"{name}.png")
        ws.latentctl("decode-latent", npy, "--vae", demo_model(), "-o", png, *words)
        pictures.append(image_run(png, ws.root)[2])
    quality = psnr(*pictures)
    assert quality > 45, f"{quality:.2f} dB"


# -- what is wrong


@test
def what_cannot_be_decoded_is_said_in_one_line(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard, png = encode(ws), ws.path("x.png")
    vae = ["--vae", demo_model()]

    def refused(*words, says, code=FAILED):
        one_line(ws.latentctl(*words, code=code), *says)
        assert not os.path.exists(png), "a picture was written"

    refused("decode", shard, "nobody", *vae, "-o", png, says=["no sample nobody"])
    refused("decode", shard, "rocket", *vae, "-o", ws.path("x.jpg"), says=["x.jpg", ".png"])
    refused("decode", shard, "rocket", *vae, says=["--out is missing"])
    refused("decode", shard, "rocket", "-o", png, says=["--vae is missing"])
    refused("decode", shard, "rocket", "--vae", ENCODER_ONLY, "-o", png, says=["has no decoder"])
    other = ws.path("other")
    shutil.copytree(demo_model(), other)
    weights = with_another_bias(other)
    refused("decode", shard, "rocket", "--vae", other, "-o", png, says=["rocket", "another model"])
    bad = ws.write("bad.safetensors", b"nothing")
    refused("decode-latent", bad, *vae, "-o", png, says=["bad.safetensors", "too short"])
    refused("decode-latent", weights, *vae, "-o", png, says=["none of its", '"latent"'])
    refused("encode-image", bad, ws.path("y.safetensors"), *vae, says=["bad.safetensors"])
    refused("encode-image", ws.path("none.jpg"), ws.path("y.safetensors"), *vae, says=["none.jpg"])
    refused("encode-image", bad, ws.path("y.pt"), *vae, says=["y.pt", ".safetensors"])
    with tarfile.open(shard) as tar:
        (latent,) = [m for m in tar if m.name.endswith(".npy.zst")]
    with open(shard, "r+b") as file:
        file.seek(latent.offset_data + latent.size // 2)
        file.write(b"\xff" * 64)
    damaged = ws.latentctl("decode", shard, "rocket", *vae, "-o", png, code=DAMAGED)
    assert "rocket" in damaged.out + damaged.err, damaged


@test
def a_latent_of_another_shape_is_refused(ws):
    vae, png = ["--vae", demo_model()], ws.path("x.png")
    for shape in ((3, 4, 4), (2, 4, 4, 4), (4, 16)):
        n = math.prod(shape)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        text += " " * (-(10 + len(text) + 1) % 64) + "\n"
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(4 * n)
        result = ws.latentctl("decode-latent", ws.write("z.npy", data), *vae, "-o", png, code=FAILED)
        one_line(result, "z.npy", str(list(shape)), "[4, h, w]")


# -- verify --decode


def changed_float32(change):
    """A relay's change of a body of float32 numbers, [4][n]."""

    def of(body):
        values = array.array("f", body)
        n = len(values) // 4
        return array.array("f", change([values[i * n : (i + 1) * n] for i in range(4)])).tobytes()

    return of


FAULTS = {
    "scale": changed_float32(lambda planes: [0.18215 * v for p in planes for v in p]),
    "shift": changed_float32(lambda planes: [v + 2.5 for p in planes for v in p]),
    "order of channels": changed_float32(lambda planes: [v for p in planes[::-1] for v in p]),
    "order of bytes": changed_float32(
        lambda planes: [v for group in zip(*planes) for v in group]  # NHWC for NCHW
    ),
    # An engine that leaves every second tile of eight out.
    "engine": changed_float32(
        lambda planes: [0 if i // 8 % 2 else v for p in planes for i, v in enumerate(p)]
    ),
    "nothing": lambda body: body,
}


class Relay(http.server.BaseHTTPRequestHandler):
    """A server that passes on what another one answers, with its latents changed."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        there = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=240)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
        there.request(self.command, self.path, body, headers)
        answer = there.getresponse()
        data = answer.read()
        there.close()
        if self.command == "POST" and answer.status == 200:
            equal(answer.headers["dtype"], "float32", "dtype")
            data = self.server.change(data)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = relay


def relay(ws, to, change):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.to, server.change, server.daemon_threads = to, change, True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ws.at_end.append(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}/"


def measured(result):
    return [float(n) for n in re.findall(r"^ +(-?[0-9.]+) dB", result.out, re.M)]


def verify(ws, *options, code=OK, name="set"):
    words = ["verify", "--out", ws.out, "--name", name, "--decode", "10", "--vae", demo_model()]
    return ws.latentctl(*words, *options, code=code)


@test
def latents_that_are_right_pass_with_the_psnr_of_their_pictures(ws):
    sources = [ws.golden(name, name) for name in ("rocket.jpg", "grey.jpg", "grey_alpha.png")]
    shard = encode(ws)
    found = measured(verify(ws))
    equal(len(found), 3, "latents decoded")
    wanted = [psnr(decoded(ws, shard, "rocket")[2], prepared(ws, sources[0]))]
    assert any(abs(got - wanted[0]) < 0.01 for got in found), f"{found} has no {wanted}"
    equal(found, sorted(found), "the worst first")
    low = verify(ws, "--min-psnr", "90", code=DAMAGED)
    equal(low.out.count("expected 90 at least: "), 3, "lines")
    for path in sources:
        assert path in low.out, path


@test
def draws_and_tiles_and_scaled_latents_pass_as_well(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    for name, options in (
        ("drawn", ["--posterior", "draw"]),
        ("tiled", ["--tiling", "diffusers", "--resolution", "320"]),
        ("scaled", ["--scaled"]),
        ("moments", ["--posterior", "moments", "--codec", "none"]),
    ):
        encode(ws, *options, name=name)
        verify(ws, name=name)


@test
def every_injected_fault_is_caught(ws):
    for name in ("rocket.jpg", "grey.jpg", "grey_alpha.png"):
        ws.golden(name, name)
    server = Server(ws, vae=demo_model()).start()
    for number, (fault, change) in enumerate(FAULTS.items()):
        ws.out = ws.path(f"out{number}")  # with a state of its own, or latents would be copied
        words = ["encode", ws.src, "--out", ws.out, "--endpoint", relay(ws, server.port, change)]
        ws.latentctl(*words, "--name", "set", "--bucketing", "square", "--resolution", "128")
        good = fault == "nothing"
        ws.latentctl("verify", "--out", ws.out)  # every hash is right
        result = verify(ws, code=OK if good else DAMAGED)
        assert good == ("is not what the model makes of its picture" not in result.out), f"{fault}: {result}"
    server.stop()


@test
def another_model_is_caught_by_its_hash_and_other_factors_by_their_numbers(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    encode(ws)
    other = ws.path("other")
    shutil.copytree(demo_model(), other)
    config = os.path.join(other, "config.json")
    with open(config, encoding="utf-8") as file:
        text = file.read()
    with open(config, "w", encoding="utf-8") as file:
        file.write(re.sub(r'"scaling_factor": [0-9.]+', '"scaling_factor": 0.5, "shift_factor": 0.25', text))
    words = ["verify", "--out", ws.out, "--decode", "3", "--vae"]
    result = ws.latentctl(*words, other, code=DAMAGED)
    assert "rocket: its record says scaling_factor" in result.out, result
    assert "the model has 0.5" in result.out, result
    one_line(ws.latentctl(*words, ENCODER_ONLY, code=FAILED), "has no decoder")
    with_another_bias(other)
    one_line(ws.latentctl(*words, other, code=FAILED), "rocket", "another model", "vae_sha256")


@test
def sources_that_are_gone_or_changed_are_named_and_not_compared(ws):
    for name in ("rocket.jpg", "grey.jpg", "grey_alpha.png"):
        ws.golden(name, name)
    encode(ws)
    os.remove(os.path.join(ws.src, "grey.jpg"))
    with open(os.path.join(ws.src, "grey_alpha.png"), "ab") as file:
        file.write(b"x")
    result = verify(ws)
    equal(len(measured(result)), 1, "latents compared")
    assert re.search(r"set/grey: not compared: .*grey\.jpg.* not there any more", result.out), result
    assert re.search(r"set/grey_alpha: not compared: .*is another file since", result.out), result
    os.remove(os.path.join(ws.src, "rocket.jpg"))
    one_line(verify(ws, code=FAILED), "not one of its latents could be compared")


@test
def decode_and_vae_belong_together(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    encode(ws)
    one_line(ws.latentctl("verify", "--out", ws.out, "--decode", "3", code=FAILED), "--vae")
    one_line(ws.latentctl("verify", "--out", ws.out, "--vae", demo_model(), code=FAILED), "--decode")
    ws.latentctl("verify", "--out", ws.out, "--decode", "many", "--vae", demo_model(), code=USAGE)


# -- preview


def pixel(picture, x, y):
    width, _, data = picture
    return tuple(data[3 * (y * width + x) : 3 * (y * width + x) + 3])


def cell(picture, number, place):
    """The picture at that place of a cell, 192x192, as rows of bytes: contact_sheet.c."""
    width, _, data = picture
    left = number % 4 * (386 + 8) + 8 + place * 194
    top = number // 4 * (229 + 8) + 8
    return b"".join(data[3 * (y * width + left) :][: 3 * 192] for y in range(top, top + 192))


def preview(ws, what, *options, code=OK):
    png = ws.path("sheet.png")
    result = ws.latentctl("preview", what, "-o", png, *options, code=code)
    return result, image_run(png, ws.root) if code == OK else None


@test
def a_sheet_has_sources_beside_what_their_latents_decode_to(ws):
    for i, name in enumerate(["rocket.jpg", "grey.jpg", "odd_420.jpg", "grey_alpha.png", "rocket.jpg"]):
        ws.golden(name, f"{i}/{name}")
    encode(ws)
    result, sheet = preview(ws, ws.path("out", "set"), "--vae", demo_model(), "-n", "5")
    assert "5 latents" in result.out, result
    equal(sheet[:2], (4 * 394 + 8, 2 * 237 + 8), "size of the sheet")
    for number in range(5):
        quality = psnr(cell(sheet, number, 0), cell(sheet, number, 1))
        assert quality > 18, f"cell {number}: {quality:.2f} dB"
    # one shard alone knows its sources too, and what is asked for is what is shown
    (shard,) = shard_files(ws.path("out", "set"))
    result, small = preview(ws, shard, "--vae", demo_model(), "-n", "2")
    equal(small[:2], (2 * 394 + 8, 237 + 8), "size of the smaller sheet")
    equal(cell(small, 1, 1), cell(sheet, 1, 1), "the second picture")
    # from pooled latents: smaller pictures of the same things
    _, fast = preview(ws, shard, "--vae", demo_model(), "-n", "2", "--fast")
    quality = psnr(cell(fast, 0, 0), cell(fast, 0, 1))
    assert quality > 12, f"{quality:.2f} dB"


@test
def without_a_decoder_colours_are_approximate_and_said_to_be(ws):
    for i in range(4):
        ws.golden("rocket.jpg", f"{i}/rocket.jpg")
        ws.golden("odd_420.jpg", f"{i}/odd.jpg")
    encode(ws)
    result, sheet = preview(ws, ws.path("out", "set"))
    assert "approximate" in result.out, result
    for number in range(8):
        quality = psnr(cell(sheet, number, 0), cell(sheet, number, 1))
        assert quality > 14, f"cell {number}: {quality:.2f} dB"
    shutil.rmtree(ws.src)  # false colours, nothing else is known
    result, sheet = preview(ws, ws.path("out", "set"))
    assert len(set(cell(sheet, 0, 1))) > 50, "one colour"
    equal(len(set(cell(sheet, 0, 0))), 1, "colours where the source was")


@test
def what_is_no_dataset_is_refused_by_preview(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws)
    result = ws.latentctl("preview", ws.src, "-o", ws.path("x.png"), code=FAILED)
    one_line(result, "neither a shard nor a dataset's folder")
    one_line(ws.latentctl("preview", ws.path("no.tar"), "-o", ws.path("x.png"), code=FAILED), "no.tar")
    one_line(ws.latentctl("preview", shard, code=FAILED), "--out is missing")
    result = ws.latentctl("preview", shard, "-o", ws.path("x.png"), "--vae", ENCODER_ONLY, code=FAILED)
    one_line(result, "has no decoder")
    with tarfile.open(shard) as tar:
        (latent,) = [m for m in tar if m.name.endswith(".npy.zst")]
    with open(shard, "r+b") as file:
        file.seek(latent.offset_data + latent.size // 2)
        file.write(b"\xff" * 64)
    ws.latentctl("preview", shard, "-o", ws.path("x.png"), code=DAMAGED)
    assert not os.path.exists(ws.path("x.png")), "a sheet of a damaged shard"


class Files(http.server.BaseHTTPRequestHandler):
    """A web server with one shard, under rules of the test's."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append(self.headers.get("Range"))
        rule, shard = self.server.rule, self.server.shard
        self.server.paths.append(self.path)
        if rule.startswith("to ") and self.path == "/hub/a/0.tar?download=true":
            self.send_response(302)
            self.send_header("Location", rule.removeprefix("to "))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if rule in ("none", "endless"):
            self.send_response(302 if rule == "endless" else 404)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = shard[: self.server.part] if self.server.part else shard
        self.send_response(206 if self.server.part else 200)
        if self.server.part:
            self.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{len(shard)}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def serve_file(ws, path, rule="plain", part=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    with open(path, "rb") as file:
        server.shard = file.read()
    server.rule, server.part, server.seen, server.paths = rule, part, [], []
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ws.at_end.append(server.shutdown)
    return server, f"http://127.0.0.1:{server.server_address[1]}"


@test
def a_sheet_is_drawn_of_a_shard_on_a_web_server(ws):
    for i in range(3):
        ws.golden("rocket.jpg", f"{i}/rocket.jpg")
        ws.golden("odd_420.jpg", f"{i}/odd.jpg")
    shard = encode(ws)
    vae = ["--vae", demo_model()]
    ws.environment["TMPDIR"] = ws.path("not there")  # what is fetched is in memory alone, so ^C leaves nothing
    _, here = preview(ws, shard, *vae)
    for rule, path in (("plain", "/000000.tar"), ("to /shards/0.tar", "/hub/a/0.tar?download=true")):
        server, address = serve_file(ws, shard, rule)
        result, sheet = preview(ws, address + path, *vae)
        assert "6 latents" in result.out, result
        equal(server.seen[-1], f"bytes=0-{25 * (2 << 20) - 1}", "the range that is asked for")
        for number in range(6):  # the same latents, without sources
            assert cell(sheet, number, 1) == cell(here, number, 1), f"cell {number}"
            equal(len(set(cell(sheet, number, 0))), 1, "colours where the source was")
    # a part of it has the first samples
    with tarfile.open(shard) as tar:
        second = [m.offset for m in tar if m.name.endswith(".json")][2]
    _, address = serve_file(ws, shard, part=second + 700)
    result, sheet = preview(ws, address + "/000000.tar", *vae)
    assert "2 latents" in result.out, result


@test
def a_redirect_is_followed_as_its_address_is_relative_to(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws)
    for location, leads in (
        ("/s/1.tar?a=b", "/s/1.tar?a=b"),
        ("1.tar", "/hub/a/1.tar"),
        ("b/1.tar", "/hub/a/b/1.tar"),
        ("../1.tar", "/hub/1.tar"),
        ("?again=1", "/hub/a/0.tar?again=1"),
    ):
        server, address = serve_file(ws, shard, f"to {location}")
        preview(ws, address + "/hub/a/0.tar?download=true")
        equal(server.paths[1:], [leads], f"where {location} leads")
    server, address = serve_file(ws, shard)
    other, _ = serve_file(ws, shard, "to " + address.removeprefix("http:") + "/1.tar")
    preview(ws, f"http://127.0.0.1:{other.server_address[1]}/hub/a/0.tar?download=true")
    equal(server.paths, ["/1.tar"], "where // leads")


@test
def what_a_web_server_has_not_is_one_line(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard, png = encode(ws), ws.path("x.png")
    for rule, path, says in (
        ("none", "/000000.tar", "status 404"),
        ("endless", "/000000.tar", "redirected more than"),
        ("plain", "/index.html", "not a shard"),
    ):
        _, address = serve_file(ws, shard, rule)
        one_line(ws.latentctl("preview", address + path, "--out", png, code=FAILED), says)
    one_line(ws.latentctl("preview", "http://127.0.0.1:1/000000.tar", "-o", png, code=FAILED), "127.0.0.1:1")
    _, address = serve_file(ws, ws.write("page.tar", b"<html>" * 1000))
    result = ws.latentctl("preview", address + "/000000.tar", "-o", png, code=DAMAGED)
    assert address in result.out + result.err, result
    large = ws.write("large.tar", bytes(5 << 20))
    _, address = serve_file(ws, large)
    one_line(ws.latentctl("preview", address + "/000000.tar", "-o", png, "-n", "1", code=FAILED), "no parts")
    assert not os.path.exists(png), "a sheet of nothing"


@test
def a_record_does_not_lead_a_sheet_out_of_the_folder(ws):
    ws.golden("rocket.jpg", "aa/rocket.jpg")
    shard = encode(ws)
    _, sheet = preview(ws, shard, "--vae", demo_model())
    assert len(set(cell(sheet, 0, 0))) > 50, "its source is found"
    ws.golden("rocket.jpg", "rocket.jpg", folder=os.path.dirname(ws.src))
    with open(shard, "r+b") as file:
        data = file.read()
        equal(data.count(b'"aa/rocket.jpg"'), 1, "places of the path")
        file.seek(0)
        file.write(data.replace(b'"aa/rocket.jpg"', b'"../rocket.jpg"'))
    _, sheet = preview(ws, shard, "--vae", demo_model())
    equal(len(set(cell(sheet, 0, 0))), 1, "colours of a source outside")


@test
def damage_is_what_verify_ends_with_whatever_the_decode_says(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    shard = encode(ws)
    with open(shard, "r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"damage")
    result = ws.latentctl("verify", "--out", ws.out, "--decode", "1", "--vae", ENCODER_ONLY, code=DAMAGED)
    assert "1 shard damaged" in result.out and "has no decoder" in result.err, result
    assert os.path.basename(shard) in result.out, result


@test
def paths_of_the_worst_are_quoted(ws):
    ws.golden("rocket.jpg", "a\nb.jpg")
    encode(ws)
    result = verify(ws, "--min-psnr", "90", code=DAMAGED)
    equal(result.out.count('a\\nb.jpg"'), 2, "quoted paths")
    assert not [line for line in result.out.splitlines() if line.startswith("b.jpg")], result


run_tests()
