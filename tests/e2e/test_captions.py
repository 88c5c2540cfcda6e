#!/usr/bin/env python3
"""Captions that change after their images were encoded."""

import json
import os
import random
import signal
import subprocess
import time

from harness import equal, one_line, run_tests, test
from reference import read_dataset, shard_files

SEED = int(os.environ.get("LATENTD_TEST_SEED") or random.randrange(1 << 32))
KILLS = 300 if os.environ.get("LATENTD_TEST_LONG") else 12


def caption_of(path):
    return os.path.splitext(path)[0] + ".txt"


def captioned(ws, n, **settings):
    """Small pictures with captions, encoded; their paths."""
    paths = ws.small_pictures(n, **settings)
    for path in paths:
        ws.write(caption_of(path), f"a picture of {path}\n".encode())
    ws.encode("--shard-samples", "4")
    return paths


def captions(ws):
    """{path: caption}; KEY.json and KEY.txt agree."""
    found = {}
    for sample in read_dataset(ws.dataset):
        text = sample.record["caption"]
        equal(sample.members["txt"], (text or "").encode(), f"KEY.txt of {sample.path}")
        assert sample.path not in found, f"{sample.path} is there twice"
        found[sample.path] = text
    return found


def latents(ws):
    return {s.path: s.members["latent.npy.zst"] for s in read_dataset(ws.dataset)}


def overlay(ws):
    """{key: caption} as readers are told, or None."""
    try:
        with open(os.path.join(ws.dataset, ".latentd", "captions.jsonl")) as file:
            lines = [json.loads(line) for line in file]
    except FileNotFoundError:
        return None
    keys = [line["key"] for line in lines]
    equal(len(set(keys)), len(keys), "number of keys in the list")
    return {line["key"]: line["caption"] for line in lines}


@test
def new_changed_and_removed_captions_come_into_the_shards(ws):
    paths = captioned(ws, 12)
    before, wanted = latents(ws), captions(ws)
    files = shard_files(ws.dataset)
    ws.write(caption_of(paths[0]), b"another \xc3\xa9 caption")
    os.remove(os.path.join(ws.src, caption_of(paths[1])))
    os.remove(os.path.join(ws.src, caption_of(paths[2])))
    wanted.update({paths[0]: "another \u00e9 caption", paths[1]: None, paths[2]: None})
    result = ws.encode()
    one_line(result, "3 captions changed")
    equal(captions(ws), wanted, "captions")
    equal(latents(ws), before, "latents, byte for byte")
    assert set(files) & set(shard_files(ws.dataset)), "a shard with old captions only was rewritten"
    ws.write(caption_of(paths[1]), b"")
    ws.write(caption_of(paths[2]), b"back")
    wanted.update({paths[1]: "", paths[2]: "back"})
    ws.encode()
    equal(captions(ws), wanted, "captions that came back")
    equal(overlay(ws), None, "the list")
    ws.verify()
    files = shard_files(ws.dataset)
    ws.encode()
    equal(shard_files(ws.dataset), files, "shards")


@test
def a_caption_that_was_only_touched_rewrites_nothing(ws):
    paths = captioned(ws, 6)
    files = shard_files(ws.dataset)
    for path in paths:
        os.utime(os.path.join(ws.src, caption_of(path)), (1, 1))
    equal(ws.encode().errors, [], "stderr")
    equal(shard_files(ws.dataset), files, "shards")
    equal(overlay(ws), None, "the list")


@test
def an_image_and_its_caption_change_together(ws):
    paths = captioned(ws, 6)
    wanted = captions(ws)
    with open(os.path.join(ws.src, paths[0]), "ab") as file:
        file.write(b"changed")
    os.utime(os.path.join(ws.src, paths[1]), (1, 1))  # only touched: its latent is kept
    for path in paths[:2]:
        ws.write(caption_of(path), b"new")
        wanted[path] = "new"
    ws.encode()
    equal(captions(ws), wanted, "captions")
    equal(overlay(ws), None, "the list")
    ws.verify()


@test
def readers_are_told_of_a_caption_that_cannot_be_brought_into_its_shard(ws):
    paths = captioned(ws, 4)
    (old,) = shard_files(ws.dataset)[:1]
    victim = read_dataset(ws.dataset)[0]
    was = captions(ws)
    with open(old, "r+b") as shard:  # in the padding at the end, which holds no record
        shard.seek(-1, os.SEEK_END)
        shard.write(b"\1")
    ws.write(caption_of(victim.path), b"new")
    result = ws.encode()
    one_line(result, "verify --deep")
    equal(overlay(ws), {victim.key: "new"}, "the list")
    equal(captions(ws), was, "captions")
    os.remove(os.path.join(ws.src, caption_of(victim.path)))
    ws.encode()
    equal(overlay(ws), {victim.key: None}, "the list")
    ws.latentctl("verify", "--deep", "--out", ws.out, code=None)
    ws.encode()
    equal(overlay(ws), None, "the list")
    was[victim.path] = None
    equal(captions(ws), was, "captions")
    equal(sorted(was), sorted(paths), "samples")


@test
def a_run_without_captions_leaves_them_alone(ws):
    paths = captioned(ws, 4)
    was = captions(ws)
    ws.write(caption_of(paths[0]), b"new")
    ws.encode("--no-captions")
    equal(captions(ws), was, "captions")
    ws.encode()
    was[paths[0]] = "new"
    equal(captions(ws), was, "captions")


@test
def a_dropped_duplicate_and_a_deleted_image_need_no_caption(ws):
    paths = captioned(ws, 4)
    was = captions(ws)
    with open(os.path.join(ws.src, paths[0]), "rb") as file:
        ws.write("0/same.jpg", file.read())
    ws.encode("--duplicates", "drop")
    ws.write("0/same.txt", b"nobody reads this")
    os.remove(os.path.join(ws.src, paths[3]))
    os.remove(os.path.join(ws.src, caption_of(paths[3])))
    ws.encode("--duplicates", "drop")
    equal(captions(ws), was, "captions")
    equal(overlay(ws), None, "the list")


@test
def however_often_it_is_killed_captions_are_those_of_the_files(ws):
    chance = random.Random(SEED)
    print(f"LATENTD_TEST_SEED={SEED}")
    paths = captioned(ws, 24)
    before = latents(ws)
    began = time.monotonic()
    ws.encode()
    took_s = time.monotonic() - began
    wanted = captions(ws)
    for i in range(KILLS):
        for path in chance.sample(paths, 8):
            wanted[path] = f"{i} {path}"
            ws.write(caption_of(path), wanted[path].encode())
        process = ws.start(*ws.encode_words())
        try:
            process.wait(took_s * chance.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        ws.finish(process)
        captions(ws)  # none is there twice, none is half changed
        overlay(ws)  # whole, of whichever moment
    ws.encode()
    equal(captions(ws), wanted, "captions")
    equal(latents(ws), before, "latents, byte for byte")
    equal(overlay(ws), None, "the list")
    ws.verify()


run_tests()
