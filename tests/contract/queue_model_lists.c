#include "tests/contract/queue_model.h"

#include <inttypes.h>

/* -- pages ---------------------------------------------------------------------------------------- */

static int page_job(void *arg, const struct job_row *row)
{
	buffer_appendf(arg, "%s %" PRId64 " %s\n", job_state_name(row->state), row->id, row->key);
	return 0;
}

static int page_reason(void *arg, const struct reason_row *row)
{
	buffer_appendf(arg, "%s %" PRIu64 "\n", row->reason, row->jobs);
	return 0;
}

static int page_duplicate(void *arg, const struct duplicate_row *row)
{
	buffer_appendf(arg, "%" PRId64 " in %" PRId64 "\n", row->job, row->shard);
	return 0;
}

static int page_recaption(void *arg, const struct recaption_row *row)
{
	buffer_appendf(arg, "%" PRId64 " in %" PRId64 "\n", row->job, row->shard);
	return 0;
}

void step_page(struct world *w)
{
	const struct job_filter which = {
	    .dataset = 1 + (int64_t)pick(w, 2),
	    .state = (enum job_state)pick(w, JOB_STATES),
	    .reason = pick(w, 2) ? pick_reason(w) : NULL,
	    .key = pick_key(w),
	    .after = (int64_t)pick(w, 30),
	    .limit = pick(w, 4),
	};
	bool reasons = which.state != JOB_AVAILABLE && which.state != JOB_COMPLETED;
	int64_t shard = 1 + (int64_t)pick(w, 60);
	struct hash128 after = pick_content(w);
	struct buffer pages[2] = {BUFFER_INIT, BUFFER_INIT};

	for (int i = 0; i < 2; i++) {
		struct error *err = &w->err[i];

		buffer_append_string(&pages[i], "page\n");
		assert_ok(queue_jobs(w->q[i], &which, page_job, &pages[i], err), err);
		if (reasons)
			assert_ok(queue_reasons(w->q[i], which.dataset, which.state, page_reason,
						&pages[i], err),
				  err);
		assert_ok(queue_duplicates(w->q[i], which.dataset, &after, which.limit,
					   page_duplicate, &pages[i], err),
			  err);
		assert_ok(
		    queue_recaptions(w->q[i], which.dataset, shard, page_recaption, &pages[i], err),
		    err);
	}
	assert_string_equal((const char *)pages[MODEL].data, (const char *)pages[PEER].data);
	buffer_release(&pages[MODEL]);
	buffer_release(&pages[PEER]);
}

/* -- captions ------------------------------------------------------------------------------------- */

struct recaptions {
	struct world *w;
	struct recaptioned done[8];
	size_t n;
};

static int pick_recaption(void *arg, const struct recaption_row *row)
{
	struct recaptions *all = arg;

	if (pick(all->w, 2))
		all->done[all->n++] = (struct recaptioned){
		    row->job, pick(all->w, 5) ? row->caption : row->caption + 1};
	return all->n == ARRAY_SIZE(all->done);
}

void step_recaptioned(struct world *w)
{
	struct recaptions all = {.w = w};
	int r[2];

	assert_ok(queue_recaptions(w->q[MODEL], 1 + (int64_t)pick(w, 2), 0, pick_recaption, &all,
				   &w->err[MODEL]),
		  &w->err[MODEL]);
	for (int i = 0; i < 2; i++)
		r[i] = queue_recaptioned(w->q[i], all.done, all.n, &w->err[i]);
	same_result(w, r);
}

void step_recaption(struct world *w)
{
	const char *keys[] = {pick_key(w)};
	int64_t dataset = 1 + (int64_t)pick(w, 2);
	int r[2];

	if (!keys[0])
		keys[0] = "nobody";
	for (int i = 0; i < 2; i++)
		r[i] = queue_recaption(w->q[i], dataset, keys, 1, &w->err[i]);
	same_result(w, r);
}
