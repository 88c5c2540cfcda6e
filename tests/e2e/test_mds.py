#!/usr/bin/env python3
"""`--format mds`: shards of MosaicML Streaming, and every command on them. tests/interop/read_streaming.py has the package."""

import glob
import json
import os
import shutil
import struct

from daemon_rig import Daemon
from harness import DAMAGED, FAILED, equal, one_line, run_tests, same_members, test
from mds_rig import captioned, contents, indexes_are_true
from reference import npy_values, read_dataset, read_mds, shard_files, xxh3_128

MDS = ("--format", "mds", "--shard-samples", "4")


@test
def samples_are_those_of_tars(ws):
    captioned(ws, 14)
    ws.encode("--name", "tars")
    ws.encode("--name", "mds", *MDS)
    equal(contents(ws.path("out", "mds")), contents(ws.path("out", "tars")), "samples")
    indexes_are_true(ws.path("out", "mds"))
    columns, rows = read_mds(shard_files(ws.path("out", "mds"))[0])
    for row in rows:
        record = json.loads(row["meta"])
        for field in ("original_size", "crop_top_left", "target_size"):
            equal(list(struct.unpack("<2i", row[field])), record[field], field)
    equal(columns["latent"], "ndarray:float16", "encoding")
    ws.verify()
    for name in ("wids.json", "webshart", "energon"):
        assert not os.path.exists(ws.path("out", "mds", ".latentd", name)), name
    with open(ws.path("out", "mds", "README.md"), encoding="utf-8") as file:
        assert "StreamingDataset" in file.read()
    # A second run has nothing to do; what another dataset has is copied from its shards.
    assert "(0 new)" in ws.encode("--name", "mds", *MDS).out
    ws.encode("--name", "copies")
    equal(contents(ws.path("out", "copies")), contents(ws.path("out", "tars")), "samples")


@test
def columns_have_the_names_and_the_form_that_were_asked_for(ws):
    captioned(ws, 5)
    spec = "latent=latents_256:bytes,caption=text,meta:bytes"
    words = (*MDS, "--columns", spec)
    ws.encode(*words)
    for file in shard_files(ws.dataset):
        columns, rows = read_mds(file)
        equal((columns["latents_256"], columns["text"], columns["meta"]), ("bytes", "str", "bytes"))
        for row in rows:
            about = json.loads(row["meta"])["latent"]
            equal(xxh3_128(row["latents_256"]), about["xxh3_128"], "hash of the values")
    ws.verify()
    # What is rewritten keeps them.
    paths = ws.small_pictures(4, first=5)
    ws.encode(*words)
    ws.latentctl("compact", "--out", ws.out)
    assert all("latents_256" in read_mds(file)[0] for file in shard_files(ws.dataset)), paths
    ws.verify()
    result = ws.encode(*MDS, code=FAILED)
    one_line(result, spec, "give another --name")
    one_line(ws.encode(*MDS, "--columns", "caption=key", "--name", "n", code=FAILED), "called key")
    one_line(ws.encode("--columns", spec, code=FAILED), "of format mds")
    one_line(ws.encode(*MDS, "--columns", "latent=", code=FAILED), "does not name columns")
    one_line(ws.encode("--format", "mds", "--shard-size", "4GiB", code=FAILED), "3 GiB")
    one_line(ws.encode(code=FAILED), "format mds")


@test
def changes_and_merges_reach_shards_and_indexes(ws):
    paths = captioned(ws, 6)
    for n in range(6, 15, 3):
        ws.encode(*MDS)
        paths += captioned(ws, 3, first=n)
    ws.encode(*MDS)
    before = contents(ws.dataset)
    same_members(before, paths, "paths")
    ws.write(os.path.splitext(paths[0])[0] + ".txt", b"another caption")
    os.remove(os.path.join(ws.src, paths[1]))
    ws.encode(*MDS, "--on-delete", "remove")
    wanted = {path: value[1] for path, value in before.items() if path != paths[1]}
    after = contents(ws.dataset)
    equal({path: value[1] for path, value in after.items()}, wanted, "latents")
    equal(after[paths[0]][2], b"another caption", "caption")
    indexes_are_true(ws.dataset)
    n = len(shard_files(ws.dataset))
    ws.latentctl("compact", "--out", ws.out)
    assert len(shard_files(ws.dataset)) < n
    equal(contents(ws.dataset), after, "samples")
    indexes_are_true(ws.dataset)
    ws.latentctl("gc", "--out", ws.out, "--grace", "0")
    ws.verify()


@test
def damage_is_named_and_mended(ws):
    captioned(ws, 9)
    ws.encode(*MDS)
    before = contents(ws.dataset)
    file = shard_files(ws.dataset)[0]
    with open(file, "r+b") as shard:
        shard.seek(os.path.getsize(file) // 2)
        old = shard.read(1)[0]
        shard.seek(-1, os.SEEK_CUR)
        shard.write(bytes([old ^ 4]))
    assert os.path.basename(file) in ws.verify(code=DAMAGED).out
    ws.latentctl("verify", "--out", ws.out, "--deep", code=DAMAGED)
    ws.encode(*MDS)
    equal(contents(ws.dataset), before, "samples")
    ws.verify()
    indexes_are_true(ws.dataset)
    # An index is only as good as its bytes.
    path = os.path.join(ws.dataset, "train", "index.json")
    with open(path, "r+b") as file:
        at = file.read().index(b'"xxh64":"') + 9
        file.seek(at)
        digit = file.read(1)
        file.seek(at)
        file.write(b"0" if digit != b"0" else b"1")
    assert "train/index.json" in ws.verify(code=DAMAGED).out
    ws.latentctl("reindex", "--out", ws.out)
    indexes_are_true(ws.dataset)
    ws.verify()


@test
def the_form_is_that_of_the_shards_where_nothing_says_it(ws):
    captioned(ws, 12)
    about = os.path.join(ws.dataset, ".latentd", "dataset.json")
    ws.encode(*MDS, "--shard-samples", "4")
    before = contents(ws.dataset)
    for command in ("reindex", "compact"):
        for text in (None, "damaged"):
            os.unlink(about)
            if text:
                with open(about, "w", encoding="utf-8") as file:
                    file.write(text)
            ws.latentctl(command, "--out", ws.out)
            assert all(file.endswith(".mds.zstd") for file in shard_files(ws.dataset)), shard_files(ws.dataset)
            with open(about, encoding="utf-8") as file:
                equal(json.load(file)["format"], "mds", "format")
            ws.encode(*MDS)
    equal(contents(ws.dataset), before, "samples")


@test
def columns_that_were_chosen_stay_where_dataset_json_is_lost(ws):
    captioned(ws, 6)
    chosen = (*MDS, "--columns", "caption=text,latent:bytes")
    ws.encode(*chosen, "--shard-samples", "2")
    about = os.path.join(ws.dataset, ".latentd", "dataset.json")
    for command in ("reindex", "compact"):
        os.unlink(about)
        ws.latentctl(command, "--out", ws.out)
        with open(about, encoding="utf-8") as file:
            equal(json.load(file)["columns"], chosen[-1], f"columns after {command}")
        for file in shard_files(ws.dataset):
            columns, _ = read_mds(file)
            equal((columns["text"], columns["latent"]), ("str", "bytes"), f"columns after {command}")
    ws.verify()
    assert "(0 new)" in ws.encode(*chosen).out
    one_line(ws.encode(*MDS, code=FAILED), "columns caption=text,latent:bytes")


@test
def a_lost_state_comes_back_from_the_shards(ws):
    captioned(ws, 9)
    ws.encode(*MDS)
    before, files = contents(ws.dataset), shard_files(ws.dataset)
    shutil.rmtree(ws.path("state"))
    ws.latentctl("rebuild", ws.out)
    assert "(0 new)" in ws.encode(*MDS).out
    equal((contents(ws.dataset), shard_files(ws.dataset)), (before, files), "samples and shards")
    ws.verify()
    # A shard that nobody has entered yet is adopted.
    shutil.rmtree(ws.path("state"))
    assert "(0 new)" in ws.encode(*MDS).out
    ws.verify()


@test
def parts_are_merged_by_form(ws):
    captioned(ws, 8)
    for part, form in (("1", MDS), ("2", MDS), ("3", ())):
        ws.encode(*form, "--part", f"{part}/3", out=ws.path(part))
    ws.latentctl("merge", ws.out, ws.path("1"), ws.path("2"))
    ws.verify()
    indexes_are_true(ws.dataset)
    assert all(file.endswith(".mds.zstd") for file in shard_files(ws.dataset))
    one_line(ws.latentctl("merge", ws.out, ws.path("3"), code=FAILED), "has format mds")


@test
def one_sample_and_pictures_of_many_are_taken_out(ws):
    captioned(ws, 5)
    ws.encode(*MDS)
    sample = read_dataset(ws.dataset)[2]
    lines = ws.latentctl("inspect", sample.shard, "--json").out.splitlines()
    assert sample.key in [json.loads(line)["key"] for line in lines], lines
    ws.latentctl("extract", sample.shard, sample.key, "--to", ws.path("one"))
    files = {f.rsplit(".", 1)[1]: f for f in glob.glob(ws.path("one", "**", "*"), recursive=True) if os.path.isfile(f)}
    with open(files["npy"], "rb") as file:
        equal(npy_values(file.read()), npy_values(sample.npy), "latent")
    ws.latentctl("preview", ws.dataset, "-o", ws.path("sheet.png"))
    assert os.path.getsize(ws.path("sheet.png")) > 100


@test
def a_daemon_writes_them_too(ws):
    daemon = Daemon(ws)
    output = {"format": "mds", "shard_samples": 3, "columns": "caption=text"}
    src = daemon.dataset(output=output)["source"]["path"]
    paths = ws.small_pictures(7, src)
    daemon.run("--once")
    dataset = os.path.join(ws.out, "set")
    equal(len(shard_files(dataset)) > 2, True, "more than two shards")
    rows = [row for file in shard_files(dataset) for row in read_mds(file)[1]]
    same_members([json.loads(row["meta"])["source"] for row in rows], paths, "samples")
    indexes_are_true(dataset)
    ws.latentctl("verify", "--out", ws.out)


if __name__ == "__main__":
    run_tests()
