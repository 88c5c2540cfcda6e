/*
 * The schema and its history. PRAGMA application_id says whose file it is, PRAGMA user_version how many of
 * the migrations below it has seen. A migration that was released is never changed: another is added.
 *
 * Sizes and the number of pages that a job touches decide the form of the tables. Ranks are random, so
 * whatever is ordered by job or by content lies on a page of its own for each of a batch: such a page is
 * written once a job at most, and what changes often lies in tables that are small or ordered by rank.
 *
 * job	What identifies the file, and what it was when it was last seen. Written when it is enqueued.
 *	`key` is NULL where it is the path without its extension, which it mostly is; `caption` is the
 *	stamp of its caption file, NULL: not known.
 * name	Finds jobs by path and by key: the print of the path's stem and, where it differs, of the key
 *	(name_print() in queue_sqlite_jobs.c). A print only narrows the search; the job row decides.
 *	Half the size of an index on either, and one instead of two.
 * work	Jobs that are neither completed nor as they were enqueued. A job without a row here is completed
 *	if it has a live sample, otherwise available. `due` is the end of the lease of a running job and
 *	the not_before of a retryable one; `changed`: its file changed since it was encoded;
 *	`spooled`: a record of `content` is in the spool, with which a changed file is compared; where there is
 *	none, with the live sample.
 * todo	Jobs that a claim may take: available and not suspected, in order of rank. Jobs that are as they were
 *	enqueued and whose id is above TALLY_TODO are not in it yet: see todo_fill().
 * sample  In the order of the shards: a shard's lie together, from its `first` on, by offset. sample_live
 *	begins with the rank, so that those that are completed together lie together. A dead one is in no
 *	index.
 * content Finds live samples by content: the first 8 bytes of it only narrow the search. In no order that samples
 *	are made in, so each of a batch would write a page of its own: those whose id is above TALLY_CONTENT
 *	are not in it yet, see content_fill().
 * dropped What jobs that are skipped as duplicates have: the content of another one.
 * recaption Jobs of which something is stored whose caption may be an earlier one.
 * retired Shards that were swapped for others, until their files are unlinked.
 * tally   Counters by dataset and enum tally_kind.
 * spent   What accounts spent on requests, by minute, of the last two days.
 * history How fast images were encoded, and how many waited: a ring of rows for each series.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"
#include "base/text.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

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

static const char version_2[] =
    "CREATE TABLE work ("
    " job INTEGER PRIMARY KEY,"
    " dataset INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL,"
    " fence INTEGER NOT NULL,"
    " owner INTEGER,"
    " due INTEGER,"
    " updated_at INTEGER NOT NULL,"
    " changed INTEGER NOT NULL,"
    " spooled INTEGER NOT NULL,"
    " content BLOB,"
    " reason TEXT,"
    " message TEXT) STRICT;"
    "INSERT INTO work SELECT id, dataset, state, attempts, crashes, fence, owner, due, updated_at,"
    " 0, state = 3, content, reason, message"
    " FROM job WHERE state NOT IN (1, 4) OR fence > 0 AND state = 1 ORDER BY id;"
    "CREATE INDEX work_state ON work (state, dataset);"
    "CREATE INDEX work_due ON work (dataset, due) WHERE state = 5;"
    "CREATE INDEX work_suspect ON work (dataset) WHERE crashes >= 3;"
    "CREATE INDEX work_content ON work (content) WHERE state = 3;"

    "CREATE TABLE todo ("
    " dataset INTEGER NOT NULL,"
    " rank INTEGER NOT NULL,"
    " job INTEGER NOT NULL,"
    " root INTEGER NOT NULL,"
    " PRIMARY KEY (dataset, rank, job)) STRICT, WITHOUT ROWID;"
    "INSERT INTO todo SELECT dataset, rank, id, root FROM job INDEXED BY job_claim"
    " WHERE state = 1 AND crashes < 3 ORDER BY dataset, rank, id;"

    "INSERT INTO tally SELECT 0, 13, ifnull(max(fence), 0) FROM job;"
    "INSERT INTO tally SELECT 0, 14, ifnull(max(id), 0) FROM job;"

    "CREATE TABLE job_2 ("
    " id INTEGER PRIMARY KEY,"
    " dataset INTEGER NOT NULL,"
    " rank INTEGER NOT NULL,"
    " root INTEGER NOT NULL,"
    " size INTEGER NOT NULL,"
    " mtime_ns INTEGER NOT NULL,"
    " inode INTEGER NOT NULL,"
    " key TEXT,"
    " path BLOB NOT NULL) STRICT;"
    "INSERT INTO job_2 SELECT id, dataset, rank, root, size, mtime_ns, inode, key, path FROM job"
    " ORDER BY id;"
    "DROP TABLE job;"
    "ALTER TABLE job_2 RENAME TO job;"

    "CREATE TABLE sample_2 ("
    " id INTEGER PRIMARY KEY,"
    " shard INTEGER NOT NULL,"
    " offset INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " job INTEGER NOT NULL,"
    " rank INTEGER NOT NULL,"
    " variant INTEGER NOT NULL,"
    " dead INTEGER NOT NULL,"
    " content BLOB NOT NULL,"
    " latent BLOB NOT NULL) STRICT;"
    "INSERT INTO sample_2 (shard, offset, bytes, job, rank, variant, dead, content, latent)"
    " SELECT shard, offset, bytes, job, rank, variant, 0, content, latent"
    " FROM sample CROSS JOIN job ON job.id = sample.job ORDER BY shard, offset;"
    "DROP TABLE sample;"
    "ALTER TABLE sample_2 RENAME TO sample;"

    "ALTER TABLE shard ADD COLUMN visible_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE shard ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE shard ADD COLUMN first INTEGER NOT NULL DEFAULT 0;"
    "UPDATE shard SET visible_at = sealed_at, first = place.first FROM"
    " (SELECT id, 1 + sum(samples) OVER (ORDER BY id) - samples AS first FROM shard) AS place"
    " WHERE place.id = shard.id;"

    /* Last: they are made by sorting, which a table that is filled row by row cannot. */
    "CREATE UNIQUE INDEX sample_live ON sample (rank, job, variant) WHERE dead = 0;"
    "CREATE INDEX sample_content ON sample (content) WHERE dead = 0;"

    "CREATE TABLE retired ("
    " id INTEGER PRIMARY KEY,"
    " dataset INTEGER NOT NULL,"
    " path TEXT NOT NULL,"
    " retired_at INTEGER NOT NULL,"
    " UNIQUE (dataset, path)) STRICT;";

static const char version_3[] =
    "CREATE TABLE content ("
    " print BLOB NOT NULL,"
    " sample INTEGER NOT NULL,"
    " PRIMARY KEY (print, sample)) STRICT, WITHOUT ROWID;"
    "INSERT INTO content SELECT substr(content, 1, 8), id FROM sample WHERE dead = 0"
    " ORDER BY 1, 2;"
    "INSERT INTO tally SELECT 0, 15, ifnull(max(id), 0) FROM sample;"
    "DROP INDEX sample_content;";

static const char version_4[] = "ALTER TABLE job ADD COLUMN caption INTEGER;"
				"CREATE TABLE recaption ("
				" dataset INTEGER NOT NULL,"
				" job INTEGER NOT NULL,"
				" PRIMARY KEY (dataset, job)) STRICT, WITHOUT ROWID;"
				"CREATE TABLE dropped ("
				" job INTEGER PRIMARY KEY,"
				" content BLOB NOT NULL) STRICT;"
				"CREATE INDEX dropped_content ON dropped (content);";

static const char version_5[] = "CREATE TABLE spent ("
				" account TEXT NOT NULL,"
				" minute INTEGER NOT NULL,"
				" requests INTEGER NOT NULL,"
				" bytes INTEGER NOT NULL,"
				" PRIMARY KEY (account, minute)) STRICT, WITHOUT ROWID;";

static const char version_6[] = "CREATE TABLE history ("
				" series INTEGER NOT NULL,"
				" place INTEGER NOT NULL,"
				" at INTEGER NOT NULL,"
				" ms INTEGER NOT NULL,"
				" images INTEGER NOT NULL,"
				" todo INTEGER NOT NULL,"
				" PRIMARY KEY (series, place)) STRICT, WITHOUT ROWID;";

/* migrations[v] leads from version v to v + 1. */
static const char *const migrations[] = {version_1, version_2, version_3,
					 version_4, version_5, version_6};

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
