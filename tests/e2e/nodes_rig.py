"""Daemons that share a PostgreSQL queue and an output, and what must be true of them together."""

import os
import signal

from daemon_rig import Daemon
from harness import HANGS_AFTER_S, OK, equal, same_members, wait_until
from reference import paths_in


def node(ws, postgres, name="a"):
    daemon = Daemon(ws, name)
    daemon.config["queue"] = {"postgres": postgres.conninfo, "node": name}
    return daemon


def nodes(ws, postgres, *names, timeout="20s", n=0, **options):
    """Daemons that encode ws.path("set") into ws.out, not started, and the pictures that are there."""
    daemons = [node(ws, postgres, name) for name in names]
    for daemon in daemons:
        daemon.config["queue"]["node_timeout"] = timeout
        daemon.dataset(**options)
    return [*daemons, ws.small_pictures(n, ws.path("set"))]


def finished(postgres, n):
    """Waits until so many images are encoded, whoever did it."""
    wait_until(
        lambda: postgres.value("SELECT count(*) FROM latentd.job WHERE state IN (3, 4)") == str(n),
        f"{n} images to be encoded",
    )


# With this lock taken nobody gets beyond what he has claimed.
HOLD = "SELECT pg_advisory_lock(4711)"
HELD = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"


def hold_results(postgres, after=0):
    """While somebody has the lock @HOLD, of more than @after encoded images; the tables must be there."""
    postgres.sql(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF (SELECT count(*) FROM latentd.job WHERE state IN (3, 4)) >= {after} THEN"
        " PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER hold BEFORE UPDATE ON latentd.job FOR EACH ROW WHEN (NEW.state = 3)"
        " EXECUTE FUNCTION hold()"
    )


def somebody_waits(postgres, what):
    """For the lock @HOLD."""
    wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") != "0", what)


def dies_before_its_commit(postgres, daemon):
    """Seals what it has, and dies when the shard is in sight and its rows are not committed."""
    postgres.sql(
        "CREATE FUNCTION hold_shard() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;"
        "CREATE TRIGGER hold_shard BEFORE INSERT ON latentd.shard FOR EACH STATEMENT EXECUTE FUNCTION hold_shard()"
    )
    with postgres.session(HOLD):
        daemon.post("/datasets/set/seal")
        somebody_waits(postgres, "a shard to wait for its commit")
        daemon.kill()
        postgres.sql(f"SELECT pg_terminate_backend(pid) {HELD}")
        wait_until(lambda: postgres.value(f"SELECT count(*) {HELD}") == "0", "its transaction to be gone")
    postgres.sql("DROP TRIGGER hold_shard ON latentd.shard")


def each_has_half(postgres):
    """The next two nodes that begin claim jobs of even and of odd numbers, so that no one has all."""
    postgres.sql(
        "CREATE FUNCTION half() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.id % 2 = NEW.owner % 2 THEN RETURN NEW; END IF; RETURN NULL; END $$;"
        "CREATE TRIGGER half BEFORE UPDATE ON latentd.job FOR EACH ROW WHEN (NEW.state = 2 AND OLD.state <> 2)"
        " EXECUTE FUNCTION half()"
    )


def note_charges(postgres):
    """From now on: who was tried twice, or blamed for a death. Images that are completed have forgotten it."""
    postgres.sql(
        "CREATE TABLE charged (job bigint);"
        "CREATE FUNCTION charge() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO charged VALUES (NEW.id); RETURN NEW; END $$;"
        "CREATE TRIGGER charge AFTER UPDATE ON latentd.job FOR EACH ROW"
        " WHEN (NEW.attempts > 1 OR NEW.crashes > 0) EXECUTE FUNCTION charge()"
    )


def nobody_is_charged(postgres):
    equal(postgres.value("SELECT count(*) FROM charged"), "0", "images that were charged")


def tars(ws):
    """Shards in sight, relative to the dataset."""
    top = os.path.join(ws.out, "set")
    found = []
    for at, _, names in os.walk(os.path.join(top, "train")):
        found += [os.path.relpath(os.path.join(at, name), top) for name in names if name.endswith(".tar")]
    return found


def everything_is_there_once(ws, postgres, wanted):
    """In readable shards, in the catalog, and nowhere else."""
    same_members(paths_in(os.path.join(ws.out, "set")), wanted, "samples in shards")
    equal(postgres.value("SELECT count(*) FROM latentd.sample WHERE NOT dead"), str(len(wanted)), "samples")
    equal(
        postgres.value("SELECT count(*) FROM latentd.job WHERE state <> 4 OR keeper IS NOT NULL"),
        "0",
        "jobs that are not completed",
    )
    in_catalog = {path for (path,) in postgres.rows("SELECT convert_from(path, 'UTF8') FROM latentd.shard")}
    same_members(tars(ws), in_catalog, "shards")
    ws.latentctl("verify", "--out", ws.out)


def drained(*daemons):
    for daemon in daemons:
        daemon.post("/datasets/set/drain")
    for daemon in daemons:
        daemon.wait(lambda d=daemon: (d.about()["why"] or "").startswith("drained"), "the drain")


def ended(daemon, code=OK):
    """Waits for its end, while others may go on."""
    equal(daemon.process.wait(HANGS_AFTER_S), code, f"exit status of {daemon.title}")
    daemon.process = None


def stopped(*daemons):
    """All of them at once: each checks that nothing of any is left."""
    for daemon in daemons:
        daemon.tell(signal.SIGTERM)
    for daemon in daemons:
        ended(daemon)
    daemons[0].ws.no_worker_is_left()
