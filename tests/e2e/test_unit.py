#!/usr/bin/env python3
"""The unit of systemd/: how much it allows, and that the daemon, its engine and its decoders work under it.

The service manager's filter of system calls is put on by tests/tools/call_filter.c: no systemd has to run for it.
"""

import functools
import glob
import grp
import os
import re
import shutil
import signal
import subprocess

from daemon_rig import Daemon, HandedOver
from harness import BUILD_DIR, HANGS_AFTER_S, OK, SOURCE_DIR, USAGE, Skip, demo_model, equal, run_tests, sanitized
from harness import test
from reference import paths_in

UNITS = os.path.join(BUILD_DIR, "systemd")
DEVICES = os.path.join(SOURCE_DIR, "systemd", "cuda.conf")
MOST_EXPOSED = 20  # ten times the score of systemd-analyze security


def analyze(*words, **options):
    if not shutil.which("systemd-analyze"):
        raise Skip("there is no systemd-analyze here")
    result = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, **options
    )
    return result.returncode, result.stdout + result.stderr


def settings_of(unit, name):
    """The values that a unit gives to a setting, in their order."""
    with open(os.path.join(UNITS, unit), encoding="utf-8") as file:
        return [line.split("=", 1)[1].split() for line in file if line.startswith(f"{name}=")]


@functools.cache
def calls_of(group):
    """The system calls of a group, groups in it included."""
    if not group.startswith("@"):
        return {group}
    code, text = analyze("syscall-filter", group)
    equal(code, 0, f"exit status of systemd-analyze syscall-filter {group}")
    names = [line.strip() for line in text.splitlines()[1:]]
    return set().union(*(calls_of(n) for n in names if n and not n.startswith("#")))


def allowed_calls(unit):
    """As systemd.exec(5) reads SystemCallFilter=: the first list allows, those with ~ take away again."""
    allowed = set()
    for names in settings_of(unit, "SystemCallFilter"):
        refused = names[0].startswith("~")
        calls = set().union(*(calls_of(n.removeprefix("~")) for n in names))
        allowed = allowed - calls if refused else allowed | calls
    return sorted(allowed)


def under_filter():
    """What stands before a program that runs under the unit's filter."""
    if sanitized():
        raise Skip("a sanitizer's runtime makes calls of its own")
    return [os.path.join(BUILD_DIR, "tests", "call_filter"), *allowed_calls("latentd.service"), "--"]


def exposure(unit, file):
    """Prints it; whether it is within the limit."""
    limit = f"--threshold={MOST_EXPOSED}"
    code, text = analyze("security", "--offline=yes", limit, file)
    score = re.search(r"exposure level for \S+: (\S+)", text)
    assert score and code in (0, 1), text
    print(f"{unit}: {score.group(1)}")
    return code == 0


@test
def units_allow_no_more_than_the_limit(ws):
    found = sorted(glob.glob(os.path.join(UNITS, "*.service")))
    equal([os.path.basename(f) for f in found], ["latentd.service", "latentd@.service"], "units")
    for file in found:
        assert exposure(os.path.basename(file), file), f"{file} allows too much"


@test
def a_unit_with_the_devices_of_cuda_allows_no_more_than_the_limit(ws):
    both = ws.path("both.service")
    with open(both, "w", encoding="utf-8") as out:
        for part in (os.path.join(UNITS, "latentd.service"), DEVICES):
            with open(part, encoding="utf-8") as file:
                out.write(file.read())
    assert exposure("latentd.service with cuda.conf", both), "it allows too much"


@test
def a_unit_that_allows_more_than_the_limit_is_told_from_one_that_does_not(ws):
    open_unit = ws.path("open.service")
    with open(open_unit, "w", encoding="utf-8") as file:
        file.write("[Service]\nExecStart=/bin/true\n")
    assert not exposure("a unit without any protection", open_unit)


@test
def a_daemon_encodes_reloads_and_stops_under_the_units_filter(ws):
    daemon = Daemon(ws)
    dataset = daemon.dataset(recipe={"vae": demo_model()})
    daemon.config["encoders"] = [{"type": "cpu"}]
    daemon.config["api"]["group"] = grp.getgrgid(os.getgid()).gr_name
    paths = ws.small_pictures(6, dataset["source"]["path"])
    daemon.start(first=under_filter())
    daemon.wait_for(finished=6)
    daemon.config["decode"]["workers"] = 2
    daemon.write()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: "read again" in daemon.said(), "the reload")
    paths += ws.small_pictures(3, dataset["source"]["path"], first=6)
    daemon.wait_for(finished=9)
    daemon.drain()
    daemon.stop()
    equal(sorted(paths_in(os.path.join(ws.out, "set"))), sorted(paths), "samples")
    for sign in ("not permitted", "not confined"):
        assert sign not in daemon.said(), daemon.said()


@test
def decoders_are_confined_as_well_under_the_units_filter_as_without_it(ws):
    ws.small_pictures(3)
    command = [
        os.path.join(BUILD_DIR, "tests", "bench_handoff"),
        *("--mode", "pixels", "--resolution", "128", "--workers", "1"),
        os.path.join(ws.programs, "latentd-decode"),
        ws.src,
    ]
    said = []
    for first in ([], under_filter()):
        result = subprocess.run([*first, *command], capture_output=True, text=True, check=False)
        equal(result.returncode, 0, f"{result.stdout}{result.stderr}\nexit status")
        said.append(result.stdout.splitlines()[0])
    equal(said[1], said[0], "how decoders are confined")


# -- socket activation


@test
def a_socket_of_the_service_manager_is_served_and_outlives_the_daemon(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    handed_over = HandedOver(daemon.socket)
    early = ws.start("status", "--socket", daemon.socket)  # before there is a daemon: it waits
    daemon.start(**handed_over.options)
    equal(ws.finish(early).code, OK, "exit status of the command that came early")
    daemon.process.send_signal(signal.SIGTERM)
    equal(daemon.process.wait(HANGS_AFTER_S), OK, "exit status")
    daemon.process = None
    assert os.path.exists(daemon.socket), "the socket is gone"
    daemon.start(**handed_over.options)
    daemon.process.kill()
    daemon.process.wait(HANGS_AFTER_S)
    daemon.process = None
    handed_over.close()


@test
def a_socket_for_another_path_is_refused_by_name(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    handed_over = HandedOver(ws.path("another.sock"))
    daemon.spawn(**handed_over.options)
    equal(daemon.process.wait(HANGS_AFTER_S), USAGE, "exit status")
    daemon.process = None
    assert f'none that listens at "{daemon.socket}"' in daemon.said(), daemon.said()
    handed_over.close()


run_tests()
