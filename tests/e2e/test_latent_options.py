#!/usr/bin/env python3
"""`--scaled` and `--codec none`: what is stored, and that every command works on it."""

import json
import math
import os
import struct
import subprocess
import sys

from harness import FAILED, QUARANTINED, USAGE, demo_model, equal, run_tests, same_members
from harness import sanitized, test
from reference import npy_values, read_dataset, shard_files, xxh3_128


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def dataset_json(ws, name):
    with open(ws.path("out", name, ".latentd", "dataset.json"), encoding="utf-8") as file:
        return json.load(file)


@test
def scaled_latents_are_what_a_trainer_computes(ws):
    ws.small_pictures(3)
    options = ("--dtype", "float32", "--name")
    ws.encode(*options, "plain", vae=demo_model())
    ws.encode(*options, "scaled", "--scaled", vae=demo_model())
    plain = {s.key: s for s in read_dataset(ws.path("out", "plain"))}
    for s in read_dataset(ws.path("out", "scaled")):
        latent = s.record["latent"]
        equal(latent["scaled"], True, "scaled")
        shift, factor = float32(latent["shift_factor"] or 0), float32(latent["scaling_factor"])
        assert factor != 1, "a factor that changes nothing"
        trained = [float32(float32(z - shift) * factor) for z in npy_values(plain.pop(s.key).npy)]
        equal(list(npy_values(s.npy)), trained, f"the latent of {s.key}")
    assert not plain, plain
    equal(dataset_json(ws, "scaled")["latent"]["scaled"], True, "dataset.json")
    with open(ws.path("out", "scaled", "README.md"), encoding="utf-8") as file:
        assert "stored scaled" in file.read()
    result = ws.encode(
        "--name", "plain", "--dtype", "float32", "--scaled", vae=demo_model(), code=FAILED
    )
    assert "latent.scaled false, now true" in result.err, result.err
    ws.verify()


@test
def tiles_are_blended_where_an_image_is_larger_than_one(ws):
    """The demo's tiles have 256 pixels: tests/golden/test_kl_tiles.c has the values."""
    ws.golden("rocket.jpg", "rocket.jpg")
    options = ("--dtype", "float32", "--bucketing", "square", "--resolution")
    for name, side in (("large", 320), ("small", 192)):
        found = {}
        for tiling in ("none", "diffusers"):
            to = f"{name}-{tiling}"
            ws.encode(*options, str(side), "--name", to, "--tiling", tiling, vae=demo_model())
            (found[tiling],) = read_dataset(ws.path("out", to))
        whole, tiled = found["none"], found["diffusers"]
        assert "tile_size" not in whole.record["latent"], whole.record
        equal(tiled.record["latent"]["tile_size"], 256, "tile_size")
        assert tiled.record["recipe_id"] != whole.record["recipe_id"], "one recipe"
        equal(tiled.npy == whole.npy, name == "small", f"the latent of the {name} one is the same")
    equal(dataset_json(ws, "large-diffusers")["recipe"]["latent"]["tile_size"], 256, "recipe")
    result = ws.encode("--name", "large-none", *options, "320", "--tiling", "diffusers",
                       vae=demo_model(), code=FAILED)
    assert 'latent.tiling none, now "diffusers"' in result.err, result.err
    result = ws.encode("--tiling", "diffusers", "--name", "fake", code=FAILED)
    assert "the fake encoder has no tiles" in result.err, result.err
    ws.verify()


# Runs a command and says how many KiB the largest process of it had.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@test
def within_a_limit_an_image_is_encoded_in_bands_with_the_same_result(ws):
    """1024x1024: whole, the demo VAE has two maps of 128 MiB."""
    ws.golden("rocket.jpg", "rocket.jpg")
    found, peak = [], []
    for limit in ("2GiB", "190MiB"):
        words = ws.encode_words(
            *("--bucketing", "square", "--resolution", "1024", "--dtype", "float32"),
            *("--encoder-memory", limit, "--threads", "2", "--name", "set"),
            vae=demo_model(),
            out=ws.path(limit),
        )
        process = ws.launch(
            [sys.executable, "-c", MEASURE, os.path.join(ws.programs, "latentctl"), *words],
            **dict(env=ws.environment, cwd=ws.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE),
        )
        result = ws.finish(process)
        equal(result.code, 0, "exit status")
        peak.append(int(result.out.splitlines()[-1]) >> 10)
        (sample,) = read_dataset(ws.path(limit, "set"))
        found.append(npy_values(sample.npy))
    assert max(abs(a - b) for a, b in zip(*found)) < 1e-5
    if not sanitized():
        assert peak[1] + 64 < peak[0], f"{peak} MiB"


@test
def an_image_that_fits_in_no_way_is_listed(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    words = ("--bucketing", "square", "--resolution", "1024", "--encoder-memory", "20MiB")
    ws.encode(*words, vae=demo_model(), code=QUARANTINED)
    (failed,) = ws.failed().values()
    equal(failed, "too_large", "reason")


def has_bf16():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return " avx512_bf16" in file.read()


@test
def bfloat16_is_a_recipe_of_its_own_or_refused(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    options = ("--bucketing", "square", "--resolution", "64", "--name")
    plain = {**ws.environment, "LATENTD_ISA": "avx2"}
    result = ws.encode(*options, "n", "--precision", "bf16", vae=demo_model(), code=FAILED, env=plain)
    assert "needs a processor with AVX512_BF16" in result.err, result.err
    ws.encode(*options, "f32", vae=demo_model())
    if not has_bf16():
        print("SKIPPED: no AVX512_BF16 here")
        return
    ws.encode(*options, "bf16", "--precision", "bf16", vae=demo_model())
    records = [read_dataset(ws.path("out", name))[0].record for name in ("f32", "bf16")]
    equal([r["latent"]["precision"] for r in records], ["float32", "bfloat16"], "precision")
    assert records[0]["recipe_id"] != records[1]["recipe_id"], "one recipe"
    assert records[0]["engine"].endswith(" float32"), records[0]["engine"]
    assert records[1]["engine"].endswith("-avx512bf16 bfloat16"), records[1]["engine"]
    ws.verify()


@test
def what_cannot_be_is_wrong_usage(ws):
    result = ws.encode("--scaled", "--posterior", "moments", code=USAGE)
    assert "moments have no scale, expected posterior mean or draw" in result.err, result.err
    result = ws.encode("--format", "parquet", code=USAGE)
    assert '--format "parquet": expected wds or mds' in result.err, result.err
    result = ws.encode("--codec", "lz4", code=USAGE)
    assert '--codec "lz4": expected zstd or none' in result.err, result.err


def members(ws, name):
    return {tuple(s.members) for s in read_dataset(ws.path("out", name))}


@test
def without_a_codec_every_command_works(ws):
    paths = ws.pictures(6)
    plain = ("--codec", "none", "--name", "plain")
    ws.encode(*plain)
    ws.encode("--name", "packed")
    equal(members(ws, "plain"), {("json", "latent.npy", "txt")}, "members")
    packed = {s.key: s.npy for s in read_dataset(ws.path("out", "packed"))}
    samples = read_dataset(ws.path("out", "plain"))
    equal({s.key: s.npy for s in samples}, packed, "the arrays")
    equal(dataset_json(ws, "plain")["codec"], "none", "codec")
    equal(dataset_json(ws, "packed")["codec"], "zstd", "codec")
    assert '"latent.npy"' in open(ws.path("out", "plain", "README.md"), encoding="utf-8").read()

    folder = ws.path("one")
    ws.latentctl("extract", samples[0].shard, samples[0].key, "--to", folder)
    with open(os.path.join(folder, samples[0].key + ".latent.npy"), "rb") as file:
        equal(file.read(), samples[0].npy, "the extracted array")
    ws.latentctl("inspect", samples[0].shard)
    ws.verify()

    # A picture that changes is rewritten, one that is a copy is copied, a second run does nothing.
    ws.golden("rocket.jpg", paths[0])
    ws.golden("rocket.jpg", "copies/rocket.jpg")
    ws.encode(*plain)
    ws.encode(*plain)
    equal(members(ws, "plain"), {("json", "latent.npy", "txt")}, "members")
    same_members(
        [s.path for s in read_dataset(ws.path("out", "plain"))],
        [*paths, "copies/rocket.jpg"],
        "samples",
    )
    ws.latentctl("compact", "--out", ws.out, "--name", "plain")
    ws.verify()
    before = {f: xxh3_128(open(f, "rb").read()) for f in shard_files(ws.path("out", "plain"))}
    os.remove(ws.path("out", "plain", ".latentd", "dataset.json"))
    ws.latentctl("reindex", "--out", ws.out)
    equal(dataset_json(ws, "plain")["codec"], "none", "codec after reindex")
    ws.encode(*plain)
    equal(
        {f: xxh3_128(open(f, "rb").read()) for f in shard_files(ws.path("out", "plain"))},
        before,
        "shards",
    )


@test
def a_dataset_has_one_codec(ws):
    ws.pictures(3)
    ws.encode("--codec", "none")
    result = ws.encode(code=FAILED)
    assert "has codec none: keep to that, or give another --name" in result.err, result.err
    equal(members(ws, ws.name), {("json", "latent.npy", "txt")}, "members")


@test
def planes_are_the_same_latents_in_less(ws):
    path = os.path.join(ws.src, ws.small_pictures(6)[0])
    os.rename(path, os.path.join(ws.src, "n" * 90 + os.path.splitext(path)[1]))  # of the longest key
    for more in ((), ("--posterior", "moments", "--dtype", "float32")):
        suffix = "moments" if more else "latent"
        names = [word + str(len(more)) for word in ("zstd", "planes")]
        ws.encode("--name", names[0], *more, vae=demo_model())
        result = ws.encode("--name", names[1], "--codec", "planes", *more, vae=demo_model())
        assert "6 images copied" in result.out + result.err, result
        one, other = ({s.key: s for s in read_dataset(ws.path("out", name))} for name in names)
        equal(max(map(len, one)), 80, "the longest key")
        for key, s in one.items():
            equal(other[key].members["json"], s.members["json"], f"KEY.json of {key}")
            equal(other[key].npy, s.npy, f"latent of {key}")
            equal(list(other[key].members), ["json", f"{suffix}.u8.npy.zst", "txt"], "members")
    ws.verify()
    dataset = ws.path("out", "planes0")
    equal(dataset_json(ws, "planes0")["codec"], "planes", "codec")
    with open(os.path.join(dataset, "README.md"), encoding="utf-8") as file:
        assert 'view("<f2")' in file.read()
    before = {s.key: s.members for s in read_dataset(dataset)}
    for words in (("--format", "mds"), ("--format", "wds", "--codec", "none"), ("--codec", "planes")):
        ws.latentctl("repack", "--out", ws.out, "--name", "planes0", *words)
    equal({s.key: s.members for s in read_dataset(dataset)}, before, "members after three repacks")
    result = ws.encode("--format", "mds", "--codec", "planes", "--name", "no", code=FAILED)
    assert "planes is of format wds" in result.err, result.err


@test
def coarser_latents_say_so_and_how_much_it_cost(ws):
    ws.golden("rocket.jpg", "rocket.jpg")
    options = ("--dtype", "float32", "--resolution", "256", "--name")
    ws.encode(*options, "exact", vae=demo_model())
    (exact,) = read_dataset(ws.path("out", "exact"))
    assert "round" not in exact.record["latent"] and "snr_db" not in dataset_json(ws, "exact")["latent"]
    values, found = npy_values(exact.npy), {}
    for kind in ("bf16", "6bit", "step"):
        ws.encode(*options, kind, "--round", kind, vae=demo_model())
        (sample,) = read_dataset(ws.path("out", kind))
        about, rounded = sample.record["latent"], npy_values(sample.npy)
        equal(about["round"], kind, "round")
        n = len(values) // about["shape"][0]
        parts = [values[i : i + n] for i in range(0, len(values), n)]
        signal = sum((v - sum(part) / n) ** 2 for part in parts for v in part)
        noise = sum((a - b) ** 2 for a, b in zip(values, rounded))
        assert abs(10 * math.log10(signal / noise) - about["snr_db"]) < 0.02, about
        snr = {"least": about["snr_db"], "mean": about["snr_db"], "samples": 1}
        latent = dataset_json(ws, kind)["latent"]
        equal((latent["round"], latent["snr_db"]), (kind, snr), "dataset.json")
        found[kind] = about["snr_db"], sum(map(len, sample.members.values()))
    assert found["bf16"][0] > found["6bit"][0] > 40 and found["step"][0] > 45, found
    assert len(exact.members["latent.npy.zst"]) > found["bf16"][1] > found["6bit"][1], found
    ws.latentctl("reindex", "--out", ws.out)
    ws.verify()
    result = ws.encode(*options, "exact", "--round", "bf16", vae=demo_model(), code=FAILED)
    assert "another recipe" in result.err and "round" in result.err, result.err


@test
def the_snr_of_a_dataset_is_that_of_its_samples_however_they_lie_in_shards(ws):
    ws.small_pictures(12)
    ws.encode("--round", "6bit", "--dtype", "float32", "--shard-samples", "4", vae=demo_model())
    found = [sample.record["latent"]["snr_db"] for sample in read_dataset(ws.dataset)]
    wanted = {"samples": 12, "mean": sum(found) / 12, "least": min(found)}
    assert len(set(found)) > 1, found
    for words in (("reindex",), ("repack", "--order", "scan")):
        told = dataset_json(ws, ws.name)["latent"]["snr_db"]
        assert abs(told["mean"] - wanted["mean"]) < 0.006, (told, wanted)
        equal({**told, "mean": wanted["mean"]}, wanted, "SNR")
        ws.latentctl(*words, "--out", ws.out)


@test
def parts_of_one_codec_are_merged(ws):
    ws.pictures(8)
    for i in (1, 2):
        ws.encode("--part", f"{i}/2", "--codec", "none", out=ws.path(f"part{i}"))
    ws.latentctl("merge", ws.path("all"), ws.path("part1"), ws.path("part2"))
    equal(len(read_dataset(ws.path("all", ws.name))), 8, "samples")
    ws.latentctl("verify", "--out", ws.path("all"))
    ws.encode("--codec", "none", out=ws.path("all"))
    ws.encode("--part", "2/2", out=ws.path("packed"))
    result = ws.latentctl(
        "merge", ws.path("both"), ws.path("part1"), ws.path("packed"), code=FAILED
    )
    assert "only parts of one form go together" in result.err, result.err


if __name__ == "__main__":
    run_tests()
