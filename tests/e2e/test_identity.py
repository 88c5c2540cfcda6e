#!/usr/bin/env python3
"""The same content is encoded once: under other names, in other datasets, in touched, moved and copied folders; and
what becomes of files that change or vanish."""

import json
import os
import re
import shutil

from harness import equal, run_tests, same_members, test
from reference import read_dataset, shard_files

SAME = "rocket.jpg"


def printed(result, what):
    """N of the line 'N images WHAT...'; 0 if there is none."""
    found = re.search(rf"^(\d+) images? {what}", result.out, re.MULTILINE)
    return int(found[1]) if found else 0



def latents(dataset):
    return {s.path: s.npy for s in read_dataset(dataset)}


@test
def the_same_image_under_many_names_is_encoded_once(ws):
    for i in range(40):
        ws.golden(SAME, f"{i % 3}/{i:02d}.jpg")
        ws.write(f"{i % 3}/{i:02d}.txt", b"caption %d" % i)
    others = ws.small_pictures(9)
    result = ws.encode("--jobs", "2")
    # small_pictures appends a number to each picture, so that none is like another
    equal(printed(result, "copied"), 39, "copied")
    samples = {s.path: s for s in read_dataset(ws.dataset)}
    names = [f"{i % 3}/{i:02d}.jpg" for i in range(40)]
    same_members(samples, names + others, "samples")
    equal(len({samples[name].npy for name in names}), 1, "number of latents")
    records = [samples[name].record for name in names]
    for i, record in enumerate(records):
        equal(record["source"], names[i], "source")
        equal(record["caption"], f"caption {i}", "caption")
        equal(samples[names[i]].members["txt"], b"caption %d" % i, "text")
        equal(record["key"], names[i][:-4], "key")
        for field in ("key", "source", "caption"):
            del record[field]
    equal(len({json.dumps(record) for record in records}), 1, "number of records")
    ws.verify()


@test
def a_copy_has_the_bytes_that_encoding_would_give(ws):
    ws.golden(SAME, "a.jpg")
    ws.golden(SAME, "b.jpg")
    equal(printed(ws.encode(), "copied"), 1, "copied")
    copied = {s.path: s.members for s in read_dataset(ws.dataset)}
    for name in ("a.jpg", "b.jpg"):
        folder = ws.path("only", name[0])
        ws.golden(SAME, name, folder)
        result = ws.encode("--name", name[0], src=[folder], out=ws.path("out", "of", name[0]))
        equal(printed(result, "copied"), 0, "copied")
        (alone,) = read_dataset(ws.path("out", "of", name[0], name[0]))
        equal(alone.members, copied[name], f"members of {name}")


@test
def two_datasets_of_one_output_share_their_latents(ws):
    paths = ws.small_pictures(12)
    ws.encode()
    result = ws.encode("--name", "other")
    equal(printed(result, "copied"), 12, "copied")
    equal(latents(ws.path("out", "other")), latents(ws.dataset), "latents")
    same_members(latents(ws.dataset), paths, "samples")
    ws.verify()


@test
def two_recipes_stand_side_by_side(ws):
    ws.small_pictures(6)
    ws.encode()
    result = ws.encode("--name", "float32", "--dtype", "float32")
    equal(printed(result, "copied"), 0, "copied")
    again = ws.encode("--name", "third", "--dtype", "float32")
    equal(printed(again, "copied"), 6, "copied")
    ws.verify()


@test
def touched_files_keep_their_samples(ws):
    paths = ws.small_pictures(8)
    ws.encode()
    before = {f: os.stat(f).st_ino for f in shard_files(ws.dataset)}
    for path in paths[:5]:
        os.utime(os.path.join(ws.src, path), (1, 1))
    result = ws.encode()
    equal(printed(result, "kept"), 5, "kept")
    equal((printed(result, "copied"), printed(result, "encoded again")), (0, 0), "others")
    equal({f: os.stat(f).st_ino for f in shard_files(ws.dataset)}, before, "shards")
    equal(ws.status()["jobs"]["completed"], 8, "completed")
    equal(printed(ws.encode(), "kept"), 0, "kept by a third run")


@test
def a_moved_folder_costs_nothing(ws):
    ws.small_pictures(8)
    first = ws.encode()
    os.rename(ws.src, ws.path("elsewhere"))
    result = ws.encode(src=[ws.path("elsewhere")])
    equal(result.out.replace("(0 new)", "(1 new)").split("(")[0], first.out.split("(")[0], "printed")
    equal(sum(printed(result, w) for w in ("copied", "kept", "encoded again")), 0, "work")


@test
def a_copied_folder_in_the_old_one_s_place_is_kept(ws):
    ws.small_pictures(8)
    ws.encode()
    os.rename(ws.src, ws.path("old"))
    shutil.copytree(ws.path("old"), ws.src)
    equal(printed(ws.encode(), "kept"), 8, "kept")
    equal(len(read_dataset(ws.dataset)), 8, "number of samples")


@test
def files_moved_within_a_folder_are_copied(ws):
    ws.small_pictures(9)
    ws.encode()
    os.rename(os.path.join(ws.src, "0"), os.path.join(ws.src, "new"))
    result = ws.encode("--on-delete", "remove", "--on-delete-all")
    equal(printed(result, "copied"), 3, "copied")
    equal(ws.status()["samples"], 9, "live samples")
    equal(ws.status()["jobs"]["gone"], 3, "gone")


@test
def a_changed_file_supersedes_its_sample(ws):
    paths = ws.small_pictures(5)
    ws.encode()
    with open(os.path.join(ws.src, paths[0]), "ab") as file:
        file.write(b"more")
    result = ws.encode()
    equal(result.errors, [], "stderr")
    equal(printed(result, "encoded again"), 1, "encoded again")
    status = ws.status()
    equal((status["samples"], status["jobs"]["completed"]), (5, 5), "live samples and jobs")
    ws.verify()
    again = ws.encode()
    equal((printed(again, "encoded again"), printed(again, "kept")), (0, 0), "of a third run")


@test
def a_file_that_takes_another_s_content_is_copied(ws):
    paths = ws.small_pictures(5)
    ws.encode()
    shutil.copy(os.path.join(ws.src, paths[1]), os.path.join(ws.src, paths[0]))
    result = ws.encode()
    equal((printed(result, "copied"), printed(result, "encoded again")), (1, 1), "printed")
    equal(ws.status()["samples"], 5, "live samples")


@test
def duplicates_are_dropped_where_that_is_asked(ws):
    for i in range(12):
        ws.golden(SAME, f"{i:02d}.jpg")
    others = ws.small_pictures(4)
    ws.encode("--duplicates", "drop")
    samples = read_dataset(ws.dataset)
    equal(len(samples), 5, "number of samples")
    rows = ws.latentctl(
        "failed", "--out", ws.out, "--name", ws.name, "--skipped", "--json"
    ).json
    equal(len(rows), 11, "number of skipped images")
    (first,) = [s.key for s in samples if s.path not in others]
    for row in rows:
        equal(row["reason"], "duplicate", "reason")
        assert first in row["message"], row
    # later ones too, and all of them come back when they are wanted
    ws.golden(SAME, "late.jpg")
    ws.encode("--duplicates", "drop")
    equal(ws.status()["samples"], 5, "samples after another duplicate")
    result = ws.encode()
    equal(printed(result, "copied"), 12, "copied")
    equal(ws.status()["samples"], 17, "samples")
    ws.verify()


@test
def a_bad_image_is_bad_under_every_name(ws):
    for i in range(6):
        ws.golden("broken_truncated.jpg", f"{i}.jpg")
    ws.golden(SAME, "good.jpg")
    ws.encode(code=3)
    equal(set(ws.failed().values()), {"truncated"}, "reasons")
    equal(len(ws.failed()), 6, "number of failed images")
    equal(len(read_dataset(ws.dataset)), 1, "number of samples")


@test
def a_stored_record_that_is_damaged_is_not_copied(ws):
    ws.golden(SAME, "a.jpg")
    ws.encode()
    (shard,) = shard_files(ws.dataset)
    with open(shard, "r+b") as file:
        data = file.read()
        at = data.index(b".npy.zst") + 1024
        file.seek(at)
        file.write(bytes(b ^ 0xFF for b in data[at : at + 64]))
    ws.golden(SAME, "b.jpg")
    result = ws.encode()
    equal(printed(result, "copied"), 0, "copied")
    equal(ws.status()["jobs"]["completed"], 2, "completed")


@test
def deleted_files_keep_their_samples_or_not(ws):
    paths = ws.small_pictures(8)
    ws.encode()
    for path in paths[:3]:
        os.unlink(os.path.join(ws.src, path))
    result = ws.encode()
    equal(printed(result, "no longer there whose samples stay"), 3, "kept samples")
    equal(ws.status()["samples"], 8, "samples")
    ws.encode("--on-delete", "remove")
    status = ws.status()
    equal((status["samples"], status["jobs"]["gone"]), (5, 3), "samples and gone")


@test
def a_failed_image_that_was_deleted_is_no_failure(ws):
    ws.golden("broken_truncated.jpg", "bad.jpg")
    ws.small_pictures(3)
    ws.encode(code=3)
    os.unlink(os.path.join(ws.src, "bad.jpg"))
    ws.encode()
    equal(ws.failed(), {}, "failed images")


@test
def an_encoded_image_that_was_damaged_and_deleted_is_no_failure(ws):
    ws.golden(SAME, "a.jpg")
    ws.small_pictures(3)
    ws.encode()
    os.truncate(os.path.join(ws.src, "a.jpg"), 3000)
    ws.encode(code=3)
    os.unlink(os.path.join(ws.src, "a.jpg"))
    ws.encode()
    equal((ws.failed(), ws.status()["samples"]), ({}, 4), "failed images and samples kept")
    ws.encode("--on-delete", "remove", "--on-delete-all")
    equal(ws.status()["samples"], 3, "samples")


@test
def a_mass_deletion_is_not_believed(ws):
    paths = ws.small_pictures(30)
    ws.encode()
    for path in paths[:12]:
        os.unlink(os.path.join(ws.src, path))
    (line,) = ws.encode("--on-delete", "remove").errors
    assert "12 files" in line and "--on-delete-all" in line, line
    equal(ws.status()["samples"], 30, "samples")
    equal(ws.encode("--on-delete", "remove", "--on-delete-all").errors, [], "stderr")
    equal(ws.status()["samples"], 18, "samples")


run_tests()
