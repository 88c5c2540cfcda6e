"""Indexes for other programs, and what makes them again."""

import itertools
import json
import os
import shutil
import tarfile

from harness import DAMAGED, OK, QUARANTINED, equal, run_tests, same_members, test
from reference import read_dataset, shard_files


def index_files(ws):
    """{path below the dataset: bytes, or where a link leads} of everything that is derived."""
    found = {}
    for at, folders, names in os.walk(ws.dataset):
        for name in names:
            path = os.path.join(at, name)
            where = os.path.relpath(path, ws.dataset)
            if where.startswith("train" + os.sep):
                continue
            if os.path.islink(path):
                found[where] = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found[where] = file.read()
    return found


def make(ws, n=20):
    ws.small_pictures(n)
    ws.encode("--shard-samples", "4")
    return sorted(os.path.relpath(file, ws.dataset) for file in shard_files(ws.dataset))


@test
def an_encode_leaves_every_index(ws):
    shards = make(ws)
    files = index_files(ws)
    for name in ("dataset.json", "shards.jsonl", "shards.txt", "wids.json"):
        assert os.path.join(".latentd", name) in files, files.keys()
    equal(files[".latentd/shards.txt"].decode().splitlines(), shards)
    rows = [json.loads(line) for line in files[".latentd/shards.jsonl"].splitlines()]
    equal([row["path"] for row in rows], shards)
    about = json.loads(files[".latentd/dataset.json"])
    equal(about["splits"]["train"]["samples"], 20)
    equal(sum(bucket["samples"] for bucket in about["buckets"].values()), 20)
    equal(about["recipe_id"], ws.status()["recipe_id"])
    wids = json.loads(files[".latentd/wids.json"])
    equal([os.path.normpath(os.path.join(".latentd", s["url"])) for s in wids["shardlist"]], shards)


@test
def every_member_stands_where_the_webshart_index_says(ws):
    for shard in make(ws):
        index = os.path.join(ws.dataset, ".latentd", "webshart", shard[: -len(".tar")] + ".json")
        with open(index, encoding="utf-8") as file:
            about = json.load(file)
        with tarfile.open(os.path.join(ws.dataset, shard)) as tar:
            places = {m.name: (m.offset_data, m.size) for m in tar}
        equal({k: (v["offset"], v["size"]) for k, v in about["files"].items()}, places)
        equal(about["filesize"], os.path.getsize(os.path.join(ws.dataset, shard)))


@test
def energon_links_lead_to_the_shards_and_offsets_to_their_samples(ws):
    for shard in make(ws):
        link = os.path.join(ws.dataset, ".latentd", "energon", shard)
        assert os.path.samefile(link, os.path.join(ws.dataset, shard))
        with open(link + ".idx", "rb") as file:
            data = file.read()
        offsets = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
        with tarfile.open(link) as tar:
            members = list(tar)
        firsts = [m.offset for m in members if m.name.endswith(".json")]
        end = members[-1].offset_data + (members[-1].size + 511) // 512 * 512
        equal(offsets, [*firsts, end])


@test
def indexes_that_were_deleted_come_back_with_the_same_bytes(ws):
    make(ws)
    before = index_files(ws)
    shutil.rmtree(os.path.join(ws.dataset, ".latentd"))
    os.unlink(os.path.join(ws.dataset, "README.md"))
    ws.latentctl("reindex", "--out", ws.out)
    equal(index_files(ws), before)


@test
def a_run_without_news_writes_no_index(ws):
    make(ws)
    times = {}
    for at, _, names in os.walk(os.path.join(ws.dataset, ".latentd")):
        for name in names:
            times[os.path.join(at, name)] = os.lstat(os.path.join(at, name)).st_mtime_ns
    ws.encode("--shard-samples", "4")
    ws.latentctl("reindex", "--out", ws.out)
    equal({path: os.lstat(path).st_mtime_ns for path in times}, times)


@test
def a_shard_that_is_gone_leaves_no_index(ws):
    shards = make(ws)
    os.unlink(os.path.join(ws.dataset, shards[0]))
    ws.encode("--shard-samples", "4")
    left = sorted(os.path.relpath(file, ws.dataset) for file in shard_files(ws.dataset))
    base = os.path.join(ws.dataset, ".latentd")
    found = []
    for at, _, names in os.walk(os.path.join(base, "webshart")):
        found += [os.path.relpath(os.path.join(at, n), os.path.join(base, "webshart")) for n in names]
    same_members([name[: -len(".json")] + ".tar" for name in found], left, "webshart indexes")


@test
def a_readme_that_a_person_wrote_stays(ws):
    make(ws)
    path = os.path.join(ws.dataset, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    (sample, *_) = read_dataset(ws.dataset)
    shape = sample.record["latent"]["shape"]
    assert str(shape) in text and "float16" in text, text
    with open(path, "w", encoding="utf-8") as file:
        file.write("mine\n")
    ws.latentctl("reindex", "--out", ws.out)
    with open(path, encoding="utf-8") as file:
        equal(file.read(), "mine\n")


@test
def nothing_that_a_loader_takes_for_data_lies_beside_the_shards(ws):
    """The folder as Hugging Face datasets globs it: hidden parts and README.md are passed over."""
    make(ws)
    for at, folders, names in os.walk(ws.dataset):
        folders[:] = [f for f in folders if not f.startswith((".", "__"))]
        for name in names:
            assert name.endswith(".tar") or name == "README.md", os.path.join(at, name)


@test
def a_damaged_index_is_named_by_verify_and_made_again(ws):
    make(ws)
    sound = index_files(ws)
    derived = [name for name in sound if name.startswith(".latentd/") and isinstance(sound[name], bytes)]
    kinds = ("dataset.json", "shards.jsonl", "shards.txt", "wids.json", "/webshart/", "/energon/train", "/.nv-meta/")
    for kind in kinds:
        (name, *_) = sorted(name for name in derived if kind in name)
        path = os.path.join(ws.dataset, name)
        with open(path, "r+b") as file:
            file.seek(len(sound[name]) // 2)
            file.write(bytes([sound[name][len(sound[name]) // 2] ^ 1]))
        result = ws.latentctl("verify", "--out", ws.out, code=DAMAGED)
        assert f"set/{name}: not what catalog and shards say" in result.out, result
        equal(result.out.count("not what"), 1, "indexes that are named")
        ws.latentctl("verify", "--deep", "--out", ws.out, code=DAMAGED)
        ws.verify()
        equal(index_files(ws), sound, "indexes")


@test
def an_old_catalog_that_comes_back_gets_its_indexes_back(ws):
    """A run has died while it wrote those of a new one, and then all that was new is lost."""
    make(ws, 4)
    wanted, shards, came_back = index_files(ws), shard_files(ws.dataset), 0
    folders = {ws.out: ws.path("old-out"), ws.path("state"): ws.path("old-state")}
    for now, old in folders.items():
        shutil.copytree(now, old, symlinks=True)
    for n in itertools.count(1):
        (new,) = ws.small_pictures(1, first=4)
        faults = {**ws.stops_at("", ws.out), "SHIM_FAULT": f"rename:{n}:die-after"}
        if ws.encode(code=None, env={**ws.environment, **faults}).code == OK:
            break
        os.remove(os.path.join(ws.src, new))
        for file in set(shard_files(ws.dataset)) - set(shards):
            os.remove(file)
        ws.encode()
        ws.verify()
        if shard_files(ws.dataset) == shards:  # not where the new one's record still waited
            found = index_files(ws)
            equal([name for name in wanted if found.get(name) != wanted[name]], [], "other indexes")
            came_back += 1
        for now, old in folders.items():
            shutil.rmtree(now)
            shutil.copytree(old, now, symlinks=True)
    assert came_back > 8, f"{came_back} of {n}"


@test
def the_indexes_of_a_dataset_without_shards_are_sound(ws):
    ws.write("broken.jpg", b"\xff\xd8\xff and no more")
    ws.encode(code=QUARANTINED)
    ws.verify()


run_tests()
