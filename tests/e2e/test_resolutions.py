#!/usr/bin/env python3
"""encode --resolutions: an image in several sizes is decoded once, and its samples live and die together."""

import glob
import json
import os
import shutil
import signal
import tarfile

from bitmaps import bmp, rows_of
from daemon_rig import Daemon
from harness import DAMAGED, FAILED, OK, USAGE, demo_model, equal, one_line, run_tests, same_members, test
from latent_files import forge, forged, load_npz
from reference import read_dataset, read_shard, shard_files

SIDES = (128, 192, 256)


def words(ws, *options, sides=SIDES, name=None, vae="fake"):
    resolution = ("--resolutions", ",".join(map(str, sides))) if len(sides) > 1 else ("--resolution", str(sides[0]))
    target = ("--vae", vae, "--out", ws.out, "--name", name or ws.name, "--max-upscale", "0")
    return ["encode", ws.src, *target, *resolution, *options]


def encode(ws, *options, code=OK, **how):
    return ws.latentctl(*words(ws, *options, **how), code=code)


def images(ws, dataset=None, each=1, sides=SIDES):
    """{path: [its samples]}: of each image all, side by side in one shard, whose folder has all their sizes."""
    found, n = {}, each * len(sides)
    for file in shard_files(dataset or ws.dataset):
        samples = read_shard(file)
        for i in range(0, len(samples), n):
            group = samples[i : i + n]
            plain = group[0].record
            assert group[0].path not in found, f"{group[0].path} is there twice"
            sizes = ["{}x{}".format(*s.record["target_size"]) for s in group[::each]]
            equal("_".join(sizes), file.split("/")[-2], "folder")
            for k, sample in enumerate(group):
                record, side = sample.record, sides[k // each]
                equal((record["resolution"], record["variant"] // 32), (side, side if k >= each else 0), sample.key)
                equal(sample.path, group[0].path, sample.key)
                equal(record.get("image", record["key"]), plain["key"], "image")
                for same in ("source", "content_xxh3_128", "recipe_id", "caption", "original_size", "meta"):
                    equal(record[same], plain[same], f"{same} of {sample.key}")
            found[group[0].path] = group
    return found


def latents(ws, **how):
    return {path: [s.npy for s in group] for path, group in images(ws, **how).items()}


def is_whole(ws, paths):
    same_members(images(ws), paths, "images")
    status = ws.status()
    equal((status["samples"], status["jobs"]["completed"]), (len(SIDES) * len(paths), len(paths)), "samples and jobs")
    ws.verify()


@test
def each_is_what_a_run_of_its_own_makes(ws):
    ws.golden("rocket.jpg", "a.jpg")
    ws.golden("exif6.webp", "turned.webp")
    ws.golden("icc.png", "b.png")
    options, sides = ("--flip", "--crops", "1", "--seed", "5", "--bucketing", "square"), (64, 96, 128)
    encode(ws, *options, sides=sides, vae=demo_model())
    found = images(ws, each=4, sides=sides)
    for i, side in enumerate(sides):
        encode(ws, *options, sides=(side,), name=f"only{side}", vae=demo_model())
        alone = read_dataset(ws.path("out", f"only{side}"))
        equal(len(alone), 4 * len(found), "samples")
        for sample in alone:
            (same,) = [s for s in found[sample.path][4 * i : 4 * i + 4] if s.record["variant"] % 32 == sample.record["variant"]]
            equal(same.npy == sample.npy, True, f"the latent of {same.key}")
            for field in ("resized_size", "crop_top_left", "target_size", "time_ids", "kohya_crop_ltrb", "flip"):
                equal(same.record[field], sample.record[field], f"{field} of {same.key}")
    keys = [s.key for s in found["a.jpg"]]
    equal(keys, ["a" + r + v for r in ("", "-r96", "-r128") for v in ("", "-f", "-c1", "-c1-f")], "keys")
    result = ws.latentctl("verify", "--decode", "6", "--vae", demo_model(), "--min-psnr", "5", "--out", ws.out, "--name", ws.name)
    assert "6 latents decoded" in result.out, result.out


@test
def the_order_in_which_they_are_named_is_no_other_recipe(ws):
    ws.small_pictures(2)
    encode(ws)
    assert "0 new" in encode(ws, sides=(256, 128, 192, 128)).out
    one_line(encode(ws, sides=(128, 256), code=FAILED), '"resolution 192"')
    encode(ws, sides=(128,), name="one")
    assert "resolution" not in read_dataset(ws.path("out", "one"))[0].record
    ws.latentctl(*words(ws, sides=(128,), name="one")[:-2], "--resolutions", "128")  # is that resolution


@test
def what_cannot_be_is_refused(ws):
    ws.small_pictures(1)
    for options, why in (
        (("--resolutions", "128,130"), "multiples of 8"),
        (("--resolutions", "128,"), "multiples of 8"),
        (("--resolutions", "64,72,80,88,96"), "5 of them, expected 4 at most"),
        (("--resolutions", "128,256", "--resolution", "128"), "not both"),
        (("--resolutions", "128,256", "--bucketing", "sdxl"), "bucketing sdxl has one size"),
    ):
        one_line(ws.latentctl("encode", ws.src, "--vae", "fake", "--out", ws.out, *options, code=USAGE), why)


@test
def two_resolutions_may_have_one_size(ws):
    ws.write("small.bmp", bmp(128, 128, rows_of(128, 128)))
    encode(ws, "--bucketing", "kohya_no_upscale", vae=demo_model())
    (group,) = images(ws).values()
    equal({(*s.record["target_size"], s.npy) for s in group}, {(128, 128, group[0].npy)}, "sizes and latents")
    ws.verify()


@test
def an_image_is_left_out_in_all_or_in_none(ws):
    ws.write("small.bmp", bmp(60, 60, rows_of(60, 60)))  # 128 enlarges it 2.1 times, 256 4.3 times
    ws.write("big.bmp", bmp(300, 300, rows_of(300, 300)))
    encode(ws, "--max-upscale", "4", sides=(128, 256))
    same_members(images(ws, sides=(128, 256)), ["big.bmp"], "images")
    (row,) = ws.latentctl("failed", "--skipped", "--out", ws.out, "--json").json
    assert row["source"] == "small.bmp" and "enlarged 4.27 times, over the limit of 4.00" in row["message"], row


@test
def copies_and_changes_are_of_all(ws):
    paths = ws.small_pictures(5)
    ws.golden("rocket.jpg", "a.jpg")
    encode(ws)
    before = latents(ws)
    ws.golden("rocket.jpg", "b.jpg")
    assert "1 image copied" in encode(ws).out
    with open(os.path.join(ws.src, paths[0]), "ab") as file:
        file.write(b"more")
    assert "1 image encoded again" in encode(ws).out
    ws.write(os.path.splitext(paths[1])[0] + ".txt", b"a caption")
    encode(ws)
    equal([s.record["caption"] for s in images(ws)[paths[1]]], ["a caption"] * 3, "captions")
    after = latents(ws)
    equal(after["b.jpg"], before["a.jpg"], "the copy")
    equal([p for p in before if before[p] != after[p]], paths[:1], "changed")
    is_whole(ws, [*paths, "a.jpg", "b.jpg"])


@test
def a_run_that_is_killed_leaves_no_image_with_some_of_them(ws):
    paths = ws.small_pictures(24)
    run = words(ws, "--shard-samples", "9", "--jobs", "1")
    for call in ("rename:2", "sync:9", "rename:5"):
        process = ws.start_and_stop(call, ws.out, *run)
        os.kill(process.pid, signal.SIGKILL)
        ws.finish(process)
        ws.no_worker_is_left()
        assert len(images(ws)) < len(paths), "it was over before it was killed"
    ws.latentctl(*run)
    is_whole(ws, paths)


@test
def shards_alone_give_all_back_and_are_packed_anew(ws):
    paths = ws.small_pictures(10)
    encode(ws, "--shard-samples", "9")
    before = latents(ws)
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out, ws.src)
    assert "encoded again" not in encode(ws).out
    ws.latentctl("repack", "--shard-samples", "7", "--order", "shuffled", "--val", "30", "--codec", "none", "--out", ws.out)
    is_whole(ws, paths)
    equal(latents(ws), before, "latents")
    ws.latentctl("repack", "--format", "mds", "--out", ws.out)
    with open(os.path.join(ws.dataset, ".latentd/dataset.json"), encoding="utf-8") as file:
        about = json.load(file)
    equal(sum(b["samples"] for b in about["buckets"].values()), 30, "samples")


@test
def damage_to_one_of_them_is_mended_for_all(ws):
    paths = ws.small_pictures(4)
    encode(ws)
    before = latents(ws)
    file = shard_files(ws.dataset)[0]
    name = read_shard(file)[2].key + ".latent.npy.zst"
    with open(file, "r+b") as shard:
        shard.seek(shard.read().index(name.encode()) + 512 + 100)
        shard.write(b"\xff" * 16)
    ws.latentctl("verify", "--deep", "--out", ws.out, code=DAMAGED)
    equal(len(images(ws)), 3, "images that are left")
    encode(ws)
    is_whole(ws, paths)
    equal(latents(ws), before, "latents")


@test
def parts_are_merged_with_all(ws):
    paths = ws.small_pictures(8)
    parts = [ws.path("part1"), ws.path("part2")]
    for i, part in enumerate(parts):
        ws.latentctl(*words(ws, "--part", f"{i + 1}/2"), "--out", part)
    ws.latentctl("merge", ws.out, *parts)
    encode(ws)
    is_whole(ws, paths)


@test
def a_trainer_gets_the_one_it_wants(ws):
    ws.small_pictures(4)
    encode(ws, "--flip")
    found = images(ws, each=2)
    for i, side in enumerate(SIDES):
        into = ws.path(f"npz{side}")
        ws.latentctl("export", ws.out, "--to", "npz", "--into", into, "--resolution", str(side))
        keys = sorted(os.path.relpath(os.path.join(at, f), into)[:-4] for at, _, files in os.walk(into) for f in files if f.endswith(".npz"))
        same_members(keys, [s.key for group in found.values() for s in group[2 * i : 2 * i + 2]], "keys")
    for to in ("npz", "mds"):
        one_line(ws.latentctl("export", ws.out, "--to", to, "--into", into, "--resolution", "64", code=FAILED), "with 64")


@test
def tars_of_an_export_are_filled_side_by_side(ws):
    ws.small_pictures(4, names=("rocket.jpg",))
    encode(ws)
    words = ("export", ws.out, "--to", "wds", "--columns", "latent", "--into", ws.path("wds"))
    ws.latentctl(*words)
    (group,) = {tuple("{}x{}".format(*s.record["target_size"]) for s in group) for group in images(ws).values()}
    for size in group:
        (file,) = glob.glob(ws.path("wds", size, "*.tar"))
        with tarfile.open(file) as tar:
            equal(len(tar.getnames()), 4, f"samples of {size}")
    assert "0 files written, 3 there already" in ws.latentctl(*words).out


@test
def a_trainer_that_has_one_latent_of_an_image_gets_the_one_it_wants(ws):
    samples = []
    for i, variant in enumerate((0, 1, 192 * 32, 192 * 32 + 1)):
        record, values = forged("a.jpg", seed=i + 1)
        tail = ("", "-f", "-r192", "-r192-f")[i]
        record.update(key="a" + tail, variant=variant, flip=i % 2 == 1, resolution=192 if i > 1 else 128)
        samples.append(({**record, "image": "a"} if variant else record, values))
    forge(ws, samples)
    for side, first in ((128, 0), (192, 2)):
        into = ws.path(f"kohya{side}")
        told = ws.latentctl("export", ws.out, "--to", "kohya", "--into", into, "--resolution", str(side))
        assert "left out" not in told.out, told.out
        arrays = load_npz(os.path.join(into, "a_0100x0060_sd.npz"))
        for name, (_, values) in zip(("latents", "latents_flipped"), samples[first:]):
            equal(list(arrays[name][2]), values, name)
    told = ws.latentctl("export", ws.out, "--to", "kohya", "--into", ws.path("least"))
    assert "left out: 2 variants" in told.out, told.out
    one_line(ws.latentctl("export", ws.out, "--to", "kohya", "--into", into, "--resolution", "128", code=FAILED), into)


@test
def plan_has_each(ws):
    ws.small_pictures(5)
    how = ("plan", ws.src, "--resolutions", "128,192,256", "--flip", "--max-upscale", "0")
    text = ws.latentctl(*how).out
    assert "6 latents of each" in text and "  resolution 192\n" in text, text
    (plan,) = ws.latentctl(*how, "--json").json
    encode(ws, "--flip")
    wanted = {}
    for group in images(ws, each=2).values():
        for sample in group[::2]:
            size = (sample.record["resolution"], *sample.record["target_size"])
            wanted[size] = wanted.get(size, 0) + 1
    equal({(b["resolution"], b["width"], b["height"]): b["images"] for b in plan["buckets"]}, wanted, "buckets")
    equal(plan["latents"]["of_each_image"], 6, "latents of each image")


@test
def a_daemon_reads_them_as_a_list(ws):
    daemon = Daemon(ws)
    recipe = {"resolutions": [128, 256], "flip": True}
    settings = daemon.dataset(recipe=recipe)
    settings["recipe"].pop("resolution", None)
    paths = ws.small_pictures(6, settings["source"]["path"])
    daemon.run("--once")
    same_members(images(ws, ws.path("out", "set"), each=2, sides=(128, 256)), paths, "images")
    ws.verify()


run_tests()
