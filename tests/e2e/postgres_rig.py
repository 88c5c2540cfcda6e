"""A PostgreSQL of a test's own, on a socket in a folder of the workspace, and what its database holds.

    with_server = Postgres(ws)             started; Skip where there is none
    daemon.config["queue"] = {"postgres": with_server.conninfo, "node": "a"}
    with_server.value("SELECT count(*) FROM latentd.job")
    Postgres(ws, listen="10.77.0.1")       also on port 5432 of this address, for those of its network
    with_server.restart()  .kill()  .stop()  .start()
    other = with_server.standby()          gets each commit before it is answered
    with_server.die()
    other.promote()
    Pooler(ws, with_server).conninfo       through pgbouncer
"""

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import subprocess

from harness import HANGS_AFTER_S, Skip, listens, wait_until


def _programs():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql*/bin"))
    beside = shutil.which("initdb")
    for folder in [*reversed(found), os.path.dirname(beside) if beside else ""]:
        if os.path.exists(os.path.join(folder, "initdb")) and os.path.exists(os.path.join(folder, "postgres")):
            return folder
    raise Skip("there is no PostgreSQL server here (Debian: apt-get install postgresql)")


def _is_built_in(program):
    with open(program, "rb") as file:
        return b"libpq.so" in file.read()


def _state(pid):
    """The letter of proc(5); None: it is no more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def _runs(pid):
    return _state(pid) not in ("Z", "X", None)


class Postgres:
    def __init__(self, ws, name="pg", primary=None, listen=""):
        if not _is_built_in(os.path.join(ws.programs, "latentd")):
            raise Skip("latentd was built without PostgreSQL")
        self.ws = ws
        self.bin, self.dir = _programs(), ws.path(name)
        self.data, self.log = os.path.join(self.dir, "data"), os.path.join(self.dir, "server.log")
        self.conninfo = f"host={self.dir} user=latentd dbname=postgres"
        os.mkdir(self.dir, 0o755)
        self.first = []
        if os.geteuid() == 0:  # initdb refuses root
            self.first = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(self.dir, "nobody", "nogroup")
        if subprocess.run([*self.first, "test", "-w", self.dir], check=False).returncode != 0:
            raise Skip(f"user nobody, who would run PostgreSQL, cannot reach {self.dir}")
        ws.at_end.append(self.kill)
        if primary:
            self.run("pg_basebackup", "-h", primary.dir, "-U", "latentd", "-D", self.data, "-R", "-c", "fast", "--no-sync")
        else:
            self.run("initdb", "-D", self.data, "-U", "latentd", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(
                f"listen_addresses = '{listen}'\nunix_socket_directories = '{self.dir}'\nfsync = off\n"
                "full_page_writes = off\nmax_connections = 40\nshared_buffers = 32MB\n"
            )
        if listen:
            with open(os.path.join(self.data, "pg_hba.conf"), "a", encoding="utf-8") as file:
                file.write("host all all samenet trust\n")
        self.start()

    def run(self, program, *words, text=None):
        done = subprocess.run(
            [*self.first, os.path.join(self.bin, program), *words],
            input=text,
            stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "psql" else subprocess.DEVNULL,
            stdin=None if text is not None else subprocess.DEVNULL,
            encoding="utf-8",
            cwd=self.dir,
            env={"HOME": self.dir, "LC_ALL": "C", "PATH": os.environ["PATH"]},
            timeout=HANGS_AFTER_S,
            check=False,
        )
        assert done.returncode == 0, f"{program} {words}: {done.stderr or self.said()}"
        return done.stdout

    def said(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    # -- the server

    def control(self, *words):
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", str(HANGS_AFTER_S), *words)

    def start(self):
        self.control("start")

    def stop(self, mode="fast"):
        self.control("-m", mode, "stop")

    def restart(self):
        """As an administrator does: every connection is ended."""
        self.control("-m", "fast", "restart")

    def kill(self):
        """Without a word to anybody: it recovers at its next start."""
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            subprocess.run(
                [*self.first, os.path.join(self.bin, "pg_ctl"), "-D", self.data, "-m", "immediate", "-w", "stop"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                check=False,
            )

    def encrypt(self):
        """On its address, by a certificate of another name that it signed itself: its file."""
        files = [os.path.join(self.data, name) for name in ("server.crt", "server.key")]
        command = ["openssl", "req", "-new", "-x509", "-nodes", "-subj", "/CN=db", "-out", files[0], "-keyout", files[1]]
        if not shutil.which("openssl"):
            raise Skip("there is no openssl here")
        subprocess.run([*self.first, *command], check=True, capture_output=True, cwd=self.dir)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write("ssl = on\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "r+", encoding="utf-8") as file:
            text = file.read()
            file.seek(0)
            file.write("host all locked samenet scram-sha-256\n" + text)
        self.restart()
        return shutil.copy(files[0], self.ws.path("server.pem"))

    # -- a second one

    def standby(self, name="standby", lags=False):
        """Follows this one, which from now on answers no COMMIT before the standby has it; one that lags may lack any."""
        other = Postgres(self.ws, name, primary=self)
        if lags:
            return other
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")  # in a file that the standby has no copy of
        self.control("reload")
        wait_until(lambda: self.value("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby to be synchronous")
        return other

    def promote(self):
        self.control("promote")

    def die(self):
        """As when its machine loses power: all of its processes at once, and none says a word."""
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
            lines = file.read().splitlines()
        leader = int(lines[0])
        os.kill(leader, signal.SIGSTOP)  # it begins no more of them
        wait_until(lambda: _state(leader) == "T", "the server to stand still")
        with open(f"/proc/{leader}/task/{leader}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
        for pid in (*children, leader):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(_runs(pid) for pid in (*children, leader)), "the server to be dead")
        os.remove(os.path.join(self.data, "postmaster.pid"))
        ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), 0, None)  # IPC_RMID: nobody else would

    def read_only(self, on):
        """What every new transaction may do, also of those who are connected."""
        word = "on" if on else "off"
        self.sql(f"ALTER SYSTEM SET default_transaction_read_only = {word}")
        self.control("reload")  # tells the server, and does not wait until it has told everybody
        wait_until(lambda: self.value("SHOW default_transaction_read_only") == word, "the setting")

    # -- what is in it

    def psql(self, text, *words, database="postgres"):
        return self.run(
            "psql", "-h", self.dir, "-U", "latentd", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", *words, text=text
        )

    def sql(self, text):
        # ALTER SYSTEM runs outside transactions, and whatever the default is
        self.psql(text)

    @contextlib.contextmanager
    def session(self, text):
        """What @text took is held for as long as the context lasts."""
        command = [*self.first, os.path.join(self.bin, "psql"), "-h", self.dir, "-U", "latentd", "-d", "postgres", "-qAtX"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", cwd=self.dir
        ) as process:
            process.stdin.write(f"{text};\n\\echo ready\n")
            process.stdin.flush()
            while process.stdout.readline() not in ("ready\n", ""):
                pass
            try:
                yield
            finally:
                process.stdin.close()

    def value(self, text):
        return self.psql(text).strip()

    def dump(self, name="dump.sql"):
        """The queue's tables, as they are now, in a file."""
        file = os.path.join(self.dir, name)
        self.run("pg_dump", "-h", self.dir, "-U", "latentd", "-d", "postgres", "-n", "latentd", "-f", file)
        return file

    def restore(self, file, database="postgres"):
        """In the place of what is there, at once for all who are connected."""
        drop = "DROP SCHEMA IF EXISTS latentd CASCADE"
        for _ in range(20):
            try:
                return self.psql("", "-1", "-c", drop, "-f", file, database=database)
            except AssertionError as e:  # with what nodes have locked just then
                if "deadlock" not in str(e):
                    raise
        raise AssertionError("deadlocks again and again")

    def rows(self, text):
        return [line.split("|") for line in self.psql(text).splitlines()]


class Pooler:
    """pgbouncer before @postgres, with two connections that change hands after each transaction."""

    def __init__(self, ws, postgres):
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if not program:
            raise Skip("there is no pgbouncer here (Debian: apt-get install pgbouncer)")
        self.dir = ws.path("pooler")
        self.conninfo = f"host={self.dir} port=6432 user=latentd dbname=postgres"
        os.mkdir(self.dir, 0o755)
        if postgres.first:
            shutil.chown(self.dir, "nobody", "nogroup")
        self.users, self.settings = os.path.join(self.dir, "users"), os.path.join(self.dir, "ini")
        with open(self.users, "w", encoding="utf-8") as file:
            file.write('"latentd" ""\n')
        self.put(postgres)
        self.process = subprocess.Popen(
            [*postgres.first, program, self.settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir
        )
        ws.at_end.insert(0, self.kill)
        wait_until(lambda: listens(os.path.join(self.dir, ".s.PGSQL.6432")), "pgbouncer to listen")

    def put(self, postgres):
        with open(self.settings, "w", encoding="utf-8") as file:
            file.write(
                f"[databases]\npostgres = host={postgres.dir}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n"
                f"unix_socket_dir = {self.dir}\nauth_type = trust\nauth_file = {self.users}\n"
                "pool_mode = transaction\ndefault_pool_size = 2\n"
            )

    def lead_to(self, postgres):
        """From the next transaction of each client, none of which loses its connection."""
        self.put(postgres)
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()
