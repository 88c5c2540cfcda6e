#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	/* What failed is tried again, each time twice as long after it ... */
	RETRY_FIRST_MS = 1000,
	RETRY_MOST_MS = 5 * 60 * 1000,
	/* ... and a lock, or a server that is away, which cost little, more often than that ... */
	RETRY_SOON_MS = 10 * 1000,
	/* ... unless it went well for so long. */
	WENT_WELL_MS = RETRY_MOST_MS,
	/* What is encoded and fills no shard is sealed when nothing more came for so long ... */
	SEAL_IDLE_MS = 30 * 1000,
	/* ... but not more often than this: a file every minute would make as many shards. */
	SEAL_EVERY_MS = 10 * 60 * 1000,
	/* A drain takes what its last look finds, but not for ever what comes meanwhile. */
	DRAIN_LOOKS = 3,
	REMOVAL_EVERY_MS = 5000,
};

void lane_log(const struct lane *l, enum log_event event, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	l->shared->log(l->shared->arg, event, l->config->name, line);
}

struct lane *lane_new(const struct lane_shared *shared, const struct dataset_config *config)
{
	const struct cost_limits limits = lane_cost_limits(config);
	cleanup_free char *account = xasprintf("dataset %s", config->name);
	struct lane *l = xcalloc(1, sizeof(*l));

	l->shared = shared;
	l->config = config;
	l->priority = config->priority;
	l->paused = config->paused;
	work_hours_set(&l->hours, config->hours);
	work_hours_look(&l->hours);
	l->spending = spending_open(account, &limits);
	l->flushed_at = clock_mono_ms() - SEAL_EVERY_MS;
	l->removal_asked_at = clock_mono_ms() - REMOVAL_EVERY_MS;
	l->eta = (struct eta)ETA_INIT;
	atomic_init(&l->interrupted, false);
	return l;
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	spending_leave(l->spending, l->shared->db);
	lane_forget_upkeep(l);
	free(l->held);
	free(l->last_shard);
	free(l);
}

/* -- news ------------------------------------------------------------------------------------------- */

void lane_news(struct lane *l)
{
	l->news = true;
}

bool lane_has_news(const struct lane *l)
{
	bool counts = l->phase == LANE_OPEN && l->count_again && !l->counting;

	return l->news || counts || lane_state(l) != l->shown;
}

/* -- failing ---------------------------------------------------------------------------------------- */

/* Waiting helps, or somebody may mend it meanwhile. */
static bool may_pass(const struct error *why)
{
	return why->code == ERR_IO || why->code == ERR_TRANSIENT || why->code == ERR_NOMEM;
}

/* Milliseconds, longer with each failure. */
static int64_t next_wait(struct lane *l)
{
	int64_t wait = RETRY_FIRST_MS;

	if (l->phase == LANE_OPEN && clock_mono_ms() - l->opened_at >= WENT_WELL_MS)
		l->failures = 0;
	for (unsigned i = 0; i < l->failures && wait < RETRY_MOST_MS; i++)
		wait *= 2;
	l->failures++;
	return wait < RETRY_MOST_MS ? wait : RETRY_MOST_MS;
}

void lane_fail(struct lane *l, const struct error *why)
{
	bool soon = l->taken || why->code == ERR_TRANSIENT;
	bool again = soon && strcmp(l->why.message, why->message) == 0;
	int64_t wait;

	if (l->phase == LANE_CLOSING)
		return;
	wait = next_wait(l);
	if (soon && wait > RETRY_SOON_MS)
		wait = RETRY_SOON_MS;
	lane_news(l);
	if (may_pass(why)) {
		l->retry_at = clock_mono_ms() + wait;
		if (again)
			lane_log(l, LOG_PLAIN_DEBUG, "%s; tried again in %lld s", why->message,
				 (long long)wait / 1000);
		else
			lane_log(l, LOG_EVENT_DATASET_FAILED, "%s; tried again in %lld s",
				 why->message, (long long)wait / 1000);
	} else {
		l->retry_at = INT64_MAX;
		lane_log(l, LOG_EVENT_DATASET_FAILED, "%s; resume it when that is mended",
			 why->message);
	}
	l->why = *why;
	if (l->phase == LANE_OPEN)
		l->phase = LANE_CLOSING;
}

/* -- what goes on in each phase ---------------------------------------------------------------------- */

static void pump_closed(struct lane *l)
{
	if (l->stopping || l->held || clock_mono_ms() < l->retry_at)
		return;
	l->taken = false;
	decode_pool_revive(l->shared->pool);
	l->engine = engines_get(l->shared->engines, &l->config->recipe);
	engine_want(l->engine);
	l->phase = LANE_LOADING;
}

static void pump_loading(struct lane *l)
{
	if (l->stopping) {
		l->phase = LANE_CLOSED;
		return;
	}
	switch (engine_state(l->engine)) {
	case ENGINE_READY:
		lane_begin_open(l);
		break;
	case ENGINE_FAILED:
		l->phase = LANE_CLOSED;
		lane_fail(l, engine_failure(l->engine));
		break;
	case ENGINE_UNLOADED:
		engine_want(l->engine);
		break;
	case ENGINE_LOADING:
		break;
	}
}

/* Every folder was looked through, and no file waits until it has stopped changing. */
static bool intake_is_through(const struct lane *l)
{
	if (lane_follows(l))
		return l->through && l->sources_came;
	return l->seen.scans > 0 && l->seen.scans >= l->scans_wanted &&
	       l->seen.phase != INTAKE_SCANNING && l->seen.young == 0;
}

/* Before a drain has ended. */
static bool has_to_tidy(const struct lane *l)
{
	if (lane_is_shared(l))
		return l->tidying || lane_has_upkeep(l) || lane_orphans_pend(l) ||
		       lane_index_lags(l);
	return l->tidying || lane_has_upkeep(l) || l->tidy_wanted || l->index_wanted;
}

static bool nothing_to_encode(const struct lane *l)
{
	return intake_is_through(l) && pipeline_finished(l->pipeline) &&
	       packer_pending(l->packer) == 0;
}

/* Whether other nodes have made something available: it is as idle as before. */
static bool only_asks(const struct lane *l)
{
	return lane_is_shared(l) && intake_is_through(l) && !pipeline_has_images(l->pipeline) &&
	       packer_pending(l->packer) == 0;
}

void lane_apply_pause(struct lane *l)
{
	bool paused = l->paused || l->held || l->node_drains || lane_rests(l);

	if (l->intake)
		intake_set_paused(l->intake, l->held || l->intake_off);
	if (!l->pipeline)
		return;
	pipeline_pause(l->pipeline, paused);
	if (!paused && !l->drained)
		pipeline_again(l->pipeline);
}

/* Looks through the folders once more; a scan that is under way may have passed by what is there now. */
static void look_again(struct lane *l)
{
	l->scans_wanted = l->seen.scans + (l->seen.phase == INTAKE_SCANNING ? 2 : 1);
	l->scan_asked = l->seen.scans;
	intake_rescan(l->intake);
}

/* What was asked for while a scan was about to begin became that one: asks again. */
static void insist_on_scans(struct lane *l)
{
	if (l->seen.scans >= l->scans_wanted || l->seen.phase == INTAKE_SCANNING ||
	    l->scan_asked == l->seen.scans || l->intake_off)
		return;
	l->scan_asked = l->seen.scans;
	intake_rescan(l->intake);
}

/* For files of samples that are in shards only now. */
static void look_for_vanished(struct lane *l)
{
	l->sealed_unseen = false;
	look_again(l);
}

/* Everything that was found is encoded: seals it, tidies up, and counts what came of it. */
static void end_drain(struct lane *l)
{
	if (l->drained || l->paused || l->held || l->seen.removal_waits)
		return;
	if ((lane_rests(l) || l->claims >= PIPELINE_CLAIMS_NONE) &&
	    (l->counting || l->count_again || lane_has_work(l)))
		return;
	if (packer_unsealed(l->packer) > 0) {
		packer_flush(l->packer);
	} else if (l->sealed_unseen && l->drain_looks < DRAIN_LOOKS) {
		l->drain_looks++;
		look_for_vanished(l);
	} else if (!l->intake_off) {
		l->intake_off = true;
		lane_apply_pause(l);
	} else if (has_to_tidy(l)) {
		lane_tidy(l);
	} else if (lane_awaits_nodes(l)) {
		l->drain_counted = false;
		l->left_available = 0;
	} else if (!l->drain_counted) {
		l->drain_counted = true;
		lane_count(l);
	} else if (!l->counting && !l->count_again) {
		l->drained = !lane_got_back(l);
	}
}

/* It is refused while something is left to encode after all: not asked for again and again then. */
static void ask_for_removal(struct lane *l)
{
	int64_t now = clock_mono_ms();

	if (!l->seen.removal_waits || l->paused || l->held || lane_rests(l) ||
	    l->seen.removal_asked == l->seen.scans || now - l->removal_asked_at < REMOVAL_EVERY_MS)
		return;
	l->seen.removal_asked = l->seen.scans;
	l->removal_asked_at = now;
	intake_remove(l->intake);
}

static void pump_open(struct lane *l)
{
	if (engine_state(l->engine) == ENGINE_FAILED) {
		lane_fail(l, engine_failure(l->engine));
		return;
	}
	if ((lane_is_busy(l) || lane_yields(l)) && !engine_rests(l->engine))
		engine_want(l->engine);
	pipeline_set_patience(l->pipeline, l->draining ? LANE_PATIENCE_MS : 0);
	pipeline_encode_more(l->pipeline);
	if (l->phase != LANE_OPEN)
		return;
	lane_note_shares(l);
	lane_ask_counts(l);
	insist_on_scans(l);
	if (!nothing_to_encode(l)) {
		if (!only_asks(l))
			l->idle_since = 0;
		return;
	}
	if (l->idle_since == 0)
		l->idle_since = clock_mono_ms();
	ask_for_removal(l);
	if (l->draining)
		end_drain(l);
}

static void pump_closing(struct lane *l)
{
	if (!l->closing) {
		l->closing = true;
		l->closing_since = clock_mono_ms();
		intake_stop(l->intake);
		pipeline_stop(l->pipeline);
	}
	pipeline_pump(l->pipeline);
	if (!pipeline_finished(l->pipeline))
		return;
	packer_drain(l->packer, false);
	/* The loop waits for no thread that may hang in a network file system. */
	if (packer_idle(l->packer) && !l->tidying && !l->settling && !l->settling_rewrites &&
	    !l->counting && intake_has_ended(l->intake))
		lane_end(l);
}

static void take_config(struct lane *l)
{
	const struct dataset_config *config = l->next_config;
	struct cost_limits limits;

	if (!config || l->tidying || l->settling || l->settling_rewrites ||
	    l->phase == LANE_OPENING)
		return;
	if (l->reopen && l->phase == LANE_OPEN) {
		lane_log(l, LOG_PLAIN_INFO, "closes, and opens with other settings");
		l->why = (struct error)ERROR_INIT;
		l->phase = LANE_CLOSING;
	}
	if (l->reopen && l->phase == LANE_CLOSING)
		return;
	l->next_config = NULL;
	if (config->priority != l->config->priority)
		l->priority = config->priority;
	if (config->paused != l->config->paused)
		lane_pause(l, config->paused);
	l->config = config;
	work_hours_set(&l->hours, config->hours);
	limits = lane_cost_limits(config);
	cost_guard_limit(spending_guard(l->spending), &limits);
	lane_look_at_limits(l);
	if (l->reopen)
		l->retry_at = 0; /* what is different may be what was wrong */
	l->reopen = false;
}

static void pump_phase(struct lane *l)
{
	switch (l->phase) {
	case LANE_CLOSED:
		pump_closed(l);
		break;
	case LANE_LOADING:
		pump_loading(l);
		break;
	case LANE_OPENING:
		break;
	case LANE_OPEN:
		pump_open(l);
		break;
	case LANE_CLOSING:
		pump_closing(l);
		break;
	}
}

/* No event tells of a phase that has just begun. */
void lane_pump(struct lane *l)
{
	enum lane_phase before;

	do {
		take_config(l);
		if ((l->stopping || l->reopening) && l->phase == LANE_OPEN)
			l->phase = LANE_CLOSING;
		before = l->phase;
		pump_phase(l);
	} while (l->phase != before);
	lane_pump_upkeep(l);
}

void lane_decode(struct lane *l)
{
	if (l->phase == LANE_OPEN)
		pipeline_decode_more(l->pipeline);
}

/* False: it is sealed, or was asked to be not long ago. */
static bool seal_what_is_there(struct lane *l, int64_t now)
{
	if (packer_unsealed(l->packer) == 0 || now - l->flushed_at < SEAL_EVERY_MS)
		return false;
	l->flushed_at = now;
	packer_flush(l->packer);
	return true;
}

void lane_tick(struct lane *l)
{
	int64_t now = clock_mono_ms();

	lane_look_at_limits(l);
	spending_save(l->spending, l->shared->db);
	lane_tick_eta(l, now);
	if (l->phase != LANE_OPEN)
		return;
	lane_look_at_encoders(l);
	lane_tick_node(l, now);
	if (l->drained && lane_index_lags(l))
		lane_tidy(l); /* others have sealed since */
	if (l->draining)
		return;
	if (l->idle_since == 0 && pipeline_reaches_nothing(l->pipeline, SEAL_IDLE_MS)) {
		seal_what_is_there(l, now);
		return;
	}
	if (l->idle_since == 0 || now - l->idle_since < SEAL_IDLE_MS)
		return;
	if (seal_what_is_there(l, now))
		return;
	if (l->sealed_unseen && packer_unsealed(l->packer) == 0) {
		look_for_vanished(l);
	} else {
		lane_tidy(l);
		lane_tick_upkeep(l, now);
	}
}

/* -- what people ask for ------------------------------------------------------------------------------ */

void lane_drain(struct lane *l)
{
	if (l->draining)
		return;
	l->draining = true;
	if (l->intake)
		look_again(l); /* what was copied in before belongs to it */
}

void lane_reconfigure(struct lane *l, const struct dataset_config *config, bool reopen)
{
	l->next_config = config;
	l->reopen = l->reopen || reopen;
	take_config(l);
}

void lane_stop(struct lane *l)
{
	l->stopping = true;
	atomic_store(&l->interrupted, true);
}

bool lane_is_closed(const struct lane *l)
{
	return l->phase == LANE_CLOSED && !l->tidying;
}
