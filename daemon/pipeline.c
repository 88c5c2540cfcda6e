/*
 * Everything here runs on the loop's thread. An image is a `struct work` from its claim until it is
 * handed to the packer or settled:
 *
 *	ready list -> decode_pool -> hash: (the queue is asked) -> (waits for memory) -> bucket of pending images
 *	    -> encode_driver
 *
 * An image whose content is under way leaves its worker and is parked (duplicates.h).
 *
 * pipeline_pump() is the whole policy: it is called after every turn of the loop, looks at what could move,
 * and moves it. Nothing else decides.
 */
#include "daemon/pipeline.h"

#include "daemon/duplicates.h"
#include "daemon/outcome_log.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
	CLAIM_LIMIT = 64,
	BATCHES_AHEAD = 4,
	LEASE_MS = 10 * 60 * 1000,
	EXTEND_EVERY_MS = LEASE_MS / 3,
	RETRY_POLL_MS = 500,
	/* Reading is part of it, perhaps from a slow network. */
	DECODE_LIMIT_MS = 30 * 1000,
	DECODE_MEGAPIXEL_MS = 100,
	PARKED_MAX = 4096,
};

/* Decoded images of one target size that wait for a batch. */
struct pending {
	size_t width, height;
	struct work_list works;
};

struct pipeline {
	sd_event *event;
	sd_event_source *extend_timer, *retry_timer;
	struct pipeline_options options;
	uint32_t *root_numbers; /* of options.roots: what may be claimed */
	struct decode_pool *pool;
	struct work_list ready;	  /* claimed */
	struct work_list waiting; /* header seen, no memory yet */
	struct pending *pending;
	size_t n_pending, pending_capacity;
	struct work_list to_ask; /* hashed, the queue is not asked yet */
	struct duplicates *duplicates;
	struct pipeline_counts counts;
	struct outcome_log *outcomes;
	size_t memory_used;
	size_t images; /* works between claim and end */
	bool claiming, claims_over, stopping, failed;
	bool asked_suspects; /* by the last claim */
	bool suspects_over;  /* none was there when claims were over */
	bool alone;	     /* a suspect is in flight, and must be the only one */
};

/* -- small things --------------------------------------------------------------------------------- */

static void reserve(struct work *w, size_t bytes)
{
	w->pipeline->memory_used += bytes - w->reserved;
	w->reserved = bytes;
}

static void work_free(struct work *w)
{
	reserve(w, 0);
	w->pipeline->images--;
	work_release(w);
	free(w);
}

static void fail(struct pipeline *p, const struct error *why)
{
	if (p->failed)
		return;
	p->failed = true;
	p->options.on_fatal(p->options.arg, why);
}

/* Jobs went back to the queue, or are due later: asks for some again in a while. */
static void claim_later(struct pipeline *p)
{
	sd_event_source_set_time_relative(p->retry_timer, RETRY_POLL_MS * 1000);
	sd_event_source_set_enabled(p->retry_timer, SD_EVENT_ONESHOT);
}

/* -- how a work ends ------------------------------------------------------------------------------ */

/* Those parked behind @w, which does not lead any more. */
static struct work_list stop_leading(struct work *w)
{
	w->leads = false;
	return duplicates_leave(w->pipeline->duplicates, &w->content, w->job.id);
}

/* They are tried for themselves. */
static void ready_again(struct pipeline *p, struct work_list *parked)
{
	work_list_append(&p->ready, parked);
}

static void settle(struct work *w, enum outcome_kind kind, const char *reason, const char *message)
{
	struct pipeline *p = w->pipeline;
	struct job_outcome o = {.job = w->job.id,
				.fence = w->job.fence,
				.kind = kind,
				.has_content = w->has_content && kind != OUTCOME_RELEASE,
				.content = w->content,
				.not_before = clock_steady_wall_ms() + RETRY_POLL_MS,
				.reason = reason,
				.message = message};

	outcome_log_add(p->outcomes, &o);
	if (kind == OUTCOME_RETRY)
		claim_later(p);
	if (kind != OUTCOME_KEPT && kind != OUTCOME_RELEASE)
		p->options.on_outcome(p->options.arg, w->job.path, kind, reason, message);
}

/* Ends @w with an error about it. */
static void work_failed(struct work *w, const struct error *why)
{
	struct pipeline *p = w->pipeline;
	struct work_list parked = WORK_LIST_INIT;
	const char *reason;
	enum outcome_kind kind = outcome_judge(why, w->job.attempts, &reason);
	struct work *other;

	if (w->leads)
		parked = stop_leading(w);
	settle(w, kind, reason, why->message);
	/* What is wrong with the bytes is wrong with every file of them; a decoder's death may be chance. */
	if (kind == OUTCOME_QUARANTINE && why->code == ERR_DATA &&
	    strcmp(why->reason, "worker_died") != 0 && strcmp(why->reason, "timeout") != 0) {
		while ((other = work_list_pop(&parked))) {
			settle(other, kind, reason, why->message);
			work_free(other);
		}
	}
	ready_again(p, &parked);
	work_free(w);
}

/* Ends @w, of @width x @height oriented pixels, because its dataset leaves such images out. */
static void work_skipped(struct work *w, size_t width, size_t height)
{
	struct work_list same = WORK_LIST_INIT;
	char message[160];
	struct work *each;

	bucket_skip_message(w->pipeline->options.buckets, width, height, &w->placement, message,
			    sizeof(message));
	if (w->leads)
		same = stop_leading(w);
	settle(w, OUTCOME_SKIP, w->placement.skip, message);
	while ((each = work_list_pop(&same))) {
		settle(each, OUTCOME_SKIP, w->placement.skip, message);
		work_free(each);
	}
	work_free(w);
}

/* Gives @w back to the queue, uncharged. */
static void work_released(struct work *w)
{
	struct work_list parked = WORK_LIST_INIT;

	if (w->leads)
		parked = stop_leading(w);
	ready_again(w->pipeline, &parked);
	settle(w, OUTCOME_RELEASE, NULL, NULL);
	claim_later(w->pipeline);
	work_free(w);
}

/* The file is another, its content is what its record or sample has. */
static void work_kept(struct work *w)
{
	w->pipeline->counts.kept++;
	settle(w, OUTCOME_KEPT, NULL, NULL);
	work_free(w);
}

static void work_dropped(struct work *w, const char *first_key)
{
	char message[160];

	snprintf(message, sizeof(message), "the same image as %s", first_key);
	settle(w, OUTCOME_SKIP, "duplicate", message);
	work_free(w);
}

/* -- claims --------------------------------------------------------------------------------------- */

static int on_retry_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct pipeline *p = arg;

	(void)usec;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	p->claims_over = p->suspects_over = false;
	return 0;
}

static void on_claimed(void *arg, struct job *jobs, size_t n, uint64_t later,
		       const struct error *err)
{
	struct pipeline *p = arg;

	p->claiming = false;
	for (size_t i = 0; i < n; i++) {
		struct work *w = xcalloc(1, sizeof(*w));

		w->pipeline = p;
		w->job = jobs[i];
		p->images++;
		work_list_push(&p->ready, w);
	}
	if (err->code != ERR_NONE)
		fail(p, err);
	if (n > 0) {
		p->alone = p->asked_suspects;
		return;
	}
	if (p->asked_suspects)
		p->suspects_over = true;
	else
		p->claims_over = true;
	/* What is not settled yet may be claimable then. */
	if (later > 0 || !outcome_log_idle(p->outcomes))
		claim_later(p);
}

static void claim(struct pipeline *p, bool suspects)
{
	struct queue_claim what = {.dataset = p->options.dataset,
				   .limit = suspects ? 1 : CLAIM_LIMIT,
				   .roots = p->root_numbers,
				   .n_roots = p->options.n_roots,
				   .suspects = suspects};

	p->claiming = true;
	p->asked_suspects = suspects;
	db_claim(p->options.db, &what, LEASE_MS, on_claimed, p);
}

/* No job is running: if this process died now, none would be blamed. */
static bool all_is_quiet(struct pipeline *p)
{
	if (p->images > 0)
		return false;
	packer_sync(p->options.packer);
	return packer_pending(p->options.packer) == 0 && outcome_log_idle(p->outcomes);
}

static void claim_more(struct pipeline *p)
{
	if (p->claiming || p->stopping || p->failed)
		return;
	if (p->alone && !all_is_quiet(p))
		return;
	p->alone = false;
	if (!p->claims_over) {
		if (p->ready.n <= CLAIM_LIMIT / 2)
			claim(p, false);
	} else if (!p->suspects_over && all_is_quiet(p)) {
		claim(p, true);
	}
}

/* -- decoding ------------------------------------------------------------------------------------- */

static struct source *source_of(const struct pipeline *p, const struct job *job)
{
	for (size_t i = 0;; i++) {
		assert(i < p->options.n_roots); /* only jobs of these roots are claimed */
		if (p->options.roots[i].root == job->root)
			return p->options.roots[i].source;
	}
}

static int read_caption(struct work *w, struct source *source, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r;

	if (!w->pipeline->options.captions || w->caption)
		return 0;
	r = source_caption(source, w->job.path, &text, err);
	if (r < 0)
		return error_wrap(err, "its caption");
	if (r == 0)
		w->caption = xstrdup(text.data ? (const char *)text.data : "");
	return 0;
}

static void start_one(struct pipeline *p, struct work *w)
{
	struct source *source = source_of(p, &w->job);
	struct error err = ERROR_INIT;
	cleanup_close int fd = -1;

	w->has_content = false;
	if (read_caption(w, source, &err) == 0)
		fd = source_open_sample(source, w->job.path, &err);
	if (fd < 0)
		work_failed(w, &err);
	else
		decode_pool_start(p->pool, fd, w);
}

/* Whole batches that the encoder has no room for yet. */
static size_t batches_ahead(const struct pipeline *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_pending; i++)
		n += p->pending[i].works.n / p->options.caps->best_batch;
	return n;
}

static bool parking_is_full(const struct pipeline *p)
{
	return duplicates_parked(p->duplicates) >= PARKED_MAX;
}

static void start_decodes(struct pipeline *p)
{
	while (!p->stopping && !p->failed && p->waiting.n == 0 && p->ready.n > 0 &&
	       !parking_is_full(p) && !packer_is_behind(p->options.packer) &&
	       batches_ahead(p) < BATCHES_AHEAD && decode_pool_idle(p->pool) > 0)
		start_one(p, work_list_pop(&p->ready));
}

/* -- what is stored already ----------------------------------------------------------------------- */

/* @w, which is without a worker, becomes a copy of what was found, or is dropped. Consumes *@stored. */
static struct finished finish_copy(struct work *w, struct packer_stored *stored)
{
	struct finished f = {.job = w->job.id, .fence = w->job.fence, .rank = w->job.rank};

	f.key = TAKE(w->job.key);
	f.path = TAKE(w->job.path);
	f.caption = TAKE(w->caption);
	f.again = w->job.has_content;
	f.facts.content = w->content;
	f.facts.captions = w->pipeline->options.captions;
	f.stored = *stored;
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

static void on_failed(void *image, const struct error *why);

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
	if (w->failure) {
		on_failed(w, w->failure);
	} else if (is_usable(p, w, found)) {
		decode_pool_skip(TAKE(w->ticket));
		parked = w->leads ? stop_leading(w) : same;
		work_list_push(&same, w);
		work_list_append(&same, &parked);
		use_stored(p, &same, found);
	} else if (found->where == CONTENT_SPOOLED && found->dataset == p->options.dataset &&
		   !w->asked_again) {
		w->asked_again = true; /* it came into a shard meanwhile */
		ask(w);
	} else {
		decode_pool_decode(TAKE(w->ticket));
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
		fail(q->pipeline, err);
	for (size_t i = 0; i < n; i++)
		answered(q->works[i], &found[i]);
	free(q->works);
	free(q->contents);
	free(q);
}

static void ask_queue(struct pipeline *p)
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
	db_find(p->options.db, p->options.recipe->id, q->contents, q->n, on_found, q);
}

static void on_hashed(void *image, const struct hash128 *content, uint64_t bytes,
		      struct decode_ticket *ticket)
{
	struct work *w = image;
	struct pipeline *p = w->pipeline;

	w->content = *content;
	w->has_content = true;
	w->file_bytes = bytes;
	if (w->job.has_content && hash128_equal(&w->job.content, content)) {
		decode_pool_skip(ticket);
		work_kept(w);
	} else if (!duplicates_enter(p->duplicates, w)) {
		decode_pool_skip(ticket);
	} else {
		w->ticket = ticket;
		ask(w);
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

/* -- decoding, again ------------------------------------------------------------------------------ */

static void on_header(void *image, const struct image_header *header, struct decode_ticket *ticket)
{
	struct work *w = image;
	struct pipeline *p = w->pipeline;
	size_t width = header->width, height = header->height;

	w->header = *header;
	if (p->options.recipe->policy.apply_exif)
		image_oriented_size(header, &width, &height);
	bucket_place(p->options.buckets, width, height, &w->placement);
	if (w->placement.skip) {
		decode_pool_skip(ticket);
		work_skipped(w, width, height);
		return;
	}
	w->ticket = ticket;
	work_list_push(&p->waiting, w);
}

static size_t pixel_bytes(const struct work *w)
{
	return w->placement.target_width * w->placement.target_height * 3;
}

static void on_done(void *image, const uint8_t *pixels)
{
	struct work *w = image;
	struct pipeline *p = w->pipeline;
	struct pending *bucket = NULL;

	w->pixels = xmalloc(pixel_bytes(w));
	memcpy(w->pixels, pixels, pixel_bytes(w));
	reserve(w, pixel_bytes(w));
	for (size_t i = 0; i < p->n_pending && !bucket; i++) {
		if (p->pending[i].width == w->placement.target_width &&
		    p->pending[i].height == w->placement.target_height)
			bucket = &p->pending[i];
	}
	if (!bucket) {
		ARRAY_GROW(p->pending, p->n_pending, p->pending_capacity);
		bucket = &p->pending[p->n_pending++];
		*bucket = (struct pending){.width = w->placement.target_width,
					   .height = w->placement.target_height};
	}
	work_list_push(&bucket->works, w);
}

static void on_failed(void *image, const struct error *why)
{
	struct work *w = image;

	if (w->asking) {
		w->failure = xmalloc(sizeof(*why));
		*w->failure = *why;
		w->ticket = NULL;
		return;
	}
	if (w->ticket)
		work_list_remove(&w->pipeline->waiting, w);
	if (why->code == ERR_TRANSIENT && (w->pipeline->stopping || w->pipeline->failed))
		work_released(w);
	else
		work_failed(w, why);
}

static struct render_geometry geometry_of(const struct pipeline *p, const struct work *w)
{
	const struct bucket_placement *at = &w->placement;

	return (struct render_geometry){at->resized_width,
					at->resized_height,
					at->crop_left,
					at->crop_top,
					at->target_width,
					at->target_height,
					p->options.recipe->filter};
}

/* Memory that decoding takes, the file and the result included. */
static size_t decode_need(const struct pipeline *p, const struct work *w)
{
	struct render_geometry geometry = geometry_of(p, w);
	size_t need = image_render_bytes(&w->header, &p->options.recipe->policy, &geometry);

	if (!size_add(need, w->file_bytes, &need) || !size_add(need, pixel_bytes(w), &need))
		return SIZE_MAX;
	return need;
}

/* Lets decodes begin whose memory is there; one that needs more than all of it runs alone. */
static void place_waiting(struct pipeline *p)
{
	while (p->waiting.first) {
		struct work *w = p->waiting.first;
		size_t need = decode_need(p, w), total;
		struct render_geometry geometry;

		if (p->memory_used > 0 &&
		    (!size_add(p->memory_used, need, &total) || total > p->options.memory))
			return;
		work_list_pop(&p->waiting);
		reserve(w, need);
		geometry = geometry_of(p, w);
		decode_pool_place(TAKE(w->ticket), &geometry);
	}
}

/* -- encoding ------------------------------------------------------------------------------------- */

static void submit(struct pipeline *p, struct pending *bucket)
{
	size_t n = bucket->works.n < p->options.caps->best_batch ? bucket->works.n
								 : p->options.caps->best_batch;
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = bucket->width;
	batch->height = bucket->height;
	batch->posterior = p->options.recipe->posterior;
	batch->seed = p->options.recipe->seed;
	for (size_t i = 0; i < n; i++) {
		struct work *w = work_list_pop(&bucket->works);

		batch->items[i].owner = w;
		batch->items[i].pixels = w->pixels;
		batch->items[i].content = w->content;
	}
	encode_driver_submit(p->options.driver, batch);
}

static struct pending *fullest(struct pipeline *p)
{
	struct pending *best = NULL;

	for (size_t i = 0; i < p->n_pending; i++) {
		if (p->pending[i].works.n > 0 && (!best || p->pending[i].works.n > best->works.n))
			best = &p->pending[i];
	}
	return best;
}

/* No image can join a batch before one is encoded: nothing is being decoded, and nothing could start. */
static bool nothing_more_comes(const struct pipeline *p)
{
	size_t decoding = decode_pool_busy(p->pool) - p->waiting.n;

	if (decoding > 0)
		return false;
	return p->waiting.n > 0 || parking_is_full(p) ||
	       (p->ready.n == 0 && !p->claiming && (p->claims_over || p->alone));
}

static void submit_batches(struct pipeline *p)
{
	while (!p->failed && !packer_is_behind(p->options.packer) &&
	       encode_driver_room(p->options.driver) > 0) {
		struct pending *bucket = fullest(p);

		if (!bucket)
			return;
		if (bucket->works.n < p->options.caps->best_batch && !nothing_more_comes(p))
			return;
		submit(p, bucket);
	}
}

static struct finished finish(struct work *w, struct encode_item *item, const char *engine)
{
	struct finished f = {.job = w->job.id, .fence = w->job.fence, .rank = w->job.rank};

	f.key = TAKE(w->job.key);
	f.path = TAKE(w->job.path);
	f.caption = TAKE(w->caption);
	f.again = w->job.has_content;
	f.facts.content = w->content;
	f.facts.header = w->header;
	f.facts.placement = w->placement;
	f.facts.captions = w->pipeline->options.captions;
	f.facts.engine = engine;
	f.latent = item->latent;
	item->latent = (struct ndarray)NDARRAY_INIT;
	return f;
}

void pipeline_on_batch(struct pipeline *p, struct encode_batch *batch, const struct error *failure)
{
	struct finished *finished = xcalloc(batch->n, sizeof(*finished));
	size_t n = 0;

	for (size_t i = 0; i < batch->n; i++) {
		struct encode_item *item = &batch->items[i];
		struct work *w = item->owner;

		if (failure->code != ERR_NONE || item->error.code == ERR_TRANSIENT) {
			work_released(w);
		} else if (item->error.code != ERR_NONE) {
			work_failed(w, &item->error);
		} else {
			finished[n++] = finish(w, item, p->options.caps->engine);
			work_free(w);
		}
	}
	if (n > 0)
		packer_append(p->options.packer, finished, n);
	else
		free(finished);
	encode_batch_free(batch);
	if (failure->code != ERR_NONE)
		fail(p, failure);
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

	ready_again(p, &parked);
	if (what->copied) { /* it is the stored record that is bad, whatever that is */
		duplicates_distrust(p->duplicates, &what->content);
		o = (struct job_outcome){
		    .job = what->job, .fence = what->fence, .kind = OUTCOME_RELEASE};
		claim_later(p);
	} else {
		p->options.on_outcome(p->options.arg, path, o.kind, o.reason, o.message);
	}
	outcome_log_add(p->outcomes, &o);
}

const struct pipeline_counts *pipeline_counts(const struct pipeline *p)
{
	return &p->counts;
}

/* -- the pipeline --------------------------------------------------------------------------------- */

static void on_extended(void *arg, const struct error *err)
{
	if (err->code != ERR_NONE)
		fail(arg, err);
}

static int on_extend_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct pipeline *p = arg;

	db_extend(p->options.db, LEASE_MS, on_extended, p);
	sd_event_source_set_time(source, usec + (uint64_t)EXTEND_EVERY_MS * 1000);
	return 0;
}

static int open_timers(struct pipeline *p)
{
	int r = sd_event_add_time_relative(p->event, &p->extend_timer, CLOCK_MONOTONIC,
					   (uint64_t)EXTEND_EVERY_MS * 1000, 0, on_extend_timer, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->extend_timer, SD_EVENT_ON);
	if (r >= 0)
		r = sd_event_add_time_relative(p->event, &p->retry_timer, CLOCK_MONOTONIC, 0, 0,
					       on_retry_timer, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->retry_timer, SD_EVENT_OFF);
	return r;
}

static void on_queue_failed(void *arg, const struct error *why)
{
	fail(arg, why);
}

int pipeline_open(sd_event *event, const struct pipeline_options *options, struct pipeline **out,
		  struct error *err)
{
	struct pipeline *p = xcalloc(1, sizeof(*p));
	struct decode_pool_options pool = {
	    .workers = options->workers,
	    .program = options->decoder,
	    .policy = options->recipe->policy,
	    .limits = IMAGE_LIMITS_DEFAULT,
	    .slot_bytes = bucket_table_max_pixels(options->buckets) * 3,
	    .time_limit_ms = DECODE_LIMIT_MS,
	    .megapixel_ms = DECODE_MEGAPIXEL_MS,
	    .handlers = {on_hashed, on_header, on_done, on_failed},
	};

	p->event = event;
	p->options = *options;
	p->root_numbers = xcalloc(options->n_roots, sizeof(*p->root_numbers));
	for (size_t i = 0; i < options->n_roots; i++)
		p->root_numbers[i] = options->roots[i].root;
	p->duplicates = duplicates_new();
	p->outcomes = outcome_log_new(options->db, on_queue_failed, p);
	if (open_timers(p) < 0) {
		pipeline_close(p);
		return error_set(err, ERR_IO, "cannot set timers");
	}
	if (decode_pool_open(event, &pool, &p->pool, err) < 0) {
		pipeline_close(p);
		return -1;
	}
	*out = p;
	return 0;
}

/* What was claimed and is not with a worker or the encoder goes back to the queue. */
static void release_held(struct pipeline *p)
{
	struct work_list parked = duplicates_unpark(p->duplicates);
	struct work *w;

	ready_again(p, &parked);
	while ((w = work_list_pop(&p->ready)))
		work_released(w);
	for (size_t i = 0; i < p->n_pending; i++) {
		while ((w = work_list_pop(&p->pending[i].works)))
			work_released(w);
	}
}

void pipeline_pump(struct pipeline *p)
{
	struct error dead = ERROR_INIT;

	if (decode_pool_dead(p->pool) && !p->failed && !p->stopping) {
		error_set(&dead, ERR_IO, "no decode worker (latentd-decode) can be started: %s",
			  decode_pool_last_end(p->pool));
		fail(p, &dead);
	}
	if (p->stopping || p->failed) {
		decode_pool_cancel(p->pool);
		release_held(p);
	}
	ask_queue(p);
	place_waiting(p);
	submit_batches(p);
	claim_more(p);
	start_decodes(p);
	submit_batches(p);
	outcome_log_flush(p->outcomes);
}

bool pipeline_finished(const struct pipeline *p)
{
	bool claims_done = p->stopping || p->failed ||
			   (p->claims_over && p->suspects_over &&
			    sd_event_source_get_enabled(p->retry_timer, NULL) <= 0);

	return claims_done && !p->claiming && p->images == 0 && outcome_log_idle(p->outcomes) &&
	       encode_driver_in_flight(p->options.driver) == 0;
}

void pipeline_stop(struct pipeline *p)
{
	p->stopping = true;
}

void pipeline_close(struct pipeline *p)
{
	if (!p)
		return;
	decode_pool_close(p->pool);
	sd_event_source_disable_unref(p->extend_timer);
	sd_event_source_disable_unref(p->retry_timer);
	outcome_log_free(p->outcomes);
	duplicates_free(p->duplicates);
	free(p->root_numbers);
	free(p->pending);
	free(p);
}
