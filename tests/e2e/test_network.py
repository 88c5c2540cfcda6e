#!/usr/bin/env python3
"""Nodes on machines of their own, between them and their database and bucket a network that fails.

LATENTD_NETWORK_SEED chooses which faults happen to whom, LATENTD_NETWORK_STEPS how many.
"""

import os
import random
import signal
import tempfile
import threading

import net_rig

net_rig.in_own_network()  # before anything is begun

from daemon_rig import Daemon  # noqa: E402
from harness import (  # noqa: E402
    FAILED,
    HANGS_AFTER_S,
    OK,
    USAGE,
    Skip,
    equal,
    run_tests,
    same_members,
    sanitized,
    test,
    wait_until,
)
from postgres_rig import Postgres  # noqa: E402
from reference import read_dataset  # noqa: E402
from s3_rig import Missing, Proxy, S3Server  # noqa: E402

LONG = bool(os.environ.get("LATENTD_TEST_LONG"))
SEED = int(os.environ.get("LATENTD_NETWORK_SEED") or (random.SystemRandom().randrange(1 << 32) if LONG else 14))
STEPS = int(os.environ.get("LATENTD_NETWORK_STEPS") or (50 if LONG else 0))
NAMES = ("a", "b", "c", "d", "e") if LONG else ("a", "b", "c")
IMAGES = 400 if LONG else 10 if sanitized() else 40  # of a step

# What is silent for so long is gone: a minute by default.
SOON = "keepalives_idle=1 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=4000"
# Who has encoded something waits for this lock, and with it the transaction that says so.
HOLD = "SELECT pg_advisory_lock(4711)"
HELD = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' AND client_addr IS NOT NULL"
TRIGGER = (
    "CREATE TABLE patience (idle text, sent text);"
    "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO patience VALUES (current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout'));"
    " PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$;"
    "CREATE TRIGGER hold BEFORE UPDATE ON latentd.job FOR EACH ROW WHEN (NEW.state = 3) EXECUTE FUNCTION hold()"
)
DONE = "SELECT count(*) FROM latentd.job WHERE state IN (3, 4)"


class Cluster:
    def __init__(self, ws, names):
        self.ws, self.network = ws, net_rig.Network(ws)
        try:
            self.server = S3Server(tempfile.mkdtemp(dir=ws.root))
        except Missing as why:
            raise Skip(str(why)) from None
        ws.at_end.append(self.server.stop)
        self.postgres = Postgres(ws, listen=net_rig.HUB)
        self.bucket, self.proxy = self.server.bucket("latents"), Proxy(self.server, net_rig.HUB)
        ws.at_end.append(self.proxy.close)
        ws.environment.update(self.server.environment(self.proxy.url))
        self.wanted, self.nodes = [], {}
        for name in names:
            daemon = Daemon(ws, name)
            daemon.machine = self.network.join(name)
            daemon.config["queue"] = {
                "postgres": f"host={net_rig.HUB} user=latentd dbname=postgres {SOON}",
                "node": name,
                "node_timeout": "5s",
            }
            store = {"s3": "s3://latents/team", "part_size": "64KiB"}
            daemon.dataset("set", output={"codec": "none", "store": store})
            self.nodes[daemon.machine.address] = daemon

    def start(self, daemon):
        daemon.start(first=daemon.machine.first)

    def add(self, n):
        self.wanted += self.ws.small_pictures(n, self.ws.path("set"), first=len(self.wanted))

    def finished(self):
        done = str(len(self.wanted))
        wait_until(lambda: self.postgres.value(DONE) == done, f"{done} images to be encoded")

    def asks_store(self, condition):
        """Until @condition holds; what is encoded goes to the store at once."""

        def holds():
            for daemon in self.nodes.values():
                daemon.post("/datasets/set/seal")
            return condition()

        wait_until(holds, "the store to be asked")

    def at_work(self):
        """Nodes that wait for the lock @HOLD."""
        rows = wait_until(lambda: self.postgres.rows(f"SELECT DISTINCT host(client_addr) {HELD} ORDER BY 1"), "a node to be held")
        return [self.nodes[address] for (address,) in rows]

    def end(self):
        daemons = self.nodes.values()
        for daemon in daemons:
            daemon.post("/datasets/set/drain")
        for daemon in daemons:
            daemon.wait(lambda d=daemon: (d.about()["why"] or "").startswith("drained"), f"the drain of {daemon.name}")
        for daemon in daemons:
            daemon.tell(signal.SIGTERM)
        for daemon in daemons:
            equal(daemon.process.wait(HANGS_AFTER_S), OK, f"exit status of {daemon.name}")
            daemon.process = None

    def everything_is_there_once(self):
        """In readable objects, in the catalog, and nowhere else."""
        shards = [k for k in self.bucket.keys("team/set/train/") if k.endswith(".tar")]
        folder = tempfile.mkdtemp(dir=self.ws.root)
        for key in shards:
            self.ws.write(key.split("/", 2)[2], self.bucket.get(key), folder)
        same_members((s.path for s in read_dataset(folder)), self.wanted, "samples in the bucket")
        in_catalog = self.postgres.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")
        same_members((k.split("/", 2)[2] for k in shards), (path for (path,) in in_catalog), "shards")
        live = "SELECT count(*), count(DISTINCT job) FROM latentd.sample WHERE NOT dead"
        equal(self.postgres.rows(live), [[str(len(self.wanted))] * 2], "samples in the catalog, and their images")
        equal(self.postgres.value("SELECT count(*) FROM latentd.job WHERE state <> 4"), "0", "images that are in no shard")
        said = self.ws.latentctl("verify", "--out", self.ws.out)
        assert f"{len(self.wanted)} sample" in said.out, said.out


# -- what happens, while nodes have work in hand; each ends when it was felt


def loses_its_link(cluster, rng, how):
    victim = rng.choice(cluster.at_work())
    getattr(victim.machine, how)()
    yield f"{victim.name}: {how}"
    victim.wait(lambda: "PostgreSQL" in (victim.about()["why"] or ""), f"{victim.name} to notice")
    cluster.finished()  # by the others
    victim.machine.mend()


def cut(cluster, rng):
    yield from loses_its_link(cluster, rng, "cut")


def unplug(cluster, rng):
    yield from loses_its_link(cluster, rng, "unplug")


def narrow(cluster, rng):
    victim = rng.choice(cluster.at_work())
    yield f"{victim.name}: narrow" + ("" if victim.machine.narrow("512kbit") else ", which tc cannot here")
    cluster.finished()
    victim.machine.mend()


def kill(cluster, rng):
    victim = rng.choice(cluster.at_work())
    victim.kill()
    yield f"{victim.name}: kill"
    cluster.finished()
    cluster.start(victim)


def restart(cluster, rng):
    victim = rng.choice(cluster.at_work())
    victim.tell(signal.SIGTERM)
    yield f"{victim.name}: stop and start"
    equal(victim.process.wait(HANGS_AFTER_S), OK, f"exit status of {victim.name}")
    victim.process = None
    cluster.start(victim)


def database_restarts(cluster, rng):
    cluster.at_work()
    rng.choice((cluster.postgres.restart, lambda: (cluster.postgres.kill(), cluster.postgres.start())))()
    yield "database"


def store_fails(cluster, rng):
    lock, count = threading.Lock(), [0]

    def harm(request):
        with lock:
            count[0] += 1
            return rng.choice(((503, "SlowDown"), (500, "InternalError"), "reset", "lost")) if count[0] <= 3 else None

    cluster.proxy.harm = harm
    yield "store fails"
    cluster.asks_store(lambda: count[0] > 3)


def store_hangs(cluster, rng):
    asked, goes_on = threading.Event(), threading.Event()

    def harm(request):
        asked.set()
        goes_on.wait()

    cluster.proxy.harm = harm
    yield "store hangs"
    cluster.asks_store(asked.is_set)
    goes_on.set()


@test
def a_node_is_told_of_images_where_the_first_address_of_the_host_is_silent(ws):
    network, postgres = net_rig.Network(ws), Postgres(ws, listen=net_rig.HUB)
    daemon, hosts = Daemon(ws, "a"), ws.path("hosts")
    machine, dead = network.join("a"), network.join("dead")
    dead.cut()
    with open(hosts, "w", encoding="utf-8") as file:
        file.write(f"127.0.0.1 localhost\n{dead.address} db\n{net_rig.HUB} db\n")
    daemon.config["queue"] = {"postgres": "host=db user=latentd dbname=postgres connect_timeout=2", "node": "a"}
    daemon.dataset()
    own_names = ["unshare", "--mount", "--", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    daemon.start(first=[*machine.first, *own_names])
    listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    wait_until(lambda: postgres.value(listens) == "1", "the node to listen")
    daemon.wait(lambda: daemon.status()["node"]["why"] is None, "it to say so")
    daemon.stop()


@test
def a_certificate_that_does_not_fit_and_a_password_are_told_in_one_line(ws):
    net_rig.Network(ws)
    postgres = Postgres(ws, listen=net_rig.HUB)
    postgres.sql("CREATE ROLE locked LOGIN PASSWORD 'right'")
    certificate, passwords, daemon = postgres.encrypt(), ws.path("passwords"), Daemon(ws, "a")
    with open(passwords, "w", encoding="utf-8") as file:
        file.write("*:*:*:locked:wrong\n")
    os.chmod(passwords, 0o600)
    daemon.dataset()
    for said, code, words in (
        (f"user=latentd sslmode=verify-full sslrootcert={certificate}", FAILED, "does not match host name"),
        (f"user=latentd sslmode=verify-full sslrootcert={ws.root}/none.pem", USAGE, "root certificate file"),
        (f"user=locked passfile={passwords}", USAGE, "password authentication failed"),
    ):
        daemon.config["queue"] = {"postgres": f"host={net_rig.HUB} dbname=postgres {said}", "node": "a"}
        result = daemon.command(code=code)
        equal((result.out + result.err).count(words), 1, f"times that {words} is said: {result.err}")


FAULTS = (cut, unplug, narrow, kill, restart, database_restarts, store_fails, store_hangs)


@test
def whatever_the_network_does_each_image_is_in_one_object(ws):
    cluster, rng = Cluster(ws, NAMES), random.Random(SEED)
    print(f"LATENTD_NETWORK_SEED={SEED}", flush=True)
    first = next(iter(cluster.nodes.values()))
    first.run("--once", first=first.machine.first)  # makes the tables
    cluster.postgres.sql(TRIGGER)
    for daemon in cluster.nodes.values():
        cluster.start(daemon)
    faults = [rng.choice(FAULTS) for _ in range(STEPS)] or rng.sample(FAULTS, len(FAULTS))
    for fault in faults:
        with cluster.postgres.session(HOLD):
            cluster.add(IMAGES)
            cluster.at_work()
            happens = fault(cluster, rng)
            print(f"  {len(cluster.wanted)} images, {next(happens)}", flush=True)
        for _ in happens:
            pass
        cluster.finished()
        cluster.proxy.harm = lambda request: None
    # Locks of who was cut off are not held for as long as the server's kernel would.
    equal(cluster.postgres.rows("SELECT DISTINCT * FROM patience"), [["1", "4000"]], "the server's patience with a node")
    cluster.end()
    cluster.everything_is_there_once()


run_tests()
