"""Machines of a test: network namespaces on a bridge, in a network that nobody else sees.

    in_own_network()                     first of all: this process begins again in a namespace of its own
    network = Network(ws)                the bridge, with HUB as this process's address; Skip where that cannot be made
    machine = network.join("a")
    daemon.start(first=machine.first)    runs in there
    machine.cut()                        whatever is sent is lost, and nobody is told
    machine.unplug()                     the same, and the machine knows that its link is down
    machine.narrow("256kbit")            what is sent to it and by it
    machine.mend()

Root uses namespaces as they are, others below a user namespace. Everything vanishes with the processes that are in it.
"""

import os
import shutil
import subprocess
import sys

from harness import Skip

HUB = "10.77.0.1"
_MAC = "02:00:00:00:77:{:02x}"
_MARK = "LATENTD_E2E_NETWORK"


def _own():
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return ["unshare", *user, "--net", "--"]


def in_own_network():
    """Where that works. Where it does not, the environment says why, and Network() does."""
    if _MARK in os.environ:
        return
    probe = (
        "ip link set lo up && ip link add probe type bridge && ip link add one type veth peer name two"
        " && ip link set one master probe && unshare --net true"
    )
    try:
        done = subprocess.run([*_own(), "sh", "-c", probe], capture_output=True, text=True, check=False)
        why = done.stderr.strip().replace("\n", "; ") if done.returncode else ""
    except OSError as error:
        why = str(error)
    os.environ[_MARK] = why
    first = [] if why else [*_own(), "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    command = [*first, sys.executable, "-B", *sys.argv]
    os.execvp(command[0], command)


def _run(*words, first=()):
    done = subprocess.run([*first, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


class Machine:
    """A namespace that lives as long as a process which waits for the end of its input."""

    def __init__(self, network, name, number):
        self.name, self.address, self.port = name, f"10.77.0.{number}", f"port{number}"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        network.ws.at_end.append(self.leave)
        assert self.holder.stdout.readline() == "ready\n", "no namespace"
        self.first = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]
        peer = f"peer{number}"
        _run("ip", "link", "add", self.port, "type", "veth", "peer", "name", peer)
        _run("ip", "link", "set", peer, "address", _MAC.format(number), "netns", str(self.holder.pid))
        _run("ip", "addr", "add", f"{self.address}/24", "dev", peer, first=self.first)
        _run("ip", "link", "set", peer, "up", first=self.first)
        # Known for good: what cannot be delivered is lost, and not refused because nobody answers.
        hub = [HUB, "lladdr", _MAC.format(1), "dev", peer]
        _run("ip", "neigh", "replace", *hub, "nud", "permanent", first=self.first)
        machine = [self.address, "lladdr", _MAC.format(number), "dev", network.bridge]
        _run("ip", "neigh", "replace", *machine, "nud", "permanent")
        self.peer = peer
        self.mend()

    def mend(self):
        _run("ip", "link", "set", self.port, "master", "hub", "up")
        self.queue("del")

    def cut(self):
        _run("ip", "link", "set", self.port, "nomaster")

    def unplug(self):
        _run("ip", "link", "set", self.port, "down")

    def narrow(self, rate):
        """False: there is no tc, or no such queue in the kernel."""
        return self.queue("replace", "tbf", "rate", rate, "burst", "16kb", "latency", "1s")

    def queue(self, what, *words):
        """Of both ends of the link. False: one has none that could be changed so."""
        tc, done = shutil.which("tc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), []
        for dev, first in ((self.port, ()), (self.peer, self.first)) if tc else ():
            command = [*first, tc, "qdisc", what, "dev", dev, "root", *words]
            done.append(subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0)
        return bool(done) and all(done)

    def leave(self):
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()


class Network:
    def __init__(self, ws):
        why = os.environ.get(_MARK, "in_own_network() was not called")
        if why:
            raise Skip(f"networks of our own do not work here: {why}")
        self.ws, self.bridge, self.machines = ws, "hub", []
        _run("ip", "link", "add", self.bridge, "address", _MAC.format(1), "type", "bridge")
        ws.at_end.append(lambda: _run("ip", "link", "del", self.bridge))
        _run("ip", "addr", "add", f"{HUB}/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def join(self, name):
        self.machines.append(Machine(self, name, len(self.machines) + 2))
        return self.machines[-1]
