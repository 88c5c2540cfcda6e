/*
 * The contract of the queue against a real PostgreSQL: tests/tools/with_postgres.sh test_queue_postgres
 */
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

#include <stdio.h>

int main(void)
{
	static const struct queue_backend kept = {"postgres", postgres_open_fresh, false};
	static const struct queue_backend anew = {"postgres, connected anew after every operation",
						  postgres_open_fresh, true};
	int failed = 0;

	postgres_empty();
	printf("-- %s\n", kept.name);
	failed += contract_queue_enqueue(&kept);
	failed += contract_queue_claims(&kept);
	failed += contract_queue_catalog(&kept);
	failed += contract_queue_changes(&kept);
	failed += contract_queue_scans(&kept);
	failed += contract_queue_swap(&kept);
	failed += contract_queue_captions(&kept);
	failed += contract_queue_lists(&kept);
	failed += contract_queue_spent(&kept);
	failed += contract_queue_history(&kept);
	printf("-- %s\n", anew.name);
	failed += contract_queue_claims(&anew);
	return failed != 0;
}
