#!/usr/bin/env python3
"""latentctl export: datasets in the layouts of trainers, read here by the layouts' own rules."""

import base64
import hashlib
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "crash"))

from harness import BUSY, DAMAGED, FAILED, OK, SOURCE_DIR, USAGE, demo_model, equal, one_line, run_tests
from harness import same_members, test
from latent_files import FACTORS, close, files_below, forge, forged, load_npz, values_of, with_values
from power import Disk, read_journal
from reference import npy_values, read_dataset, read_npy, xxh3_128


def export(ws, to, *options, into=None, code=OK, **settings):
    return ws.latentctl("export", ws.out, "--to", to, "--into", into or ws.path("into"), *options, code=code, **settings)


def load_safetensors(path):
    """({name: (dtype, shape, bytes)}, metadata)"""
    with open(path, "rb") as file:
        (n,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(n)), file.read()
    metadata = header.pop("__metadata__", {})
    return {
        name: (t["dtype"], t["shape"], data[t["data_offsets"][0] : t["data_offsets"][1]]) for name, t in header.items()
    }, metadata


def normal(values, model):
    _, factor, shift = FACTORS[model]
    return [(v - (shift or 0)) * factor for v in values]


# -- kohya


@test
def kohya_gets_raw_latents_of_sd_and_normalised_ones_of_flux_with_its_own_names_and_keys(ws):
    for model, raw in (("sd", True), ("sdxl", True), ("sd3", True), ("flux", False)):
        ws.out = ws.path(f"out-{model}")
        samples = forge(ws, [forged("a/b.c.jpg", model, 1), forged("ä \"q\".png", model, 2, size=(3000, 12000))])
        into = ws.path(f"into-{model}")
        export(ws, "kohya", into=into)
        names = [f"a/b.c_0100x0060_{model}.npz", f"ä \"q\"_3000x12000_{model}.npz"]
        same_members(files_below(into), [*names, "latentd.json"], "files")
        for name, (record, values) in zip(names, samples):
            tail = "" if model in ("sd", "sdxl") else "_8x16"
            arrays = load_npz(os.path.join(into, name))
            equal(sorted(arrays), sorted(key + tail for key in ("latents", "original_size", "crop_ltrb")), "keys")
            dtype, shape, got = arrays["latents" + tail]
            equal((dtype, shape), ("<f4", (FACTORS[model][0], 8, 16)), "latents")
            close(got, values if raw else normal(values, model))
            equal(arrays["original_size" + tail], ("<i8", (2,), tuple(record["original_size"])))
            equal(arrays["crop_ltrb" + tail], ("<f8", (4,), (10.5, 0, 117.5, 64)))
        with open(os.path.join(into, "latentd.json"), encoding="utf-8") as file:
            metadata = json.load(file)
        wanted = {r["source"]: {"caption": r["caption"], "image_size": r["original_size"]} for r, _ in samples}
        equal(metadata, wanted, "metadata")


@test
def variants_are_where_each_layout_has_them(ws):
    ws.small_pictures(4)
    model = ws.path("model")
    shutil.copytree(demo_model(), model)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as file:
        json.dump({**config, "scaling_factor": 0.18215}, file)
    ws.encode("--flip", "--crops", "1", vae=model)
    samples = {s.record["key"]: s for s in read_dataset(ws.dataset)}
    plain = {key: s for key, s in samples.items() if s.record["variant"] == 0}
    equal((len(samples), len(plain)), (16, 4), "samples")
    result = export(ws, "kohya", into=ws.path("kohya"))
    assert "left out: 8 variants of images" in result.out, result.out
    for key, sample in plain.items():
        stem, size = os.path.splitext(sample.path)[0], sample.record["original_size"]
        arrays = load_npz(ws.path("kohya", f"{stem}_{size[0]:04d}x{size[1]:04d}_sd.npz"))
        same_members(arrays, ["latents", "latents_flipped", "original_size", "crop_ltrb"], "arrays")
        close(arrays["latents"][2], npy_values(sample.npy))
        close(arrays["latents_flipped"][2], npy_values(samples[key + "-f"].npy))
        equal(arrays["crop_ltrb"][2], tuple(sample.record["kohya_crop_ltrb"]), "crop_ltrb")
    export(ws, "npz", into=ws.path("npz"))
    same_members(files_below(ws.path("npz")), [f"{key}.npz" for key in samples] + ["records.jsonl"], "files")
    result = export(ws, "ai-toolkit", into=ws.path("ai"))
    assert "left out: 12 variants of images" in result.out, result.out
    equal(len(files_below(ws.path("ai"))), 4, "files")


@test
def what_encode_wrote_is_exported_beside_the_images_and_nothing_of_theirs_changes(ws):
    paths = ws.pictures(3)
    shutil.copytree(demo_model(), ws.path("model"))
    with open(ws.path("model", "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(ws.path("model", "config.json"), "w", encoding="utf-8") as file:
        json.dump({**config, "scaling_factor": 0.13025}, file)
    ws.encode(vae=ws.path("model"))
    before = {p: open(os.path.join(ws.src, p), "rb").read() for p in files_below(ws.src)}
    one_line(export(ws, "kohya", into=ws.src, code=FAILED), "--beside")
    export(ws, "kohya", "--beside", into=ws.src)
    for sample in read_dataset(ws.dataset):
        width, height = sample.record["original_size"]
        path = f"{os.path.splitext(sample.path)[0]}_{width:04d}x{height:04d}_sdxl.npz"
        close(load_npz(os.path.join(ws.src, path))["latents"][2], npy_values(sample.npy), 0)
    after = {p: open(os.path.join(ws.src, p), "rb").read() for p in before}
    equal(after, before, "what was there")
    equal(len(files_below(ws.src)), len(before) + len(paths) + 1, "number of files")


@test
def moments_and_scaled_latents_become_what_the_trainer_keeps(ws):
    samples = forge(ws, [forged("a.jpg", "sd", 3, posterior="moments")])
    result = export(ws, "kohya")
    assert "the mean" in result.out, result.out
    close(load_npz(ws.path("into", "a_0100x0060_sd.npz"))["latents"][2], samples[0][1][: 4 * 8 * 16], 0)
    ws.out = ws.path("scaled")
    samples = forge(ws, [forged("a.jpg", "flux", 3, scaled=True)])
    export(ws, "kohya", into=ws.path("into-scaled"))
    close(load_npz(ws.path("into-scaled", "a_0100x0060_flux.npz"))["latents_8x16"][2], samples[0][1], 0)
    ws.out = ws.path("scaled-sd3")
    samples = forge(ws, [forged("a.jpg", "sd3", 3, scaled=True)])
    assert "scaled back" in export(ws, "kohya", into=ws.path("into-sd3")).out
    got = load_npz(ws.path("into-sd3", "a_0100x0060_sd3.npz"))["latents_8x16"][2]
    close(got, [v / 1.5305 + 0.0609 for v in samples[0][1]])


@test
def what_cannot_be_carried_is_said_before_anything_is_written(ws):
    forge(ws, [
        forged("a.jpg", seed=1), forged("a.png", seed=2), forged("b.jpg", seed=3, orientation=6),
    ])
    result = export(ws, "kohya", "--dry-run")
    assert not os.path.exists(ws.path("into"))
    for words in ("2 samples", "not carried", "left out: 1 sample", "1 image is turned by EXIF"):
        assert words in result.out, result.out
    export(ws, "kohya")
    same_members(files_below(ws.path("into")), ["a_0100x0060_sd.npz", "b_0100x0060_sd.npz", "latentd.json"], "files")
    with open(ws.path("into", "latentd.json"), encoding="utf-8") as file:
        same_members(json.load(file), ["a.jpg", "b.jpg"], "metadata")
    close(load_npz(ws.path("into", "a_0100x0060_sd.npz"))["latents"][2], values_of(4 * 8 * 16, 1), 0)


@test
def captions_and_removals_that_are_newer_than_the_shards_count(ws):
    forge(ws, [forged("a.jpg", seed=1), forged("b.jpg", seed=2), forged("c.jpg", seed=3)])
    ws.write("captions.jsonl", b'{"key":"a-1","caption":"new"}\n{"key":"c-3","caption":null}\n', os.path.join(ws.dataset, ".latentd"))
    ws.write("removed.txt", b"train/128x64/000000.tar\tb-2\n", os.path.join(ws.dataset, ".latentd"))
    export(ws, "kohya")
    with open(ws.path("into", "latentd.json"), encoding="utf-8") as file:
        captions = {path: entry["caption"] for path, entry in json.load(file).items()}
    equal(captions, {"a.jpg": "new", "c.jpg": ""})
    assert not [name for name in files_below(ws.path("into")) if name.startswith("b")]


# -- the other layouts


@test
def npz_and_safetensors_lose_nothing(ws):
    samples = forge(ws, [forged("x/a.jpg", "flux", 1, posterior="moments"), forged("x/b.jpg", "flux", 2, posterior="moments")])
    export(ws, "npz", into=ws.path("npz"))
    export(ws, "safetensors", into=ws.path("st"))
    for record, values in samples:
        key = record["key"]
        arrays = load_npz(ws.path("npz", f"{key}.npz"))
        equal(arrays["moments"][1], (32, 8, 16), "shape")
        close(arrays["moments"][2], values, 0)
        equal(arrays["crop_top_left"][2], (6, 0))
        tensors, metadata = load_safetensors(ws.path("st", f"{key}.safetensors"))
        dtype, shape, data = tensors["moments"]
        equal((dtype, shape), ("F32", [32, 8, 16]))
        close(struct.unpack(f"<{len(values)}f", data), values, 0)
        equal(json.loads(metadata["record"]), record, "record")
    for folder in ("npz", "st"):
        with open(ws.path(folder, "records.jsonl"), encoding="utf-8") as file:
            equal([json.loads(line) for line in file], [record for record, _ in samples], "records")


def read_tar(path):
    """{key: {suffix: bytes}}, in order."""
    samples = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, suffix = member.name.split(".", 1)
            samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return samples


@test
def wds_has_plain_arrays_and_the_members_that_are_asked_for(ws):
    samples = forge(ws, [forged("x/a.jpg", "flux", 1), forged("b.jpg", "flux", 2), forged("c.jpg", "flux", 3)])
    export(ws, "wds")
    same_members(files_below(ws.path("into")), ["128x64/000000.tar"], "files")
    found = read_tar(ws.path("into", "128x64", "000000.tar"))
    equal(list(found), [record["key"] for record, _ in samples])
    for record, values in samples:
        members = found[record["key"]]
        equal(list(members), ["json", "latent.npy", "txt"])
        equal(json.loads(members["json"]), record, "record")
        equal(members["txt"].decode(), record["caption"])
        dtype, shape, data = read_npy(members["latent.npy"])
        equal((dtype, shape), ("<f4", (16, 8, 16)))
        close(struct.unpack("<2048f", data), values, 0)
    assert "0 files written, 1 there already" in export(ws, "wds").out
    result = export(ws, "wds", "--columns", "latent,txt", into=ws.path("some"))
    assert "not carried: records" in result.out, result.out
    for members in read_tar(ws.path("some", "128x64", "000000.tar")).values():
        equal(list(members), ["latent.npy", "txt"])
    one_line(export(ws, "wds", "--columns", "latent", into=ws.path("some"), code=FAILED), "other options")
    one_line(export(ws, "wds", "--columns", "latent,image", into=ws.path("no"), code=FAILED), "json,latent,txt")
    one_line(export(ws, "npz", "--columns", "latent", into=ws.path("no"), code=FAILED), "--columns")
    assert not os.path.exists(ws.path("no"))


@test
def a_tar_has_a_thousand_samples_and_what_is_whole_is_kept_after_a_kill(ws):
    forge(ws, [forged(f"{i:04d}.jpg", seed=i) for i in range(1001)])
    words = ("export", ws.out, "--to", "wds", "--columns", "latent", "--into", ws.path("into"))
    process = ws.start_and_stop("rename:3", ws.path("into"), *words)  # of the mark, of one tar, of the other
    process.kill()
    ws.finish(process)
    same_members(files_below(ws.path("into")), ["128x64/000000.tar"], "files")
    assert "1 file written, 1 there already" in ws.latentctl(*words).out
    equal([len(read_tar(ws.path("into", "128x64", f"00000{i}.tar"))) for i in range(2)], [1000, 1])


@test
def normalised_arrays_are_what_the_model_is_trained_on_and_their_records_say_so(ws):
    samples = forge(ws, [forged("a.jpg", "flux", 1, posterior="moments")])
    record, values = samples[0]
    wanted = normal(values[: 16 * 8 * 16], "flux")
    export(ws, "wds", "--normalised", into=ws.path("wds"))
    (members,) = read_tar(ws.path("wds", "128x64", "000000.tar")).values()
    data = read_npy(members["latent.npy"])[2]
    close(struct.unpack("<2048f", data), wanted)
    about = json.loads(members["json"])["latent"]
    told = {"shape": [16, 8, 16], "scaled": True, "posterior": "mean", "xxh3_128": xxh3_128(data)}
    equal(about, {**record["latent"], **told}, "what the record says")
    export(ws, "npz", "--normalised", "--dtype", "float16", into=ws.path("npz"))
    dtype, shape, got = load_npz(ws.path("npz", "a-1.npz"))["latent"]
    equal((dtype, shape), ("<f2", (16, 8, 16)))
    close(got, wanted, 1e-3)
    with open(ws.path("npz", "records.jsonl"), encoding="utf-8") as file:
        equal(json.load(file)["latent"]["dtype"], "float16")
    one_line(export(ws, "kohya", "--normalised", into=ws.path("no"), code=FAILED), "--normalised")


@test
def another_dtype_is_rounded_to_nearest(ws):
    samples = forge(ws, [forged("a.jpg", "sd", 1)])
    for name, code, dtype in (("float16", "e", "F16"), ("bfloat16", None, "BF16")):
        into = ws.path(name)
        export(ws, "safetensors", "--dtype", name, into=into)
        tensors, _ = load_safetensors(os.path.join(into, "a-1.safetensors"))
        got_dtype, _, data = tensors["latent"]
        equal(got_dtype, dtype)
        if code:
            got = struct.unpack(f"<{len(data) // 2}{code}", data)
        else:
            got = [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data), 2)]
        close(got, samples[0][1], 0)
    result = export(ws, "npz", "--dtype", "bfloat16", into=ws.path("no"), code=FAILED)
    one_line(result, "bfloat16", "float32")
    assert not os.path.exists(ws.path("no"))


@test
def ai_toolkit_finds_each_latent_under_the_name_that_it_computes(ws):
    names = ["p/ä b.jpg", "p/\U0001f600.png", "c\x7f'\".webp"]
    samples = forge(ws, [forged(name, "flux", i + 1) for i, name in enumerate(names)])
    export(ws, "ai-toolkit")
    wanted = {}
    for record, values in samples:
        folder, name = os.path.split(record["source"])
        info = {
            "filename": name, "scale_to_width": 128, "scale_to_height": 77, "crop_x": 0, "crop_y": 6,
            "crop_width": 128, "crop_height": 64, "latent_space_version": "flux1", "latent_version": 1,
        }
        digest = hashlib.md5(json.dumps(info, sort_keys=True).encode("utf-8")).digest()
        tail = base64.urlsafe_b64encode(digest).decode("ascii").replace("=", "")
        wanted[os.path.join(folder, "_latent_cache", f"{os.path.splitext(name)[0]}_{tail}.safetensors")] = values, info
    same_members(files_below(ws.path("into")), wanted, "files")
    for path, (values, info) in wanted.items():
        tensors, metadata = load_safetensors(ws.path("into", path))
        equal(list(tensors), ["latent"])
        close(struct.unpack(f"<{len(values)}f", tensors["latent"][2]), normal(values, "flux"))
        for name, value in info.items():
            equal(metadata[name], str(value), name)


@test
def musubi_gets_patches_of_flux2_and_raw_latents_of_z_image(ws):
    mean, std = [i / 64 for i in range(128)], [1 + i / 128 for i in range(128)]
    about = {"patch_size": 2, "latents_mean": mean, "latents_std": std}
    samples = forge(ws, [forged("deep/a_b.jpg", "flux2", 1, **about)])
    one_line(export(ws, "musubi", code=FAILED), "--arch", "f2d, f2k4b, f2k9b")
    export(ws, "musubi", "--arch", "f2d", "--dtype", "float32")
    same_members(files_below(ws.path("into")), ["a_b_0100x0060_f2d.safetensors", "latentd.jsonl"], "files")
    tensors, metadata = load_safetensors(ws.path("into", "a_b_0100x0060_f2d.safetensors"))
    dtype, shape, data = tensors["latents_4x8_float32"]
    equal(shape, [128, 4, 8])
    equal(metadata, {"architecture": "flux_2_dev", "width": "100", "height": "60", "format_version": "1.0.1"})
    z, wanted = samples[0][1], []
    for k in range(128):
        c, dy, dx = k // 4, k // 2 % 2, k % 2
        wanted += [(z[(c * 8 + 2 * y + dy) * 16 + 2 * x + dx] - mean[k]) / std[k] for y in range(4) for x in range(8)]
    close(struct.unpack(f"<{len(wanted)}f", data), wanted)
    ws.out = ws.path("zi")
    samples = forge(ws, [forged("a.jpg", "flux", 1)])
    export(ws, "musubi", into=ws.path("into-zi"))
    tensors, _ = load_safetensors(ws.path("into-zi", "a_0100x0060_zi.safetensors"))
    close(struct.unpack("<2048f", tensors["latents_1x8x16_float32"][2]), samples[0][1], 0)
    with open(ws.path("into-zi", "latentd.jsonl"), encoding="utf-8") as file:
        equal([json.loads(line) for line in file], [{"image_path": "a.jpg", "caption": samples[0][0]["caption"]}])


# -- bad input, and stops


@test
def a_dataset_of_another_model_is_refused_in_one_line(ws):
    forge(ws, [forged("a.jpg", "sd3", 1)])
    one_line(export(ws, "kohya", "--arch", "sdxl", code=FAILED), "16 channels", "sdxl")
    one_line(export(ws, "musubi", code=FAILED), "zi")
    one_line(export(ws, "kohya", "--arch", "nonsense", code=FAILED), "--arch", "sd3")
    one_line(export(ws, "npz", "--arch", "sd3", code=FAILED), "--arch")
    one_line(ws.latentctl("export", ws.out, "--to", "kohya", code=USAGE), "--into")
    one_line(ws.latentctl("export", ws.path("nowhere"), "--to", "kohya", "--into", "x", code=FAILED), "nowhere")
    assert not os.path.exists(ws.path("into"))


@test
def samples_of_two_recipes_are_refused(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    record, values = forged("b.jpg", seed=2, scaled=True)
    record["recipe_id"] = "cd" * 16
    forge(ws, [(record, values)], "000001")
    one_line(export(ws, "kohya", code=FAILED), "b-2", "one latent space")
    assert not os.path.exists(ws.path("into"))


@test
def a_record_that_names_a_file_elsewhere_is_damage(ws):
    for path in ("../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "a//b.jpg"):
        record, values = forged("a.jpg", seed=1)
        record["source"] = path
        forge(ws, [(record, values)])
        result = export(ws, "kohya", code=DAMAGED)
        assert "000000.tar" in result.out and not os.path.exists(ws.path("into")), result


@test
def a_damaged_shard_is_named_and_nothing_is_written(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    samples = forge(ws, [forged("b.jpg", seed=2)], "000001")
    path = os.path.join(ws.dataset, "train", "128x64", "000001.tar")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[data.index(struct.pack("<4f", *samples[0][1][:4]))] ^= 1
    with open(path, "wb") as file:
        file.write(data)
    result = export(ws, "kohya", code=DAMAGED)
    assert "000001.tar" in result.out, result
    assert not os.path.exists(ws.path("into"))


@test
def a_folder_with_foreign_files_or_another_export_is_refused(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    ws.write("notes.txt", b"mine", ws.path("into"))
    one_line(export(ws, "kohya", code=FAILED), "notes.txt", "--beside")
    equal(files_below(ws.path("into")), ["notes.txt"])
    export(ws, "safetensors", into=ws.path("st"))
    one_line(export(ws, "safetensors", "--dtype", "float16", into=ws.path("st"), code=FAILED), "other options")
    one_line(export(ws, "npz", into=ws.path("st"), code=FAILED), "not empty")
    forge(ws, [forged("b.jpg", seed=2)], name="other")  # of the same recipe
    one_line(export(ws, "safetensors", "--name", "other", into=ws.path("st"), code=FAILED), "another dataset")
    shutil.rmtree(os.path.join(ws.out, "other"))
    ws.write("a_0100x0060_sd.npz", b"somebody's", ws.path("beside"))
    result = export(ws, "kohya", "--beside", into=ws.path("beside"), code=FAILED)
    one_line(result, "a_0100x0060_sd.npz", "nothing is overwritten")
    with open(ws.path("beside", "a_0100x0060_sd.npz"), "rb") as file:
        equal(file.read(), b"somebody's")
    ws.write("records.jsonl", b"somebody's", ws.path("list"))
    one_line(export(ws, "npz", "--beside", into=ws.path("list"), code=FAILED), "records.jsonl")
    with open(ws.path("list", "records.jsonl"), "rb") as file:
        equal(file.read(), b"somebody's", "the list of somebody else")


@test
def the_same_command_goes_on_where_a_killed_one_stopped(ws):
    forge(ws, [forged(f"{i:03d}.jpg", seed=i) for i in range(200)])
    export(ws, "kohya", into=ws.path("whole"))
    # A limit on the size of a file kills it at a known place: the list is larger than any sample.
    limit = os.path.getsize(ws.path("whole", "latentd.json")) - 1

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    result = export(ws, "kohya", code=FAILED, preexec_fn=limited)
    one_line(result, "File too large")
    left = files_below(ws.path("into"))
    assert 0 < len(left) < 201 and "latentd.json" not in left, len(left)
    same_members(os.listdir(ws.path("into", ".latentd-export")), ["kohya.json", "lock"], "what a failure leaves")
    result = export(ws, "kohya")
    assert f"{200 - len(left)} files written, {len(left)} there already" in result.out, result.out
    same_members(files_below(ws.path("into")), files_below(ws.path("whole")), "files")
    for name in files_below(ws.path("whole")):
        with open(ws.path("whole", name), "rb") as one, open(ws.path("into", name), "rb") as other:
            assert one.read() == other.read(), name


@test
def two_exports_into_one_folder_do_not_meet(ws):
    forge(ws, [forged(f"{i}.jpg", seed=i) for i in range(3)])
    words = ("export", ws.out, "--to", "kohya", "--into", ws.path("into"))
    first = ws.start_and_stop("rename:2", ws.path("into"), *words)  # the first is that of its mark
    hidden = ws.path("into", ".latentd-export")
    before = sorted(os.listdir(hidden))
    assert any(name.endswith(".tmp") for name in before), before
    one_line(export(ws, "kohya", code=BUSY), "another process", ws.path("into"))
    one_line(export(ws, "npz", "--beside", code=BUSY), "another process")
    equal(sorted(os.listdir(hidden)), before, "what the first one is writing")
    first.send_signal(signal.SIGCONT)
    equal(ws.finish(first).code, OK)
    assert "0 files written, 3 there already" in export(ws, "kohya").out


@test
def what_a_killed_export_left_in_its_folders_is_durable_after_the_next_one(ws):
    forge(ws, [forged(f"{i % 2}/{i}.jpg", seed=i) for i in range(4)])
    os.mkdir(ws.path("disk"))
    disk, into = Disk(ws.path("disk")), ws.path("disk", "into")
    for i, fault in enumerate(("rename:4:die-after", None)):  # files are there, their folder is not synced
        journal = ws.path(f"journal{i}")
        environment = {**ws.environment, **ws.stops_at("rename:1", ws.path("disk")), "SHIM_JOURNAL": journal}
        del environment["SHIM_FAULT"]
        environment.update({"SHIM_FAULT": fault} if fault else {})
        export(ws, "npz", into=into, code=None if fault else OK, env=environment)
        for entry in read_journal(journal, {ws.path("disk"): ws.path("disk")}):
            disk.play(entry)
    left = [path for path in disk.contents("lost") if ".latentd-export" not in path]
    same_members(left, ["into", "into/0", "into/1", "into/records.jsonl", *(f"into/{p}" for p in files_below(into) if p.endswith(".npz"))], "what is durable")


@test
def a_name_that_no_file_system_has_and_a_value_that_no_float16_has_leave_out_their_sample_alone(ws):
    long, values = forged(f"d/{'n' * 240}.jpg", seed=2)  # and _0100x0060_sd.npz are more than 255 bytes
    forge(ws, [forged("a.jpg", seed=1), ({**long, "key": "long"}, values)])
    result = export(ws, "kohya")
    assert 'left out: 1 sample whose file would have too long a name: "d/nnn' in result.out, result.out
    same_members(files_below(ws.path("into")), ["a_0100x0060_sd.npz", "latentd.json"], "files")
    with open(ws.path("into", "latentd.json"), encoding="utf-8") as file:
        equal(list(json.load(file)), ["a.jpg"])
    ws.out = ws.path("large")
    record, values = forged("b.jpg", seed=2)
    forge(ws, [forged("a.jpg", seed=1), with_values(record, [70000.0, *values[1:]])])
    result = export(ws, "npz", "--dtype", "float16", "--dry-run", into=ws.path("half"))
    assert "1 sample to npz" in result.out and "left out: 1 sample: b-2: 1 value is too large" in result.out, result.out
    export(ws, "npz", "--dtype", "float16", into=ws.path("half"))
    same_members(files_below(ws.path("half")), ["a-1.npz", "records.jsonl"], "files")
    export(ws, "npz", into=ws.path("whole"))
    same_members(files_below(ws.path("whole")), ["a-1.npz", "b-2.npz", "records.jsonl"], "files")
    ws.out = ws.path("none")
    forge(ws, [with_values(record, [70000.0, *values[1:]])])
    one_line(export(ws, "npz", "--dtype", "float16", into=ws.path("no"), code=FAILED), "no sample", "too large")


@test
def a_shard_that_is_not_there_is_not_called_damaged(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    forge(ws, [forged("b.jpg", seed=2)], "000001")
    words = ("export", ws.out, "--to", "kohya", "--into", ws.path("into"))
    process = ws.start_and_stop("mkdir:1", ws.path("into"), *words)  # all was read once
    os.unlink(os.path.join(ws.dataset, "train", "128x64", "000001.tar"))
    process.send_signal(signal.SIGCONT)
    result = ws.finish(process)
    equal(result.code, FAILED)
    one_line(result, "000001.tar", "not there")
    assert "damaged" not in result.out, result


@test
def statistics_that_nothing_can_be_divided_by_are_damage(ws):
    for std in ([1.0] * 127 + [0.0], [1.0] * 127 + [-1.0], [1.0] * 127 + [1e-60], [1.0] * 127 + [1e300]):
        forge(ws, [forged("a.jpg", "flux2", 1, patch_size=2, latents_mean=[0.0] * 128, latents_std=std)])
        result = export(ws, "musubi", "--arch", "f2d", code=DAMAGED)
        assert "000000.tar" in result.out and not os.path.exists(ws.path("into")), result


# -- exports that Python writes: what it makes is read in tests/interop/


def python_that_tells(ws, code=OK):
    """An environment where python3 prints its words, one a line, and ends with @code."""
    script = ws.write("python3", b'#!/bin/sh\nprintf "%s\\n" "$@"\nexit ' + b"%d\n" % code, ws.path("bin"))
    os.chmod(script, 0o755)
    return {**ws.environment, "PATH": ws.path("bin") + ":/usr/bin:/bin"}


@test
def what_python_writes_is_one_command_too(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    tells = python_that_tells(ws, 3)
    words = ("--dtype", "float16", "--split", "val", "--images", "i", "--id", "-x", "--dry-run")
    result = export(ws, "simpletuner", *words, into="in to", code=3, env=tells)
    no_bytecode, script, *told = result.out.splitlines()
    equal(no_bytecode, "-B")
    with open(script, "rb") as one, open(os.path.join(SOURCE_DIR, "contrib", "latentd_export.py"), "rb") as other:
        equal(one.read(), other.read(), "the script")
    wanted = ["--to=simpletuner", "--into=in to", "--dtype=float16", "--split=val", "--images=i", "--id=-x", "--dry-run"]
    equal(told, [*wanted, "--", ws.dataset])
    for name in ("onetrainer", "diffusers-sdxl", "mds"):
        more = ("--raw",) if name == "mds" else ()
        told = export(ws, name, *more, code=3, env=tells).out.splitlines()[2:]
        wanted = [f"--to={name}", f"--into={ws.path('into')}", *more, "--", ws.dataset]
        equal(told, wanted)


@test
def an_export_that_python_writes_is_not_begun_where_that_cannot_end_well(ws):
    forge(ws, [forged("a.jpg", seed=1)])
    tells = python_that_tells(ws)
    none = {**ws.environment, "PATH": ws.path("nowhere")}
    one_line(export(ws, "onetrainer", code=FAILED, env=none), "written by Python", "python3", "No such file")
    one_line(export(ws, "simpletuner", "--id", "a", code=USAGE, env=tells), "--images and --id")
    one_line(export(ws, "mds", "--beside", code=USAGE, env=tells), "mds has no --beside")
    one_line(export(ws, "onetrainer", "--raw", code=USAGE, env=tells), "onetrainer has no --raw")
    one_line(export(ws, "kohya", "--split", "val", code=USAGE, env=tells), "kohya has no --split")
    path = os.path.join(ws.dataset, "train", "128x64", "000000.tar")
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 1024)
    result = export(ws, "mds", code=DAMAGED, env=tells)
    assert "000000.tar" in result.out and "--to" not in result.out, result


run_tests()
