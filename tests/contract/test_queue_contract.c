#include "tests/contract/contract_queue.h"

#include "queue/queue_open.h"

#include <stdio.h>

static int open_memory(const char *path, struct queue **out, struct error *err)
{
	(void)path;
	return queue_memory_open(out, err);
}

int main(void)
{
	static const struct queue_backend backends[] = {
	    {"memory", open_memory, false},
	    {"sqlite", queue_sqlite_open, false},
	    {"sqlite, reopened after every operation", queue_sqlite_open, true},
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		printf("-- %s\n", backends[i].name);
		failed += contract_queue_enqueue(&backends[i]);
		failed += contract_queue_claims(&backends[i]);
		failed += contract_queue_catalog(&backends[i]);
		failed += contract_queue_changes(&backends[i]);
		failed += contract_queue_scans(&backends[i]);
		failed += contract_queue_swap(&backends[i]);
		failed += contract_queue_captions(&backends[i]);
		failed += contract_queue_lists(&backends[i]);
		failed += contract_queue_spent(&backends[i]);
		failed += contract_queue_history(&backends[i]);
	}
	return failed != 0;
}
