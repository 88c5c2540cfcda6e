#!/usr/bin/env python3
"""What `latentd` says: through the API and `latentctl log`, as fields, and to the journal."""

import os
import re
import signal
import socket
import subprocess

from daemon_rig import Daemon
from harness import OK, Skip, equal, run_tests, test, wait_until

# A journal of its own in front of the daemon: $1 is a folder with its socket, $2 its standard error.
BEHIND_JOURNAL = """mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
    mount --bind "$1" /run/systemd/journal || exit 99
    exec 2>"$2"
    export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)
    shift 2
    exec "$@" """


@test
def a_follower_sees_what_comes_also_of_a_daemon_that_was_started_again(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.start()
    told = ws.path("followed")
    with open(told, "wb") as out:
        follower = subprocess.Popen(
            [os.path.join(ws.programs, "latentctl"), "log", "--socket", daemon.socket, "--follow"],
            stdout=out, stderr=subprocess.DEVNULL, env=ws.environment,
        )

    def times(words):
        with open(told, encoding="utf-8") as file:
            return file.read().count(words)

    try:
        wait_until(lambda: times("version ") == 1, "the first start")
        daemon.post("/reload")
        wait_until(lambda: times("read again: 0 changes") == 1, "the reload")
        daemon.stop()
        daemon.start()
        wait_until(lambda: times("version ") == 2, "the second start")
        equal(times("read again: 0 changes"), 1, "times that the reload is told")
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(60)
    daemon.stop()


@test
def fields_are_one_line_for_each_event_whatever_a_name_has(ws):
    daemon = Daemon(ws)
    folder = ws.path('new\nline "quoted"')
    daemon.config["log_format"] = "logfmt"
    daemon.dataset(src=folder)
    os.rmdir(folder)
    daemon.start()
    daemon.wait_for_state("blocked")
    daemon.config["log_format"] = "text"
    daemon.write()
    daemon.post("/reload")
    daemon.stop()
    lines = daemon.said().splitlines()
    fields = re.compile(r'time=\S+Z level=(error|warning|info)( dataset="set")? message=".*"$')
    changed = next(i for i, line in enumerate(lines) if line.startswith("latentd: "))
    assert changed > 0 and all(fields.match(line) for line in lines[:changed]), lines
    assert any('dataset="set"' in line and "quoted" in line for line in lines[:changed]), lines
    assert not any(fields.match(line) for line in lines[changed:]), lines


def entries(journal):
    """What was sent to it, as dicts."""
    journal.settimeout(60)
    while True:
        yield dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())


@test
def the_journal_gets_fields_and_nothing_is_written_beside_it(ws):
    folder = ws.path("journal")
    os.mkdir(folder)
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.config["datasets"][0]["source"]["path"] = ws.path("nowhere")
    first = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    first += ["sh", "-c", BEHIND_JOURNAL, "sh", folder, ws.path("beside")]
    probe = subprocess.run([*first, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != OK:
        raise Skip(f"mounts do not work here: {probe.stderr.strip()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(os.path.join(folder, "socket"))
        daemon.start(first=first)
        said = entries(journal)
        begun = next(entry for entry in said if "version" in entry["MESSAGE"])
        equal((begun["PRIORITY"], begun["SYSLOG_IDENTIFIER"]), ("6", "latentd"), "priority, name")
        about = next(entry for entry in said if entry.get("LATENTD_DATASET") == "set")
        equal(about["MESSAGE"], f"set: {about['LATENTD_TEXT']}", "message")
        daemon.stop()
    with open(ws.path("beside"), encoding="utf-8") as beside:
        equal(beside.read(), "", "standard error")


run_tests()
