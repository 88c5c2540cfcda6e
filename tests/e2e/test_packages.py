#!/usr/bin/env python3
"""The .deb packages: what is in them, and what becomes of a machine on which they are installed, upgraded and removed.

LATENTD_TEST_LONG=1 does the second part, in a fresh Debian root (debootstrap, from the network), and builds an earlier package
from the repository's history.
"""

import atexit
import contextlib
import functools
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile

from harness import BUILD_DIR, HANGS_AFTER_S, SOURCE_DIR, Skip, demo_model, equal, run_tests, sanitized, test, wait_until
from notify_rig import Listener
from reference import paths_in

LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
EPOCH = "1700000000"
STATE = "/var/lib/latentd"
# The first commit that made packages; its queue is of schema 5.
EARLIER, EARLIER_SCHEMA = "fb3be5376eee", 5


def run(*words, code=0, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"there is no {program} here")


def packages_at(folder):
    """Makes the packages from what is built; as {name: file}."""
    needs("cpack", "dpkg-deb", "dpkg-shlibdeps")
    if sanitized():
        raise Skip("packages hold release builds")
    with open(os.path.join(BUILD_DIR, "CMakeCache.txt"), encoding="utf-8") as cache:
        if "CMAKE_INSTALL_PREFIX:PATH=/usr\n" not in cache.read():
            raise Skip("the build folder is not configured with CMAKE_INSTALL_PREFIX=/usr")
    env = dict(os.environ, SOURCE_DATE_EPOCH=EPOCH)
    run("cpack", "-B", folder, "--config", os.path.join(BUILD_DIR, "CPackConfig.cmake"), env=env)
    return {os.path.basename(f).split("_")[0]: f for f in glob.glob(os.path.join(folder, "*.deb"))}


@functools.cache
def packages():
    """The same ones for all tests of this run."""
    folder = tempfile.mkdtemp(prefix="latentd-packages-")
    atexit.register(shutil.rmtree, folder)
    return packages_at(folder)


def field(package, name):
    return run("dpkg-deb", "--field", package, name).strip()


@test
def the_daemon_has_what_a_machine_needs_and_does_not_need_the_plugin(ws):
    package = packages()["latentd"]
    root = ws.path("root")
    run("dpkg-deb", "--extract", package, root)
    found = {os.path.relpath(os.path.join(at, f), root) for at, _, files in os.walk(root) for f in files}
    for name in (
        *("usr/bin/latentd", "usr/bin/latentctl", "usr/bin/latentd-decode", "usr/bin/latentd-unpack", "etc/latentd/latentd.yaml"),
        *(f"usr/lib/systemd/system/latentd{what}" for what in (".service", "@.service", ".socket")),
        *("usr/lib/sysusers.d/latentd.conf", "usr/lib/tmpfiles.d/latentd.conf"),
        "usr/lib/systemd/catalog/latentd.catalog",
        *("usr/share/man/man8/latentd.8.gz", "usr/share/man/man1/latentctl.1.gz"),
        "usr/share/bash-completion/completions/latentctl",
    ):
        assert name in found, f"{name} is missing among {sorted(found)}"
    assert not [name for name in found if "cuda" in name], "something of the plugin"
    assert "cuda" not in field(package, "Depends"), field(package, "Depends")
    control = ws.path("control")
    run("dpkg-deb", "--control", package, control)
    with open(os.path.join(control, "conffiles"), encoding="utf-8") as file:
        equal(file.read(), "/etc/latentd/latentd.yaml\n", "settings that an upgrade keeps")
    said = run(f"{root}/usr/bin/latentd", "--check-config", "--config", f"{root}/etc/latentd/latentd.yaml")
    assert "is good" in said, said


@test
def the_plugin_comes_with_the_devices_it_needs(ws):
    if "latentd-cuda" not in packages():
        raise Skip("the plugin is not built here")
    listed = run("dpkg-deb", "--contents", packages()["latentd-cuda"])
    for name in ("lib/latentd/latentd-cuda.so", "latentd.service.d/cuda.conf", "latentd@.service.d/cuda.conf"):
        assert name in listed, listed
    version = re.escape(field(packages()["latentd"], "Version"))
    assert re.search(rf"latentd \(= {version}\)", field(packages()["latentd-cuda"], "Depends"))


@test
def the_same_build_gives_the_same_bytes(ws):
    again = packages_at(ws.path("again"))
    for name, file in packages().items():
        with open(file, "rb") as a, open(again[name], "rb") as b:
            assert a.read() == b.read(), f"{name} differs"


@test
def two_whole_builds_in_two_folders_give_the_same_bytes(ws):
    if not LONG:
        raise Skip("everything is built twice in the long run only")
    script = os.path.join(SOURCE_DIR, "scripts", "packages.sh")
    run(script, "--check-reproducible", ws.path("made"), env=dict(os.environ, LATENTD_NO_INSTALL="1", TMPDIR=ws.root))


@test
def lintian_finds_no_error(ws):
    needs("lintian")
    said = run("lintian", "--fail-on", "error", *packages().values(), env={**os.environ, "HOME": ws.root})
    assert not [line for line in said.splitlines() if line.startswith("E:")], said


# -- a machine --------------------------------------------------------------------------------------


class Machine:
    """A fresh Debian root, in which there is no service manager: the test is one."""

    def __init__(self, ws):
        if not LONG:
            raise Skip("a Debian root is made in the long run only")
        if os.geteuid() != 0:
            raise Skip("a Debian root needs root")
        needs("debootstrap", "chroot")
        self.ws, self.root, self.process = ws, ws.path("machine"), None
        include = "--include=systemd,ca-certificates"
        run("debootstrap", "--variant=minbase", include, "bookworm", self.root, "http://deb.debian.org/debian")
        run("mount", "-t", "proc", "proc", self.path("/proc"))
        ws.at_end.append(self.end)

    def path(self, inside):
        return os.path.join(self.root, inside.lstrip("/"))

    def do(self, *words, code=0):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        return run("chroot", self.root, *words, code=code, env=env)

    def install(self, package):
        shutil.copy(package, self.path("/var/tmp"))
        self.do("apt-get", "install", "-y", "--allow-downgrades", f"/var/tmp/{os.path.basename(package)}")

    def start(self):
        """As the unit does: by its user, watched, with the folders of the unit."""
        listener = Listener(self.path("/run/notify"))
        os.chmod(listener.path, 0o777)
        self.do("install", "-d", "-o", "latentd", "-g", "latentd", STATE, "/run/latentd")
        self.process = subprocess.Popen(
            [shutil.which("chroot"), "--userspec=latentd:latentd", self.root, "/usr/bin/latentd"],
            env={"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "2000000", "PATH": "/usr/bin"},
            stderr=subprocess.PIPE,
            text=True,
        )
        return listener

    def reboot(self):
        """What was in /run is gone, and is made again as at a start of the machine."""
        shutil.rmtree(self.path("/run/latentd"))
        self.do("systemd-tmpfiles", "--create", "--boot", "latentd.conf")

    def ended(self):
        _, said = self.process.communicate(timeout=HANGS_AFTER_S)
        code, self.process = self.process.returncode, None
        return code, said

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        run("umount", "-l", self.path("/proc"))


def newer(ws, package, version):
    """The same files under another version."""
    folder, out = ws.path(f"v{version}"), ws.path(f"latentd_{version}_amd64.deb")
    run("dpkg-deb", "--raw-extract", package, folder)
    with open(os.path.join(folder, "DEBIAN", "control"), encoding="utf-8") as file:
        control = re.sub("^Version: .*", f"Version: {version}", file.read(), flags=re.M)
    with open(os.path.join(folder, "DEBIAN", "control"), "w", encoding="utf-8") as file:
        file.write(control)
    run("dpkg-deb", "--root-owner-group", "--build", folder, out)
    return out


def photos(machine):
    """What the daemon says of its dataset."""
    return json.loads(machine.do("/usr/bin/latentctl", "status", "--json"))["datasets"][0]


def finished(machine):
    """How many images are encoded, in shards or not."""
    jobs = photos(machine)["jobs"]
    return jobs["encoded"] + jobs["completed"]


def configure(ws, machine, pictures):
    """A dataset of so many pictures, and the settings for it; the paths of the pictures."""
    shutil.copytree(demo_model(), machine.path("/models/demo"))
    paths = ws.small_pictures(pictures, machine.path("/data/photos"))
    machine.do("install", "-d", "-o", "latentd", "-g", "latentd", "/data/latents")
    with open(machine.path("/etc/latentd/latentd.yaml"), "w", encoding="utf-8") as file:
        file.write(
            f"state_dir: {STATE}\napi: {{socket: /run/latentd/latentd.sock}}\nencoders: {{type: cpu}}\n"
            "datasets:\n  - {name: photos, source: {path: /data/photos}, output: {path: /data/latents},\n"
            "     recipe: {vae: /models/demo, resolution: 128, max_upscale: 0}}\n"
        )
    return paths


def earlier_package(ws):
    """That of EARLIER, built from the repository's history."""
    if not LONG:
        raise Skip("an earlier package is built in the long run only")
    needs("git", "cmake", "ninja", "tar")
    known = ["git", "-C", SOURCE_DIR, "cat-file", "-e", EARLIER]
    if subprocess.run(known, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skip(f"the repository's history has no {EARLIER} here")
    sources, archive = ws.path("earlier"), ws.path("earlier.tar")
    os.mkdir(sources)
    run("git", "-C", SOURCE_DIR, "archive", "-o", archive, EARLIER)
    run("tar", "-C", sources, "-xf", archive)
    script = os.path.join(sources, "scripts", "packages.sh")
    run(script, ws.path("earlier-made"), env=dict(os.environ, LATENTD_NO_INSTALL="1"))
    (package,) = glob.glob(os.path.join(ws.path("earlier-made"), "latentd_*.deb"))
    return package


def schema_of(database):
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


@test
def a_machine_installs_runs_upgrades_and_purges(ws):
    package = packages()["latentd"]
    machine = Machine(ws)
    machine.install(package)
    paths = configure(ws, machine, 6)
    listener = machine.start()
    listener.wait_for(READY="1")
    listener.wait_for(WATCHDOG="1")
    wait_until(lambda: finished(machine) == 6, "six images")
    machine.process.send_signal(signal.SIGHUP)
    listener.wait_for(RELOADING="1")
    listener.wait_for(READY="1")
    machine.process.kill()  # at once: the queue is live
    machine.ended()
    machine.reboot()
    paths += ws.small_pictures(1, machine.path("/data/photos"), first=6)
    listener = machine.start()
    listener.wait_for(READY="1")
    wait_until(lambda: finished(machine) == 7, "the seventh image, after a restart of the machine")
    machine.process.kill()
    machine.ended()

    # The settings of this machine stay as they are, and the daemon goes on where it was.
    machine.install(newer(ws, package, "9.0-1"))
    with open(machine.path("/etc/latentd/latentd.yaml"), encoding="utf-8") as file:
        assert "name: photos" in file.read(), "the settings"
    paths += ws.small_pictures(2, machine.path("/data/photos"), first=7)
    listener = machine.start()
    listener.wait_for(READY="1")
    wait_until(lambda: finished(machine) == 9, "nine images")
    machine.do("/usr/bin/latentctl", "drain")
    wait_until(lambda: len(paths_in(machine.path("/data/latents/photos"))) == 9, "nine in shards")
    machine.process.send_signal(signal.SIGTERM)
    listener.wait_for(STOPPING="1")
    equal(machine.ended()[0], 0, "exit status")

    # Back to the old package, which does not know the schema that a newer one has left: refused, and nothing is touched.
    database = machine.path(f"{STATE}/queue.db")
    run(os.path.join(BUILD_DIR, "tests", "raise_schema"), database, "99")
    was = content_of(database)
    machine.install(package)
    machine.start()
    code, said = machine.ended()
    equal(code, 2, f"exit status, which systemd does not try again: {said}")
    assert "has schema version 99" in said and "use the newer latentd" in said, said
    assert content_of(database) == was, "the queue is another"

    machine.do("apt-get", "remove", "-y", "latentd")
    assert os.path.exists(database), "the queue is gone with the programs"
    machine.do("apt-get", "purge", "-y", "latentd")
    for gone in (STATE, "/etc/latentd/latentd.yaml", "/run/latentd"):
        assert not os.path.exists(machine.path(gone)), f"{gone} is left"
    equal(sorted(paths_in(machine.path("/data/latents/photos"))), sorted(paths), "shards after the purge")


@test
def a_live_queue_of_an_earlier_package_goes_on_under_todays(ws):
    today = newer(ws, packages()["latentd"], "9.0-1")
    earlier, machine = earlier_package(ws), Machine(ws)
    machine.install(earlier)
    paths = configure(ws, machine, 6)
    database = machine.path(f"{STATE}/queue.db")

    # Six are encoded and in no shard yet, six are in the queue; then the earlier daemon is killed.
    machine.start().wait_for(READY="1")
    wait_until(lambda: finished(machine) == 6, "six images, by the earlier daemon")
    machine.do("/usr/bin/latentctl", "pause", "--name", "photos")
    paths += ws.small_pictures(6, machine.path("/data/photos"), first=6)
    wait_until(lambda: photos(machine)["jobs"]["available"] == 6, "six images in the queue")
    equal(photos(machine)["jobs"]["encoded"], 6, "images in no shard")
    machine.process.kill()
    machine.ended()
    equal(schema_of(database), EARLIER_SCHEMA, "the earlier schema")

    machine.install(today)
    listener = machine.start()
    listener.wait_for(READY="1")
    wait_until(lambda: finished(machine) == 12, "twelve images, six of them by today's daemon")
    equal(photos(machine)["since_start"]["encoded"], 6, "images that today's daemon encoded")
    machine.do("/usr/bin/latentctl", "drain")
    wait_until(lambda: len(paths_in(machine.path("/data/latents/photos"))) == 12, "twelve in shards")
    machine.process.send_signal(signal.SIGTERM)
    listener.wait_for(STOPPING="1")
    equal(machine.ended()[0], 0, "exit status")
    equal(sorted(paths_in(machine.path("/data/latents/photos"))), sorted(paths), "every sample once")

    schema, was = schema_of(database), content_of(database)
    assert schema > EARLIER_SCHEMA, schema
    machine.install(earlier)
    machine.start()
    code, said = machine.ended()
    equal(code, 2, f"exit status of the earlier daemon: {said}")
    assert f"schema version {schema}" in said, said
    assert content_of(database) == was, "the queue is another"


run_tests()
