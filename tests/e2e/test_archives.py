#!/usr/bin/env python3
"""Images in archives: of every kind, whole, damaged and hostile, alone, in folders, replaced, and under the daemon."""

import io
import json
import os
import signal
import subprocess
import tarfile
import time

from daemon_rig import Daemon
from harness import BUILD_DIR, INTERRUPTED, OK, QUARANTINED, demo_model, equal, run_tests, same_members, test
from reference import read_dataset

KINDS = ("tar", "tar.gz", "tar.zst", "tar.xz", "zip", "7z")


def archive(ws, path, folder=None, password=None):
    """An archive of everything below a folder, old enough for a daemon that meets it in a scan."""
    full = ws.path(path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    secret = ["--password", password] if password else []
    program = os.path.join(BUILD_DIR, "tests", "make_archive")
    subprocess.run([program, *secret, full, folder or ws.src], check=True)
    os.utime(full, (time.time() - 60,) * 2)
    return full


def pictures(ws, n, folder=None, first=0):
    """Small pictures with captions; {path: caption}."""
    paths = ws.small_pictures(n, folder=folder, first=first)
    for path in paths:
        ws.write(os.path.splitext(path)[0] + ".txt", f"caption of {path}".encode(), folder)
    return {path: f"caption of {path}" for path in paths}


def captions(ws, dataset=None):
    """{path: caption} of what is in the shards."""
    samples = list(read_dataset(dataset or ws.dataset))
    found = {s.path: s.record["caption"] for s in samples}
    equal(len(found), len(samples), "number of paths")
    return found


def contents(ws):
    return {s.path: s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}


def cut(path, share):
    os.truncate(path, int(os.path.getsize(path) * share))
    os.utime(path, (time.time() - 60,) * 2)


@test
def every_kind_of_archive_becomes_the_shards_of_its_files(ws):
    wanted = pictures(ws, 9)
    ws.encode()
    files = contents(ws)
    equal(captions(ws), wanted, "captions of the files")
    for kind in KINDS:
        path = archive(ws, f"a.{kind}")
        ws.name = kind.replace(".", "-")
        plan = ws.latentctl("plan", path, "--resolution", "128", "--json").json
        assert "9" in json.dumps(plan), plan
        ws.encode(src=[path])
        equal(captions(ws), wanted, f"captions of a.{kind}")
        equal(contents(ws), files, f"contents of a.{kind}")
        equal(sorted(s.key for s in read_dataset(ws.dataset)), sorted(os.path.splitext(p)[0] for p in wanted), "keys")
    ws.verify()


@test
def archives_in_a_folder_are_like_folders_and_the_second_run_finds_nothing_new(ws):
    wanted = {}
    for at, kind in enumerate(KINDS):
        inside = pictures(ws, 4, ws.path(kind), first=4 * at)
        archive(ws, f"photos/{at}/set.{kind}", ws.path(kind))
        wanted.update({f"{at}/set.{kind}/{path}": text for path, text in inside.items()})
    wanted.update(pictures(ws, 3, ws.path("photos"), first=100))
    photos = ws.path("photos")
    ws.encode(src=[photos])
    equal(captions(ws), wanted, "captions")
    keys = {s.path: s.key for s in read_dataset(ws.dataset)}
    for path, key in keys.items():
        inside = path.split("/", 2)
        if len(inside) == 3 and inside[1].startswith("set."):
            equal(key, f"{inside[0]}/set/{os.path.splitext(inside[2])[0]}", f"key of {path}")
    before = sorted((s.path, s.shard) for s in read_dataset(ws.dataset))
    ws.encode(src=[photos])
    equal(sorted((s.path, s.shard) for s in read_dataset(ws.dataset)), before, "samples after another run")


@test
def samples_of_webdataset_keep_their_keys_captions_and_metadata(ws):
    for path in ws.small_pictures(2):
        os.rename(os.path.join(ws.src, path), os.path.join(ws.src, os.path.basename(path)))
    one, two = sorted(name for name in os.listdir(ws.src) if "." in name)
    ws.write("0000.json", json.dumps({"caption": "from json", "width": 7, "tags": ["a"], "hash": 17 * 10**18}).encode())
    ws.write("0000.cls", b"3")
    ws.write("0001.txt", b"from text")
    os.rename(os.path.join(ws.src, two), os.path.join(ws.src, "0001.image" + os.path.splitext(two)[1]))
    ws.encode(src=[archive(ws, "train-0000.tar")])
    samples = {s.key: s.record for s in read_dataset(ws.dataset)}
    same_members(samples, ["0000", "0001"], "keys")
    equal(samples["0000"]["source"], one, "source")
    equal(samples["0000"]["caption"], "from json", "caption")
    equal(samples["0000"]["meta"], {"caption": "from json", "width": 7, "tags": ["a"], "hash": 1.7e19, "cls": 3}, "metadata")
    equal((samples["0001"]["caption"], samples["0001"]["meta"]), ("from text", {}), "the other")


@test
def of_a_truncated_archive_what_can_be_read_is_encoded_and_the_rest_is_told(ws):
    ws.pictures(12)  # large ones: what a decompressor holds back is lost too
    for kind in KINDS:
        path = archive(ws, f"{kind}/a.{kind}")
        cut(path, 0.7)
        ws.name = kind.replace(".", "-")
        result = ws.encode(src=[ws.path(kind)], code=None)
        assert result.code != OK, result
        reasons = ws.failed()
        assert f"a.{kind}".encode() in reasons, reasons
        assert set(reasons.values()) <= {"truncated", "corrupt", "unsupported"}, reasons
        if kind != "7z":  # its directory stood at the end
            assert len(captions(ws)) >= 4, captions(ws)
            equal(result.code, QUARANTINED, "exit status")


@test
def an_archive_that_was_mended_has_no_failure_any_more(ws):
    wanted = pictures(ws, 8)
    path = archive(ws, "photos/a.tar")
    whole = open(path, "rb").read()
    cut(path, 0.6)
    ws.encode(src=[ws.path("photos")], code=QUARANTINED)
    equal(ws.failed().get(b"a.tar"), "truncated", "reason")
    with open(path, "wb") as file:
        file.write(whole)
    ws.encode(src=[ws.path("photos")])
    equal(ws.failed(), {}, "failures")
    equal(captions(ws), {f"a.tar/{p}": text for p, text in wanted.items()}, "captions")


@test
def encrypted_members_are_reported_one_by_one(ws):
    paths = pictures(ws, 3)
    ws.encode(src=[archive(ws, "a.zip", password="secret")], code=None)
    equal(ws.failed(), {path.encode(): "encrypted" for path in paths}, "failures")


@test
def what_is_no_archive_at_all_is_reported_and_the_files_beside_it_are_encoded(ws):
    wanted = pictures(ws, 3)
    for kind in KINDS:
        ws.write(f"odd.{kind}", b"not what its name says")
    ws.write("empty.zip")
    ws.encode(code=QUARANTINED)
    equal(captions(ws), wanted, "captions")
    reasons = {f"odd.{kind}".encode(): "unsupported" for kind in KINDS}
    equal(ws.failed(), {**reasons, b"empty.zip": "truncated"}, "failures")


@test
def tricks_with_paths_and_links_harm_nobody(ws):
    pictures(ws, 2)
    secret = ws.golden("rocket.jpg", "secret.jpg", ws.root)
    picture = open(secret, "rb").read()
    path = ws.path("evil.tar")
    with tarfile.open(path, "w") as tar:
        for name in ("../up.jpg", "/abs.jpg", "a/../../b.jpg", "fine.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(picture)
            tar.addfile(info, io.BytesIO(picture))
        for name, kind, target in (
            ("link.jpg", tarfile.SYMTYPE, secret),
            ("hard.jpg", tarfile.LNKTYPE, "fine.jpg"),
            ("fifo.jpg", tarfile.FIFOTYPE, ""),
            ("device.jpg", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    before = sorted(os.listdir(ws.root))
    result = ws.encode(src=[path])
    same_members(captions(ws), ["fine.jpg"], "images")
    assert "evil.tar" in result.err and "7 images" in result.err, result
    assert set(os.listdir(ws.root)) - set(before) <= {"out", "state"}, os.listdir(ws.root)


@test
def of_a_replaced_archive_only_changed_members_are_encoded(ws):
    pictures(ws, 8)
    path = archive(ws, "photos/a.tar.gz")
    ws.encode(src=[ws.path("photos")])
    before = {s.path: s.members["latent.npy.zst"] for s in read_dataset(ws.dataset)}
    changed = sorted(before)[0]
    ws.golden("icc.png", changed.split("/", 1)[1])
    ws.write("0/0000.txt", b"another caption")
    pictures(ws, 2, first=50)
    os.remove(path)
    archive(ws, "photos/a.tar.gz")
    result = ws.encode(src=[ws.path("photos")])
    after = {s.path: s.members["latent.npy.zst"] for s in read_dataset(ws.dataset)}
    equal(len(after), 10, "number of samples")
    differing = [p for p in before if after[p] != before[p]]
    equal(differing, [changed], "samples with another latent")
    assert "7 images" in result.out + result.err, result
    equal(captions(ws)["a.tar.gz/0/0000.jpg"], "another caption", "the caption that changed")


@test
def a_run_that_was_killed_goes_on_in_the_middle_of_an_archive(ws):
    wanted = pictures(ws, 30)
    path = archive(ws, "a.tar.xz")
    words = ws.encode_words("--shard-samples", "4", src=[path])
    process = ws.start_and_stop("sync:6", ws.out, *words)
    process.kill()
    ws.finish(process)
    ws.encode("--shard-samples", "4", src=[path])
    equal(captions(ws), wanted, "captions")
    ws.verify()
    ws.no_worker_is_left()


def told_to_end():
    """Between fork and exec: SIGTERM is there already when the program begins."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.kill(os.getpid(), signal.SIGTERM)


@test
def a_run_stops_in_the_middle_of_a_list(ws):
    wanted = pictures(ws, 4)
    path = archive(ws, "a.tar.gz")
    result = ws.latentctl(*ws.encode_words(src=[path]), code=INTERRUPTED, preexec_fn=told_to_end)
    equal(result.errors, [], "errors")
    equal(sum(ws.status()["jobs"].values()), 0, "jobs of the first run")
    ws.encode(src=[path])
    equal(captions(ws), wanted, "captions")


@test
def latents_of_archives_are_compared_with_their_images(ws):
    pictures(ws, 6)
    path = archive(ws, "a.tar.gz")
    ws.encode(src=[path], vae=demo_model())
    result = ws.latentctl("verify", "--out", ws.out, "--decode", "3", "--vae", demo_model())
    assert "not compared" not in result.out, result
    ws.latentctl("preview", ws.dataset, "-o", ws.path("sheet.png"), "--vae", demo_model())
    assert os.path.getsize(ws.path("sheet.png")) > 1000


@test
def a_daemon_takes_archives_that_come_into_its_folder_and_mended_ones(ws):
    wanted = pictures(ws, 6)
    daemon = Daemon(ws)
    daemon.dataset("photos")
    path = archive(ws, "photos/a.tar")
    whole = open(path, "rb").read()
    cut(path, 0.6)
    daemon.start()
    daemon.wait(lambda: daemon.about("photos")["jobs"]["quarantined"] > 0, "the damage to be reported")
    with open(path, "r+b") as file:
        file.truncate()
        file.write(whole)
    os.rename(archive(ws, "other/b.zip"), ws.path("photos/b.zip"))
    daemon.wait_for("photos", finished=len(wanted) * 2, quarantined=0)
    daemon.drain("photos")
    daemon.stop()
    paths = {s.path for s in read_dataset(os.path.join(ws.out, "photos"))}
    equal(paths, {f"{name}/{p}" for p in wanted for name in ("a.tar", "b.zip")}, "paths")


@test
def a_daemon_follows_an_archive_that_is_a_source_by_itself(ws):
    wanted = pictures(ws, 4)
    path = archive(ws, "sets/a.tar.zst")
    daemon = Daemon(ws)
    daemon.dataset("photos", src=ws.path("sets"))["source"]["path"] = path
    daemon.start()
    daemon.wait_for("photos", finished=4)
    wanted.update(pictures(ws, 3, first=40))
    os.rename(archive(ws, "new/a.tar.zst"), path)
    daemon.wait_for("photos", finished=7)
    daemon.drain("photos")
    daemon.stop()
    equal({s.path for s in read_dataset(os.path.join(ws.out, "photos"))}, set(wanted), "paths")


@test
def once_waits_for_an_archive_that_is_young(ws):
    wanted = pictures(ws, 4)
    os.utime(archive(ws, "photos/a.7z"))
    daemon = Daemon(ws)
    daemon.dataset("photos")
    daemon.run("--once")
    equal({s.path for s in read_dataset(os.path.join(ws.out, "photos"))}, {f"a.7z/{p}" for p in wanted}, "paths")


run_tests()
