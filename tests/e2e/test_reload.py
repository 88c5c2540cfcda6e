#!/usr/bin/env python3
"""What a reload changes of a running `latentd` beside its datasets (test_daemon_steering.py): decoders and encoders."""

from daemon_rig import Daemon
from harness import equal, run_tests, same_members, test
from reference import read_dataset


def reload(daemon, code=200):
    daemon.write()
    return daemon.post("/reload", code=code)


def changes(daemon, n):
    """@n of them, all in force without a restart."""
    answer = reload(daemon)
    equal(answer["count"], n, "changes")
    assert "restart" not in answer.get("message", ""), answer


@test
def decode_workers_become_more_and_fewer_while_images_are_encoded(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    paths = ws.small_pictures(300, ws.path("set"))
    daemon.start()
    for workers in (4, 2, 3, 1):
        daemon.wait(lambda: daemon.about()["since_start"]["encoded"] > 0, "the first image")
        daemon.config["decode"]["workers"] = workers
        changes(daemon, 1)
        daemon.wait(lambda: daemon.status()["daemon"]["decode_workers"] == workers, "status to say so")
        daemon.wait(lambda: len(ws.workers()) == workers, f"{workers} processes")
    daemon.wait_for(finished=300)
    for job in daemon.jobs_of("set", "completed", "encoded"):
        assert job.get("attempts", 0) <= 1, f"charged: {job}"
    daemon.drain()
    daemon.stop()
    same_members([s.path for s in read_dataset(ws.dataset)], paths, "samples")


run_tests()
