#!/usr/bin/env python3
"""Output and state folder of every schema version: today's program goes on where the run of that time died.

What is in the files: tests/golden/state_make.sh.
"""

import glob
import os
import re
import socket
import subprocess
import tarfile

from daemon_rig import Daemon
from harness import BUILD_DIR, FAILED, GOLDEN_IMAGES, QUARANTINED, SOURCE_DIR, USAGE
from harness import equal, one_line, run_tests, same_members, test
from reference import read_dataset, shard_files

GOLDEN = os.path.join(SOURCE_DIR, "tests", "golden")
WAS_AT = "/srv/latents"
OPTIONS = ("--shard-samples", "3", "--jobs", "1", "--quiet")
PICTURES = 12
LATEST = 6


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


@test
def the_work_of_schema_version_6_goes_on(ws):
    goes_on(ws, 6)


# -- a state folder that is newer

NEWER = 12


def make_newer(state):
    """The database in it, now of a schema that this program does not know; its bytes."""
    program = os.path.join(BUILD_DIR, "tests", "raise_schema")
    file = os.path.join(state, "queue.db")
    subprocess.run([program, file, str(NEWER)], check=True)
    with open(file, "rb") as database:
        return file, database.read()


def refused(result, file):
    one_line(result, file, f"has schema version {NEWER}, this program knows versions up to {LATEST}:")
    assert "use the newer latentd that wrote it" in result.err, result


def is_left_alone(file, was):
    with open(file, "rb") as database:
        assert database.read() == was, f"{file} is another"
    equal(os.path.getsize(f"{file}-wal"), 0, "the size of the log")


@test
def latentctl_refuses_the_state_of_a_newer_one_and_leaves_it_alone(ws):
    paths = ws.small_pictures(3)
    ws.encode()
    (state,) = glob.glob(os.path.join(ws.environment["XDG_STATE_HOME"], "latentd", "*"))
    file, was = make_newer(state)
    shards = contents(ws)
    for words in (["status"], ["failed"], ["verify", "--deep"], ["retry"], ["gc"], ["compact"], ["reindex"]):
        refused(ws.latentctl(*words, "--out", ws.out, code=FAILED), file)
    refused(ws.latentctl("rebuild", ws.out, code=FAILED), file)
    ws.small_pictures(1, first=3)
    refused(ws.encode(code=FAILED), file)
    is_left_alone(file, was)
    equal(contents(ws), shards, "shards")
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")


@test
def latentd_refuses_the_state_of_a_newer_one_and_leaves_it_alone(ws):
    daemon = Daemon(ws)
    ws.small_pictures(3, ws.path("set"))
    daemon.dataset()
    daemon.run("--once")
    file, was = make_newer(daemon.state_dir)
    refused(daemon.command(code=USAGE), file)
    refused(daemon.command("--once", code=USAGE), file)
    is_left_alone(file, was)


run_tests()
