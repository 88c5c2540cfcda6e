#!/usr/bin/env python3
"""output_figures.py BUILD [N]: what exports, repacks and the Python reader cost over reading the same bytes.

CPU time (user and system) of each command, the least of three, in turns, and as a multiple of what it takes to read and hash
the dataset's shards (`latentctl verify`, in the same turn): so other load on the machine matters little. N (400) samples of
4 x 128 x 128 float16, of the fake encoder. Run by a Python that has numpy, zstandard and xxhash. For docs/benchmarks.md.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BUILD, N = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400
ROUNDS = 3
READER = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
from latentd_wds import LatentBatches
data = LatentBatches(sys.argv[1], 16)
shards = [os.path.join(at, n) for at, _, names in os.walk(os.path.join(sys.argv[1], "train")) for n in names]
began = time.process_time()
for shard in shards:
    with open(shard, "rb") as file:
        while file.read(1 << 20):
            pass
raw = time.process_time() - began
began = time.process_time()
for step in range(len(data)):
    data[step]
print(raw, time.process_time() - began, 16 * len(data))
"""


def cpu(words, environment):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = lambda *parts: os.path.join(folder, *parts)  # noqa: E731
        environment = {**os.environ, "XDG_STATE_HOME": path("state"), "HOME": folder}
        environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
        ctl = os.path.join(BUILD, "daemon", "latentctl")
        run = lambda *words: cpu([ctl, *words], environment)  # noqa: E731
        subprocess.run([os.path.join(BUILD, "tests", "make_pictures"), path("src"), str(N)], check=True, stdout=subprocess.DEVNULL)
        encode = ["encode", path("src"), "--vae", "fake", "--out", path("out"), "--name", "set", "--bucketing", "square"]
        run(*encode, "--resolution", "1024", "--max-upscale", "0", "--shard-samples", str(N // 2))
        dataset = path("out", "set")
        shards, latents = size_of(os.path.join(dataset, "train")), N * 4 * 128 * 128 * 2
        exports = [("npz",), ("npz", "--normalised", "--dtype", "float32"), ("safetensors",), ("wds",), ("mds",)]
        repacks = [("--order", "scan"), ("--format", "mds"), ("--shard-samples", str(N // 3)),
                   ("--format", "wds"), ("--codec", "planes"), ("--codec", "zstd")]
        times = {}
        for turn in range(ROUNDS):
            times.setdefault("verify", []).append(run("verify", "--out", path("out")))
            for words in exports:
                into = path(f"{turn}-{'-'.join(words)}")
                spent = run("export", dataset, "--to", *words, "--into", into)
                times.setdefault("export --to " + " ".join(words), []).append(spent)
                subprocess.run(["rm", "-rf", into], check=True)
            for words in repacks:
                times.setdefault("repack " + " ".join(words), []).append(run("repack", "--out", path("out"), *words))
        verify = min(times["verify"])
        print(f"{N} samples, {shards / 2**20:.1f} MiB of shards, load {os.getloadavg()[0]:.0f}, {time.strftime('%Y-%m-%d')}\n")
        print("| what | CPU, s | of verify | images/s | MiB/s of latents |\n|---|---|---|---|---|")
        for name, spent in times.items():
            least = min(spent)
            print(f"| {name} | {least:.2f} | {least / verify:.1f} | {N / least:.0f} | {latents / least / 2**20:.0f} |")
        out = [subprocess.check_output([sys.executable, "-B", "-c", READER, dataset, os.path.join(ROOT, "contrib")], text=True)
               for _ in range(ROUNDS)]
        raw, spent, n = min(tuple(map(float, line.split())) for line in out)
        print(f"\nlatentd_wds.py: {spent:.2f} s of CPU, {n / spent:.0f} images/s, {shards * n / N / spent / 2**20:.0f} MiB/s of shards, "
              f"{spent / raw:.0f} times reading the same bytes ({raw:.3f} s)")


if __name__ == "__main__":
    main()
