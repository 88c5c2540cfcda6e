#!/usr/bin/env python3
"""The recipes of contrib/slurm and contrib/k8s, by the commands in them; several 'nodes' of this machine, and a Slurm on it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess

from harness import INTERRUPTED, OK, SOURCE_DIR, USAGE, demo_model, equal, run_tests, same_members, test, wait_until
from postgres_rig import Postgres
from reference import paths_in
from slurm_rig import Slurm

SLURM = os.path.join(SOURCE_DIR, "contrib", "slurm")
K8S = os.path.join(SOURCE_DIR, "contrib", "k8s")
JOB = "77"


def state(pid):
    """The letter of proc(5)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


def goes_on_when_told(pid):
    """A program that stands still, once the script above it has passed SIGTERM on."""

    def told():
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            pending = re.search(r"^ShdPnd:\s*(\w+)$", file.read(), re.M)[1]
        return int(pending, 16) >> (signal.SIGTERM - 1) & 1

    wait_until(told, "SIGTERM to be passed on")
    os.kill(pid, signal.SIGCONT)


class Script:
    """A script of a recipe that runs, as its scheduler starts it."""

    def __init__(self, ws, environment, *command):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ws.root,
            encoding="utf-8",
            start_new_session=True,
            env={**ws.environment, "PATH": f"{ws.path('bin')}:{ws.programs}:{os.environ['PATH']}", **environment},
        )
        ws.at_end.append(self.kill)

    def kill(self):
        """With everything that it started, which may stand still."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    def child(self):
        """The program that it started, once that stands still."""

        def stopped():
            assert self.process.poll() is None, self.process.communicate()[0]
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
                pids = [int(word) for word in file.read().split()]
            for pid in pids:
                # Others that it starts end meanwhile.
                with contextlib.suppress(OSError):
                    if state(pid) == "T":
                        return pid
            return None

        return wait_until(stopped, "a program that stands still")

    def end(self, code=OK):
        out, _ = self.process.communicate()
        assert self.process.returncode == code, f"status {self.process.returncode}, not {code}: {out}"
        return out


def write_once(path, text, mode=0o644):
    """Others may be reading it."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)


def slurm_task(ws, index, script, *words, **environment):
    """A task of an array on this node; what it tells Slurm goes to the file `told`."""
    write_once(ws.path("bin", "scontrol"), f'#!/bin/sh\necho "$*" >>{ws.path("told")}\n', 0o755)
    slurm = {
        "SLURM_ARRAY_JOB_ID": JOB,
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_CPUS_PER_TASK": "1",
        "LATENTD_STATE": ws.path("local"),
    }
    return Script(ws, {**slurm, **environment}, "bash", os.path.join(SLURM, script), *words)


def task(ws, part, parts, *words, **environment):
    """One part of the pictures."""
    options = ["--vae", demo_model(), "--resolution", "64", "--name", "set", "--max-upscale", "0", *words]
    return slurm_task(ws, part, "encode.sbatch", str(parts), ws.out, ws.src, *options, **environment)


def merge(ws, parts, code=OK):
    slurm = {"SLURM_JOB_ID": "78", "LATENTD_STATE": ws.path("local")}
    return Script(ws, slurm, "bash", os.path.join(SLURM, "merge.sbatch"), str(parts), ws.out).end(code)


def told(ws):
    try:
        with open(ws.path("told"), encoding="ascii") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


@test
def an_array_of_slurm_encodes_every_image_once_and_merges(ws):
    wanted = ws.small_pictures(12)
    tasks = [task(ws, part, 3) for part in (1, 2, 3)]
    for one in tasks:
        one.end()
    merge(ws, 3)
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")
    equal(told(ws), [], "what Slurm was told")
    equal(os.listdir(ws.path("local")), [], "what is left on the local disk")


@test
def a_task_near_its_time_limit_is_queued_again_and_goes_on_without_its_old_disk(ws):
    wanted = ws.small_pictures(200)
    first = task(ws, 1, 2, "--shard-samples", "5", **ws.stops_at("open:30", ws.src))
    child = first.child()
    first.process.send_signal(signal.SIGTERM)  # as --signal=B:TERM@120
    goes_on_when_told(child)
    assert "run the same command again" in first.end(INTERRUPTED)
    equal(told(ws), [f"requeue {JOB}_1"], "what Slurm was told")
    shutil.rmtree(ws.path("local"))
    for part in (1, 2):
        task(ws, part, 2, "--shard-samples", "50").end()
    merge(ws, 2)
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")


@test
def an_image_that_cannot_be_encoded_is_told_and_does_not_stop_the_merge(ws):
    wanted = ws.small_pictures(4)
    with open(os.path.join(ws.src, "bad.jpg"), "wb") as file:
        file.write(b"\xff\xd8\xff\xe0 and nothing more")
    said = task(ws, 1, 1).end()
    assert "bad.jpg" in said, said
    merge(ws, 1)
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")


@test
def wrong_calls_of_the_slurm_scripts_say_what_was_expected(ws):
    ws.small_pictures(1)
    assert "--array=1-2" in task(ws, 3, 2).end(USAGE)
    assert "--array=1-2" in task(ws, "", 2).end(USAGE)
    assert "PARTS is 'two'" in task(ws, 1, "two").end(USAGE)
    assert "parts/1 is not there" in merge(ws, 1, USAGE)
    task(ws, 1, 2, "--no-such-option").end(USAGE)
    equal(told(ws), [], "what Slurm was told")


def filled(file, places):
    """The text of a recipe's file with its @places in the workspace, the longest first."""
    with open(file, encoding="utf-8") as opened:
        text = opened.read()
    for inside in sorted(places, key=len, reverse=True):
        text = text.replace(inside, places[inside])
    return text


def node(ws, postgres, index, **environment):
    """A node of the queue in @postgres."""
    places = {
        "/lustre/photos": ws.src,
        "/lustre/latents": ws.out,
        "/lustre/models/sdxl-vae": demo_model(),
        "service=latentd": postgres.conninfo,
        "resolution: 1024": "resolution: 64\n      max_upscale: 0",
        "{type: cuda}": "{type: cpu}",
    }
    write_once(ws.path("nodes.yaml"), filled(os.path.join(SLURM, "nodes.yaml"), places))
    return slurm_task(ws, index, "nodes.sbatch", ws.path("nodes.yaml"), **environment)


@test
def nodes_of_slurm_share_a_queue_and_one_that_is_stopped_is_queued_again(ws):
    postgres = Postgres(ws)
    wanted = ws.small_pictures(60)
    stops = {**ws.stops_at("open:10", ws.src), "SHIM_PROGRAM": "latentd"}
    first = node(ws, postgres, 1, **stops)
    child = first.child()
    first.process.send_signal(signal.SIGTERM)
    goes_on_when_told(child)
    first.end(INTERRUPTED)
    equal(told(ws), [f"requeue {JOB}_1"], "what Slurm was told")
    nodes = [node(ws, postgres, index) for index in (1, 2, 3)]
    for one in nodes:
        one.end()
    same_members(paths_in(os.path.join(ws.out, "photos")), wanted, "samples")
    equal(os.listdir(ws.path("local")), [], "what is left on the local disks")


def standing(job):
    """Programs of a job of Slurm that stand still."""
    found, mark = [], f"SLURM_ARRAY_JOB_ID={job}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if mark in environ.read().split(b"\0") and state(pid) == "T":
                    found.append(int(pid))
    return found


@test
def slurm_itself_queues_a_task_again_that_it_stops_and_merges_when_all_are_done(ws):
    slurm = Slurm(ws)
    wanted = ws.small_pictures(60)
    own = {"PATH": f"{ws.programs}:{os.environ['PATH']}", "LATENTD_STATE": ws.path("local")}

    def tasks(which, **more):
        """@more: what the job's programs have in their environment, and sbatch has not."""
        export = ",".join(["ALL", *(f"{name}={value}" for name, value in more.items())])
        options = ("--vae", demo_model(), "--resolution", "64", "--name", "set", "--max-upscale", "0")
        words = (os.path.join(SLURM, "encode.sbatch"), "3", ws.out, ws.src, *options)
        return slurm.submit(f"--array={which}", f"--export={export}", *words, environment=own)

    first = tasks("1", **ws.stops_at("open:15", ws.src))
    others = tasks("2-3")
    merged = slurm.submit(
        f"--dependency=afterok:{first}:{others}", os.path.join(SLURM, "merge.sbatch"), "3", ws.out, environment=own
    )
    (program,) = wait_until(lambda: standing(first), "a program that stands still")
    slurm.tell("scancel", "--batch", "--signal=TERM", f"{first}_1")
    goes_on_when_told(program)
    wait_until(lambda: slurm.shows(f"{first}_1", "Restarts") == "1", "the task to be queued again")
    slurm.begins_now(f"{first}_1")

    def done():
        for pid in standing(first):
            os.kill(pid, signal.SIGCONT)
        return slurm.shows(merged, "JobState") not in ("PENDING", "RUNNING", "COMPLETING")

    wait_until(done, "the merge")
    equal(slurm.shows(merged, "JobState"), "COMPLETED", "the merge")
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")
    equal(os.listdir(ws.path("local")), [], "what is left on the local disk")


# -- Kubernetes


def container(way):
    """(command, environment) of a job.yaml, whose form is ours: a list on one line or an item a line."""
    with open(os.path.join(K8S, way, "job.yaml"), encoding="utf-8") as file:
        text = file.read()
    inline = re.search(r"command: \[(.*)\]\n", text)
    if inline:
        quoted = re.findall(r"'([^']*)'|([^', ][^',]*)", inline[1])
        words = [a or b for a, b in quoted]
    else:
        block = re.search(r"command:\n((?: +- .*\n)+)", text)[1]
        words = re.findall(r"- (.*)\n", block)
    environment = dict(re.findall(r"- name: (\w+)\n +value: \"?([^\"\n]*)\"?\n", text))
    return words, environment


def pod(ws, way, index, **environment):
    """A pod's command, with its paths in the workspace."""
    words, settings = container(way)
    places = {
        "/etc/latentd": os.path.join(K8S, "base"),
        "/data/latents": ws.out,
        "/data/photos": ws.src,
        "/data/models/sdxl-vae": demo_model(),
        "/var/lib/latentd": ws.path("local", f"{way}{index}"),
    }
    for inside, here in places.items():
        words = [word.replace(inside, here) for word in words]
    words = [word.replace("--resolution=1024", "--resolution=64") for word in words]
    os.makedirs(places["/var/lib/latentd"], exist_ok=True)
    if way == "parts":
        words += ["--max-upscale", "0", "--name", "set"]
        settings.update(JOB_COMPLETION_INDEX=str(index), LATENTD_STATE=places["/var/lib/latentd"])
    return Script(ws, {**settings, **environment}, *words)


@test
def pods_of_an_indexed_job_encode_every_image_once_and_merge(ws):
    wanted = ws.small_pictures(9)
    _, settings = container("parts")
    pods = [pod(ws, "parts", index) for index in range(int(settings["PARTS"]))]
    for one in pods:
        one.end()
    pod(ws, "merge", 0).end()
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples")


@test
def a_pod_that_is_moved_stops_in_order_and_its_successor_goes_on(ws):
    wanted = ws.small_pictures(200)
    first = pod(ws, "parts", 0, PARTS="1", **ws.stops_at("open:30", ws.src))
    child = first.child()
    first.process.send_signal(signal.SIGTERM)
    goes_on_when_told(child)
    first.end(INTERRUPTED)
    shutil.rmtree(ws.path("local"))
    pod(ws, "parts", 0, PARTS="1").end()
    same_members(paths_in(os.path.join(f"{ws.out}.parts", "1", "set")), wanted, "samples")


run_tests()
