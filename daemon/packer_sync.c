/* What was appended is made durable, at most each second, and its jobs are marked; what they make void leaves the spool. */
#include "daemon/packer_parts.h"

#include "base/checked.h"

/* -- records that a newer one of their job makes void -------------------------------------------------- */

struct forget_task {
	struct task base;
	struct packer *packer;
	struct spool_place place;
	struct error err;
};

static void forget_run(struct task *task)
{
	struct forget_task *t = (struct forget_task *)task;

	spool_drop(t->packer->options.spool, &t->place, &t->err);
}

static void forget_done(struct task *task)
{
	struct forget_task *t = (struct forget_task *)task;
	struct packer *p = t->packer;

	p->under_way--;
	if (t->err.code != ERR_NONE)
		packer_fail(p, &t->err);
	free(t);
	packer_pump(p);
}

/* Its file changed while the record waited for a shard. What is being sealed is left to the catalog. */
static void forget_older(struct packer *p, int64_t job)
{
	const struct spool_place *older = id_table_get(&p->places, (uint64_t)job);
	struct forget_task *t;

	if (!older || !spool_index_remove(&p->index, job, older))
		return;
	t = xcalloc(1, sizeof(*t));
	t->base.run = forget_run;
	t->base.done = forget_done;
	t->packer = p;
	t->place = *older;
	packer_post(p, &t->base);
}

/* -- sync, then mark the jobs encoded --------------------------------------------------------------- */

struct sync_task {
	struct task base;
	struct packer *packer;
	struct unsynced *items;
	size_t n;
	uint64_t append_tasks; /* whose records are durable with it */
	struct error err;
};

static void sync_run(struct task *task)
{
	struct sync_task *t = (struct sync_task *)task;

	atomic_fetch_add(&t->packer->steps, 1);
	stage_meter_enter(t->packer->options.stages, STAGE_WRITE);
	spool_sync(t->packer->options.spool, &t->err);
	stage_meter_leave(t->packer->options.stages, STAGE_WRITE);
}

static void sync_end(struct sync_task *t)
{
	struct packer *p = t->packer;

	p->syncing = false;
	/* What came back meanwhile may have been rejected, all of it: no further sync tells of that. */
	p->settled_tasks = p->n_unsynced == 0 ? p->append_tasks : t->append_tasks;
	free(t->items);
	free(t);
	packer_pump(p);
}

static void sync_settled(void *arg, size_t lost, const struct error *err)
{
	struct sync_task *t = arg;
	struct packer *p = t->packer;
	struct error stolen = ERROR_INIT;

	p->under_way--;
	if (err->code != ERR_NONE) {
		packer_fail(p, err);
	} else if (lost > 0) {
		/*
		 * The lock makes this process the only owner, and its leases are renewed. But among nodes one that stood
		 * still was taken for dead: opening again drops what others did meanwhile.
		 */
		error_set(&stolen, p->options.node ? ERR_TRANSIENT : ERR_BUG,
			  "%zu results belong to jobs that another owner has", lost);
		packer_fail(p, &stolen);
	} else {
		for (size_t i = 0; i < t->n; i++) {
			const struct spooled *entry = &t->items[i].entry;

			forget_older(p, entry->job);
			spool_index_add(&p->index, entry);
			packer_note_place(p, entry->job, &entry->place);
			p->options.handlers.on_encoded(p->options.arg, &t->items[i].what);
		}
	}
	p->pending -= t->n;
	sync_end(t);
}

static void sync_done(struct task *task)
{
	struct sync_task *t = (struct sync_task *)task;
	struct packer *p = t->packer;
	struct job_outcome *outcomes;

	p->under_way--;
	if (t->err.code != ERR_NONE) {
		packer_fail(p, &t->err);
		p->pending -= t->n;
		sync_end(t);
		return;
	}
	outcomes = xcalloc(t->n, sizeof(*outcomes));
	for (size_t i = 0; i < t->n; i++)
		outcomes[i] = (struct job_outcome){.job = t->items[i].entry.job,
						   .fence = t->items[i].what.fence,
						   .kind = OUTCOME_ENCODED,
						   .has_content = true,
						   .content = t->items[i].what.content};
	p->under_way++;
	db_settle(p->options.db, outcomes, t->n, sync_settled, t);
}

void packer_sync(struct packer *p)
{
	struct sync_task *t;

	if (p->syncing || p->n_unsynced == 0 || p->failed)
		return;
	t = xcalloc(1, sizeof(*t));
	t->base.run = sync_run;
	t->base.done = sync_done;
	t->packer = p;
	t->items = TAKE(p->unsynced);
	t->n = p->n_unsynced;
	t->append_tasks = p->append_tasks;
	p->n_unsynced = p->unsynced_capacity = 0;
	p->syncing = true;
	packer_post(p, &t->base);
}
