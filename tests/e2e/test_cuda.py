#!/usr/bin/env python3
"""Encoding on GPUs, with host_plugin.c in the place of CUDA's, which computes on the processor."""

import os
import re
import shutil
import struct

from cuda_rig import PLUGIN, opened, use
from daemon_rig import Daemon
from harness import FAILED, USAGE, demo_model, equal, one_line, run_tests, test, wait_until
from reference import npy_values, read_dataset
from serve_rig import Server, noise, planes, png

OPTIONS = ("--bucketing", "square", "--resolution", "64", "--dtype", "float32", "--name")


def encode(ws, name, *options, **settings):
    return ws.encode(*OPTIONS, name, *options, vae=demo_model(), **settings)


def samples(ws, name, out="out"):
    return read_dataset(ws.path(out, name))


@test
def a_gpu_gives_the_latents_of_the_processor(ws):
    use(ws)
    ws.small_pictures(3)
    # outputs of their own: in one, a second dataset of the same recipe is copied
    encode(ws, "set")
    encode(ws, "set", "--device", "cuda:2", "--precision", "f32", out=ws.path("out-gpu"))
    here = {s.key: s for s in samples(ws, "set")}
    for s in samples(ws, "set", "out-gpu"):
        equal(s.record["engine"], "cuda/host-2 float32", "engine")
        pairs = zip(npy_values(s.npy), npy_values(here[s.key].npy))
        assert max(abs(a - b) for a, b in pairs) < 1e-4, s.key
        equal(s.record["recipe_id"], here.pop(s.key).record["recipe_id"], "the recipe")
    assert not here, here
    ws.verify()


@test
def options_reach_the_engine_and_algorithms_have_a_file(ws):
    use(ws)
    ws.small_pictures(1)
    encode(ws, "a", "--device", "cuda")
    encode(ws, "b", "--device", "cuda:1", "--gpu-memory", "2GiB", "--gpu-share", "0.5",
           "--pause-when-busy", "--precision", "f16")
    ws.environment["CACHE_DIRECTORY"] = ws.path("service-cache")
    encode(ws, "c", "--device", "cuda", "--gpu-memory", "25%", "--precision", "f32", "--gpu-tf32")
    cache = ws.path("cache", "latentd")
    equal(opened(ws), [
        f"device=0 bfloat16 memory=0 percent=80 share=1 pause=0 cache={cache}/cuda-0.algorithms",
        "device=1 float16 memory=2147483648 percent=0 share=0.5 pause=1 "
        f"cache={cache}/cuda-1.algorithms",
        "device=0 float32 memory=0 percent=25 share=1 pause=0 tf32 "
        f"cache={ws.path('service-cache')}/cuda-0.algorithms",
    ], "what was opened")
    assert os.path.isdir(cache), "no folder for algorithms"


@test
def all_gpus_share_the_work_and_one_that_is_lost_is_left_out(ws):
    use(ws, HOST_PLUGIN_DEVICES="3")
    ws.small_pictures(12)
    encode(ws, "all", "--device", "cuda:all")
    equal(len(samples(ws, "all")), 12, "samples")
    engines = {s.record["engine"] for s in samples(ws, "all")}
    assert engines <= {f"cuda/host-{i} bfloat16" for i in range(3)}, engines
    equal(len(opened(ws)), 3, "engines")
    use(ws, HOST_PLUGIN="one-lost")
    result = encode(ws, "two", "--device", "cuda:all")
    assert "not used: GPU 1: a kernel failed on the GPU" in result.err, result.err
    equal(len(samples(ws, "two")), 12, "samples")
    equal(len(opened(ws)), 5, "engines")


@test
def a_gpu_that_is_lost_while_it_encodes_is_named_and_the_others_do_its_work(ws):
    use(ws, HOST_PLUGIN_DEVICES="2", HOST_PLUGIN="lost-1")
    ws.small_pictures(12)
    result = encode(ws, "all", "--device", "cuda:all")
    assert "not used any more: cuda/host-1 bfloat16: a kernel failed on the GPU" in result.err, \
        result.err
    equal({s.record["engine"] for s in samples(ws, "all")}, {"cuda/host-0 bfloat16"}, "engine")
    equal(len(samples(ws, "all")), 12, "samples")
    ws.verify()


@test
def a_daemon_goes_on_without_a_gpu_that_it_loses_and_says_why(ws):
    use(ws, HOST_PLUGIN="lost-1", HOST_PLUGIN_DEVICES="2")
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cuda", "device": 1}, {"type": "cpu"}]
    set_ = daemon.dataset(recipe={"vae": demo_model(), "resolution": 64})
    ws.small_pictures(12, folder=set_["source"]["path"])
    daemon.start()
    daemon.wait_for(finished=12)
    gpu, cpu = daemon.status()["encoders"]
    assert "Xid" in gpu["why"], gpu
    equal((gpu["images_done"], cpu["images_done"]), (0, 12), "images of each")
    assert "left out until it is opened once more" in daemon.said(), daemon.said()
    daemon.stop()


@test
def an_image_that_overflows_is_repeated_and_says_so(ws):
    use(ws, HOST_PLUGIN="overflow")
    ws.small_pictures(1)
    encode(ws, "gpu", "--device", "cuda")
    (sample,) = samples(ws, "gpu")
    latent = sample.record["latent"]
    equal((latent["precision"], latent["overflowed"]), ("float32", "bfloat16"), "precision")
    ws.verify()


@test
def tiles_are_those_of_the_processor(ws):
    """The demo's tiles have 256 pixels."""
    use(ws)
    ws.golden("rocket.jpg", "rocket.jpg")
    options = (*OPTIONS[:2], "--resolution", "320", "--dtype", "float32", "--tiling", "diffusers")
    found = []
    for device in ("cpu", "cuda"):
        words = ("--precision", "f32", "--device", device, "--name", "set")
        ws.encode(*options, *words, vae=demo_model(), out=ws.path(f"out-{device}"))
        (sample,) = samples(ws, "set", f"out-{device}")
        assert sample.record["engine"].startswith(device), sample.record
        equal(sample.record["latent"]["tile_size"], 256, "tile_size")
        found.append(sample)
    equal(found[0].record["recipe_id"], found[1].record["recipe_id"], "the recipe")
    pairs = zip(npy_values(found[0].npy), npy_values(found[1].npy))
    assert max(abs(a - b) for a, b in pairs) < 1e-4


@test
def without_a_gpu_cause_and_remedy_are_one_line_and_nothing_is_made(ws):
    ws.small_pictures(1)
    use(ws, ws.path("none.so"))
    one_line(encode(ws, "a", "--device", "cuda", code=FAILED), "none.so", "install latentd-cuda.so")
    use(ws, HOST_PLUGIN="old-driver")
    for device in ("cuda", "cuda:all"):
        result = encode(ws, "a", "--device", device, code=FAILED)
        one_line(result, "older", "update the NVIDIA driver")
    use(ws, HOST_PLUGIN="abi")
    one_line(encode(ws, "a", "--device", "cuda", code=FAILED), "of the same version")
    use(ws, HOST_PLUGIN="", HOST_PLUGIN_DEVICES="0")
    one_line(encode(ws, "a", "--device", "cuda:all", code=FAILED), "nvidia-smi -L")
    assert not os.path.exists(ws.path("out")), "something was made"


@test
def what_does_not_go_together_is_refused(ws):
    for words in (
        ("--device", "gpu"),
        ("--device", "cuda:64"),
        ("--device", "cuda:"),
        ("--device", "cuda", "--gpu-share", "0"),
        ("--device", "cuda", "--gpu-memory", "0%"),
        ("--device", "cuda", "--gpu-memory", "101%"),
        ("--device", "cuda", "--endpoint", "http://localhost/"),
    ):
        encode(ws, "a", *words, code=USAGE)
    one_line(ws.encode("--device", "cuda", code=USAGE), "fake")


@test
def a_daemon_encodes_on_all_gpus_with_what_suits_the_model(ws):
    use(ws, HOST_PLUGIN_DEVICES="2")
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cuda", "device": "all", "gpu_memory": "50%"}]
    set_ = daemon.dataset(recipe={"vae": demo_model(), "resolution": 64})
    ws.small_pictures(4, folder=set_["source"]["path"])
    daemon.run("--once")
    engines = {s.record["engine"] for s in samples(ws, "set")}
    assert engines and engines <= {"cuda/host-0 bfloat16", "cuda/host-1 bfloat16"}, engines
    equal({s.record["latent"]["precision"] for s in samples(ws, "set")}, {"bfloat16"}, "precision")
    equal({line.split(" share")[0] for line in opened(ws)},
          {f"device={i} bfloat16 memory=0 percent=50" for i in range(2)}, "options")


@test
def a_daemon_with_a_gpu_alone_serves_images_and_says_that_it_takes_no_floats(ws):
    use(ws)
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cuda"}]
    daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": demo_model()}
    daemon.start()
    server = Server(ws)
    wait_until(lambda: re.search(r" at http://[^ ]*:\d+$", daemon.said(), re.M), "the server")
    server.port = int(re.search(r" at http://[^ ]*:(\d+)$", daemon.said(), re.M)[1])
    rgb = noise(64 * 64 * 3)
    image = server.encode(png(64, 64, rgb), posterior="mean", reply="float32")
    same = server.tensor(planes(rgb), [1, 3, 64, 64], "uint8", posterior="mean", reply="float32")
    equal(same.latent().body, image.body, "an image, and the same as a tensor of uint8")
    floats = struct.pack(f"<{64 * 64 * 3}f", *(b / 300 for b in rgb))
    server.tensor(floats, [1, 3, 64, 64], "float32", posterior="mean").error(415, "uint8")
    daemon.stop()


@test
def serve_on_a_command_line_encodes_on_a_gpu_as_it_is_told(ws):
    use(ws)
    server = Server(ws, "--device", "cuda:1", "--precision", "bf16", "--gpu-memory", "2GiB",
                    "--gpu-share", "0.5", vae=demo_model())
    server.start()
    body = png(64, 64, noise(64 * 64 * 3))
    answer = server.post(body, posterior="mean", reply="float32")
    equal(answer.headers["latentd-precision"], "bfloat16", "the precision")
    server.stop()
    cache = ws.path("cache", "latentd", "cuda-1.algorithms")
    options = f"device=1 bfloat16 memory=2147483648 percent=0 share=0.5 pause=0 cache={cache}"
    equal(opened(ws), [options, f"decoder {options}"], "options")
    here = Server(ws, vae=demo_model())
    here.start()
    same = here.post(body, posterior="mean", reply="float32")
    equal(same.headers["latentd-precision"], "float32", "the precision without options")
    pairs = zip(answer.latent().values, same.latent().values)
    assert max(abs(a - b) for a, b in pairs) < 1e-4
    here.stop()


@test
def a_server_whose_gpu_is_lost_says_so_to_whoever_asks(ws):
    use(ws, HOST_PLUGIN="lost-1")
    server = Server(ws, "--device", "cuda:1", vae=demo_model())
    server.start()
    body = png(64, 64, noise(64 * 64 * 3))
    assert server.post(body, posterior="mean").status >= 500
    wait_until(lambda: server.request("GET", "/health").status == 503, "it to be known")
    server.post(body, posterior="mean").error(503, "Xid")
    assert "encoder cuda: a kernel failed on the GPU" in server.said(), server.said()
    server.stop()


@test
def a_daemon_goes_on_without_its_gpu_and_says_why(ws):
    use(ws, ws.path("none.so"))
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cuda"}, {"type": "cpu"}]
    set_ = daemon.dataset(recipe={"vae": demo_model(), "resolution": 64})
    ws.small_pictures(2, folder=set_["source"]["path"])
    daemon.start()
    daemon.wait_for(finished=2)
    gpu, cpu = daemon.status()["encoders"]
    assert "none.so" in gpu["why"] and "install latentd-cuda.so" in gpu["why"], gpu
    assert cpu["why"] is None and cpu["images_done"] == 2, cpu
    daemon.stop()


@test
def a_daemon_with_nothing_but_an_absent_gpu_says_so_and_encodes_when_it_is_there(ws):
    plugin = ws.path("plugin.so")
    use(ws, plugin)
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cuda"}]
    set_ = daemon.dataset(recipe={"vae": demo_model(), "resolution": 64})
    ws.small_pictures(2, folder=set_["source"]["path"])
    daemon.start()
    daemon.says("plugin.so", "install latentd-cuda.so")
    shutil.copy(PLUGIN, plugin)
    daemon.resume()
    daemon.wait_for(finished=2)
    daemon.stop()


run_tests()
