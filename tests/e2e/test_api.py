"""The API against its OpenAPI file, and the commands of latentctl that speak to it.

A small server stands for the daemon (tests/component/api_test_server.c): it answers what a busy daemon would, prints
what it is asked, and refuses where the reason says so.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading

from harness import BUILD_DIR, BUSY, FAILED, HANGS_AFTER_S, NO_DAEMON, QUARANTINED, USAGE, Skip, equal, listens
from harness import one_line, run_tests, same_members, test, wait_until
from latent_files import npy
from openapi import Document

# What a client needs of it: nothing else has to be there.
CONFIG = """
state_dir: mine
api: {{socket: {socket}}}
datasets:
  - name: photos
    source: {{path: nowhere}}
    output: {{path: neither}}
    recipe: {{vae: gone, resolution: 512}}
encoders:
  - {{type: cpu}}
"""
DAEMON = """
state_dir: state-of-daemon
api: {{socket: api.sock}}
datasets:
  - name: photos
    source: {{path: {source}}}
    output: {{path: {output}}}
    recipe: {{vae: fake, resolution: 128, max_upscale: 0}}
encoders:
  - {{type: fake}}
"""
EVENTS = "/api/v1/events"
DATASET = "/api/v1/datasets/{name}"
# The small server has neither sources nor shards: test_pictures.py has.
NO_PICTURES = (f"{DATASET}/thumbnail", f"{DATASET}/preview")


def named(path, dataset, encoder="cpu"):
    """The path with the name of what it is about."""
    return path.replace("{name}", encoder if "/encoders/" in path else dataset)


def call(path_of_socket, method, path, body=None):
    """(status, JSON, or text where it is that) of a server."""
    connection = http.client.HTTPConnection("latentd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path_of_socket)
    connection.request(method, path, json.dumps(body) if body is not None else None)
    response = connection.getresponse()
    content_type, text = response.headers["Content-Type"], response.read()
    connection.close()
    if content_type.startswith("text/plain"):
        return response.status, text.decode()
    equal(content_type, "application/json", "content type")
    return response.status, json.loads(text)


class Server:
    """api_test_server in a folder of the workspace."""

    def __init__(self, ws, *words):
        self.folder = ws.path("server")
        os.makedirs(self.folder)
        self.socket = os.path.join(self.folder, "api.sock")
        program = os.path.join(BUILD_DIR, "tests", "api_test_server")
        self.process = subprocess.Popen(
            [program, self.folder, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        equal(self.process.stdout.readline(), "ready\n", "first line of the server")

    def asked(self):
        """The next request that the service got."""
        return self.process.stdout.readline().strip()

    def call(self, method, path, body=None):
        return call(self.socket, method, path, body)

    def close(self):
        self.process.stdin.close()
        equal(self.process.wait(HANGS_AFTER_S), 0, "exit status of the server")
        self.process.stdout.close()


@contextlib.contextmanager
def serving(ws, *words):
    server = Server(ws, *words)
    try:
        yield server
    except BaseException:
        server.process.kill()
        raise
    finally:
        server.close() if server.process.poll() is None else server.process.wait()


def first_event(path_of_socket):
    """(content type, the JSON of the first event)"""
    with contextlib.closing(http.client.HTTPConnection("latentd")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path_of_socket)
        connection.request("GET", EVENTS)
        response = connection.getresponse()
        equal(response.status, 200, "status of the events")
        line = response.readline().decode()
        assert line.startswith("data: "), line
        return response.headers["Content-Type"], json.loads(line.removeprefix("data: "))


# -- the OpenAPI file


@test
def every_route_is_documented_and_nothing_else(ws):
    with serving(ws) as server:
        _, answer = server.call("GET", "/api/v1")
        routes = [(route["method"], route["path"]) for route in answer["routes"]]
    same_members(routes, Document().operations(), "routes")


def check(document, operation, what, status, answer):
    schema = document.schema(operation, status)
    is_text = document.content_type(operation, status) == "text/plain" if schema else False
    assert is_text == isinstance(answer, str), f"{what} is no {'text' if is_text else 'JSON'}"
    assert schema is not None, f"{what} answers {status}, which is not documented: {answer}"
    problems = document.problems(answer, schema)
    assert not problems, f"{what}, {status}: " + "; ".join(problems)


@test
def every_answer_is_as_documented(ws):
    document = Document()
    queries = {
        f"{DATASET}/jobs": "?state=quarantined&reason=truncated&limit=2",
        f"{DATASET}/thumbnail": "?key=key-1",
        f"{DATASET}/preview": "?shard=1&offset=0",
    }
    bodies = {f"{DATASET}/priority": {"priority": 3}, f"{DATASET}/captions": {"captions": {}}}
    bodies[f"{DATASET}/attach"] = {"array": "te", "path": "/arrays"}
    with serving(ws) as server:
        for (method, path), operation in document.operations().items():
            found = 404 if path in NO_PICTURES else 200
            for name, wanted in (("photos", found), ("nobody", 404)):
                if path == EVENTS or name == "nobody" and "{name}" not in path:
                    continue
                place = named(path, name, "cpu" if wanted == 200 else name) + queries.get(path, "")
                status, answer = server.call(method, place, bodies.get(path))
                equal(status, wanted, f"status of {method} {place}")
                check(document, operation, f"{method} {place}", status, answer)
            # a parameter that nobody takes is refused everywhere, and as documented where it is
            status, answer = server.call(
                method, named(path, "photos") + "?x=1", bodies.get(path)
            )
            equal(status, 400, f"status of {method} {path} with ?x=1")
            if path != "/healthz":
                check(document, operation, f"{method} {path}?x=1", status, answer)


@test
def events_are_as_documented(ws):
    document = Document()
    operation = document.operations()[("GET", EVENTS)]
    with serving(ws) as server:
        content_type, event = first_event(server.socket)
        equal(content_type, document.content_type(operation, 200), "content type")
        check(document, operation, "an event", 200, event)
        connection = http.client.HTTPConnection("latentd")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(server.socket)
        connection.request("HEAD", EVENTS)
        equal(connection.getresponse().headers["Content-Type"], content_type, "of HEAD")
        connection.close()


@test
def the_daemon_itself_answers_as_documented(ws):
    ws.small_pictures(2)
    ws.write("text.jpg", b"text")
    arrays = os.path.dirname(ws.write("nobody.npy", npy([0.0], (1,)), ws.path("arrays")))
    config = DAEMON.format(source=ws.src, output=ws.out).encode()
    ws.write("latentd.yaml", config, ws.root)
    program = os.path.join(ws.programs, "latentd")
    with open(ws.path("log"), "wb") as log:
        daemon = subprocess.Popen(
            [program, "--config", "latentd.yaml"], cwd=ws.root, env=ws.environment, stderr=log
        )
    try:
        where = ws.path("api.sock")
        wait_until(lambda: listens(where) or daemon.poll() is not None, "the socket")
        wait_until(
            lambda: call(where, "GET", "/api/v1/datasets/photos")[1].get("state") == "idle",
            "the dataset to be done",
        )
        (row,) = ws.latentctl("failed", "--config", "latentd.yaml", "--json").json
        equal(row["path"], ws.path("pictures", "text.jpg"), "path of what failed")
        document = Document()
        for (method, path), operation in document.operations().items():
            if path.endswith("/drain"):  # that would be its end
                continue
            if path == EVENTS or path in NO_PICTURES:
                continue
            place = named(path, "photos", "fake")
            place += "?state=quarantined" if path.endswith("/jobs") else ""
            bodies = {"priority": {"priority": 3}, "captions": {"captions": {"text": "a", "none": None}}}
            bodies["attach"] = {"array": "te", "path": arrays}
            body = bodies.get(path.rpartition("/")[2])
            status, answer = call(where, method, place, body)
            wanted = (200, 409) if path.endswith("/accept-deletions") else (200,)
            assert status in wanted, f"{method} {place} answers {status}: {answer}"
            check(document, operation, f"{method} {place}", status, answer)
    finally:
        daemon.terminate()
        equal(daemon.wait(HANGS_AFTER_S), 0, "exit status of the daemon")
    assert not os.path.exists(where), "the socket is left"


@test
def what_is_refused_is_as_documented(ws):
    document = Document()
    path = f"{DATASET}/retry"
    operation = document.operations()["POST", path]
    reasons = {"refuse": 409, "busy": 503, "broken": 500, "nobody": 404}
    with serving(ws) as server:
        for reason, wanted in reasons.items():
            status, answer = server.call(
                "POST", path.replace("{name}", "photos"), {"reason": reason}
            )
            equal(status, wanted, f"status for {reason}")
            check(document, operation, f"POST {path}", status, answer)
        status, answer = server.call("GET", f"{DATASET}/jobs".replace("{name}", "old%20scans"))
        check(document, document.operations()["GET", f"{DATASET}/jobs"], "jobs", status, answer)


@test
def what_is_documented_is_taken(ws):
    """Every parameter of the file, one after another."""
    examples = {"state": "skipped", "reason": "x", "key": "k", "limit": 5, "priority": 1, "captions": {}, "dry_run": True}
    examples |= {"level": "warning", "dataset": "photos"}
    examples |= {"shard": 1, "offset": 0, "array": "te", "path": "/arrays"}
    examples |= {"grace_hours": 0, "shard_samples": 100, "shard_size": 1 << 20}
    with serving(ws) as server:
        for (method, path), operation in Document().operations().items():
            place = path.replace("{name}", "photos")
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                if parameter["in"] != "query" or name == "after":
                    continue
                others = "state=gone&" if path.endswith("/jobs") and name != "state" else ""
                if path.endswith("/preview"):
                    others = "offset=0&" if name == "shard" else "shard=1&"
                status, answer = server.call(method, f"{place}?{others}{name}={examples[name]}")
                wanted = 404 if path in NO_PICTURES else 200
                equal(status, wanted, f"status of {place} with {name}: {answer}")
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name in body.get("schema", {}).get("properties", {}):
                needed = body["schema"].get("required", [])
                given = {each: examples[each] for each in {name, *needed}}
                status, answer = server.call(method, place, given)
                equal(status, 200, f"status of {place} with {name}: {answer}")


# -- latentctl as its client


@test
def status_shows_what_the_daemon_says_on_80_columns(ws):
    with serving(ws) as server:
        out = ws.latentctl("status", "--socket", server.socket).out
        for words in ("running for 3 days 4 h", "photos: running, priority 5", "97.2 %"):
            assert words in out, out
        for words in ("about 46 min left", "old scans: blocked", "/models/gone is not there"):
            assert words in out, out
        assert all(len(line) <= 80 for line in out.splitlines()), out
        ws.environment["LATENTD_SOCKET"] = server.socket
        assert f"deletions\n    --socket {server.socket} --name" in out, "how to reach it"
        plain = ws.latentctl("status").out
        equal(plain[: plain.index("  !")], out[: out.index("  !")], "by the environment")
        only = ws.latentctl("status", "--name", "old scans").out
        assert "photos" not in only and "old scans" in only, only
        one_line(ws.latentctl("status", "--name", "nobody", code=FAILED), "nobody")
        (whole,) = ws.latentctl("status", "--json").json
        equal([d["name"] for d in whole["datasets"]], ["photos", "old scans"], "datasets")


@test
def a_watched_status_comes_again_and_survives_the_daemon(ws):
    with serving(ws) as server:
        process = ws.start("status", "--watch", "--socket", server.socket)
        for _ in range(2):
            line = process.stdout.readline().decode()
            assert line.startswith("photos: running, 97.2 %, 1,200,503 done"), line
            process.stdout.readline()
    while b"no daemon answers" not in (line := process.stdout.readline()):
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    equal(ws.finish(process).code, -signal.SIGINT, "end")


@test
def a_watched_status_is_redrawn_in_place_and_fits_the_terminal(ws):
    ours, theirs = pty.openpty()
    with serving(ws) as server, os.fdopen(ours, "rb", buffering=0) as screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 80, 0, 0))
        process = ws.start("status", "--watch", "--socket", server.socket, stdout=theirs)
        os.close(theirs)
        seen = b""
        while seen.count(b"\x1b[J") < 2:
            seen += screen.read(65536)
        process.kill()
        process.communicate()
    first, second = [part.split(b"\x1b[J")[0] for part in seen.split(b"\x1b[H")[1:3]]
    assert b"photos: running" in first and b"\x1b[K\r\n" in first, first
    equal(first.count(b"\n"), 8, "lines on a terminal of 9")
    equal(second.splitlines()[1:], first.splitlines()[1:], "the second picture")
    assert b"more lines" in second, second


@test
def a_watched_status_keeps_to_a_narrow_terminal(ws):
    ours, theirs = pty.openpty()
    with serving(ws) as server, os.fdopen(ours, "rb", buffering=0) as screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 40, 0, 0))
        process = ws.start("status", "--watch", "--socket", server.socket, stdout=theirs)
        os.close(theirs)
        seen = b""
        while b"\x1b[J" not in seen:
            seen += screen.read(65536)
        process.kill()
        process.communicate()
    picture = seen.split(b"\x1b[J")[0].split(b"\x1b[H")[1].replace(b"\x1b[K", b"").decode()
    assert "  recipe     0123456789abcdef0123456789a\r\n" in picture, picture
    assert all(len(line) <= 40 for line in picture.splitlines()), picture


def first_picture(ws, rows, columns, *words):
    """Rows of a terminal of that size, as `status --watch` fills it first."""
    ours, theirs = pty.openpty()
    with serving(ws, *words) as server, os.fdopen(ours, "rb", buffering=0) as screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = ws.start("status", "--watch", "--socket", server.socket, stdout=theirs)
        os.close(theirs)
        seen = b""
        while b"\x1b[J" not in seen:
            seen += screen.read(65536)
        process.kill()
        process.communicate()
    return seen.split(b"\x1b[J")[0].split(b"\x1b[H")[1].replace(b"\x1b[K", b"").decode().splitlines()


@test
def a_watched_status_shows_progress_however_many_endpoints_there_are(ws):
    folded = "  endpoints  12: 10 ok, 1 backing off, 1 failing: https://gpu12.example/vae: connect: Connection refused"
    for rows, columns in ((24, 80), (50, 120)):
        lines = first_picture(ws, rows, columns, ws.out, "12")
        shutil.rmtree(ws.path("server"))
        assert len(lines) < rows and all(len(line) <= columns for line in lines), lines
        assert folded[:columns] in lines, lines
        for words in ("photos: running", "progress   [", "about 46 min left", "old scans: blocked", "> cpu idle"):
            assert any(words in line for line in lines), lines
        assert not any("more lines" in line for line in lines), lines
    lines = first_picture(ws, 100, 120, ws.out, "12")
    equal(sum("  endpoint   https://" in line for line in lines), 12, "endpoints where there is room")


@test
def failures_are_listed_from_the_daemon(ws):
    with serving(ws) as server:
        words = ("failed", "--socket", server.socket, "--name", "photos")
        rows = ws.latentctl(*words, "--json").json
        reasons = [(row["source"], row["reason"]) for row in rows]
        wanted = [(f"{name}.jpg", "truncated") for name in "abc"] + [("deep/d.jpg", "unsupported")]
        equal(reasons, wanted, "failures")
        equal(
            ws.latentctl(*words, "--reason", "unsupported", "--paths").out, "deep/d.jpg\n", "paths"
        )
        skipped = ws.latentctl("skipped", "--socket", server.socket, "--name", "photos").out
        assert skipped.startswith("too_small ") and "\\xff" in skipped, skipped


@test
def errors_are_grouped_with_an_example_and_a_remedy_with_a_daemon_and_without(ws):
    ws.small_pictures(2)
    for i in range(3):
        ws.write(f"text-{i}.jpg", b"text")
    with open(ws.path("pictures", os.listdir(ws.src)[0]), "rb") as whole:
        ws.write("\033short.png", b"\x89PNG\r\n\x1a\n" + whole.read(8)[:8])
    ws.encode(code=QUARANTINED)
    rows = ws.latentctl("top-errors", "--out", ws.out, "--json").json
    equal([row["jobs"] for row in rows], [3, 1], "images of each reason")
    equal((rows[0]["jobs"], rows[0]["reason"]), (3, "unsupported"), "the most frequent one")
    equal(sum(row["jobs"] for row in rows), 4, "images in all")
    assert all(row["message"] and row["dataset"] and row["path"] for row in rows), rows
    assert "convert it" in rows[0]["remedy"], rows
    text = ws.latentctl("top-errors", "--out", ws.out).out
    assert text.index("unsupported") < text.index("short.png") and "\033" not in text, text
    with serving(ws) as server:
        ws.environment["LATENTD_SOCKET"] = server.socket
        (row,) = [r for r in ws.latentctl("top-errors", "--name", "photos", "--json").json
                  if r["reason"] == "truncated"]
        assert row["remedy"] and row["message"], row
    ws.latentctl("retry", "--out", ws.out)


@test
def the_log_is_shown_filtered_and_cleaned(ws):
    with serving(ws) as server:
        where = ["log", "--socket", server.socket]
        lines = ws.latentctl(*where).out.splitlines()
        equal([line.split(" ", 2)[2] for line in lines], [
            "info    version 0", "warning photos: nearly full", "info    scans: goes on?[2J",
        ], "lines")
        equal(len(ws.latentctl(*where, "-n", "1").out.splitlines()), 1, "lines of -n 1")
        equal([row["text"] for row in ws.latentctl(*where, "--level", "warning", "--json").json],
              ["nearly full"], "warnings")
        equal([row["dataset"] for row in ws.latentctl(*where, "--name", "scans", "--json").json],
              ["scans"], "of one dataset")
        ws.latentctl(*where, "--level", "loud", code=USAGE)
        for after in ("", "x", "-1", "1" * 19):
            equal(server.call("GET", f"/api/v1/log?after={after}")[0], 400, f"after={after}")
    result = ws.latentctl(*where, code=NO_DAEMON)
    one_line(result, "journalctl -u latentd", "latentd --config")


@test
def commands_reach_the_daemon(ws):
    def row(command, dataset="-", state=-1, reason="-", key="-", priority=0):
        return (
            f"{command} dataset={dataset} state={state} reason={reason} key={key} "
            f"priority={priority}"
        )

    cases = (
        (["retry"], row("retry", state=6)),
        (["retry", "--name", "photos", "--skipped", "--reason", "too_small"],
         row("retry", "photos", 7, "too_small")),
        (["retry", "--name", "photos", "--key", "a b"], row("retry", "photos", 6, key="a b")),
        (["cancel", "--name", "photos"], row("cancel", "photos")),
        (["pause"], row("pause")),
        (["pause", "--name", "old scans"], row("pause", "old scans")),
        (["pause", "--encoder", "cpu"], "pause encoder=cpu"),
        (["resume", "--encoder", "cpu"], "resume encoder=cpu"),
        (["resume"], row("resume")),
        (["scan"], row("scan")),
        (["drain"], row("drain")),
        (["seal"], row("seal")),
        (["reload"], row("reload")),
        (["priority", "photos", "7"], row("priority", "photos", priority=7)),
        (["priority", "--", "photos", "-7"], row("priority", "photos", priority=-7)),
        (["deletions", "--accept"], row("accept-deletions", "old scans")),
    )
    with serving(ws) as server:
        ws.environment["LATENTD_SOCKET"] = server.socket
        for words, wanted in cases:
            result = ws.latentctl(*words)
            equal(server.asked(), wanted, f"what {words} asks")
            assert "as the rig says" in result.out, result
        one_line(ws.latentctl("pause", "--name", "nobody", code=FAILED))
        for words in (["cancel"], ["priority", "photos", "1001"]):
            ws.latentctl(*words, code=USAGE)


@contextlib.contextmanager
def owning(ws, **says):
    """Locks the output as a daemon does, with what its owner.json says besides."""
    path = os.path.join(ws.out, ".latentd", "owner.json")
    with open(path, encoding="utf-8") as file:
        owner = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**owner, **says}, file)
    with open(os.path.join(ws.out, ".latentd", "lock"), "r+b") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
        yield


@test
def an_output_that_a_daemon_owns_is_asked_for_there(ws):
    ws.small_pictures(1)
    ws.encode()
    os.symlink(ws.out, ws.path("link"))  # as the daemon's configuration has it
    with serving(ws, ws.path("link")) as server, owning(ws, socket=server.socket, pid=os.getpid()):
        out = ws.latentctl("status", "--out", ws.out).out
        assert "photos: running" in out and "old scans" not in out and "\nset" not in out, out
        (row,) = ws.latentctl("status", "--out", ws.out, "--json").json
        equal((row["dataset"], row["running"], row["state"]), ("photos", True, "running"), "row")
        ws.latentctl("retry", "--out", ws.out)
        assert server.asked().startswith("retry dataset=photos "), "retry went elsewhere"
        one_line(ws.encode(code=BUSY), str(os.getpid()))
    # its daemon ended: what the file says is history
    assert "\nset\n" in ws.latentctl("status", "--out", ws.out).out


@test
def an_output_that_a_silent_process_owns_is_read(ws):
    ws.small_pictures(1)
    ws.write("text.jpg", b"text")
    ws.encode(code=None)
    with owning(ws, socket=ws.path("gone.sock"), pid=os.getpid()):
        out = ws.latentctl("status", "--out", ws.out).out
        assert out.splitlines()[0].count(f"process {os.getpid()}") == 1 and "\nset\n" in out, out
        one_line(ws.latentctl("retry", "--out", ws.out, code=BUSY), str(os.getpid()))


@test
def without_a_daemon_images_are_cancelled_and_tried_again_in_the_database(ws):
    ws.small_pictures(1)
    ws.write("text.jpg", b"text")
    ws.write("empty.jpg")
    ws.encode(code=None)
    words = ("--out", ws.out, "--name", "set")
    assert "--name" in ws.latentctl("cancel", "--out", ws.out, code=USAGE).errors[0]
    equal(ws.latentctl("cancel", *words).out, "set: 0 images cancelled\n", "nothing to cancel")
    rows = {row["source"]: row["key"] for row in ws.latentctl("failed", *words, "--json").json}
    again = "will be tried again by the next encode\n"
    out = ws.latentctl("retry", *words, "--key", rows["text.jpg"]).out
    equal(out, f"set: 1 image {again}", "retry of one")
    equal(ws.latentctl("cancel", *words).out, "set: 1 image cancelled\n", "cancel")
    equal(ws.status()["jobs"]["cancelled"], 1, "cancelled")
    out = ws.latentctl("retry", *words, "--cancelled").out
    equal(out, f"set: 1 image {again}", "retry of what was cancelled")


@test
def files_with_the_same_content_are_listed(ws):
    first, second = ws.small_pictures(2)
    ws.encode()
    out = ws.latentctl("dupes", "--out", ws.out).out
    equal(out, "no two files have the same content\n", "without duplicates")
    with open(os.path.join(ws.src, first), "rb") as file:
        ws.write("copy\n.jpg", file.read())
    ws.encode()
    (row,) = ws.latentctl("dupes", "--out", ws.out, "--json").json
    equal(row["dataset"], "set", "dataset")
    same_members([job["source"] for job in row["jobs"]], [first, "copy\n.jpg"], "files")
    assert all(job["stored"] for job in row["jobs"]), row
    out = ws.latentctl("dupes", "--out", ws.out).out
    assert '/copy\\n.jpg"' in out and second not in out, out
    assert out.endswith("1 content in 2 files\n"), out


@test
def what_the_daemon_refuses_is_said_in_its_words(ws):
    with serving(ws) as server:
        words = ["retry", "--socket", server.socket, "--reason"]
        one_line(ws.latentctl(*words, "refuse", code=FAILED), "the rig says no")


@test
def without_a_daemon_commands_say_how_to_start_one(ws):
    for words in (["scan"], ["pause"], ["reload"], ["status"], ["failed"], ["retry"]):
        result = ws.latentctl(*words, code=NO_DAEMON)
        one_line(result, "no daemon answers", ws.path("no.sock"), "latentd --config FILE")
        equal(result.out, "", "stdout")
    ws.latentctl("priority", "photos", code=USAGE)
    ws.small_pictures(1)
    ws.encode()
    one_line(ws.latentctl("scan", "--out", ws.out, code=NO_DAEMON), "no daemon works")


@test
def a_configuration_leads_to_its_daemon_and_else_to_its_database(ws):
    ws.small_pictures(1)
    ws.encode("--state", ws.path("mine"))
    with serving(ws) as server:
        ws.write("latentd.yaml", CONFIG.format(socket=server.socket).encode(), ws.root)
        assert "photos: running" in ws.latentctl("status", "--config", "latentd.yaml").out
    out = ws.latentctl("status", "--config", "latentd.yaml").out
    assert out.startswith("no daemon works here now") and "\nset\n" in out, out
    one_line(ws.latentctl("pause", "--config", "latentd.yaml", code=NO_DAEMON), server.socket)
    ws.write("latentd.yaml", b"state_dir: [", ws.root)
    one_line(ws.latentctl("status", "--config", "latentd.yaml", code=FAILED), "latentd.yaml:2:1")


@test
def the_database_of_a_state_folder_is_read_without_a_daemon(ws):
    ws.small_pictures(2)
    ws.write("text.jpg", b"text")
    ws.encode("--state", ws.path("mine"), code=None)
    (whole,) = ws.latentctl("status", "--state", ws.path("mine"), "--json").json
    equal(whole["datasets"][0]["jobs"]["quarantined"], 1, "failed")
    rows = ws.latentctl("failed", "--state", ws.path("mine"), "--json").json
    equal([row["path"] for row in rows], [ws.path("pictures", "text.jpg")], "paths")


@test
def a_socket_without_permission_is_named(ws):
    options = ws.unprivileged()
    if not options:
        raise Skip("only root can be somebody else")
    with serving(ws) as server:
        os.chmod(server.folder, 0o755)
        words = ("status", "--socket", server.socket)
        one_line(ws.latentctl(*words, code=FAILED, **options), "permission", server.socket)


@contextlib.contextmanager
def listening(ws, answer):
    """Accepts connections; @answer(connection) in a thread of its own."""
    path = ws.path("bad.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    os.unlink(path)


@test
def what_is_no_latentd_is_named(ws):
    answers = (
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html/>\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    )
    for bytes_ in answers:
        with listening(ws, lambda connection, b=bytes_: connection.sendall(b)) as path:
            one_line(ws.latentctl("status", "--socket", path, code=FAILED), path)


@test
def a_daemon_that_hangs_is_given_up(ws):
    with listening(ws, lambda connection: connection.recv(1)) as path:
        one_line(ws.latentctl("pause", "--socket", path, code=FAILED), "no answer within")


run_tests()
