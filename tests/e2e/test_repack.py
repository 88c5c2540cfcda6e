#!/usr/bin/env python3
"""`latentctl repack`: another format, codec, size, order or split of shards that are there, without encoding."""

import json
import os
import random

from harness import DAMAGED, FAILED, OK, USAGE, equal, one_line, run_tests, same_members, test
from mds_rig import captioned, contents, indexes_are_true
from reference import read_dataset, read_shard, shard_files

DIED = 77  # as tests/crash/shim.h ends a program
KILLS = 300 if os.environ.get("LATENTD_TEST_LONG") else 8
SEED = int(os.environ.get("LATENTD_TEST_SEED") or random.randrange(1 << 32))


def repack(ws, *words, code=OK):
    return ws.latentctl("repack", "--out", ws.out, *words, code=code)


def dataset_json(ws):
    with open(os.path.join(ws.dataset, ".latentd", "dataset.json"), encoding="utf-8") as file:
        return json.load(file)


def many_shards(ws, n=24, size="4"):
    captioned(ws, n)
    ws.encode("--shard-samples", size)
    return contents(ws.dataset)


def nothing_is_left(ws):
    assert not os.path.exists(os.path.join(ws.dataset, ".latentd", "repack.json"))
    ws.verify()


def sizes(ws):
    return [len(read_shard(file)) for file in shard_files(ws.dataset)]


@test
def formats_and_codecs_change_and_come_back_byte_for_byte(ws):
    before = many_shards(ws)
    members = {s.path: s.members for s in read_dataset(ws.dataset)}
    result = repack(ws, "--format", "mds", "--shard-samples", "10")
    assert "from now on encode with --format mds" in result.out, result.out
    equal(contents(ws.dataset), before, "samples")
    assert all(file.endswith(".mds.zstd") for file in shard_files(ws.dataset))
    assert max(sizes(ws)) > 4 and max(sizes(ws)) <= 10, sizes(ws)
    indexes_are_true(ws.dataset)
    equal((dataset_json(ws)["format"], dataset_json(ws)["codec"]), ("mds", "none"), "form")
    nothing_is_left(ws)
    one_line(ws.encode(code=FAILED), "has format mds")
    assert "(0 new)" in ws.encode("--format", "mds").out
    repack(ws, "--columns", "caption=text", "--shard-samples", "10")
    equal(dataset_json(ws)["columns"], "caption=text", "columns")
    ws.verify()
    repack(ws, "--format", "wds", "--codec", "none")
    equal(contents(ws.dataset), before, "samples")
    assert "columns" not in dataset_json(ws)
    assert not [name for _, _, names in os.walk(os.path.join(ws.dataset, "train")) for name in names if name.endswith(".json")]
    repack(ws, "--codec", "zstd", "--shard-samples", "4")
    equal({s.path: s.members for s in read_dataset(ws.dataset)}, members, "members, byte for byte")
    nothing_is_left(ws)
    ws.encode()


@test
def shards_get_the_size_that_was_asked_for_and_no_rests(ws):
    before = many_shards(ws)
    repack(ws, "--shard-samples", "6")
    assert max(sizes(ws)) <= 6, sizes(ws)
    equal(contents(ws.dataset), before, "samples")
    # Nothing is left to do.
    files = shard_files(ws.dataset)
    result = repack(ws, "--shard-samples", "6")
    assert "0 shards" in result.out and "are so already" in result.out, result.out
    equal(shard_files(ws.dataset), files, "shards")
    nothing_is_left(ws)


@test
def order_and_split_are_those_of_keys_and_paths(ws):
    before = many_shards(ws, 40)
    repack(ws, "--order", "scan", "--shard-samples", "7")
    for size in {os.path.dirname(file) for file in shard_files(ws.dataset)}:
        paths = [s.path for file in shard_files(ws.dataset) if os.path.dirname(file) == size for s in read_shard(file)]
        equal(paths, sorted(paths), f"order in {size}")
    repack(ws, "--val", "30", "--order", "shuffled")
    parts = {split: {s.key for f in shard_files(ws.dataset, split) for s in read_shard(f)} for split in ("train", "val")}
    assert parts["val"] and parts["train"], parts
    equal(set(os.listdir(ws.dataset)) - {".latentd", "README.md"}, {"train", "val"}, "splits")
    equal(contents(ws.dataset), before, "samples")
    counts = {name: about["samples"] for name, about in dataset_json(ws)["splits"].items()}
    equal(counts, {split: len(keys) for split, keys in parts.items()}, "dataset.json")
    nothing_is_left(ws)
    # It stays through everything else that replaces shards, and more of it holds what less had.
    ws.latentctl("compact", "--out", ws.out)
    repack(ws, "--format", "mds")
    equal({s.key for f in shard_files(ws.dataset, "val") for s in read_shard(f)}, parts["val"], "keys of val")
    indexes_are_true(ws.dataset)
    indexes_are_true(ws.dataset, "val")
    repack(ws, "--val", "60")
    assert parts["val"] < {s.key for f in shard_files(ws.dataset, "val") for s in read_shard(f)}
    assert "(0 new)" in ws.encode("--format", "mds").out
    repack(ws, "--val", "0")
    equal(shard_files(ws.dataset, "val"), [], "val")
    equal(contents(ws.dataset), before, "samples")
    nothing_is_left(ws)


@test
def an_index_names_the_shards_that_are_there_also_where_new_ones_have_old_bytes(ws):
    captioned(ws, 1)
    ws.encode("--format", "mds")
    (before,) = shard_files(ws.dataset)
    repack(ws, "--order", "scan", "--val", "0")
    (after,) = shard_files(ws.dataset)
    assert os.path.basename(after) != os.path.basename(before), "nothing was written anew"
    indexes_are_true(ws.dataset)
    nothing_is_left(ws)


@test
def a_dry_run_says_what_would_be_and_changes_nothing(ws):
    before = many_shards(ws)
    files, about = shard_files(ws.dataset), dataset_json(ws)
    result = repack(ws, "--format", "mds", "--dry-run", "--shard-samples", "10")
    assert "would be repacked" in result.out, result.out
    equal((shard_files(ws.dataset), dataset_json(ws), contents(ws.dataset)), (files, about, before), "the output")
    assert os.listdir(ws.dataset) and not os.path.exists(os.path.join(ws.dataset, ".latentd", "repack.json"))


@test
def what_cannot_be_is_said_in_one_line(ws):
    many_shards(ws, 4)
    one_line(repack(ws, "--format", "mds", "--codec", "none", code=FAILED), "codecs are of format wds")
    one_line(repack(ws, "--columns", "caption=text", code=FAILED), "of format mds")
    one_line(repack(ws, "--format", "mds", "--columns", "caption=key", code=FAILED), "two columns would be called key")
    assert "from 0 to below 100" in repack(ws, "--val", "100", code=USAGE).err
    assert "--format" in repack(ws, "--format", "parquet", code=USAGE).err
    one_line(ws.latentctl("repack", "--out", ws.path("nowhere"), code=FAILED))
    ws.verify()


@test
def a_damaged_shard_is_left_alone_and_taken_when_it_is_mended(ws):
    before = many_shards(ws)
    file = shard_files(ws.dataset)[1]
    with open(file, "r+b") as shard:
        whole = shard.read()
        shard.seek(700)
        shard.write(bytes([whole[700] ^ 1]))
    result = repack(ws, "--format", "mds", code=DAMAGED)
    assert "not rewritten" in result.err, result.err
    assert os.path.exists(file)
    with open(file, "wb") as shard:
        shard.write(whole)
    assert "goes on where it was stopped" in repack(ws, "--format", "mds").out
    equal(contents(ws.dataset), before, "samples")
    nothing_is_left(ws)


@test
def what_waits_for_its_shard_comes_in_the_new_form(ws):
    captioned(ws, 4)
    ws.encode()
    for n, form in ((4, ("--codec", "none")), (8, ("--format", "mds")), (12, ("--format", "wds", "--codec", "zstd"))):
        captioned(ws, 4, first=n)
        words = before if n > 4 else ()
        encode = ws.start_and_stop("sync:1", ws.dataset, *ws.encode_words(*words))
        encode.kill()
        ws.finish(encode)
        repack(ws, *form)
        ws.encode(*form)
        member = "latent.npy.zst" if "zstd" in form else "latent.npy"
        equal([sorted(s.members) for s in read_dataset(ws.dataset)], [["json", member, "txt"]] * (n + 4), "members")
        ws.verify()
        before = form


@test
def a_shard_that_was_adopted_in_an_older_form_is_told_and_gets_the_new_one(ws):
    captioned(ws, 4)
    ws.encode()
    was = ("--format", "wds")
    forms = {
        "codec zstd": ("--codec", "none"),
        "format wds": ("--format", "mds"),
        "columns under their own names": ("--format", "mds", "--columns", "caption=text"),
    }
    for n, (told, form) in enumerate(forms.items(), 1):
        captioned(ws, 4, first=4 * n)
        encode = ws.start_and_stop("change:1", os.path.join(ws.dataset, "train"), *ws.encode_words(*was))
        encode.kill()
        ws.finish(encode)
        whole = set(shard_files(ws.dataset))
        repack(ws, *form)
        (late,) = whole & set(shard_files(ws.dataset))  # nobody knew it
        result = ws.encode(*form)
        assert "adopted" in result.err and f"has {told}, as before a repack" in result.err, result
        before = {path: sample[:2] for path, sample in contents(ws.dataset).items()}  # the third is in a column of another name
        equal(len(before), 4 * n + 4, "samples")
        assert late in shard_files(ws.dataset), "nothing was adopted"
        repack(ws)
        assert late not in shard_files(ws.dataset), "the shard of the old form"
        assert {path: sample[:2] for path, sample in contents(ws.dataset).items()} == before, "samples"
        nothing_is_left(ws)
        assert "0 shards" in repack(ws).out, "nothing is left to do"
        was = form


@test
def a_dataset_whose_first_run_was_killed_before_it_had_an_index_is_in_nobodys_way(ws):
    many_shards(ws, 6)
    first = ws.start_and_stop("rename:1", os.path.join(ws.out, "other"), *ws.encode_words("--name", "other"))
    first.kill()
    ws.finish(first)
    assert os.path.isdir(os.path.join(ws.out, "other")), "the first run had not begun"
    assert not os.path.exists(os.path.join(ws.out, "other", ".latentd", "dataset.json")), "it has an index"
    repack(ws, "--shard-samples", "100")
    equal(len(shard_files(ws.dataset)), 2, "shards, one for each size")


@test
def one_that_was_stopped_is_not_finished_by_another_that_asks_for_less(ws):
    before = many_shards(ws, 24)
    shim = {**ws.stops_at("change:1", ws.dataset), "SHIM_FAULT": "change:8:die"}
    words = ("--format", "mds", "--shard-samples", "4")
    equal(ws.latentctl("repack", "--out", ws.out, *words, code=None, env={**ws.environment, **shim}).code, DIED, "exit status")
    equal(dataset_json(ws)["format"], "mds", "dataset.json")
    assert [file for file in shard_files(ws.dataset) if file.endswith(".tar")], "nothing is left to do"
    # The shards that it did not come to have the size that this one asks for.
    repack(ws, "--shard-samples", "5", "--shard-size", "64MiB")
    equal([file for file in shard_files(ws.dataset) if file.endswith(".tar")], [], "shards of the old format")
    equal(contents(ws.dataset), before, "samples")
    nothing_is_left(ws)


@test
def every_sample_is_there_once_after_kills(ws):
    print(f"LATENTD_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    before = many_shards(ws, 30)
    forms = (("--format", "mds"), ("--format", "wds", "--val", "20"), ("--order", "scan", "--codec", "none"), ("--val", "0"))
    for i in range(KILLS):
        words = ("repack", "--out", ws.out, *forms[i % len(forms)], "--shard-samples", str(chance.choice((3, 10))))
        fault = f"change:{chance.randrange(1, 60)}:{chance.choice(('die', 'die-after'))}"
        shim = {**ws.stops_at("change:1", ws.dataset), "SHIM_FAULT": fault}
        died = ws.latentctl(*words, code=None, env={**ws.environment, **shim})
        assert died.code in (OK, DIED), f"exit status {died.code}"
        found = [s.path for s in read_dataset(ws.dataset)]
        assert set(found) <= set(before) and len(set(found)) == len(found), "a sample twice, or one of nothing"
        ws.latentctl(*words)
        equal(contents(ws.dataset), before, "samples")
        nothing_is_left(ws)
    same_members([s.path for s in read_dataset(ws.dataset)], before, "samples")


if __name__ == "__main__":
    run_tests()
