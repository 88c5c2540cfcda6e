/*
 * Opening and closing. The rules that keep the file whole (reliability-ops.md 1.5):
 *
 * - One connection writes and checkpoints; readers never checkpoint. SQLite 3.7.0 to 3.51.2, which every
 *   stable distribution has, can corrupt a WAL database when one connection checkpoints beside another that
 *   commits ("WAL-reset bug"); with a single connection that does both it cannot happen.
 * - The -wal and -shm files stay when the writer closes, so that a reader never has to create them.
 * - Nothing but SQLite opens the file: closing any descriptor of it would drop SQLite's locks.
 * - Memory mapping is off: with it a disk error is a SIGBUS.
 */
#include "queue/queue_sqlite.h"

#include "queue/open_scan.h"
#include "queue/queue_open.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/file_system.h"
#include "base/files.h"
#include "base/text.h"

#include <sqlite3.h>
#include <string.h>
#include <sys/vfs.h>

/* 8 MiB of pages: with 64 MiB nothing is faster (docs/benchmarks.md), as the kernel keeps the file's pages too. */
static const char settings_of_all[] = "PRAGMA cache_size = -8192;"
				      "PRAGMA temp_store = MEMORY;"
				      "PRAGMA mmap_size = 0;"
				      "PRAGMA trusted_schema = OFF;";
/*
 * A commit is on the disk when it returns; checkpoints at 16 MB, so that a page is copied once for many jobs; a
 * WAL that grew is cut back.
 */
static const char settings_of_writer[] = "PRAGMA synchronous = FULL;"
					 "PRAGMA wal_autocheckpoint = 4000;"
					 "PRAGMA journal_size_limit = 67108864;";
static const char settings_of_reader[] = "PRAGMA wal_autocheckpoint = 0;";

/* -- where the file lies -------------------------------------------------------------------------- */

static int check_file_system(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir =
	    slash ? xasprintf("%.*s", (int)(slash - path) + 1, path) : xstrdup(".");
	char quoted[TEXT_QUOTE_SIZE];
	struct statfs st;
	const char *network;

	text_quote(path, quoted);
	if (statfs(dir, &st) < 0)
		return error_sys(err, "folder of queue %s", quoted);
	network = network_file_system((uint32_t)st.f_type);
	if (!network)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "queue %s is on a network file system (%s), where SQLite loses data:"
			 " put the state folder on a local disk (the output may stay where it is)",
			 quoted, network);
}

/*
 * A read-only connection creates a missing -wal. Where there is none, no writer lives either (it keeps
 * them), and SQLite may take the file for immutable, which touches nothing but the file.
 */
static char *reader_uri(const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	cleanup_free char *wal = xasprintf("%s-wal", path);
	cleanup_buffer struct buffer uri = BUFFER_INIT;

	buffer_append_string(&uri, "file:");
	for (const char *p = path; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '%' || c == '?' || c == '#' || c < ' ') {
			char escape[4] = {'%', hex[c >> 4], hex[c & 15], '\0'};

			buffer_append_string(&uri, escape);
		} else {
			buffer_append(&uri, p, 1);
		}
	}
	if (!file_exists(wal))
		buffer_append_string(&uri, "?immutable=1");
	return (char *)TAKE(uri.data);
}

/* -- opening -------------------------------------------------------------------------------------- */

static void sqlite_close(struct queue *base)
{
	struct sqlite_queue *q = sqlite_queue(base);

	for (size_t i = 0; i < STMT_SLOTS; i++)
		sqlite3_finalize(q->stmts[i]);
	sqlite3_close(q->db);
	open_scans_free(&q->scans);
	recent_contents_free(q->recent);
	free(q->tallies);
	free(q->path);
	free(q);
}

static const struct queue_ops sqlite_ops = {
    .name = "sqlite",
    .open_dataset = queue_sqlite_open_dataset,
    .datasets = queue_sqlite_datasets,
    .enqueue = queue_sqlite_enqueue,
    .scan_begin = queue_sqlite_scan_begin,
    .scan_end = queue_sqlite_scan_end,
    .claim = queue_sqlite_claim,
    .extend = queue_sqlite_extend,
    .settle = queue_sqlite_settle,
    .rescue = queue_sqlite_rescue,
    .requeue_lost = queue_sqlite_requeue_lost,
    .retry = queue_sqlite_retry,
    .cancel = queue_sqlite_cancel,
    .find_content = queue_sqlite_find_content,
    .find_variants = queue_sqlite_find_variants,
    .swap = queue_sqlite_swap,
    .drop_shard = queue_sqlite_drop_shard,
    .drop_samples = queue_sqlite_drop_samples,
    .retired = queue_sqlite_retired,
    .forget_retired = queue_sqlite_forget_retired,
    .recaptions = queue_sqlite_recaptions,
    .recaption = queue_sqlite_recaption,
    .recaptioned = queue_sqlite_recaptioned,
    .counts = queue_sqlite_counts,
    .jobs = queue_sqlite_jobs,
    .reasons = queue_sqlite_reasons,
    .duplicates = queue_sqlite_duplicates,
    .shards = queue_sqlite_shards,
    .samples = queue_sqlite_samples,
    .spend = queue_sqlite_spend,
    .spent = queue_sqlite_spent,
    .keep_history = queue_sqlite_keep_history,
    .history = queue_sqlite_history,
    .close = sqlite_close,
};

static int open_database(struct sqlite_queue *q, struct error *err)
{
	cleanup_free char *uri = q->readonly ? reader_uri(q->path) : NULL;
	int flags = SQLITE_OPEN_NOMUTEX;

	flags |= q->readonly ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
			     : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	if (!page_sums_vfs())
		return error_set(err, ERR_NOMEM, "SQLite cannot be set up");
	if (sqlite3_open_v2(uri ? uri : q->path, &q->db, flags, page_sums_vfs()) != SQLITE_OK)
		return db_fail(q, err);
	sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, q->readonly ? 1 : 0, NULL);
	if (!q->readonly) {
		int keep = 1;

		sqlite3_file_control(q->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
		page_sums_ask(q->db);
	}
	if (db_exec(q, settings_of_all, err) < 0 ||
	    db_exec(q, q->readonly ? settings_of_reader : settings_of_writer, err) < 0)
		return -1;
	return schema_open(q, err);
}

static int open_queue(const char *path, bool readonly, struct queue **out, struct error *err)
{
	struct sqlite_queue *q = xcalloc(1, sizeof(*q));

	q->base.ops = &sqlite_ops;
	q->path = xstrdup(path);
	q->readonly = readonly;
	q->content_backlog = CONTENT_BACKLOG;
	q->log_most = WAL_MOST;
	if (open_database(q, err) < 0) {
		sqlite_close(&q->base);
		return -1;
	}
	*out = &q->base;
	return 0;
}

int queue_sqlite_open(const char *path, struct queue **out, struct error *err)
{
	if (check_file_system(path, err) < 0)
		return -1;
	return open_queue(path, false, out, err);
}

int queue_sqlite_open_readonly(const char *path, struct queue **out, struct error *err)
{
	return open_queue(path, true, out, err);
}

const char *queue_sqlite_version(void)
{
	return sqlite3_libversion();
}
