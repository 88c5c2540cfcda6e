"""latentd serve under many, slow and hostile clients, how it ends, and beside the datasets of a daemon."""

import contextlib
import http.client
import os
import signal
import socket
import threading
import time

from daemon_rig import Daemon
from harness import USAGE, demo_model, equal, run_tests, test, wait_until
from openapi import Document
from reference import read_dataset, read_npy
from serve_rig import Server, hang_up, noise, planes, png

SIDE = 64
PNG = png(SIDE, SIDE, noise(3 * SIDE * SIDE))
EXACT = {"posterior": "mean", "reply": "float32"}


def at_once(n, work):
    """Runs work(0) ... work(n - 1) in threads that begin together; their results, or the first failure."""
    results, barrier = [None] * n, threading.Barrier(n)

    def run(i):
        barrier.wait()
        try:
            results[i] = work(i)
        except Exception as error:  # handed to the test below
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def head(length, *lines):
    return "\r\n".join(
        ["POST /?posterior=mean HTTP/1.1", "Host: a", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


GATHER_LONG = ("--gather", "10s", "--batch", "99")


@contextlib.contextmanager
def one_coming_in(server):
    """Others of its size wait for it (GATHER_LONG), so that they are under way for as long as the test wants."""
    # Who has his answer already is counted for a moment.
    wait_until(lambda: server.metrics()["latentd_serve_queue_images"] == 0, "nothing to be under way")
    with server.socket() as slow:
        slow.sendall(head(len(PNG)) + PNG[:10])
        server.wait_for_metric("queue_images", 1)
        yield slow


def come_in(server, n):
    """Sockets of @n requests that the server has read; first all begin, so that nobody waits for whoever is late."""
    before = server.metrics()["latentd_serve_queue_images"]
    sockets = [server.socket() for _ in range(n)]
    for sock in sockets:
        sock.sendall(head(len(PNG)) + PNG[:10])
    server.wait_for_metric("queue_images", before + n)
    for sock in sockets:
        sock.sendall(PNG[10:])
    wait_until(lambda: not any(is_unread(sock) for sock in sockets), "the requests to be read")
    return sockets


def is_unread(sock):
    """Whether the other end of this connection has something to read."""
    (_, here), (_, there) = sock.getsockname(), sock.getpeername()
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            _, local, remote, _, queues, *_ = line.split()
            if local.endswith(f":{there:04X}") and remote.endswith(f":{here:04X}"):
                return int(queues.partition(":")[2], 16) > 0
    return True


def answer_on(sock):
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    sock.close()
    return answer


def told_to_stop(process):
    """SIGTERM has been taken from the kernel."""
    process.send_signal(signal.SIGTERM)

    def is_taken():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            pending = next(line.split()[1] for line in file if line.startswith("ShdPnd:"))
        return not int(pending, 16) >> (signal.SIGTERM - 1) & 1

    wait_until(is_taken, "the signal to be seen")


@test
def many_clients_at_once_get_what_each_asked_for(ws):
    server = Server(ws, "--queue", "200", vae=demo_model()).start()
    images = [noise(3 * SIDE * SIDE, seed) for seed in range(8)]
    want = [server.encode(png(SIDE, SIDE, image), **EXACT).body for image in images]
    shape = [1, 3, SIDE, SIDE]

    def client(i):
        connection = server.connection()
        for k in range(4):
            which = (i + k) % len(images)
            if i % 2:
                answer = server.post(png(SIDE, SIDE, images[which]), connection=connection, **EXACT)
            else:
                answer = server.post(
                    planes(images[which]), connection=connection, shape=shape, dtype="uint8", **EXACT
                )
            equal(answer.latent().body, want[which], f"client {i}, request {k}")
        connection.close()

    at_once(40, client)
    equal(server.metrics()["latentd_serve_images_total"], 168, "images")
    server.stop()


@test
def what_comes_together_is_one_batch_and_one_alone_does_not_wait(ws):
    # Nobody who is alone waits for a gathering of ten seconds.
    server = Server(ws, "--gather", "10s", "--batch", "8").start()
    began = time.monotonic()
    server.encode(PNG)
    assert time.monotonic() - began < 9.5, "it waited for others"
    equal(server.metrics()["latentd_serve_batch_images_count"], 1, "batches")
    # One that is coming in holds the others of its size until it is there.
    with one_coming_in(server) as slow:
        sockets = come_in(server, 7)
        slow.sendall(PNG[10:])
        equal([answer_on(sock).status for sock in [*sockets, slow]], [200] * 8, "answers")
    metrics = server.metrics()
    equal(metrics["latentd_serve_images_total"], 9, "images")
    equal(metrics["latentd_serve_batch_images_count"], 2, "batches")
    equal(metrics['latentd_serve_batch_images_bucket{le="4"}'], 1, "small batches")
    server.stop()


@test
def beyond_the_queue_it_is_429_with_a_time(ws):
    server = Server(ws, "--queue", "2").start()
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.socket()) for _ in range(2)]
        for sock in held:
            sock.sendall(head(len(PNG)) + PNG[:10])
        server.wait_for_metric("queue_images", 2)
        answer = server.post(PNG)
        answer.error(429, "queue")
        assert 1 <= int(answer.headers["retry-after"]) <= 60, answer
        held[0].sendall(PNG[10:])
        assert held[0].recv(20).startswith(b"HTTP/1.1 200")
        server.wait_for_metric("images_total", 1)
        wait_until(lambda: server.post(PNG).status == 200, "room in the queue")
    equal(server.metrics()['latentd_serve_requests_total{status="429"}'] >= 1, True, "counted")
    server.stop()


@test
def what_would_never_fit_is_413(ws):
    server = Server(ws, "--max-body", "1MiB", "--memory", "1MiB").start()
    answer = server.tensor(bytes(2 * 3 * 320 * 320), [1, 3, 320, 320], "float16")
    answer.error(413, "memory")
    server.stop()


@test
def beyond_the_memory_it_is_429(ws):
    server = Server(ws, "--max-body", "1MiB", "--memory", "1MiB").start()
    with server.socket() as held:
        held.sendall(head(900 << 10))
        server.wait_for_metric("queue_images", 1)
        answer = server.tensor(bytes(3 * 256 * 256), [1, 3, 256, 256], "uint8")
        answer.error(429)
        assert answer.headers["retry-after"], answer
        server.encode(PNG)
    wait_until(
        lambda: server.tensor(bytes(3 * 256 * 256), [1, 3, 256, 256], "uint8").status == 200,
        "memory to be given back",
    )
    wait_until(lambda: server.metrics()["latentd_serve_queue_bytes"] == 0, "no bytes under way")
    server.stop()


@test
def a_request_that_waits_too_long_is_503(ws):
    server = Server(ws, *GATHER_LONG, "--timeout", "100ms").start()
    with one_coming_in(server) as slow:
        answer = server.post(PNG)
        answer.error(503, "busy")
        assert answer.headers["retry-after"], answer
        slow.sendall(PNG[10:])
        slow.recv(20)
    server.stop()


@test
def a_connection_serves_many_requests_also_after_errors(ws):
    server = Server(ws, "--max-body", "100KiB", "--memory", "1MiB").start()
    connection = server.connection()
    connection.connect()
    port = connection.sock.getsockname()
    for _ in range(3):
        equal(server.post(PNG, connection=connection).status, 200, "status")
        equal(server.post(b"nonsense", connection=connection).status, 415, "status")
        equal(server.post(bytes(300 << 10), connection=connection).status, 413, "status")
        equal(server.post(PNG, connection=connection, seed="x").status, 400, "status")
        equal(server.request("GET", "/health", connection=connection).status, 200, "status")
    equal(connection.sock.getsockname(), port, "the connection")
    connection.close()
    server.stop()


@test
def garbage_and_broken_requests_hurt_nobody(ws):
    server = Server(ws).start()
    request = head(len(PNG)) + PNG
    for garbage in (
        noise(4000),
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 100000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /%00%ff?%=%&&&=a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        request + noise(500),
        request[:-100],
    ):
        with server.socket() as sock, contextlib.suppress(OSError):
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
    # two in one go are both answered
    with server.socket() as sock:
        sock.sendall(request + request.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        answered = b""
        while piece := sock.recv(4096):
            answered += piece
        equal(answered.count(b"HTTP/1.1 200 OK"), 2, "answers")
    server.encode(PNG)
    wait_until(lambda: server.metrics()["latentd_serve_queue_images"] == 0, "an empty queue")
    server.stop()


@test
def clients_that_hang_up_cost_no_encode(ws):
    server = Server(ws, *GATHER_LONG).start()
    with one_coming_in(server) as slow:
        for sock in come_in(server, 8):
            hang_up(sock)
        wait_until(lambda: server.metrics()["latentd_serve_queue_images"] == 1, "the others to be gone")
        slow.sendall(PNG[10:])
        equal(answer_on(slow).status, 200, "the status of who stayed")
    equal(server.metrics()["latentd_serve_images_total"], 1, "images that were encoded")
    server.encode(PNG)
    server.stop()


@test
def many_slow_clients_leave_room_for_others(ws):
    server = Server(ws, "--connections", "60").start()
    with contextlib.ExitStack() as stack:
        for i in range(50):
            sock = stack.enter_context(server.socket())
            sock.sendall(b"POST / HT" if i % 2 else head(1000) + b"x")
        server.wait_for_metric("connections", 50)
        for _ in range(5):
            server.encode(PNG)
    wait_until(lambda: server.metrics()["latentd_serve_connections"] < 5, "connections to end")
    server.stop()


@test
def what_is_under_way_is_answered_at_the_end_and_nothing_more(ws):
    server = Server(ws, *GATHER_LONG, "--stop-timeout", "10min", vae=demo_model()).start()
    with one_coming_in(server) as slow:
        sockets = come_in(server, 4)
        told_to_stop(server.process)
        hang_up(slow)
        equal([answer_on(sock).status for sock in sockets], [200] * 4, "answers")
    server.ended()


@test
def after_its_time_to_stop_what_is_left_is_503(ws):
    server = Server(ws, *GATHER_LONG, "--stop-timeout", "0s", vae=demo_model()).start()
    with one_coming_in(server):
        sockets = come_in(server, 6)
        server.stop()
        for answer in map(answer_on, sockets):
            equal(answer.status, 503, "status")
            assert answer.headers["retry-after"], answer.headers


@test
def a_decoder_that_dies_costs_one_request(ws):
    server = Server(ws, "--jobs", "1").start()
    server.encode(PNG)
    for pid in ws.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.post(PNG).status == 200, "another decoder")
    server.stop()


# -- beside datasets


class DaemonServer(Server):
    """The server of a daemon whose configuration has `serve:`."""

    def __init__(self, ws, daemon):
        super().__init__(ws)
        self.daemon, self.stderr = daemon, daemon.stderr

    def connect(self):
        self.process = self.daemon.process
        wait_until(self.is_ready, "the daemon to serve")
        return self

    def kill(self):
        self.process = None


@test
def a_daemon_serves_beside_its_datasets(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": demo_model()}
    recipe = {"vae": demo_model(), "resolution": 64, "bucketing": "square", "dtype": "float32"}
    daemon.dataset("set", recipe=recipe)
    for i in range(24):
        ws.write(f"{i}.png", png(SIDE, SIDE, noise(3 * SIDE * SIDE, i)), ws.path("set"))
    daemon.start()
    server = DaemonServer(ws, daemon).connect()
    answers = at_once(4, lambda i: server.encode(PNG if i else png(64, 64, noise(12288, 5)), **EXACT))
    daemon.wait_for("set", finished=24)
    daemon.drain("set")
    stored = {s.path: read_npy(s.npy)[2] for s in read_dataset(os.path.join(ws.out, "set"))}
    equal(len(stored), 24, "samples")
    equal(answers[0].body, stored["5.png"], "the latent of the same picture")
    equal(answers[1].body, stored["1.png"], "the latent of the other")
    daemon.stop()


@test
def status_shows_what_a_daemon_serves(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    daemon.start()
    equal(daemon.status()["serve"], None, "what is served")
    daemon.stop()
    daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": demo_model()}
    daemon.start()
    server = DaemonServer(ws, daemon).connect()
    server.encode(PNG)
    server.post(b"no picture").error(415)
    with server.socket() as held:  # a request whose body does not come
        held.sendall(head(1000))
        serve = daemon.wait(lambda: served(daemon, in_flight=1, requests=2), "the request")
    equal(Document().problems(serve, {"$ref": "#/components/schemas/Serve"}), [], "openapi.json")
    equal(serve["url"], f"http://127.0.0.1:{server.port}", "address")
    equal((serve["state"], serve["why"], serve["refused"]), ("ready", None, 1), "state")
    equal(serve["images_done"], 1, "images")
    assert serve["connections"] >= 1, serve
    text = ws.latentctl("status", "--socket", daemon.socket).out
    assert f"{serve['url']} ready, {serve['model']}, 2 requests, 1 refused" in text, text
    daemon.wait(lambda: served(daemon, in_flight=0), "the request to be gone")
    wait_until(lambda: server.encode(PNG) and daemon.status()["serve"]["images_per_second"], "a rate")
    daemon.stop()


def served(daemon, **members):
    serve = daemon.status()["serve"]
    return serve if all(serve[name] == value for name, value in members.items()) else None


@test
def a_daemon_ends_in_order_while_it_serves(ws):
    daemon = Daemon(ws)
    daemon.config["encoders"] = [{"type": "cpu", "threads": 1}]
    daemon.config["serve"] = {"listen": "127.0.0.1:0", "vae": demo_model(), "gather": "10s", "stop_timeout": "10min"}
    daemon.start()
    server = DaemonServer(ws, daemon).connect()
    with one_coming_in(server) as slow:
        (sock,) = come_in(server, 1)
        told_to_stop(daemon.process)
        hang_up(slow)
        equal(answer_on(sock).status, 200, "status")
    daemon.ended()


@test
def serve_is_checked_with_the_configuration(ws):
    daemon = Daemon(ws)
    for serve, expected in (
        ({"listen": "127.0.0.1:0"}, "vae"),
        ({"listen": "here", "vae": "fake"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:0", "vae": ws.path("nothing")}, "nothing"),
        ({"listen": "127.0.0.1:0", "vae": demo_model()}, "no encoder"),
    ):
        daemon.config["serve"] = serve
        daemon.write()
        result = daemon.command("--check-config", "--config", daemon.file, code=USAGE)
        assert expected in result.err, result


run_tests()
