/*
 * Everything here runs on the loop's thread. An image is a `struct work` from its claim until it is
 * handed to the packer or settled:
 *
 *	ready list -> decode_pool -> seen: (the queue is asked) -> (waits for memory) -> bucket of pending images
 *	    -> encode_driver
 *
 * An image whose content is under way leaves its worker and is parked (duplicates.h).
 *
 * pipeline_pump() is the whole policy: it, or its two parts, are called after every turn of the loop, look at what could
 * move, and move it. Nothing else decides.
 */
#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"

enum {
	CLAIM_LIMIT = 64,
	LEASE_MS = 10 * 60 * 1000,
	EXTEND_EVERY_MS = LEASE_MS / 3,
	/* Reading is part of it, perhaps from a slow network. */
	DECODE_LIMIT_MS = 30 * 1000,
	DECODE_MEGAPIXEL_MS = 100,
};

/* -- small things --------------------------------------------------------------------------------- */

void pipeline_fail(struct pipeline *p, const struct error *why)
{
	if (p->failed)
		return;
	p->failed = true;
	p->options.on_fatal(p->options.arg, why);
}

/* Jobs went back to the queue, or are due later: asks for some again in a while. */
void pipeline_claim_later(struct pipeline *p)
{
	sd_event_source_set_time_relative(p->retry_timer, PIPELINE_RETRY_MS * 1000);
	sd_event_source_set_enabled(p->retry_timer, SD_EVENT_ONESHOT);
}

bool pipeline_begins(const struct pipeline *p)
{
	return !p->paused && !p->stopping && !p->failed && p->may_claim != PIPELINE_GIVES_BACK;
}

/* -- claims --------------------------------------------------------------------------------------- */

static int on_retry_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct pipeline *p = arg;

	(void)usec;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	pipeline_again(p);
	return 0;
}

/*
 * What is left waits for servers that nobody has reached for long; or (@later) some run before put it off for so long that it is not
 * due yet.
 */
static bool gives_up(const struct pipeline *p, bool later)
{
	int64_t patience = p->options.patience_ms;

	if (patience <= 0 || p->images > 0)
		return false;
	return (p->put_off && clock_mono_ms() - p->reached_at > patience) ||
	       (later && p->asked_at - p->moved_at > patience);
}

static void on_claimed(void *arg, struct job *jobs, size_t n, bool later, const struct error *err)
{
	struct pipeline *p = arg;

	p->claiming = false;
	for (size_t i = 0; i < n; i++) {
		struct work *w = xcalloc(1, sizeof(*w));

		w->pipeline = p;
		w->fd = -1;
		w->job = jobs[i];
		p->images++;
		work_list_push(&p->ready, w);
	}
	if (err->code != ERR_NONE)
		pipeline_fail(p, err);
	if (n > 0) {
		p->alone = p->asked_suspects;
		p->moved_at = clock_mono_ms();
		return;
	}
	if (!p->again && gives_up(p, later)) {
		p->claims_over = p->suspects_over = p->gave_up = true;
		return;
	}
	if (p->asked_suspects)
		p->suspects_over = !p->again;
	else
		p->claims_over = !p->again;
	/* What is not settled yet may be claimable then. */
	if (later || !outcome_log_idle(p->outcomes))
		pipeline_claim_later(p);
}

static void claim(struct pipeline *p, bool suspects)
{
	struct queue_claim what = {
	    .dataset = p->options.dataset,
	    .limit = suspects || p->may_claim == PIPELINE_CLAIMS_ONE ? 1 : CLAIM_LIMIT,
	    .roots = p->root_numbers,
	    .n_roots = p->n_roots,
	    .suspects = suspects};

	p->claiming = true;
	p->again = false;
	p->asked_suspects = suspects;
	p->asked_at = clock_mono_ms();
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

static bool has_room(const struct pipeline *p)
{
	if (p->may_claim == PIPELINE_CLAIMS_ONE)
		return p->images == 0;
	return p->ready.n <= CLAIM_LIMIT / 2;
}

static void claim_more(struct pipeline *p)
{
	if (p->claiming || p->paused || p->stopping || p->failed || p->n_roots == 0 ||
	    p->may_claim >= PIPELINE_CLAIMS_NONE)
		return;
	if (p->alone && !all_is_quiet(p))
		return;
	p->alone = false;
	if (!p->claims_over) {
		if (has_room(p))
			claim(p, false);
	} else if (!p->suspects_over && all_is_quiet(p)) {
		claim(p, true);
	}
}

/* -- the pipeline --------------------------------------------------------------------------------- */

static void on_extended(void *arg, const struct error *err)
{
	((struct pipeline *)arg)->extending--;
	if (err->code != ERR_NONE)
		pipeline_fail(arg, err);
}

static int on_extend_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct pipeline *p = arg;

	p->extending++;
	db_extend(p->options.db, LEASE_MS, on_extended, p);
	sd_event_source_set_time(source, usec + (uint64_t)EXTEND_EVERY_MS * 1000);
	return 0;
}

/* The loop's turn looks. */
static int on_fetch_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)usec;
	(void)arg;
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int open_timers(struct pipeline *p)
{
	int r = sd_event_add_time_relative(p->event, &p->extend_timer, CLOCK_MONOTONIC,
					   (uint64_t)EXTEND_EVERY_MS * 1000, 0, on_extend_timer, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->extend_timer, SD_EVENT_ON);
	if (r >= 0)
		r = sd_event_add_time_relative(p->event, &p->retry_timer, CLOCK_MONOTONIC, 0,
					       PIPELINE_RETRY_MS * 1000 / 50, on_retry_timer, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->retry_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(p->event, &p->fetch_timer, CLOCK_MONOTONIC, 0, 0,
					       on_fetch_timer, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->fetch_timer, SD_EVENT_OFF);
	return r;
}

static void on_queue_failed(void *arg, const struct error *why)
{
	pipeline_fail(arg, why);
}

void pipeline_decode_options(struct decode_pool_options *options)
{
	options->mode = DECODE_MODE_PIXELS;
	options->limits = (struct image_limits)IMAGE_LIMITS_DEFAULT;
	options->time_limit_ms = DECODE_LIMIT_MS;
	options->megapixel_ms = DECODE_MEGAPIXEL_MS;
	options->handlers =
	    (struct decode_handlers){pipeline_on_hashed, pipeline_on_header, pipeline_on_done,
				     pipeline_on_failed, pipeline_on_returned};
}

int pipeline_open(sd_event *event, const struct pipeline_options *options, struct pipeline **out,
		  struct error *err)
{
	struct pipeline *p = xcalloc(1, sizeof(*p));
	int r;

	thread_short_slices(); /* decode workers wait for the loop, and use all cores */
	p->event = event;
	p->options = *options;
	p->reached_at = p->moved_at = clock_mono_ms();
	p->variants = recipe_variants(options->recipe);
	p->each = recipe_variants_each(options->recipe);
	p->per_batch = options->best_batch > p->each ? options->best_batch / p->each : 1;
	pipeline_set_roots(p, options->roots, options->n_roots);
	p->duplicates = duplicates_new();
	p->outcomes = outcome_log_new(options->db, on_queue_failed, p);
	r = open_timers(p) < 0 ? error_set(err, ERR_IO, "cannot set timers")
			       : executor_open(options->inbox, "open", &p->opener, err);
	if (r < 0) {
		pipeline_close(p);
		return -1;
	}
	/* All crops of an image lie in a window of up to twice the target in both directions: variants.h. */
	decode_pool_reserve(options->pool, resolutions_max_pixels(&options->resolutions) * 3 *
					       (options->recipe->crops > 0 ? 4 : 1));
	*out = p;
	return 0;
}

/* What no worker has looked at yet goes back to the queue. */
static void release_ready(struct pipeline *p)
{
	struct work *w;

	while ((w = work_list_pop(&p->opened)))
		work_released(w);
	while ((w = work_list_pop(&p->ready)))
		work_released(w);
}

static void release_pending(struct pipeline *p)
{
	struct work *w;

	for (size_t i = 0; i < p->n_pending; i++) {
		while ((w = work_list_pop(&p->pending[i].works)))
			work_released(w);
	}
}

/* Their workers have seen the header, and draw nothing yet. */
static void release_waiting(struct pipeline *p)
{
	struct work *w;

	while ((w = work_list_pop(&p->waiting))) {
		work_skip_decode(w);
		work_released(w);
	}
}

/* What was claimed and is not with a worker or an encoder goes back to the queue. */
static void release_held(struct pipeline *p)
{
	struct work_list parked = duplicates_unpark(p->duplicates);

	pipeline_ready_again(p, &parked);
	release_ready(p);
	release_pending(p);
	pipeline_drop_formed(p);
}

static bool is_ours(const void *image, const void *arg)
{
	return ((const struct work *)image)->pipeline == arg;
}

void pipeline_encode_more(struct pipeline *p)
{
	struct error dead = ERROR_INIT;

	if (decode_pool_dead(p->options.pool) && !p->failed && !p->stopping) {
		error_set(&dead, ERR_IO, "no decode worker (latentd-decode) can be started: %s",
			  decode_pool_last_end(p->options.pool));
		pipeline_fail(p, &dead);
	}
	if (p->stopping || p->failed) {
		decode_pool_cancel_some(p->options.pool, is_ours, p);
		release_held(p);
	} else if (p->may_claim == PIPELINE_GIVES_BACK) {
		release_waiting(p);
		release_held(p);
	} else if (p->paused) {
		if (pipeline_has_no_budget(p))
			release_pending(p);
		release_ready(p);
	}
	pipeline_ask(p);
	pipeline_place_waiting(p);
	pipeline_submit_batches(p);
	claim_more(p);
	outcome_log_flush(p->outcomes);
}

void pipeline_decode_more(struct pipeline *p)
{
	pipeline_start_decodes(p);
	pipeline_submit_batches(p);
	outcome_log_flush(p->outcomes);
}

void pipeline_pump(struct pipeline *p)
{
	pipeline_encode_more(p);
	pipeline_decode_more(p);
}

bool pipeline_finished(const struct pipeline *p)
{
	bool claims_done = p->n_roots == 0 || p->paused || p->stopping || p->failed ||
			   p->may_claim >= PIPELINE_CLAIMS_NONE ||
			   (p->claims_over && p->suspects_over &&
			    sd_event_source_get_enabled(p->retry_timer, NULL) <= 0);

	return claims_done && !p->claiming && p->images == 0 && outcome_log_idle(p->outcomes) &&
	       p->batches == 0 && p->extending == 0;
}

bool pipeline_gave_up(const struct pipeline *p)
{
	return p->gave_up;
}

bool pipeline_has_images(const struct pipeline *p)
{
	return p->images > 0 || p->batches > 0;
}

void pipeline_set_roots(struct pipeline *p, const struct pipeline_root *roots, size_t n)
{
	free(p->roots);
	free(p->root_numbers);
	p->n_roots = n;
	p->roots = xcalloc(n, sizeof(*p->roots));
	p->root_numbers = xcalloc(n, sizeof(*p->root_numbers));
	for (size_t i = 0; i < n; i++) {
		p->roots[i] = roots[i];
		p->root_numbers[i] = roots[i].root;
	}
}

bool pipeline_reaches_nothing(const struct pipeline *p, int64_t ms)
{
	return p->put_off && p->batches == 0 && clock_mono_ms() - p->reached_at >= ms;
}

void pipeline_again(struct pipeline *p)
{
	p->claims_over = p->suspects_over = false;
	p->again = true;
}

void pipeline_pause(struct pipeline *p, bool paused)
{
	p->paused = paused;
}

void pipeline_set_claims(struct pipeline *p, enum pipeline_claims claims)
{
	p->may_claim = claims;
}

void pipeline_set_patience(struct pipeline *p, int64_t ms)
{
	p->options.patience_ms = ms;
}

void pipeline_stop(struct pipeline *p)
{
	p->stopping = true;
}

void pipeline_close(struct pipeline *p)
{
	if (!p)
		return;
	executor_close(p->opener);
	memory_budget_pass(p->options.memory, p);
	sd_event_source_disable_unref(p->extend_timer);
	sd_event_source_disable_unref(p->retry_timer);
	sd_event_source_disable_unref(p->fetch_timer);
	outcome_log_free(p->outcomes);
	duplicates_free(p->duplicates);
	free(p->root_numbers);
	free(p->roots);
	for (size_t i = 0; i < p->n_formed; i++)
		encode_batch_free(p->formed[i]);
	free(p->formed);
	free(p->pending);
	free(p);
}

void pipeline_queues(const struct pipeline *p, size_t queues[STAGES])
{
	queues[STAGE_OPEN] += p->ready.n + p->opening;
	queues[STAGE_READ] += p->opened.n;
	queues[STAGE_DECODE] += p->at_workers;
	for (size_t i = 0; i < p->n_pending; i++)
		queues[STAGE_ENCODE] += p->pending[i].works.n;
	queues[STAGE_ENCODE] += p->encoding;
}

size_t pipeline_waits_for_memory(const struct pipeline *p)
{
	return p->waiting.n;
}

const struct pipeline_counts *pipeline_counts(const struct pipeline *p)
{
	return &p->counts;
}
