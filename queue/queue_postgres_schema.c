/*
 * The tables, and how an older version of them becomes the present one. A migration that was released is never changed.
 *
 * Everything lies in schema `latentd`. Bytes that somebody else chose (paths, keys, messages) are bytea: they need
 * not be valid in the database's encoding.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static const char version_1[] =
    "CREATE TABLE latentd.dataset ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " name bytea NOT NULL UNIQUE,"
    " output bytea NOT NULL,"
    " recipe_id text COLLATE \"C\" NOT NULL,"
    " recipe_json bytea NOT NULL);"

    "CREATE TABLE latentd.node ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " name bytea NOT NULL UNIQUE);"

    /* Who claims: a process of a node. */
    "CREATE TABLE latentd.owner ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " node bigint NOT NULL REFERENCES latentd.node,"
    " name bytea NOT NULL,"
    " UNIQUE (node, name));"

    "CREATE SEQUENCE latentd.fence;"

    /* caption NULL: not known; key NULL: the path's stem, and key_print with it; keeper: the node whose spool has
     * a record. */
    "CREATE TABLE latentd.job ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " rank bigint NOT NULL,"
    " size bigint NOT NULL,"
    " mtime_ns bigint NOT NULL,"
    " inode bigint NOT NULL,"
    " path_print bigint NOT NULL,"
    " updated_at bigint NOT NULL DEFAULT 0,"
    " dataset integer NOT NULL,"
    " root bigint NOT NULL,"
    " crashes integer NOT NULL DEFAULT 0,"
    " attempts integer NOT NULL DEFAULT 0,"
    " state smallint NOT NULL DEFAULT 1,"
    " changed boolean NOT NULL DEFAULT false,"
    " recaption boolean NOT NULL DEFAULT false,"
    " key_print bigint,"
    " caption bigint,"
    " fence bigint,"
    " owner bigint,"
    " keeper bigint,"
    " due bigint,"
    " content uuid,"
    " dropped uuid,"
    " path bytea NOT NULL,"
    " key bytea,"
    " reason text COLLATE \"C\","
    " message bytea)"
    " WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);"
    "CREATE INDEX job_path ON latentd.job (path_print);"
    "CREATE INDEX job_key ON latentd.job (key_print) WHERE key_print IS NOT NULL;"
    "CREATE INDEX job_ready ON latentd.job (dataset, rank, id) WHERE state = 1 AND crashes < 3;"
    "CREATE INDEX job_due ON latentd.job (dataset, due) WHERE state = 5;"
    "CREATE INDEX job_suspect ON latentd.job (dataset, rank, id)"
    " WHERE crashes >= 3 AND state IN (1, 5);"
    "CREATE INDEX job_running ON latentd.job (owner, id) WHERE state = 2;"
    "CREATE INDEX job_kept ON latentd.job (keeper, dataset, id) WHERE keeper IS NOT NULL;"
    "CREATE INDEX job_kept_content ON latentd.job (content) WHERE state = 3;"
    "CREATE INDEX job_listed ON latentd.job (dataset, state, id) WHERE state NOT IN (1, 2, 3, 4);"
    "CREATE INDEX job_recaption ON latentd.job (dataset, id) WHERE recaption;"
    "CREATE INDEX job_dropped ON latentd.job (dataset, dropped) WHERE dropped IS NOT NULL;"

    "CREATE TABLE latentd.shard ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " bytes bigint NOT NULL,"
    " sealed_at bigint NOT NULL,"
    " visible_at bigint NOT NULL,"
    " samples bigint NOT NULL,"
    " dead bigint NOT NULL DEFAULT 0,"
    " dataset integer NOT NULL,"
    " xxh3 uuid NOT NULL,"
    " sha256 bytea NOT NULL,"
    " path bytea NOT NULL,"
    " format bytea NOT NULL,"
    " grp bytea NOT NULL,"
    " UNIQUE (dataset, path));"

    "CREATE TABLE latentd.sample ("
    " shard bigint NOT NULL,"
    " \"offset\" bigint NOT NULL,"
    " bytes bigint NOT NULL,"
    " job bigint NOT NULL,"
    " variant bigint NOT NULL,"
    " dataset integer NOT NULL,"
    " dead boolean NOT NULL DEFAULT false,"
    " content uuid NOT NULL,"
    " latent uuid NOT NULL,"
    " PRIMARY KEY (shard, \"offset\"));"
    "CREATE UNIQUE INDEX sample_live ON latentd.sample (job, variant) WHERE NOT dead;"
    "CREATE INDEX sample_content ON latentd.sample (content) WHERE NOT dead;"

    "CREATE TABLE latentd.retired ("
    " id bigint PRIMARY KEY,"
    " dataset integer NOT NULL,"
    " path bytea NOT NULL,"
    " retired_at bigint NOT NULL,"
    " UNIQUE (dataset, path));"

    "CREATE TABLE latentd.spent ("
    " account bytea NOT NULL,"
    " minute bigint NOT NULL,"
    " requests bigint NOT NULL,"
    " bytes bigint NOT NULL,"
    " PRIMARY KEY (account, minute));"

    "CREATE TABLE latentd.history ("
    " node bigint NOT NULL REFERENCES latentd.node,"
    " series bigint NOT NULL,"
    " place bigint NOT NULL,"
    " at bigint NOT NULL,"
    " ms bigint NOT NULL,"
    " images bigint NOT NULL,"
    " todo bigint NOT NULL,"
    " PRIMARY KEY (node, series, place));"

    /* Sums are what counts; see pg_fold(). */
    "CREATE TABLE latentd.tally ("
    " dataset integer NOT NULL,"
    " kind smallint NOT NULL,"
    " n bigint NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0.1);"
    "CREATE INDEX tally_dataset ON latentd.tally (dataset);";

/* Kinds as in enum pg_tally_kind. */
static const char version_1_counts[] =
    "CREATE FUNCTION latentd.jobs_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, state, count(*) FROM fresh GROUP BY 1, 2;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_added AFTER INSERT ON latentd.job REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.jobs_added();"

    "CREATE FUNCTION latentd.jobs_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, kind, sum(n) FROM ("
    "   SELECT dataset, state AS kind, 1 AS n FROM fresh UNION ALL"
    "   SELECT dataset, state, -1 FROM stale UNION ALL"
    "   SELECT dataset, 13, 1 FROM fresh WHERE recaption UNION ALL"
    "   SELECT dataset, 13, -1 FROM stale WHERE recaption) AS moves"
    "  GROUP BY 1, 2 HAVING sum(n) <> 0;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_changed AFTER UPDATE ON latentd.job"
    " REFERENCING NEW TABLE AS fresh OLD TABLE AS stale"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.jobs_changed();"

    "CREATE FUNCTION latentd.shards_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, 10, count(*) FROM fresh GROUP BY 1 UNION ALL"
    "  SELECT dataset, 12, sum(bytes) FROM fresh GROUP BY 1;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_added AFTER INSERT ON latentd.shard REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.shards_added();"

    "CREATE FUNCTION latentd.shards_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, 10, -count(*) FROM stale GROUP BY 1 UNION ALL"
    "  SELECT dataset, 12, -sum(bytes) FROM stale GROUP BY 1;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_removed AFTER DELETE ON latentd.shard REFERENCING OLD TABLE AS stale"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.shards_removed();"

    "CREATE FUNCTION latentd.samples_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, 11, count(*) FROM fresh WHERE NOT dead GROUP BY 1;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_added AFTER INSERT ON latentd.sample REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.samples_added();"

    "CREATE FUNCTION latentd.samples_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, 11, -count(*) FROM stale WHERE NOT dead GROUP BY 1;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_removed AFTER DELETE ON latentd.sample REFERENCING OLD TABLE AS stale"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.samples_removed();"

    /* Live ones die; no other column of a sample changes. */
    "CREATE FUNCTION latentd.samples_killed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO latentd.tally (dataset, kind, n)"
    "  SELECT dataset, 11, -count(*) FROM stale WHERE NOT dead GROUP BY 1;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER count_killed AFTER UPDATE ON latentd.sample REFERENCING OLD TABLE AS stale"
    " FOR EACH STATEMENT EXECUTE FUNCTION latentd.samples_killed();";

/* beat_at, until: by the database's clock, ms. instance NULL: it never began, or is forgotten. */
static const char version_2[] =
    "ALTER TABLE latentd.node"
    " ADD instance bytea,"
    " ADD host bytea NOT NULL DEFAULT '',"
    " ADD version bytea NOT NULL DEFAULT '',"
    " ADD beat_at bigint NOT NULL DEFAULT 0,"
    " ADD timeout_ms bigint NOT NULL DEFAULT 0,"
    " ADD encoded bigint NOT NULL DEFAULT 0,"
    " ADD rate_milli bigint NOT NULL DEFAULT 0,"
    " ADD left_in_order boolean NOT NULL DEFAULT false,"
    " ADD drains boolean NOT NULL DEFAULT false;"

    /* Who looks through a dataset's sources, and whether all of them were looked through. */
    "CREATE TABLE latentd.duty ("
    " dataset bigint PRIMARY KEY,"
    " node bigint NOT NULL,"
    " until bigint NOT NULL,"
    " scanned boolean NOT NULL);"

    "CREATE TABLE latentd.source ("
    " dataset bigint NOT NULL,"
    " path bytea NOT NULL,"
    " number bigint NOT NULL,"
    " PRIMARY KEY (dataset, path));";

/* place: where the node's process is, which no other has at the same time. cluster: no other database's. */
static const char version_3[] =
    "ALTER TABLE latentd.node ADD place bytea NOT NULL DEFAULT '';"
    "ALTER TABLE latentd.schema_version ADD cluster uuid NOT NULL DEFAULT gen_random_uuid();";

/*
 * home: which server and which database these tables were made in, as here() says; a dump that is restored elsewhere
 * brings it along. Its server is '' where the role may not ask for it.
 */
static const char version_4[] =
    "CREATE INDEX shard_number ON latentd.shard (dataset, id);"
    "CREATE FUNCTION latentd.here() RETURNS text LANGUAGE plpgsql AS $$"
    " DECLARE server text := ''; BEGIN"
    " BEGIN server := (SELECT system_identifier FROM pg_catalog.pg_control_system());"
    " EXCEPTION WHEN insufficient_privilege THEN NULL; END;"
    " RETURN server || '/' || (SELECT oid FROM pg_catalog.pg_database"
    "  WHERE datname = pg_catalog.current_database()); END $$;"
    "ALTER TABLE latentd.schema_version ADD home text NOT NULL DEFAULT '';"
    "UPDATE latentd.schema_version SET home = latentd.here();"
    /* For whoever restored a dump: the database that it is of is gone, or goes on. */
    "CREATE FUNCTION latentd.moved() RETURNS void LANGUAGE sql AS"
    " $$ UPDATE latentd.schema_version SET home = latentd.here() $$;"
    "CREATE FUNCTION latentd.copied() RETURNS void LANGUAGE sql AS"
    " $$ UPDATE latentd.schema_version SET home = latentd.here(),"
    "  cluster = pg_catalog.gen_random_uuid() $$;";

static const char *const version_1_parts[] = {version_1, version_1_counts, NULL};
static const char *const version_2_parts[] = {version_2, NULL};
static const char *const version_3_parts[] = {version_3, NULL};
static const char *const version_4_parts[] = {version_4, NULL};

/* migrations[v] leads from version v to v + 1. */
static const char *const *const migrations[] = {version_1_parts, version_2_parts, version_3_parts,
						version_4_parts};

#define LATEST ((int64_t)ARRAY_SIZE(migrations))

/* 0: the schema is not there. */
static int read_version(struct postgres_queue *q, int64_t *version, struct error *err)
{
	/* Not to_regclass(): what its cache says may be older than the lock that was waited for. */
	static const char find[] = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c"
				   " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
				   " WHERE n.nspname = 'latentd' AND c.relname = 'schema_version')";
	cleanup_pg_result PGresult *there = NULL;
	cleanup_pg_result PGresult *result = NULL;

	if (pg_query(q, find, NULL, &there, err) < 0)
		return -1;
	*version = 0;
	if (pg_value(there, 0, 0) == 0)
		return 0;
	if (pg_query(q, "SELECT version FROM latentd.schema_version", NULL, &result, err) < 0)
		return -1;
	if (pg_rows(result) != 1)
		return error_set(err, ERR_IO,
				 "queue in PostgreSQL is damaged: latentd.schema_version has %d "
				 "rows",
				 pg_rows(result));
	*version = pg_value(result, 0, 0);
	return 0;
}

static int migrate(struct postgres_queue *q, struct error *err)
{
	char stamp[80];
	int64_t version;

	/* One at a time; whoever waited finds the work done. */
	if (pg_exec(q, "SELECT pg_advisory_xact_lock(1818326116, 0)", err) < 0 ||
	    read_version(q, &version, err) < 0)
		return -1;
	if (version == 0 && pg_exec(q,
				    "CREATE SCHEMA IF NOT EXISTS latentd;"
				    "CREATE TABLE latentd.schema_version (version bigint NOT NULL);"
				    "INSERT INTO latentd.schema_version VALUES (0)",
				    err) < 0)
		return -1;
	for (; version < LATEST; version++) {
		for (const char *const *part = migrations[version]; *part; part++) {
			if (pg_exec(q, *part, err) < 0)
				return -1;
		}
	}
	snprintf(stamp, sizeof(stamp), "UPDATE latentd.schema_version SET version = %lld",
		 (long long)LATEST);
	return pg_exec(q, stamp, err);
}

int pg_check_home(struct postgres_queue *q, struct error *err)
{
	static const char sql[] =
	    "SELECT v.home, h.here, v.home IN ('', h.here)"
	    " OR '' IN (split_part(v.home, '/', 1), split_part(h.here, '/', 1))"
	    " AND split_part(v.home, '/', 2) = split_part(h.here, '/', 2)"
	    " FROM latentd.schema_version AS v, latentd.here() AS h(here)";
	cleanup_pg_result PGresult *result = NULL;

	if (pg_query(q, sql, NULL, &result, err) < 0)
		return -1;
	if (pg_rows(result) != 1 || pg_value(result, 0, 2) != 0)
		return 0;
	return error_set(err, q->is_open ? ERR_TRANSIENT : ERR_CONFIG,
			 "queue in PostgreSQL: this database (%s) was restored from a dump of "
			 "another (%s): if that is gone, tell it by SELECT latentd.moved(); if it "
			 "goes on, by SELECT latentd.copied(), and give another output",
			 pg_string(result, 0, 1), pg_string(result, 0, 0));
}

static int make_schema(struct postgres_queue *q, int64_t version, struct error *err)
{
	if (version == LATEST)
		return 0;
	if (version > LATEST)
		return error_set(err, ERR_CONFIG,
				 "queue in PostgreSQL has schema version %lld, this program knows "
				 "versions up to %lld: use the newer latentd that wrote it",
				 (long long)version, (long long)LATEST);
	if (q->readonly)
		return error_set(err, ERR_CONFIG,
				 version == 0
				     ? "queue in PostgreSQL: there is none yet in this "
				       "database"
				     : "queue in PostgreSQL has an older schema: start the "
				       "daemon, which migrates it");
	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, migrate(q, err), err);
}

int pg_schema(struct postgres_queue *q, struct error *err)
{
	int64_t version;

	if (read_version(q, &version, err) < 0 || make_schema(q, version, err) < 0)
		return -1;
	return q->readonly ? 0 : pg_check_home(q, err);
}
