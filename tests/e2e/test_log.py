#!/usr/bin/env python3
"""What `latentd` says: through the API and `latentctl log`, as fields, and to the journal."""

import json
import os
import re
import signal
import socket
import subprocess

from daemon_rig import Daemon, shimmed
from harness import FAILED, NO_DAEMON, OK, SOURCE_DIR, Skip, equal, one_line, run_tests, test, wait_until

with open(os.path.join(SOURCE_DIR, "daemon", "log_event.c"), encoding="utf-8") as file:
    KINDS = dict(re.findall(r'\{"(\w+)",\s*"([0-9a-f]{32})"', file.read()))

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
def a_follower_misses_nothing_of_many_lines_at_once(ws):
    daemon, many = Daemon(ws), 250  # more than an event has
    daemon.dataset("photos")
    daemon.start()
    told = ws.path("followed")
    with open(told, "wb") as out:
        follower = subprocess.Popen(
            [os.path.join(ws.programs, "latentctl"), "log", "--socket", daemon.socket, "-n", "1000"]
            + ["--follow", "--name", "photos", "--level", "warning", "--json"],
            stdout=out, stderr=subprocess.DEVNULL, env=ws.environment,
        )
    try:
        for i in range(many):
            ws.write(f"{i:03d}.jpg", b"no picture", ws.path("photos"))
        daemon.post("/datasets/photos/scan")
        daemon.wait_for("photos", quarantined=many)

        def lines():
            with open(told, encoding="utf-8") as file:
                return [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith("\n")]

        wait_until(lambda: len(lines()) >= many, "all lines")
        names = sorted(line["text"].split(":")[0] for line in lines())
        equal(names, [f"{i:03d}.jpg" for i in range(many)], "images that are told")
        ids = [line["id"] for line in lines()]
        equal(ids, sorted(set(ids)), "their ids")
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(60)
    daemon.stop()


@test
def what_a_daemon_said_is_there_when_it_is_not(ws):
    daemon = Daemon(ws)
    daemon.dataset("photos")
    ws.write("text.jpg", b"text", ws.path("photos"))
    daemon.start()
    daemon.wait_for("photos", quarantined=1)
    daemon.says("text.jpg")
    running = ws.latentctl("log", "--config", daemon.file)
    daemon.stop()
    for where in (["--config", daemon.file], ["--state", daemon.state_dir]):
        ended = ws.latentctl("log", *where)
        assert ended.out.startswith(running.out), ended.out
        assert "stopping; what is encoded is kept" in ended.out.splitlines()[-1], ended.out
        equal(ended.errors, ["latentctl log: no daemon runs; this is what the last one said"], "note")
    (line,) = ws.latentctl("log", "--state", daemon.state_dir, "--level", "warning", "--name", "photos", "--json").json
    equal((line["level"], line["dataset"]), ("warning", "photos"), "the line")
    (line,) = ws.latentctl("log", "--state", daemon.state_dir, "-n", "1", "--json").json
    assert "stopping" in line["text"], line
    # what another says comes after it
    daemon.start()
    daemon.says("version")
    again = ws.latentctl("log", "--state", daemon.state_dir)
    assert "stopping" not in again.out and not again.errors, str(again)
    daemon.stop()
    assert ws.latentctl("log", "--state", daemon.state_dir).out.count("stopping; ") == 2
    # a socket alone says nothing about where its daemon kept anything
    refused = ws.latentctl("log", "--socket", daemon.socket, code=NO_DAEMON)
    one_line(refused, "journalctl -u latentd")
    nothing = ws.latentctl("log", "--state", ws.path("elsewhere"), code=NO_DAEMON)
    one_line(nothing, "no daemon works with the state in")


@test
def what_cannot_be_read_is_not_said_to_be_missing(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.start()
    daemon.stop()
    os.chmod(daemon.state_dir, 0o700)
    refused = ws.latentctl("log", "--state", daemon.state_dir, code=NO_DAEMON, **ws.unprivileged())
    one_line(refused, "no daemon", "cannot be read", "Permission denied")
    os.chmod(daemon.file, 0)
    refused = ws.latentctl("log", "--config", daemon.file, code=None, **ws.unprivileged())
    one_line(refused, daemon.file, "Permission denied")
    os.chmod(daemon.state_dir, 0o755)
    for name in os.listdir(daemon.state_dir):
        os.remove(daemon.state_dir + "/" + name) if name.startswith("log.") else None
    nothing = ws.latentctl("log", "--state", daemon.state_dir, code=NO_DAEMON)
    one_line(nothing, "no daemon", "journalctl -u latentd")


@test
def ids_rise_also_after_the_clock_was_set_back(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    daemon.start()
    daemon.stop()
    words = ("log", "--state", daemon.state_dir, "--json")
    before = [line["id"] for line in ws.latentctl(*words).json]
    daemon.start(env=shimmed(ws, daemon, daemon.state_dir, clock="1:-86400"))
    daemon.says("version")
    after = ws.latentctl(*words).json
    assert after[0]["at"] < before[0], "the clock was not set back"
    assert after[0]["id"] > before[-1], (before, after)
    daemon.stop()
    kept = [line["id"] for line in ws.latentctl(*words, "-n", "1000").json]
    equal(kept, sorted(set(kept)), "ids of what is kept")
    equal(kept[: len(before)], before, "and the earlier ones")


@test
def why_a_daemon_could_not_start_is_kept_too(ws):
    daemon = Daemon(ws)
    daemon.dataset()
    with socket.create_server(("127.0.0.1", 0)) as other:
        daemon.config["api"]["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        refused = daemon.command(code=FAILED).errors[-1]
    why = refused.removeprefix("latentd: ")
    assert "in use" in why, why
    (line,) = ws.latentctl("log", "--state", daemon.state_dir, "--level", "error", "--json").json
    equal((line["level"], line["text"]), ("error", why), "the last line")


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
    fields = re.compile(r'time=\S+Z level=(error|warning|info)( event=[a-z_]+)?( dataset="set")? message=".*"$')
    changed = next(i for i, line in enumerate(lines) if line.startswith("latentd: "))
    assert changed > 0 and all(fields.match(line) for line in lines[:changed]), lines
    assert any('dataset="set"' in line and "quoted" in line for line in lines[:changed]), lines
    assert any(' event=dataset_waits dataset="set"' in line for line in lines[:changed]), lines
    assert not any(fields.match(line) for line in lines[changed:]), lines


def entries(journal):
    """What was sent to it, as dicts."""
    journal.settimeout(60)
    while True:
        yield dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())


@test
def kinds_of_events_are_documented_and_none_has_the_id_of_another(_):
    with open(os.path.join(SOURCE_DIR, "docs", "operations.md"), encoding="utf-8") as file:
        documented = dict(re.findall(r"^\| `(\w+)` \| `([0-9a-f]{32})` \|", file.read(), re.MULTILINE))
    equal(documented, KINDS, "kinds in docs/operations.md")
    equal(len(set(KINDS.values())), len(KINDS), "ids")
    with open(os.path.join(SOURCE_DIR, "systemd", "latentd.catalog"), encoding="utf-8") as file:
        explained = re.findall(r"^-- ([0-9a-f]{32})$", file.read(), re.MULTILINE)
    assert explained and set(explained) <= set(KINDS.values()), explained


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
        equal((begun["LATENTD_EVENT"], begun["MESSAGE_ID"]), ("started", KINDS["started"]), "kind")
        about = next(entry for entry in said if entry.get("LATENTD_DATASET") == "set")
        equal(about["MESSAGE"], f"set: {about['LATENTD_TEXT']}", "message")
        daemon.stop()
    with open(ws.path("beside"), encoding="utf-8") as beside:
        equal(beside.read(), "", "standard error")


run_tests()
