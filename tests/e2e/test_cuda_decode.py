#!/usr/bin/env python3
"""Decoding on GPUs, with host_plugin.c in the place of CUDA's: commands, and a server of remote_decode."""

import os
import struct

import tiny_models
from cuda_rig import opened, use
from harness import FAILED, USAGE, demo_model, equal, one_line, run_tests, test
from pixels import image_run, psnr
from reference import shard_files
from serve_rig import Server, noise, png

SIDE = 64


def encode(ws, *options, name="set"):
    """The shard of one picture."""
    ws.golden("rocket.jpg", "rocket.jpg")
    ws.encode("--bucketing", "square", "--resolution", "64", "--dtype", "float32", "--name", name, *options, vae=demo_model())
    return shard_files(ws.path("out", name))[0]


def picture(ws, *words):
    """What a command writes, and what it says beside."""
    result = ws.latentctl(*words, "--vae", demo_model(), "-o", ws.path("made.png"))
    return image_run(ws.path("made.png"), ws.root)[2], result


def same(got, wanted):
    """Bytes may be rounded otherwise, by one."""
    quality = psnr(got, wanted)
    assert quality > 50, f"{quality:.2f} dB"


@test
def commands_decode_on_a_gpu_what_the_processor_decodes(ws):
    use(ws)
    shard = encode(ws)
    small = ws.write("small.png", png(SIDE, SIDE, noise(3 * SIDE * SIDE)))
    ws.latentctl("encode-image", small, ws.path("z.safetensors"), "--vae", demo_model())
    for words in (("decode", shard, "rocket"), ("decode-latent", ws.path("z.safetensors")), ("preview", shard)):
        wanted, _ = picture(ws, *words)
        assert not os.path.exists(ws.path("opened")), "a GPU that nobody asked for"
        got, result = picture(ws, *words, "--device", "cuda:1")
        equal(result.err, "", f"what {words[0]} says")
        same(got, wanted)
        lines = opened(ws)
        equal([line.split(" memory")[0] for line in lines],
              ["device=1 float32", "decoder device=1 float32"], "what was opened")
        os.remove(ws.path("opened"))


@test
def verify_decodes_and_encodes_on_a_gpu(ws):
    use(ws)
    encode(ws)
    result = ws.latentctl("verify", "--out", ws.out, "--decode", "1", "--vae", demo_model(), "--device", "cuda")
    assert "PSNR" in result.out and "processor" not in result.err, result.out + result.err
    equal(len(opened(ws)), 2, "engines")


@test
def without_a_gpu_the_processor_decodes_and_a_line_says_why(ws):
    shard = encode(ws)
    wanted, _ = picture(ws, "decode", shard, "rocket")
    for plugin, says in (
        ({"plugin": ws.path("none.so")}, "none.so"),
        ({"HOST_PLUGIN": "old-driver"}, "update the NVIDIA driver"),
        ({"HOST_PLUGIN": "decoder-no-room"}, "gpu_memory"),
    ):
        use(ws, **plugin)
        got, result = picture(ws, "decode", shard, "rocket", "--device", "cuda")
        one_line(result, "decoding on the processor, not on cuda: ", says)
        assert got == wanted, "another picture"


@test
def a_gpu_that_is_lost_while_it_decodes_is_named(ws):
    use(ws, HOST_PLUGIN="lost-1")
    shard = encode(ws)
    result = ws.latentctl("decode", shard, "rocket", "--vae", demo_model(), "-o", ws.path("a.png"),
                          "--device", "cuda:1", code=FAILED)
    one_line(result, "Xid")
    assert not os.path.exists(ws.path("a.png")), "a picture"


@test
def a_tiny_decoder_is_of_the_processor(ws):
    use(ws)
    ws.write("a.png", png(SIDE, SIDE, noise(3 * SIDE * SIDE)))
    vae = tiny_models.folder(ws.path("taesd"))
    ws.encode("--bucketing", "square", "--resolution", "64", vae=vae)
    result = ws.latentctl("preview", shard_files(ws.dataset)[0], "--vae", vae, "-o", ws.path("a.png"), "--device", "cuda")
    one_line(result, "decoding on the processor", "AutoencoderTiny")
    assert not os.path.exists(ws.path("opened")), "an engine"


@test
def what_does_not_go_together_is_refused(ws):
    shard = encode(ws)
    for device in ("gpu", "cuda:all", "cuda:64"):
        ws.latentctl("decode", shard, "rocket", "--vae", demo_model(), "-o", ws.path("a.png"), "--device", device, code=USAGE)
    result = ws.latentctl("decode", shard, "rocket", "--endpoint", "http://127.0.0.1:1/", "-o", ws.path("a.png"),
                          "--device", "cuda", code=FAILED)
    one_line(result, "--device and --endpoint")
    one_line(ws.latentctl("preview", shard, "-o", ws.path("a.png"), "--device", "cuda", code=FAILED), "--device is for --vae")
    no_decoder = os.path.join(os.environ["LATENTD_SOURCE_DIR"], "tests", "golden", "kl_sd")
    use(ws)
    result = ws.latentctl("decode", shard, "rocket", "--vae", no_decoder, "-o", ws.path("a.png"), "--device", "cuda", code=FAILED)
    one_line(result, "no decoder")


@test
def a_server_decodes_on_its_gpu_as_on_its_processor(ws):
    use(ws)
    latent = struct.pack(f"<{4 * 8 * 8}f", *(i * 37 % 101 / 50 - 1 for i in range(4 * 8 * 8)))
    query = "output_type=pt&partial_postprocess=True&shape=1&shape=4&shape=8&shape=8&dtype=float32&do_scaling=True"
    pictures = []
    for words in (("--device", "cuda"), ("--device", "cuda:all", "--precision", "bf16"), ()):
        server = Server(ws, *words, vae=demo_model()).start()
        answer = server.request("POST", f"/?{query}", latent, {"Content-Type": "tensor/binary", "Accept": "tensor/binary"})
        equal((answer.status, answer.latent().shape), (200, [1, SIDE, SIDE, 3]), "the answer")
        pictures.append(answer.body)
        server.stop()
    same(pictures[0], pictures[2])
    same(pictures[1], pictures[2])
    decoders = [line for line in opened(ws) if line.startswith("decoder")]
    equal(len(decoders), 2, "decoders")


run_tests()
