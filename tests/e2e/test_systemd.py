#!/usr/bin/env python3
"""The unit under systemd itself: started, sandboxed, watched, killed, reloaded and stopped.

systemd runs as process 1 of namespaces of its own, on a root in memory that has this machine's /usr and nothing else of it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess

from harness import BUILD_DIR, OK, Skip, equal, run_tests, same_members, sanitized, test, wait_until
from reference import paths_in

SYSTEMD = "/lib/systemd/systemd"
USER = 990
# $1: the root, $2: a folder that becomes its /srv, $3: what goes into its /etc, $4: the programs.
BOOT = f"""set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"; cd "$1"
mkdir usr etc proc sys dev run tmp var root srv opt
mount --bind -o ro /usr usr
for l in bin sbin lib lib32 lib64 libx32; do [ ! -L /$l ] || ln -s usr/$l $l; done
cp /etc/nsswitch.conf /etc/ld.so.cache etc/; cp -a "$3/." etc/; : > etc/machine-id
mount -t proc proc proc; mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs tmpfs dev
for d in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- "$1" "$2" "$3" "$4" $d; mknod -m 666 "dev/$5" c "$6" "$7"; done
ln -s /proc/self/fd dev/fd; touch dev/console; mkdir dev/shm dev/pts; chmod 1777 tmp
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount --bind "$2" srv; mount --bind -o ro "$4" opt
[ ! -e ../probe ] || exit 0
mkdir old; pivot_root . old; cd /; umount -l old; rmdir old; mount --make-rshared /
exec env -i container=latentd-test {SYSTEMD} --log-target=null </dev/null
"""
CONFIG = """
api: {token_file: "${CREDENTIALS_DIRECTORY}/token", listen: "127.0.0.1:0"}
decode: {workers: 1}
datasets:
  - name: photos
    source: {path: /srv/photos}
    output: {path: /srv/latents}
    recipe: {vae: fake, resolution: 128, max_upscale: 0}
encoders:
  - {type: fake}
"""
# What is not as in a package: where the programs lie. They are this build's, in /opt.
HERE = """[Service]
ExecStart=
ExecStart=/opt/latentd --config /etc/latentd/latentd.yaml
ExecReload=
ExecReload=/opt/latentctl reload --config /etc/latentd/latentd.yaml
LoadCredential=token:/etc/latentd/token
RestartSec=100ms
"""


def cgroups():
    """The folders of the second version's hierarchy in which this process's own may have others."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split()[1] for line in file if line.split()[2] == "cgroup2"]
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        (mine,) = [line.strip()[4:] for line in file if line.startswith("0::/")] or [""]
    top = os.path.join(mounts[0], mine) if mounts else None
    return [folder for folder, _, _ in os.walk(top)] if top else []


def remove_cgroups(before):
    """Those that systemd made, when the last of its processes has left them."""

    def are_gone():
        left = sorted(set(cgroups()) - set(before), reverse=True)
        for folder in left:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(os.path.exists(folder) for folder in left)

    wait_until(are_gone, "systemd's cgroups to be empty")


class Machine:
    def __init__(self, ws):
        if os.geteuid() != 0 or not os.path.exists(SYSTEMD):
            raise Skip("systemd, and root to start it, are needed")
        self.ws, self.root, self.srv, etc = ws, ws.path("root"), ws.path("srv"), ws.path("etc")
        for folder in (self.root, self.srv, f"{self.srv}/photos", f"{self.srv}/latents"):
            os.mkdir(folder)
        os.chown(f"{self.srv}/latents", USER, USER)
        units = os.path.join(etc, "systemd", "system")
        ws.write("default.target", b"[Unit]\nRequires=basic.target\nWants=latentd.service\n", units)
        shutil.copy(os.path.join(BUILD_DIR, "systemd", "latentd.service"), units)
        user = f"{USER}:{USER}"
        ws.write("passwd", f"root:x:0:0::/root:/bin/sh\nlatentd:x:{user}::/:/bin/false\n".encode(), etc)
        ws.write("group", f"root:x:0:\nlatentd:x:{USER}:\n".encode(), etc)
        ws.write("here.conf", HERE.encode(), f"{units}/latentd.service.d")
        ws.write("latentd.yaml", CONFIG.encode(), f"{etc}/latentd")
        os.chmod(ws.write("token", b"nobody-else-reads-it\n", f"{etc}/latentd"), 0o600)
        self.words = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child"]
        self.words += ["sh", "-c", BOOT, "sh", self.root, self.srv, etc, ws.programs]
        self.process, self.cgroups = None, cgroups()

    def boot(self):
        probe = self.ws.write("probe", b"", self.ws.root)
        done = subprocess.run(self.words, capture_output=True, text=True, check=False)
        os.unlink(probe)
        if done.returncode != OK:
            raise Skip(f"a machine of its own cannot be made here: {done.stderr.strip()}")
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.show("ActiveState") == "active", "the service to be active")

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait(60)
        remove_cgroups(self.cgroups)

    def inside(self, *words):
        """(exit status, standard output)"""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            (pid,) = file.read().split()
        enter = ["nsenter", "-t", pid, "--mount", "--pid", "--root", "--wd", "--cgroup"]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout

    def show(self, name):
        """A property of the unit; None: systemd does not answer yet."""
        if self.process.poll() is not None:
            raise AssertionError("systemd has ended")
        with contextlib.suppress(ValueError):
            code, out = self.inside("systemctl", "show", "--value", "-p", name, "latentd.service")
            return out.strip() if code == OK else None
        return None

    def latentctl(self, *words):
        return self.inside("/opt/latentctl", *words)

    def finished(self):
        code, out = self.latentctl("status", "--json")
        if code != OK:
            return -1
        jobs = json.loads(out)["datasets"][0]["jobs"]
        return jobs["encoded"] + jobs["completed"]


@contextlib.contextmanager
def booted(ws):
    machine = Machine(ws)
    try:
        machine.boot()
        yield machine
    finally:
        machine.end()


@test
def the_unit_starts_is_confined_and_survives_kill_reload_and_stop_under_systemd(ws):
    if sanitized():
        raise Skip("a sanitizer does not run under the unit's limits")
    with booted(ws) as machine:
        pid = machine.show("MainPID")
        _, status = machine.inside("cat", f"/proc/{pid}/status")
        for line in (f"Uid:\t{USER}", "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"):
            assert line in status, f"{line} is not in {status}"
        paths = ws.small_pictures(3, f"{machine.srv}/photos")
        wait_until(lambda: machine.finished() == 3, "the images")
        wait_until(lambda: (machine.show("StatusText") or "").startswith("1 dataset: "), "the status")
        assert int(machine.show("WatchdogTimestampMonotonic")) > 0, "the watchdog was never fed"

        machine.inside("kill", f"-{signal.SIGKILL.value}", pid)
        wait_until(lambda: machine.show("NRestarts") == "1", "systemd to start it again")
        wait_until(lambda: machine.show("ActiveState") == "active", "the second start")
        assert machine.show("MainPID") != pid, "the same process"
        paths += ws.small_pictures(2, f"{machine.srv}/photos", first=3)
        wait_until(lambda: machine.finished() == 5, "the images after it was killed")

        equal(machine.inside("systemctl", "reload", "latentd.service")[0], OK, "exit status of a reload")
        assert "read again: 0 changes" in machine.latentctl("log")[1], machine.latentctl("log")
        machine.inside("sh", "-c", "echo 'datasets: 1' > /etc/latentd/latentd.yaml")
        assert machine.inside("systemctl", "reload", "latentd.service")[0] != OK, "a bad file is taken"
        equal(machine.show("ActiveState"), "active", "state after that")

        equal(machine.latentctl("seal")[0], OK, "exit status of a seal")
        wait_until(lambda: len(shard_paths(machine)) == 5, "the shards")
        equal(machine.inside("systemctl", "stop", "latentd.service")[0], OK, "exit status of a stop")
        equal((machine.show("ActiveState"), machine.show("Result"), machine.show("ExecMainStatus")),
              ("inactive", "success", "0"), "how it ended")
        same_members([os.path.basename(p) for p in shard_paths(machine)],
                     [os.path.basename(p) for p in paths], "samples")


def shard_paths(machine):
    folder = f"{machine.srv}/latents/photos"
    return paths_in(folder) if os.path.isdir(f"{folder}/train") else []


run_tests()
