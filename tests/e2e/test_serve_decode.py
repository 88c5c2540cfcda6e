#!/usr/bin/env python3
"""latentd serve as an endpoint of remote_decode: what diffusers, SD.Next and ComfyUI-HFRemoteVae send, byte for byte, and
what each of them is answered."""

import http.client
import json
import math
import os
import struct
import urllib.parse

import tiny_models
from harness import SOURCE_DIR, demo_model, equal, run_tests, test
from pixels import image_run, psnr
from serve_rig import Answer, Server, noise, png

SIDE = 64
CHANNELS, SMALL = 4, SIDE // 8
SCALE = 0.3315  # of the demo's config


def halves(values):
    return struct.pack(f"<{len(values)}e", *values)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def bfloats(values):
    return b"".join(floats([v])[2:] for v in values)


def replay(server, query, body, *, accept="tensor/binary", typed=True):
    """A request as Python's requests sends it."""
    lines = [
        f"POST /?{query} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: python-requests/2.34.2",
        "Accept-Encoding: gzip, deflate",
        f"Accept: {accept}",
        "Connection: keep-alive",
        *(["Content-Type: tensor/binary"] if typed else []),
        f"Content-Length: {len(body)}",
    ]
    sock = server.socket()
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        response = http.client.HTTPResponse(sock)
        response.begin()
        return Answer(response.status, response.headers, response.read())
    finally:
        sock.close()


def diffusers(shape, dtype="float16", output="pil", image="jpg", partial=False, factors=(), do_scaling=None, size=None):
    """The query of prepare_decode in diffusers/utils/remote_utils.py."""
    words = [("image_format", image), ("output_type", output), ("partial_postprocess", partial)]
    words += [*(("shape", side) for side in shape), ("dtype", dtype), *factors]
    words += [("do_scaling", do_scaling)] if do_scaling is not None else []
    words += list(zip(("height", "width"), size)) if size else []
    return urllib.parse.urlencode(words)


class Latent:
    """One of the demo's VAE, with what decode-latent makes of it."""

    def __init__(self, ws):
        source = ws.write("a.png", png(SIDE, SIDE, noise(3 * SIDE * SIDE, seed=2)))
        ws.latentctl("encode-image", source, ws.path("z.safetensors"), "--vae", demo_model())
        with open(ws.path("z.safetensors"), "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            begin, end = json.loads(file.read(length))["latent"]["data_offsets"]
            file.seek(8 + length + begin)
            data = file.read(end - begin)
        self.raw = struct.unpack(f"<{len(data) // 4}f", data)
        self.shape = [1, CHANNELS, SMALL, SMALL]
        self.scaled = [v * SCALE for v in self.raw]
        ws.latentctl("decode-latent", ws.path("z.safetensors"), "--vae", demo_model(), "-o", ws.path("want.png"))
        self.picture = image_run(ws.path("want.png"), ws.root)[2]


def as_picture(ws, answer, ending):
    path = ws.write(f"answer.{ending}", answer.body)
    width, height, data = image_run(path, ws.root)
    equal((width, height), (SIDE, SIDE), "size of the picture")
    return data


def bytes_of(values):
    """[3][H][W] in [0, 1] to [H][W][3] of bytes."""
    n = len(values) // 3
    return bytes(round(min(max(values[c * n + i], 0), 1) * 255) for i in range(n) for c in range(3))


def same(got, wanted, what="the picture"):
    assert got == wanted, f"{what} is another: {psnr(got, wanted):.2f} dB"


def expect(picture, wanted, least=40, what="the picture"):
    quality = psnr(picture, wanted)
    assert quality > least, f"{what}: {quality:.2f} dB"


@test
def what_diffusers_sends_is_answered_as_it_reads_it(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    body = halves(z.scaled)
    factors = [("scaling_factor", SCALE)]
    # output_type="pil": an image, PNG exact but for float16, JPEG near
    answer = replay(server, diffusers(z.shape, image="png", factors=factors), body, accept="image/png")
    equal((answer.status, answer.headers["content-type"]), (200, "image/png"), "the answer")
    expect(as_picture(ws, answer, "png"), z.picture, 50, "a PNG")
    answer = replay(server, diffusers(z.shape, factors=factors), body, accept="image/jpeg")
    equal((answer.status, answer.headers["content-type"]), (200, "image/jpeg"), "the answer")
    equal(answer.body[:2], b"\xff\xd8", "what detect_image_type looks at")
    expect(as_picture(ws, answer, "jpg"), z.picture, 12, "a JPEG of noise")
    # with a processor: the same output_type, but a tensor in [0, 1] is what the client turns into an image
    answer = replay(server, diffusers(z.shape, factors=factors), body)
    tensor = answer.latent()
    equal((tensor.shape, tensor.dtype), ([1, 3, SIDE, SIDE], "float16"), "the tensor")
    expect(bytes_of(tensor.values), z.picture, what="[0, 1]")
    # output_type="pt": [-1, 1]
    tensor = replay(server, diffusers(z.shape, output="pt", factors=factors), body).latent()
    equal((tensor.shape, tensor.dtype), ([1, 3, SIDE, SIDE], "float16"), "the tensor")
    expect(bytes_of([v / 2 + 0.5 for v in tensor.values]), z.picture, what="[-1, 1]")
    # partial_postprocess: bytes of images, Image.fromarray(image.numpy())
    tensor = replay(server, diffusers(z.shape, output="pt", partial=True, factors=factors), body).latent()
    equal((tensor.shape, tensor.dtype), ([1, SIDE, SIDE, 3], "uint8"), "the tensor")
    expect(tensor.body, z.picture, 50, "bytes")
    # do_scaling=True, which it says where no factor is given: the model's own
    own = replay(server, diffusers(z.shape, output="pt", partial=True, do_scaling=True), body).latent()
    same(own.body, tensor.body, "by the model's factor")
    # several latents are several pictures
    pair = replay(server, diffusers([2, *z.shape[1:]], output="pt", partial=True, factors=factors), body + body).latent()
    equal(pair.shape, [2, SIDE, SIDE, 3], "shape")
    same(pair.body, tensor.body * 2)
    server.stop()


@test
def what_comfyui_sends_is_answered_with_the_decoders_own_numbers(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    words = [("do_scaling", False), ("output_type", "pt"), ("partial_postprocess", False)]
    words += [*(("shape", side) for side in z.shape), ("dtype", "float32"), ("height", SIDE), ("width", SIDE)]
    tensor = replay(server, urllib.parse.urlencode(words), floats(z.raw)).latent()
    equal((tensor.shape, tensor.dtype), ([1, 3, SIDE, SIDE], "float32"), "the tensor")
    same(bytes_of([v / 2 + 0.5 for v in tensor.values]), z.picture)
    # bfloat16, which FLUX's latents have, comes back as such
    words[-3] = ("dtype", "bfloat16")
    tensor = replay(server, urllib.parse.urlencode(words), bfloats(z.raw)).latent()
    equal(tensor.dtype, "bfloat16", "dtype")
    expect(bytes_of([v / 2 + 0.5 for v in tensor.values]), z.picture, 25, "bfloat16")
    server.stop()


@test
def what_sdnext_sends_is_answered_in_each_of_its_formats(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    base = [("input_tensor_type", "binary"), *(("shape", side) for side in z.shape), ("dtype", "float16")]
    for extra, accept, kind in (
        ([("image_format", "png"), ("output_type", "pil")], "image/png", "png"),
        ([("image_format", "jpg"), ("output_type", "pil")], "image/jpeg", "jpg"),
        ([], "image/png", "png"),  # the header alone says it
    ):
        query = urllib.parse.urlencode([*base, *extra, ("scaling_factor", SCALE)])
        answer = replay(server, query, halves(z.scaled), accept=accept)
        equal((answer.status, answer.headers["content-type"]), (200, accept), f"the answer to {query}")
        expect(as_picture(ws, answer, kind), z.picture, 12)
    query = [*base, ("output_type", "pt"), ("output_tensor_type", "binary"), ("partial_postprocess", False)]
    query += [("width", SIDE), ("height", SIDE), ("scaling_factor", SCALE)]
    tensor = replay(server, urllib.parse.urlencode(query), halves(z.scaled)).latent()
    expect(bytes_of([v / 2 + 0.5 for v in tensor.values]), z.picture)
    server.stop()


@test
def packed_latents_are_unpacked_by_height_and_width(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    half = SMALL // 2

    def at(c, y, x):
        return z.scaled[(c * SMALL + y) * SMALL + x]

    packed = [
        at(c, 2 * row + dy, 2 * column + dx)
        for row in range(half)
        for column in range(half)
        for c in range(CHANNELS)
        for dy in range(2)
        for dx in range(2)
    ]
    ask = {"output": "pt", "partial": True, "factors": [("scaling_factor", SCALE)], "dtype": "float32"}
    wanted = replay(server, diffusers(z.shape, **ask), floats(z.scaled)).latent()
    shape = [1, half * half, 4 * CHANNELS]
    got = replay(server, diffusers(shape, size=(SIDE, SIDE), **ask), floats(packed)).latent()
    equal(got.shape, wanted.shape, "shape")
    same(got.body, wanted.body)
    # 7 pixels more than patches fill are cut off, as pipelines do
    got = replay(server, diffusers(shape, size=(SIDE + 7, SIDE + 7), **ask), floats(packed)).latent()
    same(got.body, wanted.body)
    replay(server, diffusers(shape, **ask), floats(packed)).error(400, "height and width")
    replay(server, diffusers(shape, size=(SIDE, 2 * SIDE), **ask), floats(packed)).error(422, "32 tokens")
    replay(server, diffusers([1, 32, 8], size=(SIDE, 2 * SIDE), **ask), floats(packed)).error(422, "16 for this model")
    server.stop()


@test
def a_shift_is_added_after_the_factor_is_undone(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    shifted = [(v - 0.5) * 2 for v in z.raw]
    ask = {"output": "pt", "partial": True, "dtype": "float32"}
    factors = [("scaling_factor", 2.0), ("shift_factor", 0.5)]
    got = replay(server, diffusers(z.shape, factors=factors, **ask), floats(shifted)).latent()
    expect(got.body, z.picture, 60)
    # scaled and not: another picture
    wrong = replay(server, diffusers(z.shape, factors=factors, **ask), floats(z.raw)).latent()
    assert psnr(wrong.body, z.picture) < 45, "the factors do nothing"
    server.stop()


@test
def what_cannot_be_decoded_is_refused_as_json(ws):
    z = Latent(ws)
    server = Server(ws, "--max-pixels", str(2 * SIDE * SIDE), vae=demo_model()).start()
    body = halves(z.scaled)
    good = diffusers(z.shape, do_scaling=True)
    for query, data, status, words in (
        (good.replace("pil", "mp4"), body, 400, ["mp4"]),
        (good.replace("jpg", "webp"), body, 400, ["jpg or png"]),
        (good.replace("False", "maybe"), body, 400, ["True or False"]),
        (good + "&posterior=mean", body, 400, ["posterior"]),
        (good + "&input_tensor_type=base64", body, 400, ["binary"]),
        (good + "&do_scaling=True", body, 400, ["twice"]),
        (diffusers(z.shape, do_scaling=False, factors=[("scaling_factor", 1.0)]), body, 400, ["contradict"]),
        ("output_type=pt", body, 400, ["shape"]),
        (diffusers(z.shape, dtype="uint8"), body, 400, ["float16"]),
        (diffusers([1, 16, SMALL, SMALL]), body, 422, ["16 channels", "4"]),
        (diffusers([2, *z.shape[1:]]), body + body, 400, ["one latent"]),
        (good, body[:-2], 422, ["bytes"]),
        (good, halves([float("nan")] * len(z.raw)), 422, ["not finite"]),
        (diffusers([1, 4, 64, 64]), halves([0] * 4 * 64 * 64), 413, ["pixels"]),
        (diffusers([1, 4, 1 << 23, 1 << 23]), body, 413, ["pixels"]),
        (diffusers([100, 4, 1, 1], output="pt"), halves([0] * 400), 413, ["at most 64"]),
    ):
        replay(server, query, data).error(status, *words)
    assert replay(server, good, body).status == 200, "the server is well"
    server.stop()
    small = Server(ws, "--memory", "1MiB", "--max-body", "1MiB", vae=demo_model(), name="small").start()
    replay(small, diffusers([1, 4, 64, 64], output="pt"), halves([0] * 4 * 64 * 64)).error(413, "memory")
    small.stop()


@test
def a_server_without_a_decoder_says_so_and_encodes(ws):
    only_encoder = os.path.join(SOURCE_DIR, "tests", "golden", "kl_sd")
    for name, words, vae in (("golden", [], only_encoder), ("told", ["--encode-only"], demo_model())):
        server = Server(ws, *words, vae=vae, name=name).start()
        equal(json.loads(server.request("GET", "/v1/model").body)["decodes"], False, "decodes")
        query = diffusers([1, CHANNELS, SMALL, SMALL], output="pt")
        replay(server, query, halves([0] * CHANNELS * SMALL * SMALL)).error(400, "no decoder")
        equal(server.encode(png(SIDE, SIDE, noise(3 * SIDE * SIDE))).shape, [1, CHANNELS, SMALL, SMALL], "the latent")
        server.stop()


@test
def encodes_and_decodes_take_turns(ws):
    z = Latent(ws)
    server = Server(ws, vae=demo_model()).start()
    equal(json.loads(server.request("GET", "/v1/model").body)["decodes"], True, "decodes")
    picture = png(SIDE, SIDE, noise(3 * SIDE * SIDE, seed=2))
    ask = diffusers(z.shape, output="pt", partial=True, dtype="float32", do_scaling=False)
    first = server.encode(picture, posterior="mean", reply="float32")
    for _ in range(3):
        same(replay(server, ask, floats(first.values)).latent().body, z.picture)
        equal(server.encode(picture, posterior="mean", reply="float32").body, first.body, "the latent")
    metrics = server.metrics()
    equal(metrics["latentd_serve_images_total"], 7, "images")
    server.stop()


@test
def an_autoencoder_tiny_decodes_what_a_model_takes(ws):
    server = Server(ws, vae=tiny_models.folder(ws.path("taesd"))).start()
    latent = [0.25, 0.5, 0.75, 0.5] + [0.5] * 12  # two colours a side of red, all else in the middle
    ask = {"output": "pt", "partial": True, "dtype": "float32"}
    for extra in ({}, {"do_scaling": True}, {"do_scaling": False}, {"factors": [("scaling_factor", 1.0)]}):
        tensor = replay(server, diffusers([1, 4, 2, 2], **ask, **extra), floats(latent)).latent()
        equal(tensor.shape, [1, 16, 16, 3], "shape")
        for corner, (y, x) in enumerate([(0, 0), (0, 15), (15, 0), (15, 15)]):
            red = 3 * math.tanh(latent[corner] / 3)
            got = tensor.body[3 * (y * 16 + x)]
            assert abs(got - 255 * red) < 1, f"red of corner {corner}: {got}, not {255 * red:.1f}"
    factors = [("scaling_factor", SCALE)]
    replay(server, diffusers([1, 4, 2, 2], factors=factors, **ask), floats(latent)).error(400, "AutoencoderTiny")
    server.stop()


run_tests()
