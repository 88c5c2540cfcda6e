#!/usr/bin/env python3
"""Captions that change after their images were encoded."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

from daemon_rig import Daemon
from harness import BUSY, FAILED, OK, QUARANTINED, USAGE, equal, one_line, run_tests, test, wait_until
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
    ws.write(os.path.splitext(paths[0])[0] + ".json", b'{"score": 0.12345678901234567, "rate": 1.0, "n": 1}')
    ws.write(caption_of(paths[0]), b"with metadata")
    ws.encode()
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


def key_of(path):
    return os.path.splitext(path)[0]


def set_captions(ws, given, *options, **settings):
    """captions set of {key: caption}, as lines."""
    lines = "".join(json.dumps({"key": key, "caption": caption}) + "\n" for key, caption in given.items())
    ws.write("given.jsonl", lines.encode(), ws.root)
    return ws.latentctl("captions", "set", ws.path("given.jsonl"), "--out", ws.out, *options, **settings)


@test
def captions_that_are_set_count_at_once_and_are_in_the_shards_after_the_next_rewrite(ws):
    paths = captioned(ws, 8)
    before, wanted = latents(ws), captions(ws)
    given = {key_of(paths[0]): "given ä", key_of(paths[1]): None}
    assert "2 captions would be set" in set_captions(ws, given, "--dry-run").out
    equal(overlay(ws), None, "the list after a dry run")
    set_captions(ws, given)
    equal(overlay(ws), given, "the list")
    equal(captions(ws), wanted, "what is stored so far")
    ws.latentctl("export", ws.out, "--to", "npz", "--into", ws.path("npz"))
    with open(ws.path("npz", "records.jsonl"), encoding="utf-8") as file:
        told = {r["key"]: r["caption"] for r in map(json.loads, file)}
    equal({key: told[key] for key in given}, given, "what an export has")
    assert "2 captions brought" in ws.latentctl("compact", "--out", ws.out).out
    wanted.update({paths[0]: "given ä", paths[1]: None})
    equal(captions(ws), wanted, "captions")
    equal(overlay(ws), None, "the list")
    set_captions(ws, {key_of(paths[2]): "by the next encode"})
    ws.encode()
    wanted[paths[2]] = "by the next encode"
    equal(captions(ws), wanted, "captions")
    equal(latents(ws), before, "latents, byte for byte")
    ws.verify()


@test
def a_caption_that_is_set_counts_instead_of_the_file_until_it_is_reset(ws):
    paths = captioned(ws, 4)
    wanted = captions(ws)
    set_captions(ws, {key_of(paths[0]): "given", key_of(paths[1]): "given too"})
    ws.write(caption_of(paths[0]), b"the file, changed")
    ws.encode()
    wanted.update({paths[0]: "given", paths[1]: "given too"})
    equal(captions(ws), wanted, "captions")
    with open(os.path.join(ws.src, paths[1]), "ab") as file:
        file.write(b"other bytes")  # it is encoded again
    ws.encode()
    equal(captions(ws), wanted, "captions of what was encoded again")
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out, ws.src)
    ws.encode()
    equal(captions(ws), wanted, "captions after a rebuild")
    ws.latentctl("captions", "reset", "--out", ws.out)
    ws.encode()
    wanted.update({paths[0]: "the file, changed", paths[1]: f"a picture of {paths[1]}"})
    equal(captions(ws), wanted, "captions after a reset")
    equal(overlay(ws), None, "the list")


@test
def a_daemon_takes_captions_while_it_runs(ws):
    daemon = Daemon(ws)
    daemon.dataset("set", src=ws.src)
    ws.name = "set"
    paths = ws.small_pictures(4)
    for path in paths:
        ws.write(caption_of(path), f"a picture of {path}\n".encode())
    daemon.start()
    daemon.wait_for("set", completed=4)
    # Shards are not rewritten again soon after the first indexes.
    wait_until(lambda: os.path.exists(os.path.join(ws.dataset, ".latentd", "wids.json")), "indexes")
    wanted = captions(ws)
    given = {key_of(paths[0]): "given", key_of(paths[1]): None, key_of(paths[2]): "reset later"}
    assert "3 captions would be set" in set_captions(ws, given, "--dry-run").out
    equal(overlay(ws), None, "the list after a dry run")
    result = set_captions(ws, {**given, "nobody": "x"}, code=QUARANTINED)
    one_line(result, "1 key that set does not have", '"nobody"')
    assert "3 captions set" in result.out, result.out
    equal(overlay(ws), given, "the list")
    # More than one request takes.
    many = {key: "m" * 10000 for key in map(key_of, paths[3:])}
    many.update({f"none{i}": "m" * 10000 for i in range(700)})
    for line in set_captions(ws, many, code=QUARANTINED).errors:
        assert "that set does not have" in line, line
    wanted.update({paths[0]: "given", paths[1]: None, paths[2]: "reset later", paths[3]: "m" * 10000})
    daemon.post("/drain")
    daemon.ended()
    equal(captions(ws), wanted, "captions")
    equal(overlay(ws), None, "the list")
    daemon.config["datasets"][0]["captions"] = False
    daemon.start()
    daemon.wait_for_state("idle")
    one_line(set_captions(ws, given, code=FAILED), "captions: false")
    daemon.stop()


@test
def a_daemon_gives_an_image_the_caption_that_was_set_before_it_was_encoded(ws):
    daemon = Daemon(ws)
    daemon.dataset("set", src=ws.src, paused=True)
    ws.name = "set"
    first, second = ws.small_pictures(2)
    ws.write(caption_of(first), b"the file's")
    ws.write(caption_of(second), b"the file's too")
    daemon.start()
    daemon.wait_for("set", available=2)
    set_captions(ws, {key_of(first): "given", key_of(second): "given too"})
    ws.latentctl("resume", "--out", ws.out)
    daemon.post("/drain")
    daemon.ended()
    equal(captions(ws), {first: "given", second: "given too"}, "captions")
    daemon.config["datasets"][0]["paused"] = False
    daemon.start()
    daemon.wait_for_state("idle")
    assert "2 captions no longer set" in ws.latentctl("captions", "reset", "--out", ws.out).out
    daemon.post("/drain")
    daemon.ended()
    equal(captions(ws), {first: "the file's", second: "the file's too"}, "captions after a reset")


@test
def captions_come_from_a_folder_of_texts_too_and_what_is_nobodys_is_named(ws):
    paths = captioned(ws, 5)
    wanted = captions(ws)
    for path in paths[:2]:
        ws.write(caption_of(path), f"text of {path} \n".encode(), ws.path("texts"))
        wanted[path] = f"text of {path}"
    for i in range(4):
        ws.write(f"nobody{i}.txt", b"", ws.path("texts"))
    os.symlink(ws.path("texts"), ws.path("link"))
    result = ws.latentctl("captions", "set", ws.path("link"), "--out", ws.out, code=QUARANTINED)
    one_line(result, "4 keys", '"nobody', "...")
    ws.latentctl("compact", "--out", ws.out)
    equal(captions(ws), wanted, "captions")


@test
def what_cannot_be_set_is_one_line_and_changes_nothing(ws):
    captioned(ws, 2)
    words = ("captions", "set")
    for data in (b'{"key": "a"}\n', b'{"key": "a", "caption": 3}\n', b"\0\n", b'{"key": "a", "caption": "\xff"}\n', b"[]\n"):
        ws.write("bad.jsonl", data, ws.root)
        one_line(ws.latentctl(*words, ws.path("bad.jsonl"), "--out", ws.out, code=FAILED), "bad.jsonl")
    ws.write("empty.jsonl", b"\n", ws.root)
    one_line(ws.latentctl(*words, ws.path("empty.jsonl"), "--out", ws.out, code=FAILED), "no captions")
    one_line(ws.latentctl(*words, ws.path("none"), "--out", ws.out, code=FAILED), "none")
    os.mkfifo(ws.path("fifo"))
    one_line(ws.latentctl(*words, ws.path("fifo"), "--out", ws.out, code=FAILED), "not a regular file")
    ws.latentctl("captions", "put", code=USAGE)
    ws.small_pictures(40, first=10)
    holder = ws.start_and_stop("open:30", ws.src, *ws.encode_words())
    one_line(set_captions(ws, {"0/0000": "x"}, code=BUSY), "in use by")
    holder.send_signal(signal.SIGCONT)
    equal(ws.finish(holder).code, OK)
    equal(overlay(ws), None, "the list")


run_tests()
