#!/usr/bin/env python3
"""One image kills the program whenever it is opened, with others in flight: it is found by running alone, and they survive.

It is all that the shim looks at: to open it is the last thing that a process does.
"""

import os

from crash import DIED, Rig
from harness import QUARANTINED, equal, run_tests, test

BLAMED_CRASHES = 8  # QUEUE_BLAMED_CRASHES, queue/queue.h
KILLER = "1/killer.jpg"


def blame(ws, jobs):
    rig = Rig(ws)
    ws.golden("rocket.jpg", KILLER)
    env = rig.shim(fault="open:1:die", roots=os.path.join(ws.src, KILLER))
    options = ("--shard-samples", "3", "--jobs", jobs, "--quiet")
    deaths = 0
    while True:
        result = ws.encode(*options, code=None, env=env)
        if result.code != DIED:
            break
        deaths += 1
        assert deaths <= BLAMED_CRASHES, "it is never blamed"
    equal(result.code, QUARANTINED, "exit status")
    equal(deaths, BLAMED_CRASHES, "deaths until it is blamed")
    equal(ws.failed(), {KILLER.encode(): "crash"}, "failed images")
    rig.samples_are_there()
    ws.latentctl("verify", "--deep", "--out", ws.out)
    return rig, options


@test
def the_one_image_that_kills_the_program_is_blamed_and_no_other(ws):
    blame(ws, "2")


@test
def an_image_that_was_blamed_and_is_harmless_now_is_encoded_when_it_is_tried_again(ws):
    rig, options = blame(ws, "1")
    ws.latentctl("retry", "--out", ws.out)
    ws.encode(*options)
    rig.is_whole([*rig.paths, KILLER])


run_tests()
