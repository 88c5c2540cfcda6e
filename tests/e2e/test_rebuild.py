"""A queue from the shards alone, and parts that become one."""

import json
import os
import random
import shutil
import time

from harness import DAMAGED, FAILED, USAGE, equal, one_line, run_tests, same_members, test
from reference import read_dataset, shard_files, xxh3_128

SMALL = ("--shard-samples", "4")


def lose_state(ws):
    shutil.rmtree(ws.path("state"))


def contents(dataset):
    """{path of the source: (key, hash of the latent)}"""
    samples = read_dataset(dataset)
    found = {s.path: (s.key, s.record["latent"]["xxh3_128"]) for s in samples}
    equal(len(found), len(samples), "number of paths")
    return found


def catalog(ws):
    return {k: v for k, v in ws.status().items() if k != "running"}


def derived(dataset):
    """{name: contents} of the indexes that name shards, and of what a person reads."""
    found = {}
    for name in ("shards.jsonl", "shards.txt", "wids.json", "dataset.json"):
        with open(os.path.join(dataset, ".latentd", name), "rb") as file:
            found[name] = file.read()
    return found


def shard_times(ws):
    return {file: os.stat(file).st_mtime_ns for file in shard_files(ws.dataset)}


@test
def a_lost_state_is_rebuilt_and_nothing_is_encoded_again(ws):
    ws.small_pictures(20)
    ws.encode(*SMALL)
    before, indexes, shards = catalog(ws), derived(ws.dataset), shard_times(ws)
    lose_state(ws)
    ws.latentctl("rebuild", ws.out)
    equal(catalog(ws), before)
    equal(derived(ws.dataset), indexes)
    ws.verify()
    assert "(0 new)" in ws.encode(*SMALL).out
    equal(shard_times(ws), shards)
    equal(catalog(ws), before)


def hashes(ws):
    """{path of the source: hash of the image that its latent is of}"""
    return {s.path: s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}


def files_of(ws):
    """The same of the files that are there."""
    found = {}
    for at, _, names in os.walk(ws.src):
        for name in names:
            full = os.path.join(at, name)
            with open(full, "rb") as file:
                found[os.path.relpath(full, ws.src)] = xxh3_128(file.read())
    return found


def forget(ws):
    """The queue is made again, in one of three ways."""
    lose_state(ws)
    ws.latentctl("rebuild", ws.out)


def forget_without_a_word(ws):
    lose_state(ws)


def merge_elsewhere(ws):
    part, ws.out = ws.out, ws.path("merged")
    ws.latentctl("merge", ws.out, part)


@test
def a_file_that_changed_while_there_was_no_catalog_is_encoded_again(ws):
    for way in (forget, forget_without_a_word, merge_elsewhere):
        shutil.rmtree(ws.src, ignore_errors=True)
        ws.out = ws.path(way.__name__)
        paths = ws.small_pictures(8)
        ws.encode(*SMALL)
        kept = {p: h for p, h in hashes(ws).items() if p != paths[1]}
        ws.write(paths[1], open(ws.golden("rocket.jpg", "x.jpg"), "rb").read() + b"new")
        os.remove(ws.path("pictures", "x.jpg"))
        way(ws)
        result = ws.encode(*SMALL)
        equal(hashes(ws), files_of(ws), "the images of the samples")
        assert "1 image encoded again" in result.out, result.out
        assert "7 images kept" in result.out, result.out
        assert "kept" not in ws.encode(*SMALL).out
        equal({p: h for p, h in hashes(ws).items() if p != paths[1]}, kept)
        ws.verify()


@test
def a_file_that_appears_long_after_a_rebuild_is_not_taken_for_the_one_that_had_its_name(ws):
    for way in (forget, forget_without_a_word, merge_elsewhere):
        shutil.rmtree(ws.src, ignore_errors=True)
        ws.out = ws.path(way.__name__)
        paths = ws.small_pictures(8)
        ws.encode(*SMALL)
        os.remove(os.path.join(ws.src, paths[2]))
        way(ws)
        for _ in range(2):
            ws.encode(*SMALL)
        equal(len(hashes(ws)), 8, "number of samples, with that of the deleted file")
        ws.golden("grey.jpg", paths[2])
        ws.encode(*SMALL)
        equal(hashes(ws), files_of(ws), "the images of the samples")
        ws.verify()


@test
def two_sources_with_equal_paths_are_told_apart(ws):
    ws.small_pictures(9)
    other = ws.path("other")
    ws.small_pictures(15, folder=other, first=6)
    sources = [ws.src, other]
    ws.encode(*SMALL, src=sources)
    before, shards = catalog(ws), shard_times(ws)
    equal(before["samples"], 24)
    lose_state(ws)
    ws.latentctl("rebuild", ws.out, *sources)
    equal(catalog(ws), before)
    assert "(0 new)" in ws.encode(*SMALL, src=sources).out
    equal(shard_times(ws), shards)
    equal(catalog(ws), before)


@test
def the_younger_sample_of_a_changed_file_stays_the_live_one(ws):
    paths = ws.small_pictures(8)
    ws.encode(*SMALL)
    ws.golden("rocket.jpg", paths[0])
    ws.encode(*SMALL)
    before, indexes = catalog(ws), derived(ws.dataset)
    equal(before["samples"], 8)
    lose_state(ws)
    ws.latentctl("rebuild", ws.out)
    equal(catalog(ws), before)
    equal(derived(ws.dataset), indexes)
    assert "(0 new)" in ws.encode(*SMALL).out


@test
def a_shard_of_which_others_have_every_sample_is_no_damage(ws):
    """As is left where an image was encoded twice, and which of the two is dead stood in the state alone."""
    ws.small_pictures(8)
    ws.encode(*SMALL)
    before, (first, *_) = contents(ws.dataset), shard_files(ws.dataset)
    shutil.copy(first, os.path.join(os.path.dirname(first), "000077.tar"))
    lose_state(ws)
    result = ws.latentctl("rebuild", ws.out)
    assert "other shards have the same samples" in result.out and ", 0 damaged" in result.out, result
    equal(contents(ws.dataset), before, "samples")
    ws.verify()
    assert "(0 new)" in ws.encode(*SMALL).out


@test
def a_shard_with_the_keys_of_other_files_takes_nothing_away(ws):
    """Somebody moved it there from another output."""
    ws.golden("rocket.jpg", "a.jpg")
    ws.encode()
    before, other = contents(ws.dataset), ws.path("other")
    for name, to in (("grey_alpha.png", "a.png"), ("grey.jpg", "b.jpg")):
        ws.golden(name, to, other)
        ws.encode(src=[other], out=ws.path("elsewhere"))
    for i, file in enumerate(shard_files(ws.path("elsewhere", ws.name))):
        to = file.replace(ws.path("elsewhere"), ws.out).replace(".tar", f"{i}7.tar")
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(file, to)
        os.utime(to, (time.time() + 60,) * 2)  # the younger ones
    lose_state(ws)
    result = ws.latentctl("rebuild", ws.out, code=DAMAGED)
    assert "keys of it are those of other files" in result.out and ", 1 damaged" in result.out, result
    (b,) = set(contents(ws.dataset)) - set(before)
    equal((b, contents(ws.dataset)["a.jpg"]), ("b.jpg", before["a.jpg"]), "samples")
    equal(catalog(ws)["samples"], 2)
    ws.verify()


@test
def a_damaged_shard_is_put_aside_and_its_images_are_encoded_again(ws):
    ws.small_pictures(20)
    ws.encode(*SMALL)
    wanted = contents(ws.dataset)
    bad = shard_files(ws.dataset)[1]
    with open(bad, "r+b") as file:
        file.seek(700)
        file.write(b"\xff\xff\xff")
    lose_state(ws)
    result = ws.latentctl("rebuild", ws.out, code=DAMAGED)
    assert os.path.relpath(bad, ws.dataset) in result.out, result.out
    assert not os.path.exists(bad)
    assert ws.status()["samples"] < 20
    ws.verify()
    ws.encode(*SMALL)
    equal(contents(ws.dataset), wanted)
    ws.verify()


@test
def a_state_that_is_there_is_moved_aside_only_by_force(ws):
    ws.small_pictures(6)
    ws.encode(*SMALL)
    before = catalog(ws)
    one_line(ws.latentctl("rebuild", ws.out, code=FAILED), "--force")
    ws.latentctl("rebuild", ws.out, "--force")
    equal(catalog(ws), before)
    (state,) = os.listdir(ws.path("state", "latentd"))
    aside = [n for n in os.listdir(ws.path("state", "latentd", state)) if n.startswith("replaced-")]
    equal(len(aside), 1)
    assert os.path.exists(ws.path("state", "latentd", state, aside[0], "queue.db"))
    assert "(0 new)" in ws.encode(*SMALL).out


@test
def shards_without_their_dataset_json_are_rebuilt(ws):
    ws.small_pictures(8)
    ws.encode(*SMALL)
    before = catalog(ws)
    lose_state(ws)
    shutil.rmtree(os.path.join(ws.dataset, ".latentd"))
    ws.latentctl("rebuild", ws.out)
    equal(catalog(ws), before)
    assert "(0 new)" in ws.encode(*SMALL).out
    assert os.path.exists(os.path.join(ws.dataset, ".latentd", "dataset.json"))


@test
def a_dataset_json_whose_recipe_is_damaged_is_not_taken_for_another_recipe(ws):
    ws.small_pictures(8)
    ws.encode(*SMALL)
    before = catalog(ws)
    lose_state(ws)
    path = os.path.join(ws.dataset, ".latentd", "dataset.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    damaged = text.replace('"channels": 4', '"channels": 5').replace('"resolution": ', '"resolution": 1')
    assert damaged != text
    with open(path, "w", encoding="utf-8") as file:
        file.write(damaged)
    one_line(ws.latentctl("rebuild", ws.out, code=FAILED), "dataset.json is damaged")
    os.remove(path)  # the remedy that it names
    ws.latentctl("rebuild", ws.out)
    equal(catalog(ws), before)
    ws.encode(*SMALL)
    with open(path, encoding="utf-8") as file:
        equal(file.read(), text, "dataset.json")


@test
def shards_of_two_recipes_are_not_taken_for_one_dataset(ws):
    ws.small_pictures(8)
    ws.encode(*SMALL)
    ws.encode(*SMALL, "--dtype", "float32", out=ws.path("other"))
    theirs = shard_files(ws.path("other", ws.name))[0]
    ours = os.path.join(ws.dataset, "train", os.path.basename(os.path.dirname(theirs)))
    shutil.copy(theirs, os.path.join(ours, "000077.tar"))
    lose_state(ws)
    one_line(ws.latentctl("rebuild", ws.out, code=FAILED), "000077.tar", "recipe")
    assert os.path.exists(os.path.join(ours, "000077.tar"))


def kill_some(ws, words, times):
    """Runs a command and kills it after ever longer times, then lets it end."""
    for i in range(times):
        process = ws.start(*words)
        time.sleep(random.Random(i).uniform(0, 0.004) * (i + 1))
        process.kill()
        process.communicate()
    return ws.latentctl(*words, code=None)


@test
def a_rebuild_that_was_killed_is_begun_again(ws):
    ws.small_pictures(30)
    ws.encode(*SMALL)
    before = catalog(ws)
    for round_ in range(3):
        lose_state(ws)
        result = kill_some(ws, ["rebuild", ws.out], 8)
        if result.code != 0:  # the last one that was killed had already ended its work
            assert "--force" in result.err, result
        equal(catalog(ws), before)
        ws.verify()
    assert "(0 new)" in ws.encode(*SMALL).out


def encode_parts(ws, n, *options):
    outs = [ws.path(f"part{i}") for i in range(1, n + 1)]
    for i, out in enumerate(outs):
        ws.encode(*SMALL, "--part", f"{i + 1}/{n}", *options, out=out)
    return outs


@test
def three_parts_merged_are_one_run(ws):
    ws.small_pictures(40)
    ws.encode(*SMALL, out=ws.path("whole"))
    wanted = contents(ws.path("whole", ws.name))
    parts = encode_parts(ws, 3)
    each = [contents(os.path.join(part, ws.name)) for part in parts]
    assert all(each), "an empty part"
    same_members([p for part in each for p in part], wanted, "images of the parts")
    ws.latentctl("merge", ws.out, *parts)
    equal(contents(ws.dataset), wanted)
    ws.verify()
    equal(ws.status()["samples"], 40)
    shards = shard_times(ws)
    assert "(0 new)" in ws.encode(*SMALL).out
    equal(shard_times(ws), shards)
    again = ws.latentctl("merge", ws.out, *parts)
    assert "0 samples in 0 shards" in again.out, again.out
    equal(shard_times(ws), shards)


@test
def a_merged_output_rebuilds_like_any_other(ws):
    ws.small_pictures(16)
    ws.latentctl("merge", ws.out, *encode_parts(ws, 2))
    before, indexes = catalog(ws), derived(ws.dataset)
    lose_state(ws)
    ws.latentctl("rebuild", ws.out)
    equal(catalog(ws), before)
    equal(derived(ws.dataset), indexes)


@test
def parts_that_overlap_are_refused_with_both_shards_named(ws):
    ws.small_pictures(12)
    parts = encode_parts(ws, 2)
    ws.encode(*SMALL, out=ws.path("whole"))
    result = ws.latentctl("merge", ws.out, parts[0], ws.path("whole"), code=FAILED)
    one_line(result, parts[0], ws.path("whole"))
    assert not os.path.exists(ws.dataset)
    ws.latentctl("merge", ws.out, parts[0])
    one_line(ws.latentctl("merge", ws.out, ws.path("whole"), code=FAILED), ws.dataset, "whole")
    ws.verify()


@test
def parts_of_two_recipes_are_refused(ws):
    ws.small_pictures(12)
    ws.encode(*SMALL, "--part", "1/2", out=ws.path("a"))
    ws.encode(*SMALL, "--part", "2/2", "--dtype", "float32", out=ws.path("b"))
    result = ws.latentctl("merge", ws.out, ws.path("a"), ws.path("b"), code=FAILED)
    one_line(result, ws.path("a"), ws.path("b"), "recipe")


@test
def a_damaged_part_is_named_and_nothing_is_merged(ws):
    ws.small_pictures(12)
    parts = encode_parts(ws, 2)
    bad = shard_files(os.path.join(parts[1], ws.name))[0]
    with open(bad, "r+b") as file:
        file.seek(700)
        file.write(b"\xff\xff\xff")
    assert bad in ws.latentctl("merge", ws.out, *parts, code=DAMAGED).out
    assert not os.path.exists(ws.dataset)


@test
def a_merge_that_was_killed_is_begun_again(ws):
    ws.small_pictures(40)
    parts = encode_parts(ws, 3)
    wanted = {}
    for part in parts:
        wanted.update(contents(os.path.join(part, ws.name)))
    result = kill_some(ws, ["merge", ws.out, *parts], 12)
    equal(result.code, 0, "exit status")
    equal(contents(ws.dataset), wanted)
    ws.verify()
    equal(ws.status()["samples"], 40)


@test
def shards_that_a_killed_merge_left_without_rows_are_taken_as_they_are(ws):
    ws.small_pictures(24)
    parts = encode_parts(ws, 2)
    ws.latentctl("merge", ws.out, *parts)
    before, shards = catalog(ws), shard_times(ws)
    owner = os.path.join(ws.out, ".latentd", "owner.json")
    with open(owner, encoding="utf-8") as file:
        shutil.rmtree(json.load(file)["state"])
    ws.latentctl("merge", ws.out, *parts)
    equal(shard_times(ws), shards)
    equal(catalog(ws), before)
    ws.verify()


@test
def a_part_must_be_one_of_so_many(ws):
    ws.small_pictures(2)
    for part in ("0/3", "4/3", "1", "1/", "a/b", "1/3x", "-1/3", "1/99999999999999999999"):
        assert "--part" in ws.encode("--part", part, code=USAGE).err, part


run_tests()
