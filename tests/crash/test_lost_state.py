#!/usr/bin/env python3
"""A rewrite dies at any of its calls, and then the state folder is lost: the shards alone must give everything back.

One image has no file any more, so that what is lost cannot be encoded again unnoticed. LATENTD_CRASH_CASE=31 runs only
the death at that call.
"""

import glob
import hashlib
import os
import shutil
import time

from crash import DIED, Rig, evenly, time_for
from harness import OK, equal, run_tests, test
from daemon_rig import Daemon
from reference import read_dataset


def latents(ws):
    """{path: hash of its members}; each path once."""
    found = {}
    for sample in read_dataset(ws.dataset):
        assert sample.path not in found, f"{sample.path} is there twice"
        text = repr(sorted(sample.members.items()))
        found[sample.path] = hashlib.sha256(text.encode()).hexdigest()
    return found


def compact(rig, call):
    env = rig.shim(fault=f"change:{call}:die")
    words = ["compact", "--shard-samples", "100", "--out", rig.ws.out]
    return rig.ws.latentctl(*words, code=None, env=env)


def one_case(rig, call, wanted):
    rig.restore("whole")
    result = compact(rig, call)
    assert result.code in (OK, DIED), f"exit status {result.code}"
    shutil.rmtree(rig.ws.environment["XDG_STATE_HOME"])
    if call % 2:  # otherwise the next encode sees to it
        rig.ws.latentctl("rebuild", rig.ws.out, rig.ws.src)
    result = rig.encode()
    equal(latents(rig.ws), wanted, "the samples")
    assert "(0 new)" in result.out, f"encoded again: {result}"
    rig.ws.verify()


@test
def a_compaction_that_dies_and_the_state_may_be_lost_together(ws):
    rig, failed, done, end = Rig(ws), [], 0, time_for(20)
    rig.encode()
    os.remove(os.path.join(ws.src, rig.paths[4]))
    wanted = latents(ws)
    rig.keep("whole")
    compact(rig, 100000)
    calls = evenly(range(1, rig.reported()[1]["change"] + 1))
    if chosen := os.environ.get("LATENTD_CRASH_CASE"):
        calls = [int(chosen)]
    for call in calls:
        if time.monotonic() > end:
            break
        rig.ws.history.clear()
        done += 1
        try:
            one_case(rig, call, wanted)
        except Exception as why:  # each is named, and the others still run
            failed.append(call)
            print(f"FAILED case {call}: {why}")
            print("".join(f"  $ {r}\n" for r in rig.ws.history), flush=True)
    print(f"{done} of {len(calls)} deaths followed by the loss of the state: {len(failed)} failed")
    equal(failed, [], "failed cases")


@test
def a_daemon_whose_state_is_lost_takes_in_what_a_compaction_left_staged(ws):
    rig = Rig(ws)
    rig.encode()
    os.remove(os.path.join(ws.src, rig.paths[4]))
    wanted = latents(ws)
    rig.keep("whole")
    compact(rig, 100000)
    for call in reversed(range(1, rig.reported()[1]["change"] + 1)):
        rig.restore("whole")
        compact(rig, call)
        if glob.glob(f"{ws.dataset}/.latentd/staged/train/**/*.tar", recursive=True) and len(latents(ws)) < len(wanted):
            break
    else:
        raise AssertionError("no call leaves a sample in a staged shard alone")
    shutil.rmtree(ws.environment["XDG_STATE_HOME"])
    daemon = Daemon(ws)
    daemon.dataset(src=ws.src)
    daemon.run("--once")
    equal(latents(ws), wanted, "the samples")
    assert "its catalog was lost: rebuilt from" in daemon.said(), daemon.said()


run_tests()
