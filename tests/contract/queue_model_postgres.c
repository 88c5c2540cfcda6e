#include "tests/contract/postgres_server.h"
#include "tests/contract/queue_model.h"

void model_open(struct world *w)
{
	assert_ok(postgres_open_fresh(w->path, &w->q[PEER], &w->err[PEER]), &w->err[PEER]);
}
