#!/usr/bin/env python3
"""Clients of the daemon's API over TCP that hold what they get: others come in all the same."""

import contextlib
import re
import socket
import ssl

from daemon_rig import Daemon
from harness import equal, run_tests, test
from remote_server import certificate

ALL, EACH = 64, 32  # connections over TCP: in all, and of one address


def connect(port, address="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), 60, source_address=(address, 0))


def hold(stack, port, n, says=b"G"):
    """@n connections on which one byte comes and no more."""
    for _ in range(n):
        slow = stack.enter_context(connect(port))
        slow.sendall(says)


def is_closed_at_once(port):
    with connect(port) as late, contextlib.suppress(ConnectionResetError):
        return late.recv(1) == b""
    return True


def port_of(daemon, url):
    return int(re.search(re.escape(url) + r":(\d+)/", daemon.says("dashboard at ")).group(1))


@test
def latentctl_is_answered_while_slow_clients_hold_every_connection_over_tcp(ws):
    daemon = Daemon(ws)
    daemon.config["api"]["listen"] = "127.0.0.1:0"
    daemon.dataset("photos")
    daemon.start()
    port = port_of(daemon, "http://127.0.0.1")
    with contextlib.ExitStack() as stack:
        hold(stack, port, ALL)
        assert is_closed_at_once(port), "one connection too many"
        said = ws.latentctl("status", "--socket", daemon.socket, "--json").json[0]
        equal(said["daemon"]["state"], "running", "state")
        ws.latentctl("pause", "--name", "photos", "--socket", daemon.socket)
        daemon.wait_for_state("paused", "photos")
    daemon.stop()


@test
def one_address_does_not_get_every_connection(ws):
    daemon = Daemon(ws)
    cert, key = certificate(ws, "api")
    token = ws.secret("token", b"s3cret-word\n")
    daemon.config["api"].update(listen="0.0.0.0:0", token_file=token, tls_cert=cert, tls_key=key)
    daemon.dataset("photos")
    daemon.start()
    port = port_of(daemon, "https://0.0.0.0")
    with contextlib.ExitStack() as stack:
        hold(stack, port, EACH, b"\x16")
        assert is_closed_at_once(port), "one connection too many of this address"
        tls = ssl.create_default_context(cafile=cert)
        other = stack.enter_context(connect(port, "127.0.0.2"))
        other = stack.enter_context(tls.wrap_socket(other, server_hostname="localhost"))
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret-word\r\n\r\n")
        assert other.recv(12).startswith(b"HTTP/1.1 200"), "the other address"
    daemon.stop()


if __name__ == "__main__":
    run_tests()
