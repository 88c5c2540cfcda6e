#!/usr/bin/env python3
"""Models as people have them: what encode makes of each, and what `latentctl model` says of it."""

import glob
import json
import os
import shutil
import struct

from harness import FAILED, OK, SOURCE_DIR, USAGE, equal, one_line, run_tests, test

GOLDEN = os.path.join(SOURCE_DIR, "tests", "golden")
WEIGHTS = "diffusion_pytorch_model.safetensors"
KL_SD_SHA256 = "ae3f64d93a00fd7b0ed20a760ed6830010a308dd1a0b3d511dea484b80390fb1"


# -- .safetensors


def read_tensors(path):
    """{name: (dtype, shape, bytes)}"""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: (t["dtype"], t["shape"], data[start + t["data_offsets"][0] : start + t["data_offsets"][1]])
        for name, t in header.items()
    }


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)
    return path


def kl_sd():
    return read_tensors(os.path.join(GOLDEN, "kl_sd", WEIGHTS))


def ldm_names():
    """{canonical: CompVis/LDM}, as the reference implementation writes them"""
    with open(os.path.join(GOLDEN, "kl_names.tsv"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return {row[0]: row[1] for row in rows}


def config_of(ws, name, **changes):
    """kl_sd's config.json with changes, as a file NAME in the workspace."""
    with open(os.path.join(GOLDEN, "kl_sd", "config.json"), encoding="utf-8") as file:
        config = {**json.load(file), **changes}
    return ws.write(name, json.dumps(config).encode(), ws.root)


def folder_of(ws, name):
    """A diffusers folder with kl_sd."""
    shutil.copytree(os.path.join(GOLDEN, "kl_sd"), ws.path(name))
    return ws.path(name)


def records(ws, name):
    """The records of a dataset by key, as inspect shows them."""
    found = {}
    for shard in glob.glob(os.path.join(ws.out, name, "train", "*", "*.tar")):
        for record in ws.latentctl("inspect", shard, "--json").json:
            found[record["key"]] = record
    return found


def datasets(ws):
    return sorted(n for n in os.listdir(ws.out) if not n.startswith("."))


# -- encode


def bare_encode(ws, vae, *options, code=OK):
    words = ["encode", ws.src, "--vae", vae, "--out", ws.out, "--max-upscale", "0"]
    return ws.latentctl(*words, *options, code=code)


@test
def every_layout_of_the_weights_is_the_same_dataset(ws):
    ws.small_pictures(3)
    folder = folder_of(ws, "model")
    os.makedirs(ws.path("pipeline"))
    shutil.copytree(folder, ws.path("pipeline", "vae"))
    ws.write("pipeline/model_index.json", b"{}", ws.root)
    names = ldm_names()
    tensors = {f"first_stage_model.{names[n]}": t for n, t in kl_sd().items()}
    tensors["model.diffusion_model.out.2.bias"] = ("F32", [4], bytes(16))
    checkpoint = write_tensors(ws.path("checkpoint.safetensors"), tensors)
    config = config_of(ws, "config.json")
    ws.encode(vae=folder)
    first = records(ws, "set")
    equal(first["0/0000"]["vae_sha256"], KL_SD_SHA256, "hash of the weights")
    equal(len(first), 3, "number of records")
    for vae, *options in ([ws.path("pipeline")], [checkpoint, "--vae-config", config]):
        # the same recipe, so nothing is left to be done
        result = ws.encode(*options, vae=vae)
        equal(records(ws, "set"), first, f"records of {vae}")
        assert "3" in result.out, result
        ws.encode("--name", "again", *options, vae=vae)
        for key, record in records(ws, "again").items():
            equal(record, first[key], "record")
        shutil.rmtree(os.path.join(ws.out, "again"))
        shutil.rmtree(ws.path("state"))


@test
def a_dataset_is_called_after_what_was_asked_for(ws):
    ws.small_pictures(1)
    config = config_of(ws, "c.json")
    path = write_tensors(ws.path("my vae.safetensors"), kl_sd())
    bare_encode(ws, path, "--vae-config", config, "--resolution", "128")
    (name,) = datasets(ws)
    assert name.startswith("my_vae-128-"), name


@test
def a_hub_id_is_found_in_the_cache(ws):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        ws.environment.pop(name, None)
    ws.small_pictures(1)
    repo = ws.path(".cache", "huggingface", "hub", "models--somebody--tiny-vae")
    words = ("somebody/tiny-vae", "--resolution", "128")
    one_line(
        bare_encode(ws, *words, code=FAILED),
        'hf download somebody/tiny-vae --include "vae/*" where',
        "hf download somebody/tiny-vae config.json diffusion_pytorch_model.safetensors where",
        repo[: repo.rindex("/")],
    )
    shutil.copytree(os.path.join(GOLDEN, "kl_sd"), os.path.join(repo, "snapshots", "0123abcd"))
    ws.write("refs/main", b"0123abcd", repo)
    bare_encode(ws, *words)
    (name,) = datasets(ws)
    assert name.startswith("tiny-vae-128-"), name


@test
def a_resolution_that_nothing_says_must_be_given(ws):
    ws.small_pictures(1)
    folder = folder_of(ws, "model")
    for command in (["encode", ws.src, "--out", ws.out], ["plan", ws.src]):
        code = FAILED if command[0] == "encode" else USAGE
        result = ws.latentctl(*command, "--vae", folder, code=code)
        one_line(result, "resolution is missing: nothing says which size model is made for")
    assert not os.path.exists(ws.out)


@test
def what_is_refused_is_refused_before_anything_is_made(ws):
    ws.small_pictures(1)
    pickle = ws.write("v1-5.ckpt", b"PK\x03\x04 and more of it", ws.root)
    one_line(bare_encode(ws, pickle, code=FAILED), pickle, "pickle", ".safetensors", "MODELS.md")
    one_line(bare_encode(ws, ws.path("no"), code=FAILED), ws.path("no"), "no such file or folder")
    bare = write_tensors(ws.path("bare.safetensors"), kl_sd())
    one_line(bare_encode(ws, bare, code=FAILED), bare, "--vae-config")
    one_line(bare_encode(ws, bare, "--model", "sdxl", code=FAILED), bare, "another network")
    one_line(bare_encode(ws, bare, "--model", "sd99", code=USAGE), "sd99", "model list")
    one_line(bare_encode(ws, bare, "--vae-config", "none.json", code=FAILED), "none.json")
    assert not os.path.exists(ws.out)


# -- statistics


@test
def flux2_has_patches_and_statistics_in_every_record(ws):
    ws.small_pictures(2)
    folder = folder_of(ws, "flux2")
    tensors = kl_sd()
    mean, var = [i / 8 for i in range(16)], [i + 1.0 for i in range(16)]
    tensors["bn.running_mean"] = ("F32", [16], struct.pack("<16f", *mean))
    tensors["bn.running_var"] = ("F32", [16], struct.pack("<16f", *var))
    tensors["bn.num_batches_tracked"] = ("I64", [], bytes(8))
    write_tensors(os.path.join(folder, WEIGHTS), tensors)
    config = {"_class_name": "AutoencoderKLFlux2", "patch_size": [2, 2], "batch_norm_eps": 1e-4}
    config_of(ws, "flux2/config.json", **config)
    ws.encode(vae=folder)
    with open(os.path.join(ws.dataset, ".latentd", "dataset.json"), encoding="utf-8") as file:
        dataset = json.load(file)
    found = [dataset["vae"], dataset["recipe"]["vae"]]
    found += [record["latent"] for record in records(ws, "set").values()]
    equal(len(found), 4, "places that have the statistics")
    for place in found:
        equal(place["patch_size"], 2, "patch_size")
        equal(place["latents_mean"], mean, "mean")
        for got, wanted in zip(place["latents_std"], var):
            assert abs(got - (wanted + 1e-4) ** 0.5) < 1e-6, (got, wanted)
        equal((place["scaling_factor"], place["shift_factor"]), (1.0, None), "factors")
    equal(dataset["vae"]["class"], "AutoencoderKLFlux2", "class")
    # what is stored is the mode, before patches and batch norm
    equal(found[-1]["shape"][0], 4, "channels")
    equal(dataset["vae"]["weights_sha256"], KL_SD_SHA256, "hash of the encoder's weights")
    with open(os.path.join(ws.dataset, "README.md"), encoding="utf-8") as file:
        text = file.read()
    assert "patches of 2x2" in text and "latents_std" in text, text
    one_line(ws.encode("--scaled", "--name", "s", vae=folder, code=FAILED), "scaled: flux2")
    # sides must be even in latents
    words = ("--bucketing", "fixed", "--resolution", "136x128", "--name", "odd")
    one_line(ws.encode(*words, vae=folder, code=FAILED), "multiples of 16")


@test
def statistics_of_a_config_make_another_recipe(ws):
    ws.small_pictures(1)
    folder = folder_of(ws, "model")
    ws.encode(vae=folder)
    numbers = {"latents_mean": [1, 2, 3, 4], "latents_std": [1, 2, 3, 4.5]}
    config = config_of(ws, "statistics.json", **numbers)
    one_line(ws.encode("--vae-config", config, vae=folder, code=FAILED), "vae.latents_mean")
    ws.encode("--vae-config", config, "--name", "other", vae=folder)
    (record,) = records(ws, "other").values()
    equal(record["latent"]["latents_std"], [1.0, 2.0, 3.0, 4.5], "std")
    assert "patch_size" not in record["latent"]
    (plain,) = records(ws, "set").values()
    assert "latents_mean" not in plain["latent"]


# -- latentctl model


@test
def info_says_what_a_file_is(ws):
    names = ldm_names()
    tensors = {f"vae.{names[n]}": t for n, t in kl_sd().items()}
    path = write_tensors(ws.path("x.safetensors"), tensors)
    result = ws.latentctl("model", "info", path, "--vae-config", config_of(ws, "c.json"), "--json")
    (info,) = result.json
    wanted = {
        "path": path,
        "layout": "single file",
        "naming": "CompVis/LDM",
        "prefix": "vae.",
        "class": "AutoencoderKL",
        "dtype": "F32",
        "tensors": 106,
        "parameters": sum(len(t[2]) // 4 for t in tensors.values()),
        "weights_sha256": KL_SD_SHA256,
        "latent_channels": 4,
        "downscale": 8,
        "scaling_factor": 0.18215,
        "shift_factor": None,
        "presets": [],
        "resolution": None,
        "multiple": 8,
    }
    sizes = info.pop("sizes")
    equal(info, wanted, "what it says")
    equal([s["width"] for s in sizes], [256, 512, 1024, 2048], "sizes")
    for small, large in zip(sizes, sizes[1:]):
        assert small["memory_bytes"] < large["memory_bytes"] and small["flop"] * 4 < large["flop"]
    text = ws.latentctl("model", "info", path).out
    for words in ("CompVis/LDM, behind vae.", KL_SD_SHA256, "--model", "no known family"):
        assert words in text, f"{words} is not in:\n{text}"


@test
def info_of_what_is_no_model_fails_in_one_line(ws):
    path = write_tensors(ws.path("unet.safetensors"), {"conv_in.weight": ("F32", [1], bytes(4))})
    one_line(ws.latentctl("model", "info", path, code=FAILED), path, "this is no VAE")
    one_line(ws.latentctl("model", "info", ws.path("none"), code=FAILED), "no such file")
    for words in (["info"], [], ["frob"], ["info", "a", "b"], ["list", "more"]):
        equal(len(ws.latentctl("model", *words, code=USAGE).errors), 2, "lines on stderr")


@test
def list_names_every_family(ws):
    rows = ws.latentctl("model", "list", "--json").json
    names = [row["name"] for row in rows]
    for name in ("sd15", "sdxl", "sdxl-fp16-fix", "sd3", "flux1", "flux2", "cogview4"):
        assert name in names, name
    text = ws.latentctl("model", "list").out
    equal(len(text.splitlines()), len(rows) + 1, "lines")
    with open(os.path.join(SOURCE_DIR, "docs", "MODELS.md"), encoding="utf-8") as file:
        documented = file.read()
    for row in rows:
        assert f"| `{row['name']}` |" in documented, f"docs/MODELS.md lacks {row['name']}"


@test
def plan_takes_the_resolution_of_the_model(ws):
    ws.small_pictures(1)
    channels = [128, 256, 512, 512]
    numbers = {"block_out_channels": channels, "norm_num_groups": 32, "scaling_factor": 0.13025}
    config_of(ws, "sdxl/config.json", **numbers)
    tensors = {"encoder.conv_in.weight": ("F16", [128, 3, 3, 3], bytes(128 * 27 * 2))}
    write_tensors(ws.path("sdxl", WEIGHTS), tensors)
    for resolution, *options in ([512], [1024, "--vae", "sdxl"], [256, "--resolution", "256"]):
        (plan,) = ws.latentctl("plan", ws.src, "--json", *options).json
        equal(plan["buckets_by"]["resolution"], resolution, "resolution")


run_tests()
