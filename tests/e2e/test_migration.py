#!/usr/bin/env python3
"""Output and state folder of every schema version: today's program goes on where the run of that time died.

What is in the files: tests/golden/state_make.sh.
"""

import os
import re
import socket
import tarfile

from harness import FAILED, GOLDEN_IMAGES, QUARANTINED, SOURCE_DIR
from harness import equal, run_tests, same_members, test
from reference import read_dataset, shard_files

GOLDEN = os.path.join(SOURCE_DIR, "tests", "golden")
WAS_AT = "/srv/latents"
OPTIONS = ("--shard-samples", "3", "--jobs", "1", "--quiet")
PICTURES = 12
LATEST = 5


def restore(ws, version):
    """Unpacks the folders; what names place and host of that time names those of this one."""
    with tarfile.open(os.path.join(GOLDEN, f"state_v{version}.tar.gz")) as tar:
        tar.extractall(ws.root)
    for at, _, names in os.walk(ws.root):
        for path in (os.path.join(at, n) for n in names if n in ("owner.json", "set.sources.json")):
            with open(path, encoding="utf-8") as file:
                text = file.read().replace(WAS_AT, ws.root)
            with open(path, "w", encoding="utf-8") as file:
                file.write(re.sub('"host": "[^"]*"', f'"host": "{socket.gethostname()}"', text))


def pictures(ws):
    """Those that it was made of; the paths of the good ones."""
    names = ("rocket.jpg", "odd_420.jpg", "orientation_6.jpg", "grey_alpha.png", "grey.jpg")
    paths = []
    for i in range(PICTURES):
        name = names[i % len(names)]
        with open(os.path.join(GOLDEN_IMAGES, name), "rb") as file:
            data = file.read()
        paths.append(f"a/{i:02d}{os.path.splitext(name)[1]}")
        ws.write(paths[-1], data + b"%d" % i)
    with open(os.path.join(GOLDEN_IMAGES, names[0]), "rb") as file:
        ws.write("a/bad.jpg", file.read(900))
    return paths


def contents(ws):
    found = {}
    for path in shard_files(ws.dataset):
        with open(path, "rb") as file:
            found[os.path.relpath(path, ws.dataset)] = file.read()
    return found


def all_is_there(ws, paths):
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], paths, "samples")
    same_members([s.key for s in samples], {s.key for s in samples}, "keys")
    equal(list(ws.failed()), [b"a/bad.jpg"], "failed images")
    jobs = ws.status()["jobs"]
    equal((jobs["completed"], sum(jobs.values())), (len(paths), len(paths) + 1), "jobs")
    result = ws.latentctl("verify", "--deep", "--out", ws.out)
    assert "not in the catalog" not in result.out, result


def goes_on(ws, version):
    restore(ws, version)
    paths, were = pictures(ws), contents(ws)
    if version < LATEST:
        refused = ws.latentctl("status", "--out", ws.out, code=FAILED)
        assert f"schema version {version}, older than {LATEST}" in refused.err, refused
    ws.encode(*OPTIONS, code=QUARANTINED)
    now = contents(ws)
    equal([n for n, data in were.items() if now.get(n) != data], [], "shards that are others")
    all_is_there(ws, paths)
    ws.encode(*OPTIONS, code=QUARANTINED)
    equal([n for n, data in contents(ws).items() if now.get(n) != data], [], "shards made twice")
    rows_go_along(ws, paths)


def rows_go_along(ws, paths):
    """New captions, deletions and compaction reach the old rows too."""
    ws.write("a/00.txt", b"a caption")
    os.remove(os.path.join(ws.src, paths[1]))
    gone = ("--on-delete", "remove", "--on-delete-all")
    ws.encode(*OPTIONS, *gone, code=QUARANTINED)
    ws.latentctl("compact", "--shard-samples", "100", "--out", ws.out)
    ws.latentctl("gc", "--grace", "0", "--out", ws.out)
    samples = read_dataset(ws.dataset)
    same_members([s.path for s in samples], [paths[0], *paths[2:]], "samples")
    (told,) = [s for s in samples if s.path == paths[0]]
    equal(told.record["caption"], "a caption", "the caption")
    ws.latentctl("verify", "--deep", "--out", ws.out)


@test
def the_work_of_schema_version_1_goes_on(ws):
    goes_on(ws, 1)


@test
def the_work_of_schema_version_2_goes_on(ws):
    goes_on(ws, 2)


@test
def the_work_of_schema_version_3_goes_on(ws):
    goes_on(ws, 3)


@test
def the_work_of_schema_version_4_goes_on(ws):
    goes_on(ws, 4)


@test
def the_work_of_schema_version_5_goes_on(ws):
    goes_on(ws, 5)


run_tests()
