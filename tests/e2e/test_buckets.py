#!/usr/bin/env python3
"""Images in S3 buckets: as a source, in lists and manifests, whole, changed, damaged and refused, and under the daemon."""

import json
import os
import signal
import threading

from bitmaps import bmp
from daemon_rig import Daemon
from harness import INTERRUPTED, QUARANTINED, SOURCE_DIR, equal, run_tests, same_members, test
from reference import read_dataset
from s3_server import BUCKET, S3Server
from url_server import nobody


def contents(ws):
    return {s.path: s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}


def reasons(ws):
    return {path.decode(): reason for path, reason in ws.failed().items()}


def bucket(ws):
    server = S3Server(ws.src)
    ws.environment.update(server.environment)
    return server


@test
def a_bucket_gives_the_samples_of_a_folder(ws):
    paths = ws.small_pictures(8)
    ws.write("0/note.txt", b"no image")
    ws.write(".hidden.jpg", b"x")
    with bucket(ws) as server:
        where = f"s3://{BUCKET}"
        plan = ws.latentctl("plan", where, "--resolution", "128")
        assert "8 images are elsewhere" in plan.err, plan.err
        ws.encode(src=[where])
        found = contents(ws)
        same_members(found, paths, "samples")
        asked = len(server.asked)
        ws.encode(src=[where + "/"])
        assert all(path.rstrip("/") == BUCKET for path, _ in server.asked[asked:]), "an object was asked for again"
        ws.name = "folder"
        ws.encode()
        equal(contents(ws), found, "contents")
        ws.name = "part"
        ws.encode("--include", "0001*", src=[where + "/1"])
        equal(contents(ws), {"0001.jpg": found["1/0001.jpg"]}, "samples below a prefix")


def objects(server, since=0):
    """What was asked for besides lists."""
    return [path[len(BUCKET) + 1 :] for path, _ in server.asked[since:] if path.rstrip("/") != BUCKET]


def texts(ws):
    return {s.path: (s.record["caption"], s.record.get("meta")) for s in read_dataset(ws.dataset)}


def with_texts(ws):
    """Pictures and what their records say of them, by the rules of folders."""
    paths = ws.small_pictures(6)
    stems = [path.rpartition(".")[0] for path in paths]
    ws.write(stems[0] + ".txt", b"one \n")
    ws.write(stems[0] + ".json", b'{"caption": "not this", "n": 1}')
    ws.write(stems[1] + ".caption", b"two")
    ws.write(stems[2] + ".json", b'{"caption": "three"}')
    ws.write(stems[3] + ".json", b"no object")
    ws.write(stems[4] + "-more/0.txt", b"between")
    ws.write(stems[4] + ".more.txt", b"of another")
    ws.write(stems[4] + ".txt", b"")
    said = [("one", {"caption": "not this", "n": 1}), ("two", {}), ("three", {"caption": "three"}), (None, {}), ("", {}), (None, {})]
    return paths, stems, dict(zip(paths, said))


@test
def captions_and_metadata_beside_images_are_those_of_a_folder(ws):
    paths, stems, said = with_texts(ws)
    with bucket(ws) as server:
        where = f"s3://{BUCKET}"
        ws.encode(src=[where])
        equal(texts(ws), said, "captions and metadata")
        wanted = [*paths, stems[0] + ".txt", stems[0] + ".json", stems[1] + ".caption", stems[2] + ".json", stems[3] + ".json", stems[4] + ".txt"]
        same_members(objects(server), wanted, "objects that were asked for")
        asked = len(server.asked)
        ws.encode(src=[where])
        equal(objects(server, asked), [], "objects that were asked for again")
        ws.name = "folder"
        ws.encode()
        equal(texts(ws), said, "captions and metadata of a folder")


@test
def a_caption_that_changes_in_a_bucket_is_brought_in_without_its_image(ws):
    paths, stems, said = with_texts(ws)
    with bucket(ws) as server:
        where = f"s3://{BUCKET}"
        ws.encode(src=[where])
        ws.write(stems[0] + ".txt", b"another")
        os.remove(os.path.join(ws.src, stems[1] + ".caption"))
        ws.write(stems[5] + ".txt", b"new")
        asked = len(server.asked)
        result = ws.encode(src=[where])
        assert "3 captions changed" in result.err or "3 captions or masks changed" in result.err, result
        said.update({paths[0]: ("another", said[paths[0]][1]), paths[1]: (None, {}), paths[5]: ("new", {})})
        equal(texts(ws), said, "captions and metadata")
        assert not set(objects(server, asked)) & set(paths), objects(server, asked)
    ws.verify()


@test
def images_of_a_bucket_wait_for_their_captions(ws):
    paths = ws.small_pictures(4)
    stems = [path.rpartition(".")[0] for path in paths]
    ws.write(stems[0] + ".txt", b"one")
    ws.write(stems[1] + ".json", b'{"caption": "two"}')
    ws.write(stems[2] + ".json", b'{"n": 3}')
    with bucket(ws) as server:
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src, require_caption=True)["source"] = {"path": f"s3://{BUCKET}"}
        daemon.run("--once", env=ws.environment)
        ws.name = "photos"
        same_members(texts(ws), paths[:2], "samples")
        asked = len(server.asked)
        daemon.run("--once", env=ws.environment)
        equal(objects(server, asked), [], "objects that were asked for again")


@test
def a_caption_that_cannot_be_read_fails_its_image_and_one_that_went_is_none(ws):
    paths = ws.small_pictures(3)
    stems = [path.rpartition(".")[0] for path in paths]
    answers = iter([503])
    with bucket(ws) as server:
        server.ways = {
            stems[0] + ".txt": lambda h: server.fault(h, 403, "AccessDenied"),
            stems[1] + ".txt": lambda h: server.fault(h, 404, "NoSuchKey"),
            stems[2] + ".txt": lambda h: server.fault(h, next(answers), "SlowDown") if server.count(f"{BUCKET}/{stems[2]}.txt") < 2 else h.say(200, b"late"),
        }
        ws.encode(src=[f"s3://{BUCKET}"], code=QUARANTINED)
        equal(texts(ws), {paths[1]: (None, {}), paths[2]: ("late", {})}, "captions")
        equal(reasons(ws), {paths[0]: "forbidden"}, "reasons")


@test
def masks_beside_images_of_a_bucket_follow_their_objects(ws):
    for i in range(3):
        ws.write(f"{i}.bmp", bmp(230, 150, [[(i, 0, 0)] * 230] * 150))
    masks = [open(os.path.join(SOURCE_DIR, "tests", "golden", "masks", name), "rb").read() for name in ("grey.png", "bits.png")]
    ws.write("0-mask.png", masks[0])
    ws.write("1.mask.png", masks[0])
    words = ("--masks", "beside")

    def given():
        return {s.path: (s.record["mask"]["given"], s.record["mask"]["xxh3_128"]) for s in read_dataset(ws.dataset)}

    with bucket(ws) as server:
        where = f"s3://{BUCKET}"
        ws.encode(*words, src=[where])
        found = given()
        equal({path: mask[0] for path, mask in found.items()}, {"0.bmp": True, "1.bmp": True, "2.bmp": False}, "given")
        same_members(objects(server), ["0.bmp", "1.bmp", "2.bmp", "0-mask.png", "1.mask.png"], "objects that were asked for")
        ws.write("1.mask.png", masks[1])
        asked = len(server.asked)
        ws.encode(*words, src=[where])
        equal(objects(server, asked), ["1.mask.png"], "objects that were asked for")
        now = given()
        equal([path for path in now if now[path] != found[path]], ["1.bmp"], "changed")
        folder = ws.path("masks")
        ws.write("2.png", masks[0], folder)
        ws.name = "of a folder"
        ws.encode("--masks", folder, "--include", "*.bmp", src=[where])
        equal({path: mask[0] for path, mask in given().items()}, {"0.bmp": False, "1.bmp": False, "2.bmp": True}, "given by a folder")


@test
def keys_are_any_bytes(ws):
    odd = ["a\x01b.jpg", "new\nline.jpg", "sp ace+plus%41.jpg", "ümlaut&<.jpg"]
    for name, path in zip(odd, ws.small_pictures(len(odd))):
        os.rename(os.path.join(ws.src, path), os.path.join(ws.src, name))
    with bucket(ws):
        ws.encode(src=[f"s3://{BUCKET}"])
    same_members(contents(ws), odd, "samples")


@test
def what_changes_in_a_bucket_is_found_by_its_list(ws):
    paths = ws.small_pictures(5)
    with bucket(ws) as server:
        where = f"s3://{BUCKET}"
        ws.encode(src=[where])
        before = contents(ws)
        os.replace(os.path.join(ws.src, paths[0]), os.path.join(ws.src, paths[1]))
        server.asked.clear()
        ws.encode("--on-delete", "remove", src=[where])
        equal(contents(ws), {**{p: before[p] for p in paths[2:]}, paths[1]: before[paths[0]]}, "samples")


@test
def objects_in_lists_and_manifests_are_signed_for(ws):
    paths = ws.small_pictures(4)
    with bucket(ws) as server:
        urls = [f"s3://{BUCKET}/{p}" for p in paths]
        listed = ws.write("a.urls", "\n".join([*urls[:2], f"s3://{BUCKET}/none.jpg", "s3://other/a.jpg", f"s3://{BUCKET}"]).encode(), ws.root)
        result = ws.encode(src=[listed], code=QUARANTINED)
        assert "line 5 is passed over" in result.err, result.err
        same_members(contents(ws), urls[:2], "samples of a list")
        equal(reasons(ws), {f"s3://{BUCKET}/none.jpg": "not_found", "s3://other/a.jpg": "not_found"}, "reasons")
        ws.name = "manifest"
        rows = [{"path": urls[2], "caption": "two"}, {"path": paths[3], "caption": "three"}]
        ws.encode(src=[ws.write("a.jsonl", "\n".join(map(json.dumps, rows)).encode())])
        captions = {s.path: s.record["caption"] for s in read_dataset(ws.dataset)}
        equal(captions, {urls[2]: "two", paths[3]: "three"}, "captions")
        assert server.statuses and all(status != 403 for _, status in server.statuses), server.statuses


@test
def each_object_has_its_own_fate(ws):
    paths = ws.small_pictures(3)
    whole = open(os.path.join(ws.src, paths[0]), "rb").read()
    answers = iter([503, 500])
    with bucket(ws) as server:
        server.ways = {
            "2/denied.jpg": lambda h: server.fault(h, 403, "AccessDenied"),
            "2/gone.jpg": lambda h: server.fault(h, 404, "NoSuchKey"),
            "2/cut.jpg": lambda h: h.say(200, whole[:2000]),
            "2/slow.jpg": lambda h: server.fault(h, next(answers), "SlowDown") if server.count(f"{BUCKET}/2/slow.jpg") < 3 else h.say(200, whole),
        }
        ws.encode(src=[f"s3://{BUCKET}"], code=QUARANTINED)
        same_members(contents(ws), [*paths, "2/slow.jpg"], "samples")
        found = reasons(ws)
        equal(found.pop("2/cut.jpg") in ("truncated", "corrupt"), True, "a cut object is damaged")
        equal(found, {"2/denied.jpg": "forbidden", "2/gone.jpg": "not_found"}, "reasons")


@test
def a_bucket_that_cannot_be_listed_says_why_and_deletes_nothing(ws):
    paths = ws.small_pictures(3)
    with bucket(ws):
        where = f"s3://{BUCKET}"
        ws.encode(src=[where])
        for change, why in (
            ({"AWS_SECRET_ACCESS_KEY": "another"}, "credentials are wrong"),
            ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no S3 credentials"),
        ):
            kept = dict(ws.environment)
            ws.environment.update(change)
            result = ws.encode("--on-delete", "remove", src=[where], code=None)
            ws.environment.clear()
            ws.environment.update(kept)
            assert result.code != 0 and why in result.err, (why, result.err)
            assert "another" not in result.err, result.err
        result = ws.encode("--on-delete", "remove", src=["s3://nowhere"], code=None)
        assert result.code != 0 and "does not exist" in result.err, result.err
        assert ws.encode(src=["s3://"], code=None).code != 0
        same_members(contents(ws), paths, "samples")


def same_page():
    """Of a server that knows no start-after."""
    keys = "".join(f"<Contents><Key>{i:04}.txt</Key><ETag>e</ETag><Size>1</Size></Contents>" for i in range(1000))
    token = "<NextContinuationToken>t</NextContinuationToken>"
    return f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}{keys}</ListBucketResult>".encode()


@test
def a_list_that_begins_again_ends_the_run(ws):
    with bucket(ws) as server:
        server.list = lambda h, query: h.say(200, same_page())
        result = ws.encode(src=[f"s3://{BUCKET}"], code=None)
        assert result.code != 0 and "its list is not in order" in result.err, result.err
        equal(len(server.asked), 2, "requests")


def says_that_it_waits_and_can_be_stopped(ws, *words):
    process = ws.start(*ws.encode_words(src=[f"s3://{BUCKET}"]))
    line = next((line.decode() for line in process.stderr if b"waiting" in line), "")
    for word in (f"waiting for the list of s3://{BUCKET}", *words):
        assert word in line, line
    process.send_signal(signal.SIGTERM)
    equal(ws.finish(process).code, INTERRUPTED, "exit status")


@test
def a_bucket_that_is_silent_is_named_and_can_be_left(ws):
    leave = threading.Event()
    ws.at_end.append(leave.set)
    with bucket(ws) as server:
        server.list = lambda h, query: leave.wait()
        says_that_it_waits_and_can_be_stopped(ws)
        leave.set()


@test
def a_bucket_that_cannot_be_reached_is_named_while_it_is_asked_again(ws):
    with bucket(ws):
        ws.environment["AWS_ENDPOINT_URL_S3"] = nobody()
        says_that_it_waits_and_can_be_stopped(ws, "connect")


@test
def a_daemon_takes_what_is_added_to_a_bucket(ws):
    paths = ws.small_pictures(4)
    kept = {p: open(os.path.join(ws.src, p), "rb").read() for p in paths[2:]}
    for path in kept:
        os.remove(os.path.join(ws.src, path))
    with bucket(ws):
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": f"s3://{BUCKET}", "rescan": "1s"}
        daemon.start(env=ws.environment)
        daemon.wait_for("photos", finished=2)
        for path, data in kept.items():
            ws.write(path + ".new", data)
            os.rename(os.path.join(ws.src, path + ".new"), os.path.join(ws.src, path))
        daemon.wait_for("photos", finished=4)
        daemon.drain("photos")
        daemon.stop()
        ws.name = "photos"
        same_members(contents(ws), paths, "samples")


run_tests()
