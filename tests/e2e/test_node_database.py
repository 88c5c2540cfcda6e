#!/usr/bin/env python3
"""What nodes do when the database that they share is away, is another one, or is set back."""

import os
import shutil
import socket
import threading

from harness import equal, run_tests, test, wait_until
from nodes_rig import nodes, stopped
from postgres_rig import Postgres


class Refuser:
    """In the place of @postgres, which is stopped: takes connections and closes each at once."""

    def __init__(self, postgres):
        self.path = os.path.join(postgres.dir, ".s.PGSQL.5432")
        self.count = 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        os.chmod(self.path, 0o777)
        self.server.listen(8)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            client.close()
            self.count += 1

    def end(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()
        os.remove(self.path)


@test
def a_node_that_cannot_listen_says_why_once_and_when_it_can_again(ws):
    postgres = Postgres(ws)
    a, _ = nodes(ws, postgres, "a")
    a.start()
    a.wait_for_state("idle")
    equal(a.status()["node"]["why"], None, "why it is not told")
    postgres.stop()
    refuser = Refuser(postgres)
    a.wait(lambda: "closed the connection" in (a.status()["node"]["why"] or ""), "the node to say why")
    seen = refuser.count
    wait_until(lambda: refuser.count >= seen + 4, "it to try again and again")
    told = [line for line in a.said().splitlines() if "listen to PostgreSQL" in line]
    equal(len(told), len({line.partition("listen to")[2] for line in told}), f"times that a cause is told {told}")
    assert all("are asked for every 20 s" in line for line in told), told
    refuser.end()
    postgres.start()
    a.says("is told again of images that other nodes find")
    a.wait(lambda: a.status()["node"]["why"] is None, "the node to be well")
    stopped(a)


run_tests()
