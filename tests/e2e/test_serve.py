"""latentd serve: what each request is answered, by the words of the protocol."""

import json
import os
import struct
import subprocess
import zlib

from harness import GOLDEN_IMAGES, USAGE, Skip, demo_model, equal, run_tests, test
from reference import read_dataset, read_npy
from serve_rig import Server, noise, planes, png

SIDE = 64
RGB = noise(3 * SIDE * SIDE)
PNG = png(SIDE, SIDE, RGB)
EXACT = {"posterior": "mean", "reply": "float32"}


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def as_float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def fractions(rgb):
    """[3][height][width] in [0, 1]"""
    return [byte / 255 for byte in planes(rgb)]


def golden(name):
    with open(os.path.join(GOLDEN_IMAGES, name), "rb") as file:
        return file.read()


def jpeg_size(data):
    """[height, width] as stored: of the SOF0 or SOF2 segment"""
    at = 2
    while data[at + 1] not in (0xC0, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return struct.unpack(">HH", data[at + 5 : at + 9])


# -- what comes back


@test
def a_png_gives_bit_for_bit_what_encode_stores(ws):
    pictures = {}
    for i, (width, height) in enumerate([(128, 128), (128, 64), (64, 128)]):
        pictures[f"{i}.png"] = png(width, height, noise(3 * width * height, seed=i + 5))
        ws.write(f"{i}.png", pictures[f"{i}.png"])
    ws.encode("--bucketing", "kohya_no_upscale", "--dtype", "float32", vae=demo_model())
    server = Server(ws, vae=demo_model()).start()
    samples = read_dataset(ws.dataset)
    equal(len(samples), 3, "samples")
    for sample in samples:
        _, shape, stored = read_npy(sample.npy)
        latent = server.encode(pictures[sample.path], **EXACT)
        equal(latent.shape, [1, *shape], "shape")
        equal(latent.body, stored, f"the latent of {sample.path}")
    server.stop()


@test
def a_seeded_draw_is_the_draw_of_encode_for_a_file_of_these_bytes(ws):
    ws.write("a.png", PNG)
    options = ("--posterior", "draw", "--seed", "9", "--dtype", "float32", "--resolution", "64")
    ws.encode(*options, "--bucketing", "square", vae=demo_model())
    (sample,) = read_dataset(ws.dataset)
    server = Server(ws, vae=demo_model()).start()
    drawn = server.encode(PNG, posterior="draw", seed=9, reply="float32")
    equal(drawn.body, read_npy(sample.npy)[2], "the draw")
    assert server.encode(PNG, posterior="draw", seed=10, reply="float32").body != drawn.body
    server.stop()


@test
def without_a_word_it_is_an_unseeded_draw_in_float16(ws):
    server = Server(ws).start()
    first, second = server.encode(PNG), server.encode(PNG)
    equal((first.shape, first.dtype), ([1, 4, 8, 8], "float16"), "the latent")
    assert first.body != second.body, "two draws are the same"
    server.stop()


@test
def tensors_of_every_dtype_are_encoded_as_their_pixels_are(ws):
    server = Server(ws, vae=demo_model()).start()
    shape = [1, 3, SIDE, SIDE]
    want = server.encode(PNG, **EXACT)
    as_bytes = server.tensor(planes(RGB), shape, "uint8", **EXACT).latent()
    equal(as_bytes.body, want.body, "the latent of uint8")
    as_floats = floats(fractions(RGB))
    equal(server.tensor(as_floats, shape, "float32", posterior="mean").latent().body, want.body, "[0, 1]")
    rounded = [as_float32(value) for value in fractions(RGB)]
    signed = floats([as_float32(2 * value) - 1 for value in rounded])
    equal(server.tensor(signed, shape, "float32", posterior="mean").latent().body, want.body, "[-1, 1]")
    answer = server.tensor(signed, shape, "float32", posterior="mean", range="signed")
    equal(answer.latent().body, want.body, "range=signed")
    for dtype in ("float16", "bfloat16"):
        halves = struct.pack(f"<{len(rounded)}e", *rounded)
        if dtype == "bfloat16":
            bits = struct.unpack(f"<{len(rounded)}I", floats(rounded))
            halves = struct.pack(f"<{len(rounded)}H", *(b + 0x8000 >> 16 for b in bits))
        latent = server.tensor(halves, shape, dtype, posterior="mean").latent()
        equal(latent.dtype, dtype, "dtype")
        worst = max(abs(a - b) for a, b in zip(latent.values, want.values))
        assert worst < (0.02 if dtype == "float16" else 0.2), f"{dtype} is off by {worst}"
    server.stop()


@test
def the_range_is_judged_by_the_least_of_all_values(ws):
    server = Server(ws, vae=demo_model()).start()
    dark = [0.25] * (3 * SIDE * SIDE)
    pair = [1, 3, SIDE, SIDE], [2, 3, SIDE, SIDE]
    unsigned = server.tensor(floats(dark), pair[0], "float32", posterior="mean").latent()
    signed = server.tensor(
        floats(dark), pair[0], "float32", posterior="mean", range="signed"
    ).latent()
    assert unsigned.body != signed.body
    both = floats(dark) + floats([-0.5] + dark[1:])
    latent = server.tensor(both, pair[1], "float32", posterior="mean").latent()
    equal(latent.shape, [2, 4, 8, 8], "shape")
    equal(latent.body[: len(signed.body)], signed.body, "the first of two")
    server.stop()


@test
def images_of_a_tensor_are_what_they_are_alone(ws):
    server = Server(ws, vae=demo_model()).start()
    images = [noise(3 * 64 * 32, seed) for seed in range(5)]
    words = {"posterior": "draw", "seed": 3, "reply": "float32"}
    body = b"".join(map(planes, images))
    all_five = server.tensor(body, [5, 3, 32, 64], "uint8", **words).latent()
    equal(all_five.shape, [5, 4, 4, 8], "shape")
    alone = [server.tensor(planes(i), [1, 3, 32, 64], "uint8", **words).latent() for i in images]
    equal(all_five.body, b"".join(latent.body for latent in alone), "five and one by one")
    server.stop()


@test
def moments_mean_and_factors_go_together(ws):
    server = Server(ws, vae=demo_model()).start()
    moments = server.encode(PNG, posterior="moments", reply="float32")
    mean = server.encode(PNG, **EXACT)
    equal(moments.shape, [1, 8, 8, 8], "shape")
    equal(moments.body[: len(mean.body)], mean.body, "the mean")
    scaled = server.encode(PNG, **EXACT, scaling_factor="0.3611", shift_factor="0.1159")
    factor, shift = as_float32(0.3611), as_float32(0.1159)
    want = [as_float32(as_float32(z - shift) * factor) for z in mean.values]
    equal(list(scaled.values), want, "(z - shift) * scale")
    half = server.encode(PNG, posterior="mean", reply="float16", scaling_factor="0.3611")
    want = [as_float32(z * factor) for z in mean.values]
    equal(half.body, struct.pack(f"<{len(want)}e", *want), "float16")
    server.post(PNG, posterior="moments", scaling_factor="1.0").error(400, "moments")
    server.stop()


@test
def an_image_is_seen_as_convert_rgb_sees_it(ws):
    server = Server(ws, vae=demo_model()).start()
    alpha = bytearray()
    for i in range(0, len(RGB), 3):
        alpha += RGB[i : i + 3] + bytes([i % 256])
    want = server.encode(PNG, **EXACT).body
    dropped = server.encode(png(SIDE, SIDE, bytes(alpha), mode=6), **EXACT)
    equal(dropped.body, want, "without its alpha")
    stored = server.encode(golden("orientation_6.jpg"), **EXACT).shape
    equal(stored[2:], [n // 8 for n in jpeg_size(golden("orientation_6.jpg"))], "not turned")
    grey = noise(SIDE * SIDE)
    tripled = png(SIDE, SIDE, bytes(b for value in grey for b in (value,) * 3))
    want = server.encode(tripled, **EXACT).body
    equal(server.encode(png(SIDE, SIDE, grey, mode=0), **EXACT).body, want, "grey")
    for name in ("rocket.jpg", "lossy.webp", "plain.gif"):
        assert server.encode(golden(name)).body, name
    server.stop()


@test
def a_side_that_is_no_multiple_is_shrunk_to_one(ws):
    server = Server(ws).start()
    equal(server.encode(png(71, 40, noise(3 * 71 * 40))).shape, [1, 4, 5, 8], "shape")
    server.post(png(7, 40, noise(3 * 7 * 40))).error(422, "7x40")
    server.stop()


# -- clients as they are


@test
def both_wire_modes_are_answered(ws):
    server = Server(ws).start()
    exact = {"User-Agent": "python-requests/2.34.2", "Accept-Encoding": "gzip, deflate", "Accept": "*/*"}
    typed = {"Content-Type": "image/png", "Accept": "tensor/binary"}
    for headers in (exact, typed):
        for path in ("/", "/predict"):
            answer = server.post(PNG, path=path, headers=headers, scaling_factor=0.3611, shift_factor=0.1159)
            equal(answer.latent().shape, [1, 4, 8, 8], "shape")
            equal(answer.headers["content-type"], "tensor/binary", "type")
    typed["Content-Type"] = "tensor/binary"
    shape = [1, 3, SIDE, SIDE]
    answer = server.post(bytes(6 * SIDE * SIDE), headers=typed, shape=shape, dtype="float16")
    equal(answer.latent().dtype, "float16", "dtype")
    server.stop()


@test
def the_requests_of_diffusers_are_answered(ws):
    """diffusers.utils.remote_utils.remote_encode, line by line, with `requests`."""
    try:
        import requests
    except ImportError:
        raise Skip("Python has no `requests`") from None
    server = Server(ws).start()
    url = f"http://127.0.0.1:{server.port}/"

    def remote_encode(data, **params):
        response = requests.post(url, data=data, params=params, headers={})
        if not response.ok:
            raise RuntimeError(response.json())
        shape, dtype = json.loads(response.headers["shape"]), response.headers["dtype"]
        return shape, dtype, response.content

    shape, dtype, data = remote_encode(PNG, scaling_factor=0.18215, shift_factor=None)
    equal((shape, dtype, len(data)), ([1, 4, 8, 8], "float16", 512), "the latent of an image")
    tensor = {"shape": [1, 3, 512, 768], "dtype": "bfloat16"}
    shape, dtype, data = remote_encode(bytes(2 * 3 * 512 * 768), scaling_factor=0.13025, **tensor)
    equal((shape, dtype), ([1, 4, 64, 96], "bfloat16"), "the latent of a tensor")
    try:
        remote_encode(b"no image", scaling_factor=1.0)
    except RuntimeError as error:
        assert "error" in error.args[0]
    else:
        raise AssertionError("it is no image")
    server.stop()


# -- what is refused


@test
def a_wrong_query_is_400_and_says_what_is_wrong(ws):
    server = Server(ws).start()
    for query, words in (
        ({"posterior": "median"}, ["posterior"]),
        ({"posteror": "mean"}, ["posteror"]),
        ({"scaling_factor": "nan"}, ["scaling_factor"]),
        ({"shape": [1, 3, 64, 64]}, ["dtype"]),
        ({"shape": [1, 4, 64, 64], "dtype": "float16"}, ["shape"]),
        ({"shape": [1, 3, 64], "dtype": "float16"}, ["shape"]),
        ({"shape": [1, 3, -8, 64], "dtype": "float16"}, ["shape"]),
        ({"dtype": "int4"}, ["dtype"]),
        ({"seed": "x"}, ["seed"]),
    ):
        server.post(PNG, **query).error(400, *words)
    server.post(b"").error(400, "empty")
    server.request("POST", "/?shape=%zz", PNG).error(400)
    server.stop()


@test
def what_is_no_good_image_is_415_or_422(ws):
    server = Server(ws).start()
    server.post(b"<html>no image</html>").error(415)
    server.post(b'{"inputs": "aGVsbG8="}').error(415)
    server.post(PNG[: len(PNG) // 2]).error(422)
    server.post(PNG[:20] + bytes(20) + PNG[40:]).error(422)
    server.encode(PNG)
    server.stop()


@test
def a_wrong_tensor_is_422(ws):
    server = Server(ws, vae=demo_model()).start()
    shape = [1, 3, 16, 16]
    server.tensor(bytes(767), shape, "uint8").error(422, "767", "768")
    server.tensor(bytes(3 * 16 * 20), [1, 3, 16, 20], "uint8").error(422, "multiples of 8")
    for value in (float("nan"), float("inf")):
        values = [0.5] * 700 + [value] + [0.5] * 67
        server.tensor(floats(values), shape, "float32").error(422, "finite")
    server.encode(PNG)
    server.stop()


@test
def what_is_too_large_is_413(ws):
    server = Server(ws, "--max-body", "100KiB", "--max-pixels", "10000", "--memory", "1MiB").start()
    server.post(bytes(200 << 10)).error(413)
    server.post(iter([bytes(64 << 10)] * 4)).error(413)
    server.post(png(128, 96, bytes(3 * 128 * 96))).error(413, "128x96")
    server.tensor(b"x", [1, 3, 128, 96], "uint8").error(413)
    server.tensor(b"x", [999999, 3, 64, 64], "uint8").error(413)
    server.tensor(b"x", [1, 3, 2**20, 2**20], "float32").error(413)
    server.tensor(b"x", [1, 3, 2**40, 2**40], "float32").error(400, "shape")
    # a client that asks first sends no body at all
    with server.socket() as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
    server.encode(PNG)
    server.stop()


@test
def a_bomb_costs_nothing(ws):
    server = Server(ws).start()
    bomb = bytearray(png(1, 1, bytes(3)))
    bomb[16:24] = struct.pack(">II", 60000, 60000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    server.post(bytes(bomb)).error(413)
    server.encode(PNG)
    server.stop()


@test
def every_path_and_method_is_answered(ws):
    server = Server(ws).start()
    for path in ("/", "/health"):
        answer = server.request("GET", path)
        equal((answer.status, answer.body), (200, b"Ok"), path)
    server.request("GET", "/nothing").error(404)
    server.request("POST", "/v1/nothing", PNG).error(404)
    for method, path, allow in (
        ("DELETE", "/", "GET, HEAD, POST"),
        ("GET", "/predict", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PUT", "/v1/model", "GET, HEAD"),
    ):
        answer = server.request(method, path, PNG if method != "GET" else None)
        answer.error(405)
        equal(answer.headers["allow"], allow, f"{method} {path}")
    server.stop()


@test
def the_model_says_what_it_is(ws):
    server = Server(ws, vae=demo_model()).start()
    model = json.loads(server.request("GET", "/v1/model").body)
    info = ws.latentctl("version").out
    assert model["latentd"] in info, f"{model['latentd']} is not in {info}"
    equal(model["name"], os.path.basename(demo_model()), "name")
    equal((model["latent_channels"], model["downscale"], model["size_multiple"]), (4, 8, 8), "sizes")
    equal(model["dtypes"], ["float16", "bfloat16", "float32", "uint8"], "dtypes")
    ws.write("a.png", PNG)
    ws.encode(vae=demo_model())
    with open(os.path.join(ws.dataset, ".latentd", "dataset.json"), encoding="utf-8") as file:
        recipe = json.load(file)["recipe"]
    equal(model["recipe_vae"], recipe["vae"], "the vae of the recipe")
    # and so does every answer to an encode
    for answer, status in ((server.post(PNG), 200), (server.post(b"no picture"), 415)):
        equal(answer.status, status, "status")
        equal(answer.headers["latentd"], model["latentd"], "version")
        equal(answer.headers["latentd-model"], model["name"], "model")
        weights = model["recipe_vae"]["weights_sha256"]
        equal(answer.headers["latentd-weights"], weights, "weights")
        equal(answer.headers["latentd-precision"], "float32", "precision")
    server.stop()


@test
def a_token_is_asked_for(ws):
    token = ws.secret("token", b"  s3cret-token\n")
    server = Server(ws, "--token-file", token).start()
    refused = server.post(PNG)
    refused.error(401, "token")
    equal([name for name in refused.headers if "latentd-" in name.lower()], [], "what it says")
    server.post(PNG, headers={"Authorization": "Bearer s3cret-toke"}).error(401)
    server.post(PNG, headers={"Authorization": "Basic s3cret-token"}).error(401)
    for path in ("/v1/model", "/metrics", "/none"):
        answer = server.request("GET", path)
        answer.error(401)
        equal(answer.headers["www-authenticate"], "Bearer", path)
    equal(server.request("GET", "/health").status, 200, "health")
    server.headers["Authorization"] = "Bearer s3cret-token"
    server.encode(PNG)
    equal(server.request("GET", "/v1/model").status, 200, "model")
    server.stop()
    assert "s3cret" not in server.said(), "the token is in the log"


@test
def a_token_that_everybody_reads_is_refused(ws):
    token = ws.secret("token", b"s3cret-token\n")
    os.chmod(token, 0o644)
    words = Server(ws, "--token-file", token).words
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    equal(refused.returncode, USAGE, "exit status")
    assert "chmod 600" in refused.stderr and token in refused.stderr, refused.stderr


@test
def other_machines_need_a_token_or_permission(ws):
    refused = subprocess.run(
        Server(ws, "--listen", "0.0.0.0:0").words, capture_output=True, text=True, check=False
    )
    equal(refused.returncode, USAGE, "exit status")
    assert "token" in refused.stderr and "0.0.0.0:0" in refused.stderr, refused.stderr
    server = Server(ws, "--listen", "0.0.0.0:0", "--allow-anyone").start()
    server.encode(PNG)
    server.stop()


@test
def https_is_served_with_a_certificate(ws):
    cert, key = ws.path("cert.pem"), ws.path("key.pem")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-keyout", key, "-out", cert],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        raise Skip("openssl makes no certificate")
    server = Server(ws, "--tls-cert", cert, "--tls-key", key).start()
    equal(server.encode(PNG).shape, [1, 4, 8, 8], "shape")
    server.stop()


@test
def wrong_options_are_refused_by_name(ws):
    latentd = os.path.join(ws.programs, "latentd")
    for words, expected in (
        ([], "--listen"),
        (["--listen", "127.0.0.1:0"], "--vae"),
        (["--listen", "here", "--vae", "fake"], "HOST:PORT"),
        (["--listen", "127.0.0.1:70000", "--vae", "fake"], "HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--vae", "fake", "--tls-key", "k"], "tls_cert"),
        (["--listen", "127.0.0.1:0", "--vae", "fake", "more"], "more"),
    ):
        ended = subprocess.run([latentd, "serve", *words], capture_output=True, text=True, check=False)
        equal(ended.returncode, USAGE, f"exit status of {words}")
        equal(len(ended.stderr.splitlines()), 1, f"lines of {ended.stderr}")
        assert expected in ended.stderr, ended.stderr


@test
def a_model_that_cannot_be_loaded_is_a_reason_not_to_start(ws):
    server = Server(ws, vae=ws.path("nothing"))
    server.spawn()
    server.ended(USAGE)
    assert server.said().count("nothing") == 1, server.said()


run_tests()
