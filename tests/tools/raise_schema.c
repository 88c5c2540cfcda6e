/*
 * A state folder as a newer latentd would leave it: sets the schema version of a database that nobody has open, its pages'
 * checksums kept.
 *
 *	raise_schema QUEUE.DB VERSION
 */
#include "queue/queue_sqlite.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct sqlite3 *db = NULL;
	char sql[64];
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: raise_schema QUEUE.DB VERSION\n");
		return 2;
	}
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", atoi(argv[2]));
	r = sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, page_sums_vfs());
	if (r == SQLITE_OK)
		r = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (r != SQLITE_OK)
		fprintf(stderr, "raise_schema: %s: %s\n", argv[1], sqlite3_errmsg(db));
	sqlite3_close(db);
	return r == SQLITE_OK ? 0 : 1;
}
