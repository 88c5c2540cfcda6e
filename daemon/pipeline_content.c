/*
 * What is made of an image once its hash is known: kept, copied from a stored record, dropped, parked behind one of the
 * same content, or decoded.
 */
#include "daemon/pipeline_parts.h"

#include "base/checked.h"

#include <string.h>

/* What is kept open may be memory: a member of an archive, a fetched file. */
enum { PARKED_MAX = 4096, KEPT_FILES_MAX = 256 };

bool pipeline_parking_is_full(const struct pipeline *p)
{
	return duplicates_parked(p->duplicates) >= PARKED_MAX || p->kept_files >= KEPT_FILES_MAX;
}

/* @w, which is without a worker, becomes a copy of what was found, or is dropped. Consumes *@stored. */
static struct finished finish_copy(struct work *w, struct packer_stored *stored)
{
	struct finished f = {.stored = *stored};

	work_hand_over(w, &f);
	return f;
}

/*
 * Ends all of @works with what was found of their content. A changed file is not dropped: the latent that it had
 * would stay in its place.
 */
static void use_stored(struct pipeline *p, struct work_list *works,
		       const struct content_found *found)
{
	struct finished *copies = xcalloc(works->n, sizeof(*copies));
	bool drop = p->options.drop_duplicates && found->dataset == p->options.dataset;
	struct packer_stored stored;
	size_t n = 0;
	struct work *w;

	while ((w = work_list_pop(works))) {
		if (drop && found->job != w->job.id && !w->job.has_content) {
			work_dropped(w, found->key);
		} else if (!packer_locate(p->options.packer, found, &stored)) {
			work_released(w);
		} else {
			copies[n++] = finish_copy(w, &stored);
			work_free(w);
		}
	}
	if (n > 0)
		packer_append(p->options.packer, copies, n);
	else
		free(copies);
}

/* Whether it can be copied or dropped; no: it is decoded. */
static bool is_usable(const struct pipeline *p, const struct work *w,
		      const struct content_found *found)
{
	struct packer_stored stored = {.where = CONTENT_NONE};
	bool usable = !duplicates_distrusted(p->duplicates, &w->content) &&
		      packer_locate(p->options.packer, found, &stored);

	free(stored.shard);
	return usable;
}

static void ask(struct work *w)
{
	w->asking = true;
	work_list_push(&w->pipeline->to_ask, w);
}

static void answered(struct work *w, const struct content_found *found)
{
	struct pipeline *p = w->pipeline;
	struct work_list same = WORK_LIST_INIT, parked;

	w->asking = false;
	if (is_usable(p, w, found)) {
		if (w->ticket)
			work_skip_decode(w);
		parked = w->leads ? work_stop_leading(w) : same;
		work_list_push(&same, w);
		work_list_append(&same, &parked);
		use_stored(p, &same, found);
	} else if (found->where == CONTENT_SPOOLED && found->dataset == p->options.dataset &&
		   !w->asked_again) {
		w->asked_again = true; /* it came into a shard meanwhile */
		ask(w);
	} else if (w->failure) {
		work_failed(w, w->failure);
	} else if (w->returned) {
		work_again(w);
	} else {
		pipeline_decode(w);
	}
}

/* The works that one command to the database thread is about. */
struct question {
	struct pipeline *pipeline;
	size_t n;
	struct work **works;
	struct hash128 *contents;
};

static void on_found(void *arg, struct content_found *found, size_t n, const struct error *err)
{
	struct question *q = arg;

	if (err->code != ERR_NONE)
		pipeline_fail(q->pipeline, err);
	for (size_t i = 0; i < n; i++)
		answered(q->works[i], &found[i]);
	free(q->works);
	free(q->contents);
	free(q);
}

void pipeline_ask(struct pipeline *p)
{
	struct question *q;
	struct work *w;

	if (p->to_ask.n == 0)
		return;
	q = xcalloc(1, sizeof(*q));
	q->pipeline = p;
	q->works = xcalloc(p->to_ask.n, sizeof(*q->works));
	q->contents = xcalloc(p->to_ask.n, sizeof(*q->contents));
	while ((w = work_list_pop(&p->to_ask))) {
		q->works[q->n] = w;
		q->contents[q->n++] = w->content;
	}
	db_find(p->options.db, p->options.dataset, q->contents, q->n, p->variants > 1, on_found, q);
}

void pipeline_look_up(struct work *w)
{
	struct pipeline *p = w->pipeline;

	if (w->job.has_content && hash128_equal(&w->job.content, &w->content)) {
		if (w->ticket)
			work_skip_decode(w);
		work_kept(w);
	} else if (duplicates_enter(p->duplicates, w)) {
		ask(w);
	} else if (w->ticket) {
		work_skip_decode(w);
	}
}

void pipeline_on_encoded(struct pipeline *p, const struct packed *what)
{
	struct work_list parked = duplicates_leave(p->duplicates, &what->content, what->job);
	struct content_found found = {
	    .where = CONTENT_SPOOLED, .job = what->job, .dataset = p->options.dataset};

	p->counts.copied += what->copied;
	p->counts.again += what->again;
	if (parked.n == 0)
		return;
	found.key = parked.first->first_key;
	found.key = xstrdup(found.key);
	use_stored(p, &parked, &found);
	free(found.key);
}

void pipeline_on_rejected(struct pipeline *p, const struct packed *what, const char *path,
			  const struct error *why)
{
	struct work_list parked = duplicates_leave(p->duplicates, &what->content, what->job);
	struct job_outcome o = {.job = what->job,
				.fence = what->fence,
				.kind = OUTCOME_QUARANTINE,
				.has_content = true,
				.content = what->content,
				.reason = why->reason,
				.message = why->message};

	pipeline_ready_again(p, &parked);
	if (what->copied && strncmp(why->reason, "mask", 4) !=
				0) { /* it is the stored record that is bad, whatever that is */
		duplicates_distrust(p->duplicates, &what->content);
		o = (struct job_outcome){
		    .job = what->job, .fence = what->fence, .kind = OUTCOME_RELEASE};
		pipeline_claim_later(p);
	} else {
		p->options.on_outcome(p->options.arg, path, o.kind, o.reason, o.message);
	}
	outcome_log_add(p->outcomes, &o);
}
