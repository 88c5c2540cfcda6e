#!/usr/bin/env python3
"""Manifests that name files on web servers: whole, mixed with files here, damaged, changed, and under the daemon."""

import csv
import glob
import io
import json
import os
import struct
import tarfile
import threading
import time
import urllib.parse

from daemon_rig import Connection, Daemon
from harness import QUARANTINED, demo_model, equal, run_tests, same_members, test, wait_until
from reference import read_dataset
from url_server import Server

PRIVATE = ("--private-hosts",)


def put(ws, name, text):
    """A manifest beside the pictures that appears at once, old enough for a daemon that meets it."""
    path = os.path.join(ws.src, name)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.utime(path + ".new", (time.time() - 60 + len(text) % 50,) * 2)
    os.rename(path + ".new", path)
    return path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows, separator):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return out.getvalue()


def records(ws):
    return {s.path: s.record for s in read_dataset(ws.dataset)}


def texts(ws):
    return {path: (r["caption"], r["meta"]) for path, r in records(ws).items()}


def latents(ws):
    return {s.path: s.members["latent.npy.zst"] for s in read_dataset(ws.dataset)}


def mixed(paths, server):
    """Every second file is one of the server's."""
    return [
        {"file_name": server.url + p if i % 2 else p, "text": f"picture {i}", "score": str(i)}
        for i, p in enumerate(paths)
    ]


def picture_status(daemon, key):
    connection = Connection(daemon.socket)
    connection.request("GET", f"/api/v1/datasets/photos/thumbnail?key={urllib.parse.quote(key)}")
    status = connection.getresponse().status
    connection.close()
    return status


@test
def urls_of_a_manifest_are_images_with_the_captions_and_metadata_of_their_lines(ws):
    with Server(ws.src) as server:
        rows = mixed(ws.small_pictures(6), server)
        wanted = {r["file_name"]: (r["text"], {"score": r["score"]}) for r in rows}
        kinds = {
            "a.jsonl": lines(rows),
            "b.csv": table(rows, ","),
            "c.tsv": table(rows, "\t"),
            "d.json": json.dumps({r["file_name"]: {"caption": r["text"], "score": r["score"]} for r in rows}),
        }
        for name, text in kinds.items():
            ws.name = name.replace(".", "-")
            listed = put(ws, name, text)
            server.asked.clear()
            plan = ws.latentctl("plan", listed, "--resolution", "128")
            assert "3 images are elsewhere" in plan.err, plan.err
            equal(server.asked, [], "what a plan asked")
            ws.encode(*PRIVATE, src=[listed])
            equal(texts(ws), wanted, name)
            same_members([p for p, _ in server.asked], [r["file_name"][len(server.url):] for r in rows[1::2]], "requests")
            ws.encode(*PRIVATE, src=[listed])
            equal(len(server.asked), 3, "requests of a second run")
        ws.name = "folder"
        ws.encode()
        here = {path: r["content_xxh3_128"] for path, r in records(ws).items()}
        ws.name = "a-jsonl"
        listed = {p.removeprefix(server.url): r["content_xxh3_128"] for p, r in records(ws).items()}
        equal(listed, here, "contents")


@test
def a_changed_line_of_a_url_changes_its_record_and_fetches_nothing(ws):
    with Server(ws.src) as server:
        rows = mixed(ws.small_pictures(4), server)
        listed = put(ws, "a.jsonl", lines(rows))
        ws.encode(*PRIVATE, src=[listed])
        before, asked = latents(ws), len(server.asked)
        rows[1]["text"] = "another"
        rows[3]["score"] = "another"
        put(ws, "a.jsonl", lines(rows))
        ws.encode(*PRIVATE, src=[listed])
        equal(texts(ws), {r["file_name"]: (r["text"], {"score": r["score"]}) for r in rows}, "samples")
        equal(latents(ws), before, "latents")
        equal(len(server.asked), asked, "requests")
        put(ws, "a.jsonl", lines(rows[:3]))
        ws.encode(*PRIVATE, "--on-delete", "remove", src=[listed])
        same_members(records(ws), [r["file_name"] for r in rows[:3]], "samples without the line")


@test
def lines_with_urls_that_cannot_be_fetched_are_told_and_the_others_come(ws):
    paths = ws.small_pictures(3)
    with Server(ws.src) as server:
        server.ways = {"gone.jpg": lambda h: h.say(404), "page.jpg": lambda h: h.say(200, b"<html>no")}
        rows = [
            {"url": server.url + paths[0], "caption": "one"},
            {"url": "http://joe:secret@a.example/1.jpg"},
            {"url": "ftp://a.example/1.jpg"},
            {"url": "http://a.example/" + "x" * 9000},
            {"url": server.url + "gone.jpg"},
            {"url": server.url + "page.jpg"},
            {"url": paths[1]},
        ]
        listed = put(ws, "a.jsonl", lines(rows) + json.dumps({"url": server.url + paths[2]})[:-3])
        result = ws.encode(*PRIVATE, src=[listed], code=QUARANTINED)
        for line, why in {2: "has a user", 3: "no URL of http", 4: "too long", 8: "no JSON"}.items():
            assert any(f"line {line}: " in said and why in said for said in result.err.splitlines()), (line, result.err)
        assert "secret" not in result.err, result.err
        same_members(records(ws), [server.url + paths[0], paths[1]], "samples")
        reasons = {path.decode(): reason for path, reason in ws.failed().items()}
        equal(reasons, {server.url + "gone.jpg": "not_found", server.url + "page.jpg": "web_page"}, "reasons")


@test
def private_addresses_in_a_manifest_are_not_asked_unless_that_is_wanted(ws):
    paths = ws.small_pictures(1)
    with Server(ws.src) as server:
        ws.encode(src=[put(ws, "a.jsonl", lines([{"url": server.url + paths[0]}]))], code=QUARANTINED)
        equal({path.decode(): reason for path, reason in ws.failed().items()}, {server.url + paths[0]: "not_public"}, "reasons")
        equal(server.asked, [], "requests")


@test
def latents_of_urls_are_compared_with_the_images_that_are_there(ws):
    with Server(ws.src) as server:
        rows = mixed(ws.small_pictures(2), server)
        listed = put(ws, "a.jsonl", lines(rows))
        ws.encode(*PRIVATE, src=[listed], vae=demo_model())
        verify = ["verify", "--out", ws.out, "--decode", "4", "--vae", demo_model()]
        refused = ws.latentctl(*verify)
        assert "1 not compared" in refused.out or "not compared: " in refused.out, refused
        result = ws.latentctl(*verify, *PRIVATE)
        assert "not compared" not in result.out, result
        asked = len(server.asked)
        ws.latentctl("preview", ws.dataset, "-o", ws.path("sheet.png"), "--vae", demo_model(), *PRIVATE)
        equal(len(server.asked), asked + 1, "requests of a preview")


@test
def a_daemon_takes_urls_of_a_manifest_and_what_is_added(ws):
    with Server(ws.src) as server:
        rows = mixed(ws.small_pictures(6), server)
        listed = put(ws, "a.jsonl", lines(rows[:3]))
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": listed, "private_hosts": True}
        daemon.start()
        daemon.wait_for("photos", finished=3)
        put(ws, "a.jsonl", lines(rows))
        daemon.wait_for("photos", finished=6)
        daemon.drain("photos")
        equal(server.count(rows[1]["file_name"][len(server.url):]), 1, "requests for the first")
        for job in daemon.jobs_of("photos", "completed"):
            equal(picture_status(daemon, job["key"]), 200, job["key"])
        daemon.stop()
        ws.name = "photos"
        equal(texts(ws), {r["file_name"]: (r["text"], {"score": r["score"]}) for r in rows}, "samples")


def packed(ws, name, paths):
    """An archive of these, beside the pictures, that appears at once."""
    path = os.path.join(ws.src, name)
    with tarfile.open(path + ".new", "w") as tar:
        for each in paths:
            tar.add(os.path.join(ws.src, each), each)
    os.utime(path + ".new", (time.time() - 60,) * 2)
    os.rename(path + ".new", path)
    return path


def sources_of(ws, paths, server):
    """Of one kind each: some of the pictures."""
    urls = "".join(f"{server.url}{p}\n" for p in paths)
    return {
        "archive": packed(ws, "a.tar", paths),
        "manifest": put(ws, "b.jsonl", lines(mixed(paths, server))),
        "table": put(ws, "c.tsv", table(mixed(paths, server), "\t")),
        "list": put(ws, "d.urls", urls),
    }


@test
def sources_that_are_not_watched_are_looked_through_on_command(ws):
    with Server(ws.src) as server:
        paths = ws.small_pictures(5)
        daemon = Daemon(ws)
        for name, path in sources_of(ws, paths[:3], server).items():
            for watch in ("off", "auto"):
                title = f"{name}-{watch}"
                daemon.dataset(title, src=ws.src)["source"] = {"path": path, "private_hosts": True, "watch": watch}
        daemon.start()
        names = [d["name"] for d in daemon.config["datasets"]]
        for name in names:
            daemon.wait_for(name, finished=3)
        sources_of(ws, paths, server)
        for name in names:
            if name.endswith("-auto"):
                daemon.wait_for(name, finished=5)
        off = [name for name in names if name.endswith("-off")]
        for name in off:
            equal(sum(daemon.about(name)["jobs"].values()), 3, f"images of {name} without a scan")
        ws.latentctl("scan", "--socket", daemon.socket)
        for name in off:
            daemon.wait_for(name, finished=5)
        daemon.stop()


RECHECK = (*PRIVATE, "--recheck", "1ms")  # of which every run is later than the one before


def replace(ws, path, with_path):
    with open(os.path.join(ws.src, with_path), "rb") as file:
        data = file.read()
    ws.write(path, data)


def statuses(server):
    """What was answered since the last question."""
    with server.lock:
        found, server.statuses = sorted(server.statuses), []
    return found


def contents(ws):
    return {s.path: s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}


@test
def a_file_that_changes_on_its_server_is_found_and_the_others_are_one_question_each(ws):
    paths = ws.small_pictures(5)
    with Server(ws.src) as server:
        server.tags = {paths[0]: '"one"', paths[1]: 'W/"two"'}
        server.dates = {paths[2]: "Wed, 21 Oct 2015 07:28:00 GMT"}
        for name, text in (
            ("a.jsonl", lines([{"url": server.url + p} for p in paths[:4]])),
            ("b.urls", "".join(server.url + p + "\n" for p in paths[:4])),
        ):
            ws.name = name.replace(".", "-")
            listed = put(ws, name, text)
            ws.encode(*RECHECK, src=[listed])
            before = contents(ws)
            equal(statuses(server), [(p, 200) for p in sorted(paths[:4])], "the first time")
            ws.encode(*RECHECK, src=[listed])
            equal(statuses(server), [(p, 304) for p in sorted(paths[:3])], "questions, none for what has no tag")
            ws.encode(*PRIVATE, "--recheck", "1h", src=[listed])
            ws.encode(*PRIVATE, src=[listed])
            equal(statuses(server), [], "questions before the time, and without the option")
            equal(contents(ws), before, "contents")
            for path, tags, tag in ((paths[1], server.tags, '"three"'), (paths[2], server.dates, "Thu, 22 Oct 2015 07:28:00 GMT")):
                old, tags[path] = tags[path], tag
                os.rename(os.path.join(ws.src, path), ws.path("kept"))
                replace(ws, path, paths[4])
                ws.encode(*RECHECK, src=[listed])
                equal([a for a in statuses(server) if a[1] == 200], [(path, 200)] * 2, "a question, and the file")
                now = contents(ws)
                changed = [p for p in now if now[p] != before[p]]
                equal(changed, [server.url + path], "changed samples")
                os.rename(ws.path("kept"), os.path.join(ws.src, path))
                tags[path] = old
                ws.encode(*RECHECK, src=[listed])
                equal(contents(ws), before, "contents when it is back")
                statuses(server)


@test
def what_servers_say_of_unchanged_files_in_other_ways_changes_nothing(ws):
    paths = ws.small_pictures(3)
    whole = [open(os.path.join(ws.src, p), "rb").read() for p in paths]
    gone = threading.Event()

    def way(i):
        """It knows no conditional requests."""
        return lambda h: h.say(404) if gone.is_set() else h.say(200, whole[i], ETag=f'"{i}"')

    with Server(ws.src) as server:
        server.ways = {p: way(i) for i, p in enumerate(paths[:2])}
        server.tags = {paths[2]: '"' + "long" * 200 + '"'}
        listed = put(ws, "a.urls", "".join(server.url + p + "\n" for p in paths))
        ws.encode(*RECHECK, src=[listed])
        before = latents(ws)
        statuses(server)
        ws.encode(*RECHECK, src=[listed])
        equal([p for p, _ in statuses(server)], sorted(paths[:2]), "questions")
        gone.set()
        ws.encode(*RECHECK, src=[listed])
        equal([s for _, s in statuses(server)], [404, 404], "answers")
        equal(latents(ws), before, "latents")
    ws.encode(*RECHECK, src=[listed])  # nobody answers any more
    equal(latents(ws), before, "latents without a server")


@test
def a_damaged_memory_of_what_servers_said_costs_a_question_at_most(ws):
    paths = ws.small_pictures(2)
    with Server(ws.src) as server:
        server.tags = {p: '"one"' for p in paths}
        listed = put(ws, "a.urls", "".join(server.url + p + "\n" for p in paths))
        ws.encode(*RECHECK, src=[listed])
        before = latents(ws)
        (known,) = glob.glob(ws.path("state/**/fetched-1"), recursive=True)
        size = os.path.getsize(known)
        for damage in (os.urandom(size), b"", b"\xff" * 100):
            with open(known, "wb") as file:
                file.write(damage)
            ws.encode(*RECHECK, src=[listed])
            equal(latents(ws), before, "latents")


@test
def files_that_were_fetched_come_from_the_cache_the_next_time(ws):
    paths = ws.small_pictures(4)
    with Server(ws.src) as server:
        cached = (*PRIVATE, "--cache", ws.path("cache"))
        listed = put(ws, "a.urls", "".join(server.url + p + "\n" for p in paths))
        ws.encode(*cached, src=[listed])
        before = contents(ws)
        statuses(server)
        ws.name = "again"
        ws.encode(*cached, src=[listed])
        equal(statuses(server), [], "requests")
        equal(contents(ws), before, "contents")
        kept = glob.glob(ws.path("cache/??/*"))
        equal(len(kept), 4, "files in the cache")
        for path in kept[:2]:
            with open(path, "r+b") as file:
                file.seek(500)
                file.write(b"damaged")
        ws.name = "damaged"
        ws.encode(*cached, src=[listed])
        equal(len(statuses(server)), 2, "requests for what was damaged")
        equal(contents(ws), before, "contents")
    ws.name = "alone"
    ws.encode(*cached, src=[listed])  # nobody answers any more
    equal(contents(ws), before, "contents")


@test
def what_is_no_image_or_has_changed_is_not_taken_from_the_cache(ws):
    paths = ws.small_pictures(3)
    with Server(ws.src) as server:
        server.tags = {paths[0]: '"one"'}
        server.ways = {paths[1]: lambda h: h.say(200, b"\xff\xd8\xff\xe0 and then nothing")}
        options = (*RECHECK, "--cache", ws.path("cache"))
        listed = put(ws, "a.urls", "".join(server.url + p + "\n" for p in paths[:2]))
        ws.encode(*options, src=[listed], code=QUARANTINED)
        server.ways = {}
        server.tags[paths[0]] = '"two"'
        os.remove(os.path.join(ws.src, paths[0]))
        replace(ws, paths[0], paths[2])
        ws.latentctl("retry", "--out", ws.out)
        ws.encode(*options, src=[listed])
        found = contents(ws)
        ws.name = "folder"
        ws.encode()
        here = contents(ws)
        equal(found, {server.url + paths[0]: here[paths[2]], server.url + paths[1]: here[paths[1]]}, "contents")


def is_whole(path):
    """By its head, which src/source/remote_cache.c describes and which is written last."""
    with open(path, "rb") as file:
        data = file.read()
    magic, _, url, size = struct.unpack_from("<4sIQQ", data)
    return magic == b"LDUC" and len(data) == 40 + url + size


@test
def a_run_that_is_killed_while_it_fills_the_cache_leaves_whole_files_there(ws):
    paths = ws.small_pictures(3)
    with Server(ws.src) as server:
        listed = put(ws, "a.urls", "".join(server.url + p + "\n" for p in paths))
        for n in range(1, 6):  # a file is more than one write
            cache, ws.name = ws.path(f"cache-{n}"), f"killed-{n}"
            cached = (*PRIVATE, "--cache", cache)
            os.mkdir(cache)
            process = ws.start_and_stop(f"write:{n}", cache, *ws.encode_words(*cached, src=[listed]))
            process.kill()
            ws.finish(process)
            kept = glob.glob(os.path.join(cache, "*/*"))
            assert len(kept) < 3 and all(map(is_whole, kept)), f"write {n}: {kept}"
        ws.encode(*cached, src=[listed])
        before = contents(ws)
        same_members(before, [server.url + p for p in paths], "samples")
    ws.name = "again"
    ws.encode(*cached, src=[listed])  # nobody answers any more
    equal(contents(ws), before, "contents")


@test
def a_cache_that_cannot_be_is_told_before_anything_is_done(ws):
    paths = ws.small_pictures(1)
    with Server(ws.src) as server:
        listed = put(ws, "a.urls", server.url + paths[0] + "\n")
        result = ws.encode(*PRIVATE, "--cache", ws.write("no-folder", b"x", ws.root), src=[listed], code=None)
        assert result.code != 0 and "cache folder" in result.err, result
        equal(server.asked, [], "requests")


@test
def a_daemon_finds_files_that_change_on_their_servers(ws):
    paths = ws.small_pictures(3)
    with Server(ws.src) as server:
        server.tags = {p: '"one"' for p in paths[:2]}
        listed = put(ws, "a.jsonl", lines([{"url": server.url + p} for p in paths[:2]]))
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": listed, "private_hosts": True, "recheck": "100ms"}
        daemon.start()
        daemon.wait_for("photos", finished=2)
        wait_until(lambda: (paths[1], 304) in server.statuses, "an unchanged file to be asked for")
        os.remove(os.path.join(ws.src, paths[0]))
        replace(ws, paths[0], paths[2])
        server.tags[paths[0]] = '"two"'
        wait_until(lambda: server.statuses.count((paths[0], 200)) >= 3, "the changed file to be found and fetched")
        daemon.drain("photos")
        daemon.stop()
        ws.name = "photos"
        now = contents(ws)
        ws.name = "folder"
        ws.encode()
        equal(now[server.url + paths[0]], contents(ws)[paths[2]], "its content")


run_tests()
