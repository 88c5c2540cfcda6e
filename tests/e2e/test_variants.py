#!/usr/bin/env python3
"""encode --flip and --crops: each variant is a sample of its own, and whatever happens to an image happens to all."""

import ctypes
import json
import os
import shutil
import signal

from bitmaps import bmp, rows_of
from daemon_rig import Daemon
from harness import DAMAGED, FAILED, QUARANTINED, demo_model, equal, one_line, run_tests, same_members, test
from latent_files import npy
from serve_rig import Server
from reference import npy_values, read_dataset, read_shard, shard_files, unzstd


def xxh3_64(data, seed):
    xxhash = ctypes.CDLL("libxxhash.so.0")
    xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
    return xxhash.XXH3_64bits_withSeed(data, ctypes.c_size_t(len(data)), ctypes.c_uint64(seed))


def pairs(ws, dataset=None):
    """{path: (plain, mirrored)}; each has both, once, side by side in one shard."""
    found = {}
    for file in shard_files(dataset or ws.dataset):
        samples = read_shard(file)
        equal(len(samples) % 2, 0, f"samples of {file}")
        for plain, mirrored in zip(samples[::2], samples[1::2]):
            a, b = plain.record, mirrored.record
            equal((a["variant"], a["flip"], "image" in a), (0, False, False), plain.key)
            equal((b["variant"], b["flip"], b["image"], b["key"]), (1, True, a["key"], a["key"] + "-f"), mirrored.key)
            for same in ("source", "content_xxh3_128", "recipe_id", "caption", "target_size", "resized_size", "meta"):
                equal(a[same], b[same], f"{same} of {mirrored.key}")
            equal(plain.members.get("txt"), mirrored.members.get("txt"), "texts")
            assert plain.npy != mirrored.npy, plain.key
            assert plain.path not in found, f"{plain.path} is there twice"
            found[plain.path] = plain, mirrored
    return found


def arrays(ws, dataset=None):
    return {path: (a.npy, b.npy) for path, (a, b) in pairs(ws, dataset).items()}


def is_whole(ws, paths):
    same_members(pairs(ws), paths, "images")
    status = ws.status()
    equal((status["samples"], status["jobs"]["completed"]), (2 * len(paths), len(paths)), "samples and jobs")
    ws.verify()


@test
def the_mirrored_latent_is_that_of_the_mirrored_picture(ws):
    rows = rows_of(160, 128)
    ws.write("a.bmp", bmp(160, 128, rows))
    ws.encode("--flip", vae=demo_model())
    ((plain, mirrored),) = pairs(ws).values()
    other = ws.write("a.bmp", bmp(160, 128, [row[::-1] for row in rows]), ws.path("mirrored"))
    ws.encode("--name", "mirrored", src=[os.path.dirname(other)], vae=demo_model())
    (wanted,) = read_dataset(ws.path("out", "mirrored"))
    equal(mirrored.npy == wanted.npy, True, "the mirrored picture's latent")
    assert plain.record["recipe_id"] != wanted.record["recipe_id"]
    result = ws.latentctl("verify", "--decode", "10", "--vae", demo_model(), "--out", ws.out, "--name", ws.name)
    assert "2 latents decoded" in result.out, result.out


@test
def the_crop_is_of_the_mirrored_picture(ws):
    ws.write("a.bmp", bmp(161, 128, rows_of(161, 128)))
    ws.encode("--flip")
    ((plain, mirrored),) = pairs(ws).values()
    equal(plain.record["crop_top_left"], [0, 16], "crop")
    equal(plain.record["time_ids"], [128, 161, 0, 16, 128, 128], "time_ids")
    equal(mirrored.record["crop_top_left"], [0, 17], "crop")
    equal(mirrored.record["time_ids"], [128, 161, 0, 17, 128, 128], "time_ids")
    equal(mirrored.record["kohya_crop_ltrb"], plain.record["kohya_crop_ltrb"], "kohya_crop_ltrb")


@test
def without_flip_nothing_is_different(ws):
    ws.small_pictures(4)
    ws.encode()
    (recipe,) = {json.dumps(s.record["recipe_id"]) for s in read_dataset(ws.dataset)}
    one_line(ws.encode("--flip", code=FAILED), 'variants ["plain"], now ["plain","flip"]')
    ws.encode("--flip", "--name", "other")
    assert recipe not in {json.dumps(s.record["recipe_id"]) for s in read_dataset(ws.path("out", "other"))}
    equal({"image" in s.record for s in read_dataset(ws.dataset)}, {False}, "image")


@test
def shards_are_cut_between_images(ws):
    paths = ws.small_pictures(14)
    ws.encode("--flip", "--shard-samples", "5")
    is_whole(ws, paths)
    assert max(len(read_shard(file)) for file in shard_files(ws.dataset)) == 4
    with open(os.path.join(ws.dataset, ".latentd/shards.jsonl"), encoding="utf-8") as lines:
        for shard in map(json.loads, lines):
            samples = read_shard(os.path.join(ws.dataset, shard["path"]))
            equal((shard["first_key"], shard["last_key"]), (samples[0].key, samples[-1].key), "keys")


@test
def no_image_has_the_key_of_another_one_s_variant(ws):
    names = ["cat", "cat-f", "cat-c2", "cat-r768", "cat-fine", "c" * 80, "c" * 80 + "-f"]
    for i, name in enumerate(names):
        ws.write(f"{name}.bmp", bmp(8 + i, 8, rows_of(8 + i, 8)))
    ws.encode("--flip")
    samples = read_dataset(ws.dataset)
    equal(len({s.key for s in samples}), 2 * len(names), "number of keys")
    keys = {s.path[:-4]: s.key for s in samples if not s.record["flip"]}
    equal((keys["cat"], keys["cat-fine"], keys["c" * 80]), ("cat", "cat-fine", "c" * 80), "keys")
    for odd in ("cat-f", "cat-c2", "cat-r768"):
        assert keys[odd].startswith(odd + "-") and len(keys[odd]) == len(odd) + 9, keys[odd]
    assert max(len(s.key) for s in samples) == 80
    ws.verify()
    ws.latentctl("reindex", "--out", ws.out)


@test
def copies_of_an_image_have_both(ws):
    ws.golden("rocket.jpg", "a.jpg")
    ws.golden("rocket.jpg", "b.jpg")  # while a is in the spool
    assert "1 image copied" in ws.encode("--flip").out
    ws.golden("rocket.jpg", "c.jpg")
    assert "1 image copied" in ws.encode("--flip").out  # out of a shard
    assert "3 images copied" in ws.encode("--flip", "--name", "other").out
    for dataset in (ws.dataset, ws.path("out", "other")):
        found = arrays(ws, dataset)
        same_members(found, ["a.jpg", "b.jpg", "c.jpg"], "images")
        equal(len(set(found.values())), 1, "number of latents")
    ws.verify()


@test
def a_changed_file_takes_the_place_of_both(ws):
    paths = ws.small_pictures(6)
    ws.encode("--flip")
    before = arrays(ws)
    with open(os.path.join(ws.src, paths[0]), "ab") as file:
        file.write(b"more")
    os.utime(os.path.join(ws.src, paths[1]), (1, 1))
    result = ws.encode("--flip")
    assert "1 image encoded again" in result.out and "1 image kept" in result.out, result.out
    is_whole(ws, paths)
    after = arrays(ws)
    equal([p for p in paths if before[p] != after[p]], paths[:1], "changed")
    equal(before[paths[0]][1] != after[paths[0]][1], True, "the mirrored one changed")


@test
def a_deleted_file_takes_both_with_it(ws):
    paths = ws.small_pictures(30)
    ws.encode("--flip")
    os.unlink(os.path.join(ws.src, paths[3]))
    ws.encode("--flip", "--on-delete", "remove")
    ws.latentctl("compact", "--out", ws.out)
    same_members(pairs(ws), paths[:3] + paths[4:], "images")
    ws.verify()


@test
def a_changed_caption_comes_into_both_without_encoding(ws):
    paths = ws.small_pictures(6)
    ws.encode("--flip")
    before = arrays(ws)
    text = os.path.splitext(paths[2])[0] + ".txt"
    ws.write(text, b"a new caption")
    ws.encode("--flip")
    found = pairs(ws)
    equal([s.record["caption"] for s in found[paths[2]]], ["a new caption"] * 2, "captions")
    equal(arrays(ws), before, "latents")
    key = found[paths[2]][0].key
    ws.write("given.jsonl", json.dumps({"key": key, "caption": "given"}).encode() + b"\n", ws.root)
    ws.latentctl("captions", "set", ws.path("given.jsonl"), "--out", ws.out)
    with open(os.path.join(ws.dataset, ".latentd/captions.jsonl"), encoding="utf-8") as lines:
        equal({row["key"]: row["caption"] for row in map(json.loads, lines)}, {key: "given", key + "-f": "given"}, "list")
    ws.latentctl("compact", "--out", ws.out)
    equal([s.record["caption"] for s in pairs(ws)[paths[2]]], ["given"] * 2, "captions")
    ws.verify()


@test
def the_catalog_comes_back_from_shards_alone(ws):
    paths = ws.small_pictures(8)
    ws.encode("--flip", "--shard-samples", "4")
    before = arrays(ws)
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out, ws.src)
    equal(ws.status()["samples"], 16, "samples after the rebuild")
    assert "encoded again" not in ws.encode("--flip").out
    is_whole(ws, paths)
    equal(arrays(ws), before, "latents")


@test
def a_run_that_is_killed_leaves_no_image_with_one_of_them(ws):
    paths = ws.small_pictures(24)
    words = ws.encode_words("--flip", "--shard-samples", "6", "--jobs", "1")
    for call in ("rename:2", "sync:9", "rename:5"):
        process = ws.start_and_stop(call, ws.out, *words)
        os.kill(process.pid, signal.SIGKILL)
        ws.finish(process)
        ws.no_worker_is_left()
        assert len(pairs(ws)) < len(paths), "it was over before it was killed"
    ws.latentctl(*words)
    is_whole(ws, paths)


@test
def damage_to_one_of_them_is_mended_for_both(ws):
    paths = ws.small_pictures(4)
    ws.encode("--flip")
    before = arrays(ws)
    file = shard_files(ws.dataset)[0]
    name = read_shard(file)[1].key + ".latent.npy.zst"
    with open(file, "r+b") as shard:
        at = shard.read().index(name.encode()) + 512 + 100
        shard.seek(at)
        shard.write(b"\xff" * 16)
    ws.latentctl("verify", "--deep", "--out", ws.out, code=DAMAGED)
    equal(len(pairs(ws)), 3, "images that are left")
    ws.encode("--flip")
    is_whole(ws, paths)
    equal(arrays(ws), before, "latents")


@test
def repack_keeps_them_together(ws):
    paths = ws.small_pictures(20)
    ws.encode("--flip")
    before = arrays(ws)
    ws.latentctl("repack", "--shard-samples", "7", "--order", "shuffled", "--val", "40", "--out", ws.out)
    is_whole(ws, paths)
    equal(len({file.split("/")[-3] for file in shard_files(ws.dataset)}), 2, "number of splits")
    ws.latentctl("repack", "--order", "scan", "--codec", "none", "--out", ws.out)
    is_whole(ws, paths)
    equal(arrays(ws), before, "latents")


@test
def parts_are_merged_with_both(ws):
    paths = ws.small_pictures(10)
    parts = [ws.path("part1"), ws.path("part2")]
    for i, part in enumerate(parts):
        ws.encode("--flip", "--part", f"{i + 1}/2", out=part)
    ws.latentctl("merge", ws.out, *parts)
    ws.encode("--flip")
    is_whole(ws, paths)


@test
def what_is_attached_to_an_image_is_attached_to_both(ws):
    ws.small_pictures(3)
    ws.encode("--flip")
    keys = [plain.key for plain, _ in pairs(ws).values()]
    for i, key in enumerate(keys):
        ws.write(f"{key}.npy", npy([i, 2 * i], (2,)), ws.path("te"))
    ws.latentctl("attach", "te", ws.path("te"), "--out", ws.out)
    for plain, mirrored in pairs_of_members(ws):
        equal(unzstd(plain["te.npy.zst"]), unzstd(mirrored["te.npy.zst"]), "arrays")


def pairs_of_members(ws):
    for file in shard_files(ws.dataset):
        samples = read_shard(file)
        yield from ((a.members, b.members) for a, b in zip(samples[::2], samples[1::2]))


def variants(ws, n, dataset=None):
    """{path: {variant: sample}}, which stand side by side in one shard."""
    found = {}
    for file in shard_files(dataset or ws.dataset):
        samples = read_shard(file)
        for i in range(0, len(samples), n):
            group = samples[i : i + n]
            equal([s.path for s in group], [group[0].path] * n, "what stands side by side")
            assert group[0].path not in found, f"{group[0].path} is there twice"
            found[group[0].path] = {s.record["variant"]: s for s in group}
    return found


def crop_of(sample, number, seed):
    """(left, top) by the rule of docs/FORMAT.md, from the record of the plain one."""
    record = sample.record
    digits = xxh3_64(bytes.fromhex(record["content_xxh3_128"]) + bytes([number]), seed)
    top_left, place = record["crop_top_left"], []
    for axis, random in ((0, digits >> 32), (1, digits & 0xFFFFFFFF)):
        own, target, whole = top_left[1 - axis], record["target_size"][axis], record["resized_size"][axis]
        first, last = max(0, own - target // 2), min(whole - target, own + target // 2)
        place.append(first + (random * (last - first + 1) >> 32))
    return tuple(place)


@test
def further_crops_are_of_the_places_that_the_rule_says(ws):
    width, height, rows = 230, 128, rows_of(230, 128)
    ws.write("wide.bmp", bmp(width, height, rows))
    ws.write("tall.bmp", bmp(128, 700, rows_of(128, 700)))
    options = ("--crops", "3", "--flip", "--seed", "5", "--bucketing", "square")
    ws.encode(*options, vae=demo_model())
    found = variants(ws, 8)
    for group in found.values():
        equal(sorted(group), list(range(8)), "variants")
        for number, sample in group.items():
            record, plain = sample.record, group[0]
            tail = ("", "-c1", "-c2", "-c3")[number // 2] + ("-f" if number % 2 else "")
            equal((record["key"], record["flip"]), (plain.key + tail, number % 2 == 1), "key and flip")
            if number > 1:
                left, top = crop_of(plain, number // 2, 5)
                if number % 2:
                    left = record["resized_size"][0] - left - record["target_size"][0]
                equal(record["crop_top_left"], [top, left], "crop")
                equal(record["time_ids"][2:4], [top, left], "time_ids")
    equal(len({tuple(s.record["crop_top_left"]) for s in found["tall.bmp"].values()}), 4, "places of a tall picture")
    # What lies there, as a picture of its own, has the same latent.
    for number in (2, 4, 6):
        left, _ = crop_of(found["wide.bmp"][0], number // 2, 5)
        for mirrored in (0, 1):
            cut = [row[left : left + 128][:: -1 if mirrored else 1] for row in rows]
            name = f"cut{number + mirrored}"
            ws.write("a.bmp", bmp(128, 128, cut), ws.path(name))
            ws.encode("--name", name, src=[ws.path(name)], vae=demo_model())
            (wanted,) = read_dataset(ws.path("out", name))
            equal(found["wide.bmp"][number + mirrored].npy == wanted.npy, True, name)
    result = ws.latentctl("verify", "--decode", "20", "--vae", demo_model(), "--min-psnr", "5", "--out", ws.out, "--name", ws.name)
    assert "16 latents decoded" in result.out, result.out


@test
def an_image_that_is_all_in_its_crop_has_equal_ones(ws):
    ws.write("a.bmp", bmp(128, 128, rows_of(128, 128)))
    ws.encode("--crops", "2", vae=demo_model())
    (group,) = variants(ws, 3).values()
    equal(len({s.npy for s in group.values()}), 1, "number of latents")


@test
def crops_live_as_their_image_does(ws):
    paths = ws.small_pictures(9)
    ws.golden("rocket.jpg", "a.jpg")
    ws.golden("rocket.jpg", "b.jpg")
    options = ("--crops", "2", "--shard-samples", "7", "--bucketing", "square")
    ws.encode(*options)
    before = {path: [s.npy for s in group.values()] for path, group in variants(ws, 3).items()}
    same_members(before, paths + ["a.jpg", "b.jpg"], "images")
    equal(before["a.jpg"], before["b.jpg"], "a copy")
    with open(os.path.join(ws.src, paths[0]), "ab") as file:
        file.write(b"more")
    assert "1 image encoded again" in ws.encode(*options).out
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out, ws.src)
    ws.encode(*options)
    ws.latentctl("repack", "--shard-samples", "4", "--order", "shuffled", "--out", ws.out)
    after = {path: [s.npy for s in group.values()] for path, group in variants(ws, 3).items()}
    equal([path for path in before if before[path] != after[path]], paths[:1], "changed")
    equal(ws.status()["samples"], 33, "samples")
    ws.verify()
    one_line(ws.encode(*options, "--seed", "1", code=FAILED), "pixels.crop_seed 0, now 1")


@test
def a_daemon_encodes_both_and_a_second_dataset_copies_both(ws):
    daemon = Daemon(ws)
    src = daemon.dataset(recipe={"flip": True})["source"]["path"]
    paths = ws.small_pictures(8, src)
    daemon.run("--once")
    daemon.dataset("other", src=src, recipe={"flip": True})
    daemon.dataset("plain", src=src)
    daemon.run("--once")
    first, second = arrays(ws, ws.path("out", "set")), arrays(ws, ws.path("out", "other"))
    same_members(first, paths, "images")
    equal(second, first, "latents")
    same_members([s.path for s in read_dataset(ws.path("out", "plain"))], paths, "images without")
    ws.verify()


@test
def an_endpoint_gives_both_and_each_its_own_noise(ws):
    ws.small_pictures(5)
    server = Server(ws, vae=demo_model()).start()
    url = f"http://127.0.0.1:{server.port}/"
    options = ("--flip", "--posterior", "draw", "--seed", "3", "--dtype", "float32")
    ws.encode(*options, vae=demo_model())
    ws.encode("--name", "there", "--endpoint", url, *options, vae=f"endpoint:{url}", out=ws.path("far"))
    here, there = arrays(ws), arrays(ws, ws.path("far", "there"))
    same_members(there, here, "images")
    for path, both in here.items():
        for a, b in zip(both, there[path]):
            assert max(abs(x - y) for x, y in zip(npy_values(a), npy_values(b))) < 1e-3, path
    server.stop()


@test
def the_noise_of_the_mirrored_draw_is_another(ws):
    symmetric = [row + row[::-1] for row in rows_of(64, 128)]
    ws.write("a.bmp", bmp(128, 128, symmetric))
    ws.encode("--flip", "--name", "mean", vae=demo_model())
    (plain, mirrored), = [read_dataset(ws.path("out", "mean"))]
    equal(plain.npy == mirrored.npy, True, "the mean of a symmetric picture")
    ws.encode("--flip", "--posterior", "draw", vae=demo_model())
    ((plain, mirrored),) = pairs(ws).values()
    assert plain.npy != mirrored.npy


@test
def a_bad_image_has_neither(ws):
    ws.golden("broken_truncated.jpg", "bad.jpg")
    paths = ws.small_pictures(3)
    ws.encode("--flip", code=QUARANTINED)
    same_members(pairs(ws), paths, "images")
    equal(ws.failed(), {b"bad.jpg": "truncated"}, "failed")


run_tests()
