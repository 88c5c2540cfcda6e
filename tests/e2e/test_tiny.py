#!/usr/bin/env python3
"""AutoencoderTiny as a model of its own: encoded, served, decoded and verified. The networks are those of tiny_models.py,
whose latents are means of squares."""

import os

import tiny_models
from daemon_rig import Daemon
from harness import DAMAGED, FAILED, Skip, demo_model, equal, one_line, run_tests, shared, test
from pixels import image_run, psnr
from reference import npy_values, read_dataset, read_npy, shard_files
from serve_rig import Server, noise, png

PICTURE = 64, 64, noise(3 * 64 * 64, seed=3)
PNG = png(*PICTURE)


def encode(ws, vae, *options, name="set", resolution="64", **settings):
    words = ["--name", name, "--bucketing", "square", "--resolution", resolution, "--dtype", "float32"]
    return ws.encode(*words, *options, vae=vae, **settings)


def only(ws, name="set"):
    (sample,) = read_dataset(ws.path("out", name))
    return sample


def close(values, wanted):
    equal(len(values), len(wanted), "values")
    worst = max(abs(a - b) for a, b in zip(values, wanted))
    assert worst < 1e-6, f"off by {worst}"


@test
def its_latents_are_stored_as_they_are_and_said_to_be_scaled(ws):
    ws.write("a.png", PNG)
    vae = tiny_models.folder(ws.path("taesd"))
    encode(ws, vae)
    sample = only(ws)
    close(npy_values(sample.npy)[: 3 * 64], tiny_models.means(PICTURE))
    latent = sample.record["latent"]
    for name, value in (("scaled", True), ("scaling_factor", 1), ("shift_factor", None), ("posterior", "mean"), ("shape", [4, 8, 8])):
        equal(latent[name], value, name)
    encode(ws, vae, "--scaled", name="said")  # which says nothing new: the recipe is the same
    equal(only(ws, "said").record["recipe_id"], sample.record["recipe_id"], "the recipe's id")


@test
def every_naming_of_its_weights_is_the_same_model(ws):
    parts = tiny_models.both()
    models = [
        tiny_models.folder(ws.path("folder")),
        tiny_models.single(ws.path("diffusers.safetensors")),
        tiny_models.single(ws.path("original.safetensors"), diffusers=False),
        tiny_models.write_tensors(ws.path("encoder.safetensors"), parts["encoder"]),
    ]
    found = []
    for model in models:
        (info,) = ws.latentctl("model", "info", model, "--json").json
        found.append((info["weights_sha256"], info["parameters"], info["tensors"]))
        for name, value in (("class", "AutoencoderTiny"), ("scaling_factor", 1), ("downscale", 8), ("dtype", "F16")):
            equal(info[name], value, name)
        equal(info["presets"], ["taesd", "taesdxl"], "presets")
    equal(found, [(found[0][0], 1222532, 67)] * 4, "weights, parameters and tensors")
    text = ws.latentctl("model", "info", models[2]).out
    for words in ("AutoencoderTiny", "TAESD, behind encoder.", "its latents are scaled"):
        assert words in text, text


@test
def what_it_encoded_is_decoded_and_proved_right(ws):
    source = ws.golden("rocket.jpg", "rocket.jpg")
    vae = tiny_models.single(ws.path("taesd.safetensors"))
    encode(ws, vae, resolution="128")
    (shard,) = shard_files(ws.path("out", "set"))
    ws.latentctl("decode", shard, "rocket", "--vae", vae, "-o", ws.path("back.png"))
    width, height, data = image_run(ws.path("back.png"), ws.root)
    equal((width, height), (128, 128), "size")
    for c in range(3):  # each square has one colour, rounded as diffusers does
        equal(data[c], round(255 * npy_values(only(ws).npy)[c * 256]), f"channel {c} of the first square")
    verify = ["verify", "--out", ws.out, "--decode", "3", "--vae"]
    assert "PSNR" in ws.latentctl(*verify, vae, "--min-psnr", "10").out
    ws.latentctl(*verify, vae, "--min-psnr", "90", code=DAMAGED)
    other = tiny_models.both()
    other["encoder"]["0.weight"] = tiny_models.copying(64, 3, 0.5)
    path = tiny_models.write_tensors(ws.path("other.safetensors"), tiny_models.named(other))
    one_line(ws.latentctl(*verify, path, code=FAILED), "another model")
    one_line(ws.latentctl(*verify, demo_model(), code=FAILED), "another model")
    # one image in and out on the command line
    latent, again = ws.path("z.safetensors"), ws.path("again.png")
    assert ", scaled" in ws.latentctl("encode-image", source, latent, "--vae", vae).out
    ws.latentctl("decode-latent", latent, "--vae", vae, "--scaled", "-o", again)
    picture = image_run(again, ws.root)
    assert psnr(picture[2], image_run(source, ws.root, "--size", f"{picture[0]}x{picture[1]}", "--filter", "lanczos")[2]) > 10


@test
def what_only_a_posterior_has_is_refused_before_anything_is_made(ws):
    ws.write("a.png", PNG)
    vae = tiny_models.single(ws.path("taesd.safetensors"))
    decoder = tiny_models.write_tensors(ws.path("decoder.safetensors"), tiny_models.decoder())
    for model, options, says in (
        (vae, ["--posterior", "draw"], "which has none"),
        (vae, ["--posterior", "moments"], "which has none"),
        (vae, ["--tiling", "diffusers"], "encoded whole"),
        (vae, ["--device", "cuda:0"], "AutoencoderTiny"),
        (vae, ["--model", "sd15"], "model sd15"),
        (decoder, [], "no encoder of an AutoencoderTiny"),
        (tiny_models.folder(ws.path("scaled"), scaling_factor=0.18215), [], "scaling_factor"),
        (tiny_models.folder(ws.path("wide"), encoder_block_out_channels=[64] * 3), [], "encoder_block_out_channels"),
        (tiny_models.folder(ws.path("channels"), latent_channels=16), [], "16 latent channels"),
        ("taef2", [], "--model taef2"),
    ):
        one_line(encode(ws, model, *options, code=FAILED), says)
        assert not os.path.exists(ws.out), f"{options} made {ws.out}"


@test
def families_tell_the_resolution_and_what_they_are(ws):
    four = tiny_models.single(ws.path("four.safetensors"))
    sixteen = tiny_models.single(ws.path("sixteen.safetensors"), 16)
    pooled = tiny_models.both(32)
    for index in (11, 12, 13):
        tiny_models.pool(pooled["encoder"], index)
    taef2 = tiny_models.write_tensors(ws.path("taef2.safetensors"), tiny_models.named(pooled, diffusers=False))
    larger = {"encoder": tiny_models.encoder(32, "DrDrbdbbbdbbbdbbbc")}
    taesana = tiny_models.write_tensors(ws.path("taesana.safetensors"), tiny_models.named(larger, diffusers=False))
    for path, options, wanted in (
        (four, [], (["taesd", "taesdxl"], 512, 8)),
        (four, ["--model", "taesdxl"], (["taesd", "taesdxl"], 1024, 8)),
        (sixteen, ["--model", "taef1"], (["taesd3", "taef1"], 1024, 16)),
        (taef2, [], (["taef2"], 1024, 16)),
        (taesana, [], (["taesana"], 1024, 32)),
    ):
        (info,) = ws.latentctl("model", "info", path, *options, "--json").json
        equal((info["presets"], info["resolution"], info["multiple"]), wanted, path)
    ws.write("a.png", PNG)
    encode(ws, taesana)
    close(npy_values(only(ws).npy)[: 3 * 4], tiny_models.means(PICTURE, 32))
    ws.out = ws.path("other")
    encode(ws, taef2)
    (sample,) = read_dataset(ws.path("other", "set"))
    close(npy_values(sample.npy)[: 3 * 64], tiny_models.means(PICTURE))
    # a pool where maps are large is no such network
    early = tiny_models.both(32)
    tiny_models.pool(early["encoder"], 3)
    path = tiny_models.write_tensors(ws.path("early.safetensors"), tiny_models.named(early))
    one_line(encode(ws, path, code=FAILED), "block 3", "pool")


@test
def it_is_served_without_a_posterior_and_encodes_for_other_machines(ws):
    ws.write("a.png", PNG)
    vae = tiny_models.folder(ws.path("taesd"))
    server = Server(ws, vae=vae).start()
    first = server.encode(PNG)
    equal((first.shape, first.dtype), ([1, 4, 8, 8], "float16"), "the latent")
    equal(server.encode(PNG, scaling_factor="1.0", shift_factor="0.0").body, first.body, "the same once more")
    exact = server.encode(PNG, posterior="mean", reply="float32")
    close(exact.values[: 3 * 64], tiny_models.means(PICTURE))
    server.post(PNG, posterior="draw").error(400, "AutoencoderTiny")
    server.post(PNG, posterior="moments").error(400, "AutoencoderTiny")
    server.post(PNG, scaling_factor="0.13025").error(400, "scaled")
    words = ["encode", ws.src, "--endpoint", f"http://127.0.0.1:{server.port}/", "--bucketing", "square"]
    words += ["--resolution", "64", "--dtype", "float32"]
    ws.latentctl(*words, "--out", ws.path("remote"), "--name", "set")
    server.stop()
    (remote,) = read_dataset(ws.path("remote", "set"))
    encode(ws, vae)
    equal(read_npy(remote.npy), read_npy(only(ws).npy), "the latent of another machine")
    equal(read_npy(remote.npy)[2], exact.body, "the latent")
    equal(remote.record["recipe_id"], only(ws).record["recipe_id"], "the recipe's id")


@test
def a_daemon_encodes_with_it(ws):
    vae = tiny_models.folder(ws.path("taesd"))
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu"}]
    recipe = {"vae": vae, "resolution": 64, "bucketing": "square", "dtype": "float32"}
    dataset = daemon.dataset("set", recipe=recipe)
    ws.write("a.png", PNG, dataset["source"]["path"])
    daemon.start()
    daemon.wait_for("set", encoded=1)
    daemon.drain()
    daemon.stop()
    close(npy_values(only(ws).npy)[: 3 * 64], tiny_models.means(PICTURE))


@test
def published_ones_give_back_what_went_in(ws):
    """TAEF2 with its real weights, and TAESANA's encoder, where they are at hand."""
    path = shared("models", "taef2", "taef2.safetensors")
    if not os.path.exists(path):
        raise Skip("no shared/models/taef2")
    ws.golden("rocket.jpg", "rocket.jpg")
    encode(ws, path, resolution="128")
    result = ws.latentctl("verify", "--out", ws.out, "--decode", "1", "--vae", path)
    assert "PSNR" in result.out, result
    ws.out = ws.path("sana")
    encode(ws, shared("models", "taesana", "taesana_encoder.safetensors"), resolution="128")
    (sample,) = read_dataset(ws.path("sana", "set"))
    equal(read_npy(sample.npy)[1], (32, 4, 4), "shape")


run_tests()
