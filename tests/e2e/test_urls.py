#!/usr/bin/env python3
"""Lists of URLs: files from servers that answer, refuse, lie, redirect, pause and are not there, under encode and the daemon."""

import os
import threading
import time
import urllib.parse

from daemon_rig import Connection, Daemon
from harness import FAILED, QUARANTINED, equal, run_tests, test, wait_until
from reference import read_dataset
from url_server import Server, nobody

PRIVATE = ("--private-hosts",)


def put(ws, urls, name="list.urls"):
    """The list appears at once, old enough for a daemon that meets it."""
    path = os.path.join(ws.root, name)
    text = "# pictures\n\n" + "".join(url + "\r\n" for url in urls)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.utime(path + ".new", (time.time() - 60 + len(text) % 50,) * 2)
    os.rename(path + ".new", path)
    return path


def sources(ws):
    return sorted(s.path for s in read_dataset(ws.dataset))


def reasons(ws):
    return {path.decode(): reason for path, reason in ws.failed().items()}


@test
def images_of_a_list_are_those_of_the_folder_that_a_server_has(ws):
    paths = ws.small_pictures(8)
    with Server(ws.src) as server:
        urls = [server.url + p for p in paths]
        listed = put(ws, urls)
        plan = ws.latentctl("plan", listed, "--resolution", "128")
        assert "8 images are elsewhere" in plan.err
        equal(server.asked, [], "what a plan asked")
        ws.encode(*PRIVATE, src=[listed])
        equal(sources(ws), sorted(urls), "samples")
        equal(len(server.asked), 8, "requests")
        assert all(agent.startswith("latentd/") for _, agent in server.asked), server.asked
        here = {s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}
        ws.encode(*PRIVATE, src=[listed])
        equal(len(server.asked), 8, "requests of a second run")
        ws.name = "folder"
        ws.encode()
        equal({s.record["content_xxh3_128"] for s in read_dataset(ws.dataset)}, here, "contents")


@test
def each_file_has_its_own_fate(ws):
    paths = ws.small_pictures(3)
    whole = open(os.path.join(ws.src, paths[0]), "rb").read()
    again = threading.Event()

    def once(h):
        if again.is_set():
            h.say(200, whole)
        else:
            again.set()
            h.say(503, b"busy", Retry_After="1")

    with Server(ws.src) as server:
        server.ways = {
            "gone.jpg": lambda h: h.say(410),
            "missing.jpg": lambda h: h.say(404, b"<html>not here</html>"),
            "closed.jpg": lambda h: h.say(403),
            "page.jpg": lambda h: h.say(200, b"\n<!DOCTYPE html><p>not here any more", Content_Type="text/html"),
            "huge.jpg": lambda h: h.say(200, b"", Content_Length=str(10 << 30)),
            "garbage.jpg": lambda h: h.say(200, b"\xff\xd8\xff\xe0 and then nothing"),
            "empty.jpg": lambda h: h.say(200),
            "loop.jpg": lambda h: h.say(302, Location="/loop.jpg"),
            "file.jpg": lambda h: h.say(302, Location="file:///etc/passwd"),
            "moved.jpg": lambda h: h.say(301, Location="/" + paths[1]),
            "busy.jpg": once,
        }
        urls = [server.url + p for p in [*server.ways, paths[2]]]
        result = ws.encode(*PRIVATE, src=[put(ws, urls + ["not a URL", "ftp://example.org/a.jpg"])], code=QUARANTINED)
        assert "line 15 is passed over" in result.err and "line 16" in result.err
        equal(sources(ws), sorted(server.url + p for p in ("moved.jpg", "busy.jpg", paths[2])), "samples")
        found = {url[len(server.url):]: reason for url, reason in reasons(ws).items()}
        wanted = {"gone.jpg": "not_found", "missing.jpg": "not_found", "closed.jpg": "forbidden", "page.jpg": "web_page",
                  "huge.jpg": "too_large", "empty.jpg": "truncated", "loop.jpg": "redirect", "file.jpg": "redirect"}
        equal({k: v for k, v in found.items() if k != "garbage.jpg"}, wanted, "reasons")
        assert "garbage.jpg" in found, found
        equal(server.count("gone.jpg"), 1, "requests for what is gone")


@test
def a_server_that_is_not_there_charges_nobody_and_is_asked_again(ws):
    paths = ws.small_pictures(3)
    dead = nobody()
    with Server(ws.src) as server:
        urls = [server.url + paths[0], dead + paths[1], dead + paths[2]]
        listed = put(ws, urls)
        result = ws.encode(*PRIVATE, "--host-patience", "1s", src=[listed], code=FAILED)
        assert "images wait for a server" in result.err
        assert "2 images left: run the same command again" in result.out
        equal(sources(ws), [urls[0]], "samples")
        equal(ws.failed(), {}, "quarantined")


@test
def a_server_that_asks_for_an_hour_does_not_hold_up_the_next_run(ws):
    paths = ws.small_pictures(2)
    with Server(ws.src) as server, Server(ws.src) as busy:
        busy.ways[paths[1]] = lambda h: h.say(503, Retry_After="3600")
        listed = put(ws, [server.url + paths[0], busy.url + paths[1]])
        for _ in range(2):
            result = ws.encode(*PRIVATE, "--host-patience", "1s", src=[listed], code=FAILED)
            assert "images wait for a server" in result.err, result
            assert "1 image left: run the same command again" in result.out, result
        equal(sources(ws), [server.url + paths[0]], "samples")
        equal(busy.count(paths[1]), 1, "requests of the one that is to be left alone")


@test
def private_addresses_are_not_asked_unless_that_is_wanted(ws):
    paths = ws.small_pictures(1)
    with Server(ws.src) as server:
        ws.encode(src=[put(ws, [server.url + paths[0]])], code=QUARANTINED)
        equal(reasons(ws), {server.url + paths[0]: "not_public"}, "reasons")
        equal(server.asked, [], "requests")


@test
def no_proxy_leads_to_private_addresses(ws):
    paths = ws.small_pictures(1)
    with Server(ws.src) as server:
        listed = put(ws, [server.url + paths[0]])
        ws.environment.update(https_proxy=nobody())
        ws.encode(src=[listed], code=QUARANTINED)
        equal(reasons(ws), {server.url + paths[0]: "not_public"}, "reasons")
        ws.environment.update(http_proxy=nobody(), no_proxy="127.0.0.1")
        ws.name = "past"
        ws.encode("--host-patience", "1s", src=[listed], code=FAILED)
        equal(server.asked, [], "requests")


@test
def a_daemon_takes_a_list_and_what_is_added_to_it(ws):
    paths = ws.small_pictures(4)
    with Server(ws.src) as server:
        urls = [server.url + p for p in paths]
        listed = put(ws, urls[:2])
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": listed, "private_hosts": True}
        daemon.start()
        daemon.wait_for("photos", finished=2)
        put(ws, urls)
        daemon.wait_for("photos", finished=4)
        daemon.drain("photos")
        equal(server.count(paths[0]), 1, "requests for the first")
        for job in daemon.jobs_of("photos", "completed"):
            where = f"/api/v1/datasets/photos/thumbnail?key={urllib.parse.quote(job['key'])}"
            connection = Connection(daemon.socket)
            connection.request("GET", where)
            equal(connection.getresponse().status, 200, "a picture from there")
            connection.close()
        equal(server.count(paths[0]), 2, "requests for the first, and its picture")
        daemon.stop()


@test
def what_is_there_does_not_wait_for_what_hardly_comes(ws):
    paths = ws.small_pictures(3)
    released = threading.Event()

    def slowly(h):
        """Fast enough to be no stall, until it is let go: then cut off."""
        h.send_response(200)
        h.send_header("Content-Length", "1000000000")
        h.end_headers()
        while not released.wait(0.2):
            h.wfile.write(bytes(1000))

    with Server(ws.src) as server:
        server.ways["slow.jpg"] = slowly
        daemon = Daemon(ws)
        listed = put(ws, [server.url + p for p in (paths[0], "slow.jpg", paths[1])])
        source = {"path": listed, "private_hosts": True, "file_limit": "1GiB"}
        daemon.dataset("photos", src=ws.src)["source"] = source
        daemon.start()
        daemon.wait_for("photos", finished=2)
        equal(server.count("slow.jpg"), 1, "requests for the one that does not come")
        daemon.stop()
        released.set()


@test
def samples_come_into_shards_while_others_wait_for_a_server(ws):
    paths = ws.small_pictures(2)
    with Server(ws.src) as server:
        daemon = Daemon(ws)
        listed = put(ws, [server.url + paths[0], nobody() + paths[1]])
        daemon.dataset("photos", src=ws.src)["source"] = {"path": listed, "private_hosts": True}
        daemon.start()
        ws.name = "photos"
        wait_until(lambda: os.path.isdir(ws.dataset) and sources(ws) == [server.url + paths[0]], "the first in a shard")
        daemon.stop()


@test
def a_drain_waits_for_no_server_that_is_not_there(ws):
    paths = ws.small_pictures(2)
    with Server(ws.src) as server:
        daemon = Daemon(ws)
        listed = put(ws, [server.url + paths[0], nobody() + paths[1]])
        daemon.dataset("photos", src=ws.src)["source"] = {"path": listed, "private_hosts": True}
        daemon.run("--once", code=FAILED)
        ws.name = "photos"
        equal(sources(ws), [server.url + paths[0]], "samples")


@test
def a_thumbnail_of_a_silent_server_does_not_hold_up_the_end(ws):
    picture = open(os.path.join(ws.src, ws.small_pictures(1)[0]), "rb").read()
    url, answers = "http://pictures.example/a.jpg", []
    silent, ended = threading.Event(), threading.Event()

    def way(h):
        if silent.is_set():
            ended.wait()
        else:
            h.say(200, picture)

    with Server(ws.src) as server:
        server.ways[url] = way  # as a proxy is asked
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": put(ws, [url])}
        daemon.start(env={**ws.environment, "http_proxy": server.url, "no_proxy": ""})
        daemon.wait_for("photos", finished=1)
        (key,) = (job["key"] for job in daemon.jobs_of("photos", "encoded", "completed"))
        where = f"/api/v1/datasets/photos/thumbnail?key={urllib.parse.quote(key)}"
        silent.set()
        asking = threading.Thread(target=lambda: answers.append(daemon.request("GET", where)[0]))
        asking.start()
        wait_until(lambda: server.count(url) == 2, "the server to be asked again")
        daemon.stop()  # code 0: nothing was left behind
        asking.join()
        ended.set()
        equal(answers, [503], "answers")


@test
def sources_that_are_gone_are_not_asked_for_with_every_preview(ws):
    pictures = [open(os.path.join(ws.src, p), "rb").read() for p in ws.small_pictures(2)]
    urls = [f"http://pictures.example/{i}.jpg" for i in range(2)]
    gone = threading.Event()

    def way(picture):
        return lambda h: h.say(410) if gone.is_set() else h.say(200, picture)

    with Server(ws.src) as server:
        server.ways = {url: way(picture) for url, picture in zip(urls, pictures)}  # as a proxy is asked
        daemon = Daemon(ws)
        daemon.dataset("photos", src=ws.src)["source"] = {"path": put(ws, urls)}
        daemon.start(env={**ws.environment, "http_proxy": server.url, "no_proxy": ""})
        daemon.wait_for("photos", finished=2)
        daemon.drain("photos")
        gone.set()
        for asked, sample in enumerate(daemon.get("/datasets/photos/samples")["samples"]):
            if asked:
                server.asked.clear()
            connection = Connection(daemon.socket)
            where = f"/api/v1/datasets/photos/preview?shard={sample['shard']}&offset={sample['offset']}"
            connection.request("GET", where)
            equal(connection.getresponse().status, 200, "in false colours")
            connection.close()
        equal(server.asked, [], "requests for the second")
        daemon.stop()


run_tests()
