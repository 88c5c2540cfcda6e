"""Messages to people who do not look: what comes, and that a server that is gone, slow or wrong holds up nothing."""

import contextlib
import http.server
import json
import os
import socket
import threading
import time

from daemon_rig import Connection, Daemon
from harness import HANGS_AFTER_S, USAGE, equal, one_line, run_tests, test
from openapi import Document
from process_rig import own_port

SECRET = "hush-7f3a"


class Receiver:
    """A server that takes messages as its plan says: a status, "stall" until it is released, "reset". It may be down."""

    def __init__(self, ws, plan=200, up=True):
        self.plan, self.got, self.tries, self.answer = plan, [], 0, b""
        self.changed, self.released = threading.Condition(), threading.Event()
        self.server, self.port = None, own_port(ws)
        if up:
            self.up()
        ws.at_end.append(self.down)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook/x7"

    def up(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                owner.take(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        self.released.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def take(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self.changed:
            plan, self.tries = self.plan, self.tries + 1
            self.changed.notify_all()
        if plan == "stall":
            self.released.wait(HANGS_AFTER_S)
        if plan in ("stall", "reset"):
            request.close_connection = True
            with contextlib.suppress(OSError):
                request.connection.shutdown(socket.SHUT_RDWR)
            return
        if plan == 200:
            with self.changed:
                self.got.append((request.headers, json.loads(body)))
                self.changed.notify_all()
        request.send_response(plan)
        request.send_header("Content-Length", str(len(self.answer)))
        request.end_headers()
        with contextlib.suppress(OSError):
            request.wfile.write(self.answer)

    def wait(self, holds, what):
        with self.changed:
            assert self.changed.wait_for(holds, HANGS_AFTER_S), f"no {what}: {self.got}"

    def message(self, event):
        """The first of that event: (headers, message)"""

        def found():
            return [(h, m) for h, m in self.got if m["event"] == event]

        self.wait(found, event)
        return found()[0]


def with_webhook(ws, receiver, secret=True, **options):
    daemon = Daemon(ws)
    daemon.config["webhook"] = {"url": receiver.url, **options}
    if secret:
        path = ws.write("secret", f"{SECRET}\n".encode(), ws.root)
        os.chmod(path, 0o600)
        daemon.config["webhook"]["secret_file"] = path
    daemon.dataset("photos")
    return daemon


def about(daemon):
    return daemon.status()["webhook"]


def is_documented(value, schema):
    equal(Document().problems(value, {"$ref": f"#/components/schemas/{schema}"}), [], "openapi.json")


@test
def what_is_done_and_what_failed_is_told(ws):
    receiver = Receiver(ws)
    daemon = with_webhook(ws, receiver)
    ws.small_pictures(3, folder=ws.path("photos"))
    broken = ws.write("<b>.jpg", b"no picture", ws.path("photos"))
    os.utime(broken, (time.time() - 60,) * 2)  # found with the others
    daemon.start()
    daemon.wait_for("photos", finished=3, quarantined=1)
    headers, failed = receiver.message("failed")
    equal(headers["Authorization"], f"Bearer {SECRET}", "the secret")
    equal(headers["Content-Type"], "application/json", "type")
    assert headers["User-Agent"].startswith("latentd/"), headers
    equal(failed["message"], "photos: 1 image failed: `latentctl failed --name photos` lists them", "message")
    _, drained = receiver.message("drained")
    equal(set(drained), {"event", "id", "at", "host", "message", "dataset"}, "members")
    assert drained["id"] != failed["id"] and drained["host"] == socket.gethostname(), drained
    is_documented(drained["dataset"], "Dataset")
    equal(drained["dataset"]["jobs"]["quarantined"], 1, "failed images")
    daemon.wait(lambda: about(daemon)["sent"] == 2, "both to be counted")
    equal(about(daemon), {"server": receiver.url[:-8], "waiting": 0, "sent": 2, "lost": 0, "why": None}, "status")
    with contextlib.closing(Connection(daemon.socket)) as connection:
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
    assert 'latentd_webhook_messages_total{outcome="sent"} 2' in metrics, metrics
    daemon.stop()
    equal(len(receiver.got), 2, "messages")


@test
def a_drained_daemon_ends_when_that_was_told(ws):
    receiver = Receiver(ws)
    daemon = with_webhook(ws, receiver, secret=False)
    ws.small_pictures(2, folder=ws.path("photos"))
    daemon.run("--once")
    headers, drained = receiver.message("drained")
    equal(headers["Authorization"], None, "a secret")
    jobs = drained["dataset"]["jobs"]
    equal(jobs["completed"] + jobs["encoded"], 2, "images")


@test
def what_hinders_the_server_holds_up_nothing_and_ends(ws):
    for plan in ("down", "reset", 500, 404, "stall"):
        receiver = Receiver(ws, plan, up=plan != "down")
        daemon = Daemon(ws, f"daemon-{plan}")
        daemon.config["webhook"] = {"url": receiver.url}
        daemon.dataset("set", src=ws.path(f"src-{plan}"), out=ws.path(f"out-{plan}"))
        ws.small_pictures(2, folder=ws.path(f"src-{plan}"))
        daemon.start()
        # the message waits, is tried, and everything else goes on
        daemon.wait_for("set", finished=2)
        if plan == "stall":
            receiver.wait(lambda r=receiver: r.tries > 0, "try")
        else:
            daemon.wait(lambda d=daemon: about(d)["why"], f"a failed try ({plan})")
            status, health = daemon.health()
            assert any("messages do not arrive at" in p for p in health["problems"]), health
            equal(status, 200, "healthy all the same")
        equal(about(daemon)["waiting"], 1, "messages that wait")
        ws.small_pictures(1, folder=ws.path(f"src-{plan}"), first=2)
        daemon.wait_for("set", finished=3)
        # it comes when the server is there, without being asked again
        receiver.plan = 200
        receiver.released.set()
        if plan == "down":
            receiver.up()
        receiver.message("drained")
        daemon.wait(lambda d=daemon: about(d)["why"] is None, "no problem")
        daemon.stop()
        receiver.down()


@test
def a_message_that_is_refused_is_lost_alone(ws):
    receiver = Receiver(ws, 422)
    daemon = with_webhook(ws, receiver, interval="0s")
    ws.small_pictures(1, folder=ws.path("photos"))
    daemon.start()
    daemon.wait(lambda: about(daemon)["lost"] == 1, "a lost message")
    daemon.says("webhook: a message is refused and lost: it answers 422")
    receiver.plan = 200
    ws.small_pictures(1, folder=ws.path("photos"), first=1)
    receiver.message("drained")
    daemon.wait(lambda: about(daemon)["sent"] == 1, "the next to arrive")
    daemon.stop()


@test
def an_answer_of_any_length_takes_a_message_once(ws):
    for plan, count in ((200, "sent"), (201, "sent"), (422, "lost")):
        receiver = Receiver(ws, plan)
        receiver.answer = b"<html>" + 2 * (1 << 20) * b"x"
        daemon = Daemon(ws, f"daemon-{plan}")
        daemon.config["webhook"] = {"url": receiver.url}
        daemon.dataset("set", src=ws.path(f"src-{plan}"), out=ws.path(f"out-{plan}"))
        ws.small_pictures(1, folder=ws.path(f"src-{plan}"))
        daemon.start()
        daemon.wait(lambda d=daemon: about(d)["waiting"] + about(d)["sent"] + about(d)["lost"] == 1, "a message")
        daemon.wait(lambda d=daemon, c=count: about(d)[c] == 1 or about(d)["why"], "its end")
        equal(about(daemon)[count], 1, f"messages {count} after {plan}: {about(daemon)['why']}")
        daemon.stop()
        equal(receiver.tries, 1, f"tries after {plan}")
        receiver.down()


@test
def a_daemon_ends_though_its_server_does_not_answer(ws):
    receiver = Receiver(ws, "stall")
    daemon = with_webhook(ws, receiver)
    ws.small_pictures(1, folder=ws.path("photos"))
    daemon.start()
    receiver.wait(lambda: receiver.tries > 0, "try")
    daemon.stop()
    daemon.says("webhook: messages are lost that did not arrive before the end")
    assert SECRET not in daemon.said() and "/hook/" not in daemon.said(), daemon.said()


@test
def a_reload_tells_another_server_and_none(ws):
    first, second = Receiver(ws, up=False), Receiver(ws)
    daemon = with_webhook(ws, first)
    ws.small_pictures(1, folder=ws.path("photos"))
    daemon.start()
    daemon.wait(lambda: about(daemon)["why"], "a failed try")
    daemon.config["webhook"]["url"] = second.url
    daemon.write()
    equal(daemon.post("/reload")["count"], 1, "changes")
    second.message("drained")  # what waited goes there
    del daemon.config["webhook"]
    daemon.write()
    daemon.post("/reload")
    daemon.wait(lambda: about(daemon) is None, "that nobody is told")
    daemon.stop()


@test
def a_full_disk_and_a_dataset_that_stands_still_are_told(ws):
    receiver = Receiver(ws)
    daemon = with_webhook(ws, receiver, stalled_after="1s", disk_low="16777215TiB")
    daemon.config["webhook"]["events"] = ["stalled", "disk_low"]
    daemon.start()
    _, low = receiver.message("disk_low")
    is_documented(low["disk"], "Disk")
    assert "until nothing new is begun there" in low["message"], low
    os.rename(ws.path("photos"), ws.path("away"))
    _, stalled = receiver.message("stalled")
    assert "No such file or directory" in stalled["message"], stalled
    equal(stalled["dataset"]["state"], "blocked", "state")
    daemon.stop()


@test
def settings_that_would_give_the_secret_away_are_refused(ws):
    daemon = with_webhook(ws, Receiver(ws))
    hook = daemon.config["webhook"]
    hook["url"] = "http://example.org/x"
    one_line(daemon.command("--check-config", code=USAGE), "unencrypted", "allow_http")
    hook["url"] = "ftp://example.org/x"
    one_line(daemon.command("--check-config", code=USAGE), "url", "http:// or https://")
    hook["url"], hook["events"] = "https://example.org/x", ["done"]
    one_line(daemon.command("--check-config", code=USAGE), "events", "drained")
    del hook["events"]
    os.chmod(hook["secret_file"], 0o644)
    one_line(daemon.command("--check-config", code=USAGE), "secret_file", "chmod 600")


run_tests()
