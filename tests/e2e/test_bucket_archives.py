#!/usr/bin/env python3
"""Archives in S3 buckets: shards of WebDataset and others, read in ranges, replaced, damaged, and from stores that know no ranges."""

import io
import os
import shutil
import tarfile
import zipfile

from bitmaps import bmp
from daemon_rig import Daemon
from harness import FAILED, QUARANTINED, SOURCE_DIR, Skip, equal, run_tests, same_members, test
from reference import read_dataset
from s3_server import BUCKET, S3Server
import s3_rig

GREY, BITS = (
    open(os.path.join(SOURCE_DIR, "tests", "golden", "masks", name), "rb").read() for name in ("grey.png", "bits.png")
)


def image(seed):
    return bmp(230, 150, [[(seed, seed // 2, 7)] * 230] * 150)


def shard(n=4, first=0):
    """Members of a shard whose samples are an image, a caption, metadata, something else and, every other, a mask."""
    members = []
    for i in range(first, first + n):
        members += [(f"{i:04}.bmp", image(i)), (f"{i:04}.txt", f"caption {i}".encode())]
        members += [(f"{i:04}.json", b'{"i": %d}' % i), (f"{i:04}.npy", bytes(700))]
        members += [(f"{i:04}.mask.png", GREY)] if i % 2 else []
    return members


def tar_of(members, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def put(ws, name, data):
    """At once, as a store puts an object."""
    path = ws.write(name + ".new", data, ws.path("new"))
    target = os.path.join(ws.src, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.rename(path, target)


def bucket(ws):
    server = S3Server(ws.src)
    ws.environment.update(server.environment)
    return server


WHERE = f"s3://{BUCKET}"
MASKS = ("--masks", "beside")


def samples(ws):
    return {
        s.key: (s.path, s.record["content_xxh3_128"], s.record["caption"], s.record.get("meta"), s.record["mask"])
        for s in read_dataset(ws.dataset)
    }


def objects(server, since=0):
    return [path[len(BUCKET) + 1 :] for path, _ in server.asked[since:] if path.rstrip("/") != BUCKET]


def reasons(ws):
    return {path.decode(): reason for path, reason in ws.failed().items()}


@test
def archives_of_every_kind_give_what_they_give_in_a_folder(ws):
    members = shard()
    for name, data in {
        "train/0.tar": tar_of(members),
        "train/1.tar.gz": tar_of([(n, d + b"1" * n.endswith(".txt")) for n, d in members], "w:gz"),
        "train/2.zip": zip_of(members),
        "train/3.tar": tar_of(members, "w:xz"),  # by another name than it should have
        "plain.bmp": image(99),
    }.items():
        put(ws, name, data)
    with bucket(ws) as server:
        ws.encode(*MASKS, src=[WHERE])
        found = samples(ws)
        equal(len(found), 17, "samples")
        asked = len(server.asked)
        ws.encode(*MASKS, src=[WHERE])
        equal(objects(server, asked), [], "objects that were asked for again")
        plan = ws.latentctl("plan", WHERE, "--resolution", "128")
        assert "images are elsewhere" in plan.err, plan.err
    ws.name = "folder"
    ws.encode(*MASKS)
    equal(samples(ws), found, "samples")
    ws.verify()


def real_bucket(ws, name):
    """On OpenStack Swift."""
    try:
        server = s3_rig.S3Server(ws.path("swift"))
    except s3_rig.Missing as why:
        raise Skip(str(why)) from None
    ws.at_end.append(server.stop)
    ws.environment.update(server.environment())
    return server.bucket(name)


@test
def a_real_store_gives_what_is_in_a_folder(ws):
    members = shard(12)
    files = {
        "train/0.tar": tar_of([*members, ("big.npy", bytes(3 << 20))]),
        "train/1.tar.gz": tar_of([(n, d + b"1" * n.endswith(".txt")) for n, d in members], "w:gz"),
        "train/2.zip": zip_of(members),
        "ünïcode & plain/a+b.bmp": image(99),
        "ünïcode & plain/a+b.txt": b"beside it",
        "ünïcode & plain/a+b-mask.png": BITS,
    }
    store = real_bucket(ws, "photographs")
    for name, data in files.items():
        put(ws, name, data)
        store.put(name, data)
    ws.encode(*MASKS, src=["s3://photographs"])
    found = samples(ws)
    equal(len(found), 37, "samples")
    store.put("train/2.zip", zip_of([(n, image(50) if n == "0001.bmp" else d) for n, d in members]))
    ws.encode(*MASKS, src=["s3://photographs"])
    equal([key for key, sample in samples(ws).items() if sample != found[key]], ["train/2/0001"], "samples that changed")
    ws.name = "folder"
    ws.encode(*MASKS)
    equal(samples(ws), found, "samples")
    ws.verify()


@test
def a_member_of_a_tar_is_one_request_and_its_list_a_few(ws):
    put(ws, "0.tar", tar_of([*shard(12), ("big.npy", bytes(3 << 20)), *shard(4, 12)]))
    with bucket(ws) as server:
        ws.encode(*MASKS, src=[WHERE])
        equal(len(samples(ws)), 16, "samples")
        sizes = [last - first + 1 for first, last in server.ranges]
        equal(len(objects(server)), len(sizes), "requests that were no ranges")
        member = 512 + -(-len(image(0)) // 512) * 512
        equal(sizes.count(member), 16, f"reads of images among {sizes}")
        assert len(sizes) - 16 - 8 <= 12, f"requests for the list: {sizes}"
        assert sum(sizes) < 2 * os.path.getsize(os.path.join(ws.src, "0.tar")), sizes


@test
def an_archive_that_is_replaced_is_read_again_and_only_what_changed_encoded(ws):
    members = shard()
    put(ws, "0.tar", tar_of(members))
    with bucket(ws):
        ws.encode(*MASKS, src=[WHERE])
        before = samples(ws)
        members = [(n, image(50) if n == "0001.bmp" else d) for n, d in members if not n.startswith("0003")]
        put(ws, "0.tar", tar_of(members))
        result = ws.encode(*MASKS, "--on-delete", "remove", src=[WHERE])
        now = samples(ws)
        same_members(now, ["0/0000", "0/0001", "0/0002"], "samples")
        equal([key for key in now if now[key] != before[key]], ["0/0001"], f"changed: {result.out}")


@test
def an_archive_that_is_replaced_while_it_is_read_is_noticed(ws):
    old, new = shard(), [(n, image(int(n[:4]) + 40) if n.endswith(".bmp") else d) for n, d in shard()]
    put(ws, "0.tar", tar_of(old))
    put(ws, "1.tar.gz", tar_of(old, "w:gz"))
    swapped = []

    def swap():
        """Behind the lists: when the first member is wanted."""
        if len(server.ranges) == 4 and not swapped:
            swapped.append(True)
            put(ws, "0.tar", tar_of(new))
            put(ws, "1.tar.gz", tar_of(new, "w:gz"))

    with bucket(ws) as server:
        server.before = swap
        ws.encode(*MASKS, src=[WHERE])
        found = samples(ws)
        server.before = lambda: None
        assert swapped and any(status == 412 for _, status in server.statuses), (server.ranges, server.statuses)
        ws.name = "new"
        ws.encode(*MASKS, src=[WHERE])
        equal({k: v[1] for k, v in found.items()}, {k: v[1] for k, v in samples(ws).items()}, "contents")


@test
def a_store_without_ranges_is_named_and_nothing_taken_for_deleted(ws):
    put(ws, "0.tar", tar_of(shard()))
    put(ws, "a.bmp", image(9))
    with bucket(ws) as server:
        ws.encode(*MASKS, src=[WHERE])
        before = samples(ws)
        server.knows_ranges = False
        put(ws, "0.tar", tar_of(shard(5)))
        ws.encode(*MASKS, "--on-delete", "remove", src=[WHERE], code=QUARANTINED)
        equal(samples(ws), before, "samples")
        equal(reasons(ws), {"0.tar": "no_ranges"}, "reasons")
        server.knows_ranges = True
        ws.encode(*MASKS, "--on-delete", "remove", src=[WHERE])
        equal(len(samples(ws)), 6, "samples")
        equal(reasons(ws), {}, "reasons")


@test
def a_store_that_fails_now_and_then_costs_nothing(ws):
    put(ws, "0.tar", tar_of(shard()))
    put(ws, "1.tar.gz", tar_of(shard(), "w:gz"))
    with bucket(ws) as server:
        server.fails = lambda n: n % 3 == 1  # the first of all, and every third
        ws.encode(*MASKS, src=[WHERE])
        equal(len(samples(ws)), 8, "samples")
        assert any(status == 503 for _, status in server.statuses), server.statuses


@test
def a_store_that_is_gone_charges_nobody(ws):
    small = [(f"{i}.bmp", bmp(60, 50, [[(i, i, i)] * 60] * 50)) for i in range(2)]
    put(ws, "0.tar", tar_of(small))
    with bucket(ws) as server:
        server.fails = lambda n: n > 0  # behind the list of the archive
        result = ws.encode("--host-patience", "1s", src=[WHERE], code=FAILED)
        equal(reasons(ws), {}, f"charged: {result.err}")
        server.fails = lambda n: False
        ws.encode("--host-patience", "1s", src=[WHERE], code=None)
        equal(reasons(ws), {}, "charged")


@test
def a_daemon_takes_archives_that_are_put_into_a_bucket(ws):
    put(ws, "0.tar", tar_of(shard()))
    with bucket(ws) as server:
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src, masks="beside")["source"] = {"path": WHERE, "rescan": "1s"}
        daemon.start(env=ws.environment)
        daemon.wait_for("photos", finished=4)
        put(ws, "1.tar.gz", tar_of(shard(first=4), "w:gz"))
        daemon.wait_for("photos", finished=8)
        daemon.drain("photos")
        ws.name = "photos"
        before = samples(ws)
        equal(len(before), 8, "samples")
        put(ws, "0.tar", tar_of([(n, b"another" if n == "0002.txt" else d) for n, d in shard()]))

        def has_changed():
            daemon.post("/datasets/photos/resume")
            daemon.drain("photos")
            return any(sample[2] == "another" for sample in samples(ws).values())

        daemon.wait(has_changed, "the caption that changed in an archive")
        daemon.stop()
        now = samples(ws)
        equal([key for key in now if now[key] != before[key]], ["0/0002"], "changed")
        assert all(status < 500 for _, status in server.statuses), server.statuses


@test
def of_a_damaged_archive_what_can_be_read_is_used(ws):
    data = tar_of(shard())
    put(ws, "cut.tar", data[: len(image(0)) * 2 + 6000])
    put(ws, "none.tar", b"no archive at all" * 100)
    put(ws, "empty.tar", b"")
    put(ws, "cut.zip", zip_of(shard())[:-100])
    with bucket(ws):
        ws.encode(*MASKS, src=[WHERE], code=QUARANTINED)
        assert "cut/0000" in samples(ws), samples(ws).keys()
        found = reasons(ws)
        ws.name = "folder"
        ws.encode(*MASKS, code=QUARANTINED)
        equal(found, reasons(ws), "reasons")
    shutil.rmtree(ws.src)


@test
def a_running_daemon_looks_at_an_archive_that_was_replaced_but_not_for_each_image(ws):
    put(ws, "0.tar", tar_of(shard()))
    heads = []

    def say(h):
        heads.extend([True] if h.command == "HEAD" else [])
        server.say_object(h, "0.tar")

    with bucket(ws) as server:
        server.ways["0.tar"] = say
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src, masks="beside")["source"] = {"path": WHERE, "rescan": "1s"}
        daemon.start(env=ws.environment)
        daemon.wait_for("photos", finished=4)
        equal(len(heads), 1, "looks at the archive")
        changed = {"0002.bmp": image(50), "0002.txt": b"another"}
        put(ws, "0.tar", tar_of([(n, changed.get(n, d)) for n, d in shard(5)]))
        daemon.wait_for("photos", finished=5)
        assert len(heads) < 5, f"{len(heads)} looks at the archive"  # its captions are looked at, too
        daemon.drain("photos")
        daemon.stop()
        ws.name = "photos"
        equal(samples(ws)["0/0002"][2], "another", "the caption of an image that changed with it")


@test
def an_archive_that_was_gone_for_a_while_is_read_when_it_is_back(ws):
    put(ws, "0.tar", tar_of(shard()))
    gone = True

    def say(h):
        """Its list can be had; who reads its images finds nothing."""
        if gone and h.command == "HEAD":
            server.fault(h, 404, "NoSuchKey")
        else:
            server.say_object(h, "0.tar")

    with bucket(ws) as server:
        server.ways["0.tar"] = say
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src, masks="beside")["source"] = {"path": WHERE, "rescan": "1s"}
        daemon.start(env=ws.environment)
        daemon.wait_for("photos", quarantined=4)
        gone = False
        put(ws, "0.tar", tar_of(shard(5)))
        daemon.wait_for("photos", finished=5)
        daemon.drain("photos")
        daemon.stop()
        ws.name = "photos"
        same_members(samples(ws), [f"0/{i:04}" for i in range(5)], "samples")


run_tests()
