#!/usr/bin/env python3
"""latentctl import: what sd-scripts cached becomes a dataset."""

import json
import os
import signal
import struct
import zipfile

from harness import FAILED, OK, QUARANTINED, USAGE, equal, one_line, run_tests, same_members, test, wait_until
from latent_files import FACTORS, close, files_below, forge, forged, load_npz, npy, values_of
from reference import npy_values, read_dataset, shard_files, xxh3_128

DIED = 77  # as tests/crash/shim.h ends a program


def write_npz(ws, path, arrays, compression=zipfile.ZIP_STORED):
    full = ws.path("cache", path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with zipfile.ZipFile(full, "w", compression) as file:
        for name, data in arrays.items():
            file.writestr(f"{name}.npy", data)
    return full


def cached(model="sdxl", seed=1, size=(100, 60), tail="", channels=None, **more):
    """Arrays as numpy.savez writes them for sd-scripts; latents of 8 x 16."""
    channels = channels or FACTORS[model][0]
    return {
        f"latents{tail}": npy(values_of(channels * 128, seed), (channels, 8, 16)),
        f"original_size{tail}": npy(list(size), (2,), "q").replace(b"<q8", b"<i8"),
        f"crop_ltrb{tail}": npy([10.5, 0.0, 117.5, 64.0], (4,), "d").replace(b"<d8", b"<f8"),
        **more,
    }


def import_(ws, *options, code=OK, name=None, **settings):
    words = ["import", ws.path("cache"), "--from", "kohya", "--out", ws.out, "--name", name or ws.name]
    return ws.latentctl(*words, *options, code=code, **settings)


def by_source(ws):
    return {sample.path: sample for sample in read_dataset(ws.dataset)}


@test
def cached_latents_become_a_dataset_with_their_conditioning(ws):
    write_npz(ws, "a/b.c_0100x0060_sdxl.npz", cached(seed=1))
    write_npz(ws, "d_0100x0060_sdxl.npz", cached(seed=2), zipfile.ZIP_DEFLATED)
    ws.write("a/b.c.png", b"pixels", ws.path("cache"))
    ws.write("a/b.c.txt", "ä caption\n".encode(), ws.path("cache"))
    ws.write("notes.npz", b"other", ws.path("cache"))
    result = import_(ws)
    assert "1 other .npz file" in result.out, result.out
    found = by_source(ws)
    same_members(found, ["a/b.c.png", "d.npz"], "sources")
    for path, seed, file in (("a/b.c.png", 1, "a/b.c_0100x0060_sdxl.npz"), ("d.npz", 2, "d_0100x0060_sdxl.npz")):
        record = found[path].record
        close(npy_values(found[path].npy), values_of(512, seed), 0)
        equal(record["original_size"], [100, 60])
        equal(record["target_size"], [128, 64])
        equal(record["resized_size"], [128, 77])
        equal(record["crop_top_left"], [6, 0])
        equal(record["time_ids"], [60, 100, 6, 0, 64, 128])
        equal(record["kohya_crop_ltrb"], [10.5, 0, 117.5, 64])
        equal((record["engine"], record["vae_sha256"]), ("import/kohya", None))
        about = record["latent"]
        equal([about[k] for k in ("posterior", "seed", "precision", "scaled", "scaling_factor", "shift_factor", "dtype")],
              ["draw", None, "unknown", False, 0.13025, None, "float16"])
        with open(ws.path("cache", file), "rb") as npz:
            equal(record["content_xxh3_128"], xxh3_128(npz.read()))
    equal(found["a/b.c.png"].record["caption"], "ä caption")
    equal(found["d.npz"].record["caption"], None)
    ws.verify()
    with open(os.path.join(ws.dataset, ".latentd", "dataset.json"), encoding="utf-8") as file:
        recipe = json.load(file)["recipe"]
    equal((recipe["imported"], "pixels" in recipe, "buckets" in recipe), ("kohya", False, False))


@test
def what_was_exported_for_kohya_comes_back_bit_for_bit(ws):
    for model in ("sd", "sdxl", "sd3"):
        ws.name, ws.out = "set", ws.path(f"out-{model}")
        samples = forge(ws, [forged("a/b.jpg", model, 1), forged("c d.png", model, 2)])
        words = ["export", ws.out, "--to", "kohya", "--name", "set", "--into"]
        ws.latentctl(*words, ws.path("cache"))
        ws.out = ws.path(f"back-{model}")
        import_(ws, "--dtype", "float32", "--metadata", ws.path("cache", "latentd.json"))
        found = by_source(ws)
        for record, values in samples:
            close(npy_values(found[record["source"]].npy), values, 0)
            equal(found[record["source"]].record["caption"], record["caption"])
        words[1] = ws.out
        ws.latentctl(*words, ws.path("again"))
        same_members(files_below(ws.path("again")), files_below(ws.path("cache")), "files")
        for path in files_below(ws.path("cache")):
            with open(ws.path("cache", path), "rb") as one, open(ws.path("again", path), "rb") as other:
                if path.endswith(".npz"):
                    assert one.read() == other.read(), path
                else:
                    equal(json.load(other), json.load(one))
        os.rename(ws.path("cache"), ws.path(f"cache-{model}"))
        os.rename(ws.path("again"), ws.path(f"again-{model}"))


@test
def normalised_latents_of_flux_become_raw_ones(ws):
    write_npz(ws, "a_0100x0060_flux.npz", cached("flux", 3, tail="_8x16", latents_flipped_8x16=npy([0.0], (1,))))
    result = import_(ws)
    assert "1 flipped latent" in result.out, result.out
    (sample,) = read_dataset(ws.dataset)
    close(npy_values(sample.npy), [v / 0.3611 + 0.1159 for v in values_of(2048, 3)], 1e-3)
    ws.latentctl("export", ws.out, "--to", "kohya", "--into", ws.path("again"))
    close(load_npz(ws.path("again", "a_0100x0060_flux.npz"))["latents_8x16"][2], values_of(2048, 3), 1e-3)


@test
def a_file_that_is_wrong_is_named_in_one_line_and_the_others_come_in(ws):
    nan = npy([float("nan")] * 512, (4, 8, 16))
    without = cached()
    del without["crop_ltrb"]
    wrong = {
        "arrays_0100x0060_sdxl.npz": ({"x": npy([0.0], (1,))}, "no array latents"),
        "channels_0100x0060_sdxl.npz": (cached(channels=16), "4 channels"),
        "crop_0100x0060_sdxl.npz": (without, "crop_ltrb"),
        "nan_0100x0060_sdxl.npz": ({**cached(), "latents": nan}, "not finite"),
        "size_0101x0060_sdxl.npz": (cached(), "another size"),
        "tail_0100x0060_sdxl.npz": (cached(tail="_16x8"), "another size"),
    }
    for name, (arrays, _) in wrong.items():
        write_npz(ws, name, arrays)
    with open(write_npz(ws, "cut_0100x0060_sdxl.npz", cached()), "r+b") as file:
        file.truncate(700)
    write_npz(ws, "right_0100x0060_sdxl.npz", cached())
    result = import_(ws, code=QUARANTINED)
    equal(len(result.errors), len(wrong) + 1, "lines")
    for name, (_, words) in {**wrong, "cut_0100x0060_sdxl.npz": (None, "ZIP")}.items():
        (line,) = [line for line in result.errors if name in line]
        assert words in line, line
    equal(list(by_source(ws)), ["right.npz"])


@test
def what_a_shard_cannot_take_or_nobody_can_read_is_left_out_alone(ws):
    write_npz(ws, "right_0100x0060_sdxl.npz", cached())
    large = npy([70000.0, *values_of(511, 1)], (4, 8, 16))
    write_npz(ws, "large_0100x0060_sdxl.npz", {**cached(), "latents": large})
    for name in ("fifo", "folder", "endless"):
        write_npz(ws, f"{name}_0100x0060_sdxl.npz", cached())
    os.mkfifo(ws.path("cache", "fifo.txt"))
    os.mkdir(ws.path("cache", "folder.caption"))
    ws.write("endless.txt", b"x" * (2 << 20), ws.path("cache"))
    at = os.open(ws.path("cache"), os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(20):  # deeper than any path reaches
        os.mkdir("d" * 250, dir_fd=at)
        inner = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    for option in ("--dry-run", None):
        result = import_(ws, *([option] if option else []), code=QUARANTINED)
        lines = {"large": "too large", "fifo": "not a regular file", "folder": "not a regular file", "endless": "limit", "ddd": "File name too long"}
        equal(len(result.errors), len(lines), "lines")
        for name, words in lines.items():
            (line,) = [line for line in result.errors if f'left out: "{name}' in line]
            assert words in line, line
    equal(list(by_source(ws)), ["right.npz"])
    import_(ws, "--dtype", "float32", code=QUARANTINED, name="wide")
    ws.name = "wide"
    same_members(by_source(ws), ["large.npz", "right.npz"], "sources")


@test
def a_file_that_changes_while_it_is_imported_is_left_out_alone(ws):
    for i in range(3):
        path = write_npz(ws, f"{i}_0100x0060_sdxl.npz", cached(seed=i))
    words = ["import", ws.path("cache"), "--from", "kohya", "--out", ws.out, "--name", ws.name]
    process = ws.start_and_stop("mkdir:1", ws.out, *words)  # all files were read, none is in a shard
    with open(path, "r+b") as file:
        file.truncate(700)
    os.unlink(ws.path("cache", "0_0100x0060_sdxl.npz"))
    process.send_signal(signal.SIGCONT)
    result = ws.finish(process)
    equal(result.code, QUARANTINED)
    same_members([name for line in result.errors for name in ("0_", "2_") if f"left out: {name}" in line], ["0_", "2_"], "files")
    equal(list(by_source(ws)), ["1.npz"])
    ws.verify()


@test
def what_cannot_be_imported_as_asked_is_one_line_and_makes_nothing(ws):
    write_npz(ws, "a_0100x0060_sdxl.npz", cached())
    write_npz(ws, "b_0100x0060_sd3.npz", cached("sd3", tail="_8x16"))
    one_line(import_(ws, code=FAILED), "--arch")
    one_line(import_(ws, "--arch", "nonsense", code=FAILED), "nonsense")
    one_line(import_(ws, "--arch", "flux", code=FAILED), "no STEM_WxH_ARCH.npz")
    one_line(import_(ws, "--arch", "sd3", "--metadata", ws.path("cache", "a_0100x0060_sdxl.npz"), code=FAILED), "metadata")
    one_line(ws.latentctl("import", ws.path("cache"), "--from", "kohya", code=USAGE), "--out")
    import_(ws, "--arch", "sd3", "--dry-run")
    assert not os.path.exists(ws.out)
    import_(ws, "--arch", "sd3")
    one_line(import_(ws, "--arch", "sdxl", code=FAILED), "recipe")
    equal(list(by_source(ws)), ["b.npz"])


@test
def an_image_has_one_sample_however_many_files_there_are(ws):
    write_npz(ws, "a_0100x0060_sdxl.npz", cached(seed=1))
    write_npz(ws, "a_0050x0030_sdxl.npz", cached(seed=2, size=(50, 30)))
    for _ in range(2):
        one_line(import_(ws, code=QUARANTINED), "a_0100x0060_sdxl.npz", "another file")
        equal([s.record["original_size"] for s in read_dataset(ws.dataset)], [[50, 30]])


@test
def a_later_import_takes_what_is_new_and_a_killed_one_goes_on(ws):
    for i in range(12):
        write_npz(ws, f"{i:02d}_0100x0060_sdxl.npz", cached(seed=i))
    words = ["import", ws.path("cache"), "--from", "kohya", "--out", ws.out, "--name", ws.name, "--shard-samples", "1"]
    process = ws.start(*words)  # killed whenever it may be, the second one makes it whole
    wait_until(lambda: shard_files(ws.dataset) or process.poll() is not None, "a shard")
    process.kill()
    ws.finish(process)
    import_(ws, "--shard-samples", "5")
    same_members(by_source(ws), [f"{i:02d}.npz" for i in range(12)], "sources")
    write_npz(ws, "99_0100x0060_sdxl.npz", cached(seed=99))
    assert "1 sample in 1 new shard, 12 there already" in import_(ws).out
    equal(len(read_dataset(ws.dataset)), 13)
    ws.verify()
    ws.latentctl("compact", "--out", ws.out)
    equal(len(read_dataset(ws.dataset)), 13)
    ws.verify()


@test
def what_is_new_comes_in_after_shards_were_replaced(ws):
    for i in range(4):
        write_npz(ws, f"a{i}_0100x0060_sdxl.npz", cached(seed=i))
    import_(ws, "--shard-samples", "1")
    ws.latentctl("repack", "--out", ws.out, "--shard-samples", "3")
    write_npz(ws, "b_0100x0060_sdxl.npz", cached(seed=9))
    assert "1 sample in 1 new shard, 4 there already" in import_(ws).out
    ws.latentctl("compact", "--out", ws.out)
    same_members(by_source(ws), ["a0.npz", "a1.npz", "a2.npz", "a3.npz", "b.npz"], "sources")
    ws.verify()


@test
def what_is_new_has_the_form_that_the_dataset_has_by_now(ws):
    write_npz(ws, "a_0100x0060_sdxl.npz", cached(seed=1))
    import_(ws)
    for i, form in enumerate((("--format", "mds", "--columns", "caption=text"), ("--format", "wds", "--codec", "none"))):
        ws.latentctl("repack", "--out", ws.out, *form)
        write_npz(ws, f"b{i}_0100x0060_sdxl.npz", cached(seed=2 + i))
        import_(ws)
        ends = {os.path.basename(file).split(".", 1)[1] for file in shard_files(ws.dataset)}
        equal(ends, {"mds.zstd" if i == 0 else "tar"}, "formats")
        same_members(by_source(ws), ["a.npz", *(f"b{j}.npz" for j in range(i + 1))], "sources")
        ws.verify()
    assert all("latent.npy" in sample.members for sample in read_dataset(ws.dataset))


@test
def an_import_settles_what_a_killed_rewrite_left(ws):
    names = ["a", "b"]
    for i, name in enumerate(names):
        write_npz(ws, f"{name}_0100x0060_sdxl.npz", cached(seed=i))
    import_(ws)
    for fault in range(2, 16):
        died = ws.latentctl(
            *("repack", "--out", ws.out, "--shard-samples", str(1 + fault % 2)), code=None,
            env={**ws.environment, **ws.stops_at("change:1", ws.dataset), "SHIM_FAULT": f"change:{fault}:die"},
        )
        assert died.code in (OK, DIED), f"exit status {died.code}"
        names.append(f"c{fault}")
        write_npz(ws, f"c{fault}_0100x0060_sdxl.npz", cached(seed=fault))
        import_(ws)
        same_members([s.path for s in read_dataset(ws.dataset)], [f"{name}.npz" for name in names], "sources")
    ws.verify()


run_tests()
