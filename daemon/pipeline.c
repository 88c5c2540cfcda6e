/*
 * Everything here runs on the loop's thread. An image is a `struct work` from its claim until it is
 * handed to the packer or settled:
 *
 *	ready list -> decode_pool -> (waits for memory) -> bucket of pending images -> encode_driver
 *
 * pipeline_pump() is the whole policy: it is called after every turn of the loop, looks at what could move,
 * and moves it. Nothing else decides.
 */
#include "daemon/pipeline.h"

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
};

struct work {
	struct pipeline *pipeline;
	struct job job;
	struct hash128 content;
	bool has_content;
	uint64_t file_bytes;
	struct image_header header;
	struct bucket_placement placement;
	char *caption;
	uint8_t *pixels;
	size_t reserved;	      /* bytes of the budget */
	struct decode_ticket *ticket; /* waits for memory */
	struct work *next;
};

/* First in, first out. */
struct work_list {
	struct work *first, *last;
	size_t n;
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
	struct outcome_log *outcomes;
	size_t memory_used;
	size_t images; /* works between claim and end */
	bool claiming, claims_over, stopping, failed;
};

/* -- small things --------------------------------------------------------------------------------- */

static void list_push(struct work_list *l, struct work *w)
{
	w->next = NULL;
	if (l->last)
		l->last->next = w;
	else
		l->first = w;
	l->last = w;
	l->n++;
}

static struct work *list_pop(struct work_list *l)
{
	struct work *w = l->first;

	if (!w)
		return NULL;
	l->first = w->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	w->next = NULL;
	return w;
}

static void list_remove(struct work_list *l, struct work *w)
{
	struct work_list rest = {NULL, NULL, 0};
	struct work *at;

	while ((at = list_pop(l))) {
		if (at != w)
			list_push(&rest, at);
	}
	*l = rest;
}

static void reserve(struct work *w, size_t bytes)
{
	w->pipeline->memory_used += bytes - w->reserved;
	w->reserved = bytes;
}

static void work_free(struct work *w)
{
	reserve(w, 0);
	w->pipeline->images--;
	job_release(&w->job);
	free(w->caption);
	free(w->pixels);
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

/* Ends @w with an error about it. */
static void work_failed(struct work *w, const struct error *why)
{
	struct pipeline *p = w->pipeline;
	struct job_outcome o = {.job = w->job.id,
				.fence = w->job.fence,
				.has_content = w->has_content,
				.content = w->content,
				.not_before = clock_steady_wall_ms() + RETRY_POLL_MS,
				.message = why->message};

	o.kind = outcome_judge(why, w->job.attempts, &o.reason);
	outcome_log_add(p->outcomes, &o);
	if (o.kind == OUTCOME_RETRY)
		claim_later(p);
	p->options.on_outcome(p->options.arg, w->job.path, o.kind, o.reason, o.message);
	work_free(w);
}

/* Ends @w, of @width x @height oriented pixels, because its dataset leaves such images out. */
static void work_skipped(struct work *w, size_t width, size_t height)
{
	struct pipeline *p = w->pipeline;
	char message[160];
	struct job_outcome o = {.job = w->job.id,
				.fence = w->job.fence,
				.kind = OUTCOME_SKIP,
				.has_content = w->has_content,
				.content = w->content,
				.reason = w->placement.skip,
				.message = message};

	bucket_skip_message(p->options.buckets, width, height, &w->placement, message,
			    sizeof(message));
	outcome_log_add(p->outcomes, &o);
	p->options.on_outcome(p->options.arg, w->job.path, o.kind, o.reason, o.message);
	work_free(w);
}

/* Gives @w back to the queue, uncharged. */
static void work_released(struct work *w)
{
	struct job_outcome o = {.job = w->job.id, .fence = w->job.fence, .kind = OUTCOME_RELEASE};

	outcome_log_add(w->pipeline->outcomes, &o);
	claim_later(w->pipeline);
	work_free(w);
}

/* -- claims --------------------------------------------------------------------------------------- */

static int on_retry_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct pipeline *p = arg;

	(void)usec;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	p->claims_over = false;
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
		list_push(&p->ready, w);
	}
	if (err->code != ERR_NONE)
		fail(p, err);
	p->claims_over = n == 0;
	/* What is not settled yet may be claimable then. */
	if (n == 0 && (later > 0 || !outcome_log_idle(p->outcomes)))
		claim_later(p);
}

static void claim_more(struct pipeline *p)
{
	struct queue_claim what = {.dataset = p->options.dataset,
				   .limit = CLAIM_LIMIT,
				   .roots = p->root_numbers,
				   .n_roots = p->options.n_roots};

	if (p->claiming || p->claims_over || p->stopping || p->failed ||
	    p->ready.n > CLAIM_LIMIT / 2)
		return;
	p->claiming = true;
	db_claim(p->options.db, &what, LEASE_MS, on_claimed, p);
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

	if (!w->pipeline->options.captions)
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

static void start_decodes(struct pipeline *p)
{
	while (!p->stopping && !p->failed && p->waiting.n == 0 && p->ready.n > 0 &&
	       batches_ahead(p) < BATCHES_AHEAD && decode_pool_idle(p->pool) > 0)
		start_one(p, list_pop(&p->ready));
}

static bool on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	struct work *w = image;

	w->content = *content;
	w->has_content = true;
	w->file_bytes = bytes;
	return true;
}

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
	list_push(&p->waiting, w);
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
	list_push(&bucket->works, w);
}

static void on_failed(void *image, const struct error *why)
{
	struct work *w = image;

	if (w->ticket)
		list_remove(&w->pipeline->waiting, w);
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
		list_pop(&p->waiting);
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
		struct work *w = list_pop(&bucket->works);

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
	return p->waiting.n > 0 || (p->ready.n == 0 && !p->claiming && p->claims_over);
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

void pipeline_on_rejected(struct pipeline *p, int64_t job, uint64_t fence, const char *path,
			  const struct error *why)
{
	struct job_outcome o = {.job = job,
				.fence = fence,
				.kind = OUTCOME_QUARANTINE,
				.reason = why->reason,
				.message = why->message};

	outcome_log_add(p->outcomes, &o);
	p->options.on_outcome(p->options.arg, path, o.kind, o.reason, o.message);
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
	struct work *w;

	while ((w = list_pop(&p->ready)))
		work_released(w);
	for (size_t i = 0; i < p->n_pending; i++) {
		while ((w = list_pop(&p->pending[i].works)))
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
	place_waiting(p);
	submit_batches(p);
	claim_more(p);
	start_decodes(p);
	submit_batches(p);
	outcome_log_flush(p->outcomes);
}

bool pipeline_finished(const struct pipeline *p)
{
	bool claims_done =
	    p->stopping || p->failed ||
	    (p->claims_over && sd_event_source_get_enabled(p->retry_timer, NULL) <= 0);

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
	free(p->root_numbers);
	free(p->pending);
	free(p);
}
