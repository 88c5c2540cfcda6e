#!/usr/bin/env python3
"""serve_figures.py BUILD: what `latentd serve` costs over the bare engine, and what batches bring.

CPU time of the server's process for each image, against that of `latentctl bench encode` (which only encodes) in turn, in
a few rounds of which the median counts: so other load on the machine matters little. Bodies are uint8 tensors and PNGs.
The small model is models/demo, the large one an encoder of SD's size with weights that are made up (speed does not depend
on them). Figures for docs/benchmarks.md.
"""

import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
os.environ["LATENTD_BUILD_DIR"] = BUILD = os.path.abspath(sys.argv[1])
from harness import Workspace, demo_model
from serve_rig import Server, noise, png

ROUNDS = 3
CONFIG = {
    "_class_name": "AutoencoderKL",
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def encoder_shapes(blocks=(128, 256, 512, 512), layers=2, c=4):
    shapes = {}

    def conv(name, out, given, k):
        shapes[name + ".weight"], shapes[name + ".bias"] = (out, given, k, k), (out,)

    def norm(name, channels):
        shapes[name + ".weight"] = shapes[name + ".bias"] = (channels,)

    def resnet(name, given, out):
        norm(name + ".norm1", given)
        conv(name + ".conv1", out, given, 3)
        norm(name + ".norm2", out)
        conv(name + ".conv2", out, out, 3)
        if given != out:
            conv(name + ".conv_shortcut", out, given, 1)

    conv("encoder.conv_in", blocks[0], 3, 3)
    at = blocks[0]
    for i, block in enumerate(blocks):
        for j in range(layers):
            resnet(f"encoder.down_blocks.{i}.resnets.{j}", at, block)
            at = block
        if i < len(blocks) - 1:
            conv(f"encoder.down_blocks.{i}.downsamplers.0.conv", block, block, 3)
    resnet("encoder.mid_block.resnets.0", at, at)
    norm("encoder.mid_block.attentions.0.group_norm", at)
    for name in ("to_q", "to_k", "to_v", "to_out.0"):
        name = "encoder.mid_block.attentions.0." + name
        shapes[name + ".weight"], shapes[name + ".bias"] = (at, at), (at,)
    resnet("encoder.mid_block.resnets.1", at, at)
    norm("encoder.conv_norm_out", at)
    conv("encoder.conv_out", 2 * c, at, 3)
    conv("quant_conv", 2 * c, 2 * c, 1)
    return shapes


def write_large_model(folder):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG, file)
    random.seed(1)
    some = struct.pack("<65536f", *(random.uniform(-0.03, 0.03) for _ in range(65536)))
    header, at = {}, 0
    for name, shape in encoder_shapes().items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "diffusion_pytorch_model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            file.write(some[: min(at, len(some))])
            at -= min(at, len(some))
    return folder


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare(model, side, images):
    """CPU and wall seconds for each image of the engine alone, without its start."""
    command = [os.path.join(BUILD, "daemon", "latentctl"), "bench", "encode", "--vae", model]
    command += ["--size", str(side), "--rounds", "1", "--json"]
    used = []
    for batch in (1, images + 1):
        before = os.times()
        out = subprocess.run([*command, "--batch", str(batch)], check=True, capture_output=True)
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    wall = json.loads(out.stdout)["seconds_per_image"]
    return (used[1] - used[0]) / images, wall


def served(server, clients, images, post):
    """The same for images through the server."""
    left, lock = [images], threading.Lock()

    def client():
        connection = server.connection()
        while True:
            with lock:
                if left[0] == 0:
                    break
                left[0] -= 1
            post(connection)
        connection.close()

    post(server.connection())
    before, began = cpu_seconds(server.process.pid), time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = (time.monotonic() - began) / images
    return (cpu_seconds(server.process.pid) - before) / images, wall


def measure(ws, model, side, images):
    rgb = noise(3 * side * side)
    picture, shape = png(side, side, rgb), [1, 3, side, side]
    server = Server(ws, vae=model).start()

    def tensor(connection):
        answer = server.post(rgb, connection=connection, posterior="mean", shape=shape, dtype="uint8")
        assert answer.status == 200, answer

    def image(connection):
        assert server.post(picture, connection=connection, posterior="mean").status == 200

    rows = {"bare": []}
    for _ in range(ROUNDS):
        rows["bare"].append(bare(model, side, images))
        for clients, what, post in ((1, "tensor", tensor), (8, "tensor", tensor), (8, "PNG", image)):
            rows.setdefault(f"{what}, {clients} clients", []).append(
                served(server, clients, images, post)
            )
    metrics = server.metrics()
    server.stop()
    base = statistics.median(cpu for cpu, _ in rows["bare"])
    for name, values in rows.items():
        ratios = [cpu / rows["bare"][i][0] for i, (cpu, _) in enumerate(values)]
        print(
            f"{side}x{side} {name}: CPU {1000 * statistics.median(c for c, _ in values):.2f} ms an image, "
            f"{100 * (statistics.median(ratios) - 1):+.1f} %, wall {1000 * statistics.median(w for _, w in values):.1f} ms"
        )
    batches = metrics["latentd_serve_batch_images_count"]
    print(f"  images a batch: {metrics['latentd_serve_batch_images_sum'] / batches:.2f}; bare {1000 * base:.2f} ms")


def main():
    ws = Workspace()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(ws, demo_model(), 256, 60)
            measure(ws, demo_model(), 512, 24)
            measure(ws, write_large_model(os.path.join(folder, "large")), 256, 6)
    finally:
        ws.remove()


main()
