"""What tests of outages share: a dataset that says why it cannot go on, and an end at which nothing is lost."""

import os

from harness import same_members
from reference import paths_in


def blocked(daemon, *words, name="set"):
    """Waits until the dataset says that it cannot go on because of all of these."""

    def says_why():
        about = daemon.about(name)
        why = about["why"] or ""
        return about["state"] == "blocked" and all(word in why for word in words)

    daemon.wait(says_why, f"{name} to be blocked: {words}")


def sealed(ws, daemon, wanted):
    """Everything in shards, the daemon ended, and exactly these images are there."""
    daemon.drain()
    daemon.stop()
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")
    ws.latentctl("verify", "--out", ws.out)
