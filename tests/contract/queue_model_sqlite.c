#include "queue/queue_open.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/queue_model.h"

/* Some seeds find all samples by table, some by what is in memory, most by both. */
void model_open(struct world *w)
{
	static const int64_t backlogs[] = {0, 5, 20, CONTENT_BACKLOG};

	assert_ok(queue_sqlite_open(w->path, &w->q[PEER], &w->err[PEER]), &w->err[PEER]);
	sqlite_queue(w->q[PEER])->content_backlog = backlogs[w->seed % ARRAY_SIZE(backlogs)];
}
