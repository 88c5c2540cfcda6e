#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include "daemon/text_lines.h"

#include <stdio.h>
#include <string.h>

enum { HANGS_AFTER_MS = 3000 };

/* There are images for encoders here, which have them, or leave them to other nodes. */
static bool wants_encoder(const struct lane *l)
{
	return l->idle_since == 0 || lane_yields(l);
}

enum dataset_state lane_state(const struct lane *l)
{
	if (l->phase == LANE_CLOSED && l->why.code != ERR_NONE)
		return DATASET_BLOCKED;
	if (l->paused || l->drained || l->stopping)
		return DATASET_PAUSED;
	if (l->phase != LANE_OPEN)
		return l->phase == LANE_CLOSING && !l->reopen ? DATASET_BLOCKED : DATASET_STARTING;
	if (l->seen.missing > 0 || l->held || lane_lacks_counts(l))
		return DATASET_BLOCKED;
	if (lane_rests(l) && lane_has_work(l))
		return l->over_quota ? DATASET_BLOCKED : DATASET_PAUSED;
	if (!wants_encoder(l))
		return DATASET_IDLE;
	if (engine_rests(l->engine))
		return DATASET_PAUSED;
	if (lane_is_shut(l))
		return DATASET_BLOCKED;
	return l->seen.scans == 0 ? DATASET_SCANNING : DATASET_RUNNING;
}

/* It ends for so long that something hangs. */
static bool hangs(const struct lane *l)
{
	return l->phase == LANE_CLOSING && l->closing && !intake_has_ended(l->intake) &&
	       clock_mono_ms() - l->closing_since >= HANGS_AFTER_MS;
}

/* Hours that keep it from encoding what it has: its own, or its encoders'. NULL: none do. */
static const struct work_hours *hours_of(const struct lane *l)
{
	if (l->phase != LANE_OPEN)
		return NULL;
	if (l->hours.rests)
		return lane_has_work(l) ? &l->hours : NULL;
	return wants_encoder(l) ? engine_rests(l->engine) : NULL;
}

/* Its settings forbid it. NULL: they do not. */
static char *why_it_rests(const struct lane *l)
{
	const struct work_hours *hours = hours_of(l);
	cleanup_free char *why = NULL;

	if ((l->over_quota || l->over_requests) && lane_has_work(l))
		return lane_limits_why(l);
	if (!hours || hours == &l->hours)
		return hours ? work_hours_why(hours) : NULL;
	why = work_hours_why(hours);
	return xasprintf("no encoder of it encodes now: %s", why);
}

/* It goes on by itself after a while, or somebody has to say that it is mended. */
static char *why_closed(const struct lane *l)
{
	cleanup_free char *name = text_shell_word(l->config->name);

	if (l->why.code == ERR_NONE)
		return NULL;
	if (l->retry_at != INT64_MAX)
		return xstrdup(l->why.message);
	return xasprintf("%s; when that is mended: `latentctl resume --name %s`", l->why.message,
			 name);
}

static char *why_of(const struct lane *l)
{
	char *rests = NULL;

	if (hangs(l))
		return xstrdup("it cannot end: a source folder does not answer");
	if (l->held)
		return xasprintf("%s: it goes on by itself when there is room", l->held);
	if (l->phase == LANE_CLOSED || l->phase == LANE_CLOSING)
		return why_closed(l);
	if (lane_lacks_counts(l))
		return xasprintf("its images cannot be counted, which its quota waits for: %s",
				 l->count_failure.message);
	if (l->drained)
		return xstrdup("drained: resume it to go on");
	if (l->seen.not_believed)
		return xasprintf("%llu file%s no longer there, and %s: nothing is done about that",
				 (unsigned long long)l->seen.deletions,
				 l->seen.deletions == 1 ? " is" : "s are", l->seen.not_believed);
	if (lane_is_shared(l) && (l->node_drains || lane_waits_for_nodes(l)))
		return lane_node_why(l);
	rests = l->seen.why ? NULL : why_it_rests(l);
	if (rests)
		return rests;
	if (!l->seen.why && wants_encoder(l) && lane_is_shut(l))
		return xasprintf("no endpoint can encode it now: its images %s; `latentctl doctor` "
				 "asks each and says what to do",
				 lane_is_shared(l) ? "are left to other nodes" : "wait");
	if (l->seen.why && l->seen.missing > 0)
		return xasprintf("%s: it is waited for; mount it, or mend its path in the settings",
				 l->seen.why);
	return l->seen.why ? xstrdup(l->seen.why) : NULL;
}

/* On the clock that people have. */
static int64_t retry_at(const struct lane *l)
{
	const struct work_hours *hours = hours_of(l);

	if (!l->over_quota && !l->held && !l->paused && !l->stopping) {
		if (l->over_requests && lane_has_work(l))
			return l->requests_at;
		if (hours)
			return hours->resumes_at;
	}
	if (l->phase != LANE_CLOSED || l->why.code == ERR_NONE || l->retry_at == INT64_MAX ||
	    l->held || l->stopping)
		return 0;
	return clock_wall_ms() + l->retry_at - clock_mono_ms();
}

void lane_tick_eta(struct lane *l, int64_t now)
{
	enum dataset_state state = lane_state(l);
	uint64_t kept = l->pipeline ? pipeline_counts(l->pipeline)->kept : 0;

	eta_tick(&l->eta, now, l->encoded + l->failed + l->skipped + kept,
		 state == DATASET_SCANNING || state == DATASET_RUNNING);
}

static uint64_t left_of(const struct lane *l)
{
	return l->counts.jobs[JOB_AVAILABLE] + l->counts.jobs[JOB_RETRYABLE] +
	       l->counts.jobs[JOB_RUNNING];
}

static struct eta_range eta_of(const struct lane *l)
{
	uint64_t left = left_of(l);
	struct eta_range range = {-1, -1, -1};

	/* Before the first scan nobody knows what there is. */
	if (left > 0 || l->seen.scans > 0)
		eta_forecast(&l->eta, left, &range);
	return range;
}

static struct service_watch watch_of(const struct lane *l)
{
	struct service_watch w = {.mode = WATCH_OFF, .folders = l->seen.folders_watched};

	if (l->seen.folders_polled > 0)
		w.mode = WATCH_POLLING;
	else if (l->seen.folders_watched > 0)
		w.mode = WATCH_INOTIFY;
	w.note = l->seen.watch_note ? xstrdup(l->seen.watch_note) : NULL;
	return w;
}

void lane_status(struct lane *l, struct service_dataset *out)
{
	const struct dataset_config *c = l->config;

	out->name = xstrdup(c->name);
	out->output = xasprintf("%s/%s", c->output.path, c->name);
	out->state_folder = xstrdup(l->shared->state->path);
	out->queue_id = l->queue_id;
	out->recipe_id = l->recipe_id[0] ? xstrdup(l->recipe_id) : NULL;
	out->vae = xstrdup(c->recipe.vae);
	out->sources = xcalloc(c->n_sources, sizeof(*out->sources));
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct source_config *source = &c->sources[i];
		struct service_source *s = &out->sources[out->n_sources++];

		s->path = xstrdup(source->path);
		s->fetch = source->fetch;
		s->cache = source->fetch.cache ? xstrdup(source->fetch.cache) : NULL;
		s->fetch.cache = s->cache;
		s->symlinks = source->options.symlinks;
	}
	l->news = false;
	l->shown = lane_state(l);
	out->state = l->shown;
	out->why = why_of(l);
	out->retry_at = retry_at(l);
	out->priority = l->priority;
	out->counts = l->counts;
	out->images_per_second = rate_per_second(&l->rate, clock_mono_ms());
	out->eta = eta_of(l);
	out->encoded = l->encoded;
	out->counting = l->counting || l->count_again;
	out->failed = l->failed;
	out->skipped = l->skipped;
	out->scan = (struct service_scan){.began_at = l->seen.scan_began_at,
					  .duration_ms = l->seen.scan_ms,
					  .files = l->seen.scan_files,
					  .running = l->phase == LANE_OPEN &&
						     l->seen.phase == INTAKE_SCANNING,
					  .running_files = l->seen.running_files};
	out->watch = watch_of(l);
	out->last_shard = l->last_shard ? xstrdup(l->last_shard) : NULL;
	out->last_shard_at = l->last_shard_at;
	out->shard_bytes_written = l->shard_bytes_written;
	out->deletions = l->seen.deletions;
}

/* -- what it says of itself --------------------------------------------------------------------------- */

/* Its sources that are there are done with; others have not come. */
static bool lacks_sources(const struct lane *l)
{
	return l->phase == LANE_OPEN && l->seen.missing > 0 && !l->held && !l->paused &&
	       clock_mono_ms() - l->seen.missing_since >= LANE_PATIENCE_MS &&
	       (l->drained || (l->seen.missing == l->config->n_sources &&
			       pipeline_finished(l->pipeline) && packer_pending(l->packer) == 0));
}

/* All that its quota allows is done. */
static bool lacks_room(const struct lane *l)
{
	return l->phase == LANE_OPEN && l->over_quota && !l->held && !l->paused && !l->counting &&
	       !l->count_again && lane_has_work(l) && pipeline_finished(l->pipeline) &&
	       packer_pending(l->packer) == 0;
}

enum lane_hope lane_hope(const struct lane *l)
{
	if (l->phase == LANE_CLOSED && l->taken)
		return LANE_TAKEN;
	if ((l->phase == LANE_CLOSED && l->retry_at == INT64_MAX) || lacks_sources(l) ||
	    lacks_room(l))
		return LANE_LOST;
	return LANE_HOPE;
}

const char *lane_name(const struct lane *l)
{
	return l->config->name;
}

const char *lane_output(const struct lane *l)
{
	return l->config->output.path;
}

int lane_priority(const struct lane *l)
{
	return l->priority;
}

void lane_note_shares(struct lane *l)
{
	const struct pipeline_counts *c = pipeline_counts(l->pipeline);

	l->had[LANE_ENCODERS] = l->had_before[LANE_ENCODERS] + c->pixels;
	l->had[LANE_DECODERS] = l->had_before[LANE_DECODERS] + c->drawn;
}

uint64_t lane_had(const struct lane *l, enum lane_share of)
{
	return l->had[of];
}

void lane_set_had(struct lane *l, enum lane_share of, uint64_t pixels)
{
	l->had_before[of] += pixels - l->had[of];
	l->had[of] = pixels;
}

static uint64_t left_to_encode(const struct lane *l)
{
	enum dataset_state state = lane_state(l);

	return state == DATASET_RUNNING || state == DATASET_SCANNING ? left_of(l) : 0;
}

void lane_load(const struct lane *l, struct lane_load *out)
{
	if (l->phase != LANE_OPEN)
		return;
	out->lanes++;
	pipeline_queues(l->pipeline, out->queues);
	out->queues[STAGE_WRITE] += packer_waiting(l->packer);
	out->waits_for_memory += pipeline_waits_for_memory(l->pipeline);
	out->behind += packer_is_behind(l->packer);
	out->scanning = out->scanning || lane_state(l) == DATASET_SCANNING;
	out->left += left_to_encode(l);
}

bool lane_needs(const struct lane *l, size_t index)
{
	return l->phase == LANE_OPEN && left_to_encode(l) > 0 && engine_has(l->engine, index);
}

bool lane_is_busy(const struct lane *l)
{
	return l->pipeline && !pipeline_finished(l->pipeline);
}

bool lane_stores(struct lane *l, int64_t now)
{
	bool busy = l->packer && packer_works(l->packer);
	uint64_t steps = l->packer ? packer_steps(l->packer) : 0;

	return watchdog_gets_on(&l->stored, steps + atomic_load(&l->store_waits), busy,
				WATCHDOG_DISK_STUCK_MS, now);
}

int64_t lane_queue_id(const struct lane *l)
{
	return l->queue_id;
}
