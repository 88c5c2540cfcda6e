/*
 * The schema and its history. PRAGMA application_id says whose file it is, PRAGMA user_version how many of
 * the migrations below it has seen. A migration that was released is never changed: another is added.
 *
 * Sizes decide the form of the tables (ten million samples must stay handy):
 *
 * job	A row is one job. `key` is NULL where it is the path without its extension, which it mostly is.
 *	`due` is the end of the lease of a running job and the not_before of a retryable one.
 * name	Finds jobs by path and by key: the print of the path's stem and, where it differs, of the key
 *	(name_print() in queue_sqlite_jobs.c). A print only narrows the search; the job row decides.
 *	Half the size of an index on either, and one instead of two.
 * job_claim, job_due, job_side
 *	Partial indexes: jobs that are available, retryable, and in any state but the two that nearly all
 *	jobs are in. A million completed jobs cost a claim nothing.
 * sample  In the order of the shards, so that a shard's rows lie together.
 * tally   Counters by dataset and enum tally_kind.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"
#include "base/text.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define APPLICATION_ID 0x6c617464 /* "latd" */

static const char version_1[] =
    "CREATE TABLE dataset ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " output BLOB NOT NULL,"
    " recipe_id TEXT NOT NULL,"
    " recipe_json TEXT NOT NULL) STRICT;"

    "CREATE TABLE owner ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE) STRICT;"

    "CREATE TABLE job ("
    " id INTEGER PRIMARY KEY,"
    " dataset INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL,"
    " fence INTEGER NOT NULL,"
    " owner INTEGER,"
    " due INTEGER,"
    " updated_at INTEGER NOT NULL,"
    " rank INTEGER NOT NULL,"
    " root INTEGER NOT NULL,"
    " size INTEGER NOT NULL,"
    " mtime_ns INTEGER NOT NULL,"
    " inode INTEGER NOT NULL,"
    " content BLOB,"
    " reason TEXT,"
    " message TEXT,"
    " key TEXT,"
    " path BLOB NOT NULL) STRICT;"
    "CREATE INDEX job_claim ON job (dataset, rank) WHERE state = 1;"
    "CREATE INDEX job_due ON job (dataset, due) WHERE state = 5;"
    "CREATE INDEX job_side ON job (state, dataset) WHERE state NOT IN (1, 4);"

    "CREATE TABLE name ("
    " print INTEGER NOT NULL,"
    " job INTEGER NOT NULL,"
    " PRIMARY KEY (print, job)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE shard ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " dataset INTEGER NOT NULL,"
    " path TEXT NOT NULL,"
    " format TEXT NOT NULL,"
    " \"group\" TEXT NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " samples INTEGER NOT NULL,"
    " sha256 BLOB NOT NULL,"
    " xxh3 BLOB NOT NULL,"
    " sealed_at INTEGER NOT NULL,"
    " UNIQUE (dataset, path)) STRICT;"

    "CREATE TABLE sample ("
    " shard INTEGER NOT NULL,"
    " offset INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " job INTEGER NOT NULL,"
    " variant INTEGER NOT NULL,"
    " content BLOB NOT NULL,"
    " latent BLOB NOT NULL,"
    " PRIMARY KEY (shard, offset),"
    " UNIQUE (job, variant)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE tally ("
    " dataset INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " n INTEGER NOT NULL,"
    " PRIMARY KEY (dataset, kind)) STRICT, WITHOUT ROWID;";

/* migrations[v] leads from version v to v + 1. */
static const char *const migrations[] = {version_1};

#define LATEST ((int64_t)ARRAY_SIZE(migrations))

static int check_identity(struct sqlite_queue *q, int64_t *version, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	int64_t application = 0, objects = 0;

	if (db_value(q, "PRAGMA application_id", &application, err) < 0 ||
	    db_value(q, "PRAGMA user_version", version, err) < 0 ||
	    db_value(q, "SELECT count(*) FROM sqlite_schema", &objects, err) < 0)
		return -1;
	text_quote(q->path, quoted);
	if (application == 0 && *version == 0 && objects == 0) {
		if (q->readonly)
			return error_set(err, ERR_CONFIG, "queue %s: nothing is in it yet", quoted);
		return 0;
	}
	if (application != APPLICATION_ID)
		return error_set(err, ERR_CONFIG,
				 "%s is a SQLite database of another program"
				 " (application_id %lld)",
				 quoted, (long long)application);
	if (*version > LATEST)
		return error_set(err, ERR_CONFIG,
				 "queue %s has schema version %lld, this program knows versions up"
				 " to %lld: use the newer latentd that wrote it",
				 quoted, (long long)*version, (long long)LATEST);
	if (q->readonly && *version < LATEST)
		return error_set(err, ERR_CONFIG,
				 "queue %s has schema version %lld, older than %lld: open it for"
				 " writing once (latentd or latentctl encode), which migrates it",
				 quoted, (long long)*version, (long long)LATEST);
	return 0;
}

static int switch_to_wal(struct sqlite_queue *q, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	sqlite3_stmt *stmt = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(q->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		r = db_fail(q, err);
	else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
		r = error_set(err, ERR_CONFIG,
			      "queue %s: this file system does not support SQLite's WAL"
			      " (no shared memory): put the state folder on a local disk",
			      text_quote(q->path, quoted));
	sqlite3_finalize(stmt);
	return r;
}

/* Version and contents change in one transaction: a crash leaves the old version, whole. */
static int migrate(struct sqlite_queue *q, int64_t version, struct error *err)
{
	for (; version < LATEST; version++) {
		char stamp[96];
		int r;

		snprintf(stamp, sizeof(stamp),
			 "PRAGMA application_id = %d; PRAGMA user_version = %lld", APPLICATION_ID,
			 (long long)version + 1);
		if (db_begin(q, err) < 0)
			return -1;
		r = db_exec(q, migrations[version], err);
		if (r == 0)
			r = db_exec(q, stamp, err);
		if (db_end(q, r, err) < 0)
			return -1;
	}
	return 0;
}

int schema_open(struct sqlite_queue *q, struct error *err)
{
	int64_t version = 0;

	if (check_identity(q, &version, err) < 0)
		return -1;
	if (q->readonly)
		return 0;
	if (switch_to_wal(q, err) < 0)
		return -1;
	return migrate(q, version, err);
}
