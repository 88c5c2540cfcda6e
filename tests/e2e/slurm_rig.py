"""A Slurm of a test's own on this machine: one controller, one node of as many CPUs as one likes, jobs as on a cluster.

    slurm = Slurm(ws)                             started, with MUNGE; Skip where they are not installed
    job = slurm.submit("--array=1-3", script, "3", environment={...})
    slurm.shows(job, "Restarts")                  of `scontrol show job`
    slurm.wait(job)                               until no job of that number is waiting or runs
    slurm.tell("scancel", "--batch", "--signal=TERM", job)
    slurm.begins_now(job)                         one that was queued again, which Slurm lets wait for two minutes
"""

import getpass
import os
import re
import shutil
import socket
import subprocess

from harness import OK, Skip, equal, listens, wait_until
from process_rig import own_port

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "sinfo")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={at}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={at}/controller
SlurmdSpoolDir={at}/node
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=65536
PartitionName=all Nodes=node Default=YES MaxTime=INFINITE
"""


class Slurm:
    def __init__(self, ws):
        missing = [program for program in _PROGRAMS if not _found(program)]
        if missing:
            raise Skip(f"there is no {', '.join(missing)} here (Debian: apt-get install slurm-wlm munge)")
        self.ws, self.at = ws, ws.path("slurm")
        for folder in ("controller", "node"):
            os.makedirs(os.path.join(self.at, folder))
        host = socket.gethostname().split(".")[0]
        places = {"host": host, "user": getpass.getuser(), "at": self.at, "ports": (own_port(ws), own_port(ws))}
        self.configuration = os.path.join(self.at, "slurm.conf")
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(_CONFIGURATION.format(**places))
        self.environment = {**ws.environment, "SLURM_CONF": self.configuration}
        self._begin()

    def _begin(self):
        key = self.ws.secret("slurm/key", os.urandom(1024))
        own = {"pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "seed", "socket": "munge.socket"}
        words = [f"--{option}={self.at}/{name}" for option, name in own.items()]
        # --force: whose the folders above are is not the test's to say.
        self._start("munged", "--foreground", "--force", f"--key-file={key}", *words)
        wait_until(lambda: listens(f"{self.at}/munge.socket"), "MUNGE")
        self._start("slurmctld", "-D", "-f", self.configuration)
        self._start("slurmd", "-D", "-N", "node", "-f", self.configuration)
        wait_until(lambda: self._ask("sinfo", "-h", "-o", "%T").stdout.strip() == "idle", "a node of Slurm that is idle")

    def _start(self, program, *words):
        with open(os.path.join(self.at, f"{program}.out"), "wb") as out:
            process = subprocess.Popen(
                [_found(program), *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                cwd=self.at,
            )
        # In the order of their start; a node that goes takes nothing along: its jobs are ended by then.
        self.ws.at_end.append(lambda: (process.kill(), process.wait()))

    def _ask(self, program, *words, environment=None):
        words = [_found(program), *words]
        own = {**self.environment, **(environment or {})}
        return subprocess.run(words, capture_output=True, text=True, env=own, cwd=self.ws.root, check=False)

    def tell(self, program, *words, environment=None):
        """What it prints; it must succeed."""
        done = self._ask(program, *words, environment=environment)
        equal((done.returncode, done.stderr), (OK, ""), f"what {program} {words} says")
        return done.stdout.strip()

    def submit(self, *words, environment=None):
        """The number of the job; whatever is left of it when the test ends is cancelled."""
        job = self.tell("sbatch", "--parsable", *words, environment=environment)
        self.ws.at_end.insert(0, lambda: self._cancel(job))
        return job

    def _cancel(self, job):
        if self._ask("squeue", "-h", "-j", job).stdout.strip():
            self._ask("scancel", "--signal=KILL", "--full", job)
            self._ask("scancel", job)
            self.wait(job)

    def shows(self, job, field):
        """Of a job that is still known."""
        return re.search(rf"\b{field}=(\S+)", self.tell("scontrol", "show", "job", job))[1]

    def begins_now(self, job):
        wait_until(lambda: self.shows(job, "JobState") == "PENDING", f"job {job} to wait")
        self.tell("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait(self, job):
        wait_until(lambda: not self._ask("squeue", "-h", "-j", job).stdout.strip(), f"the end of job {job}")


def _found(program):
    """Daemons lie where users do not look."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
