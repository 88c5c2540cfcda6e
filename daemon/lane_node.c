/*
 * A dataset that several nodes work on. All of them encode and seal; one looks through the sources and writes the
 * indexes: the duty is a row in the queue (queue_nodes.h), which another node takes over when its holder dies.
 */
#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/clock.h"

enum {
	/* Four questions at once, and one in five seconds on average. */
	TOLD_EVERY_MS = 5000,
	TOLD_AT_ONCE = 4,
	/* Endpoints come and go: what is claimed is kept for so long. */
	KEEP_MS = 5000,
};

bool lane_is_shared(const struct lane *l)
{
	return l->shared->state->node != NULL;
}

bool lane_follows(const struct lane *l)
{
	return lane_is_shared(l) && !l->duty;
}

bool lane_works(const struct lane *l)
{
	/* What is drained looks through nothing any more: no duty for it. */
	return l->phase == LANE_OPEN && (!l->drained || l->duty);
}

bool lane_passes_duty(const struct lane *l)
{
	return l->phase == LANE_OPEN && l->drained && l->duty;
}

uint64_t lane_encoded(const struct lane *l)
{
	return l->encoded;
}

bool lane_drains(const struct lane *l)
{
	return l->draining && !l->drained;
}

bool lane_has_scanned(const struct lane *l)
{
	return l->duty && l->phase == LANE_OPEN && l->seen.scans > 0 &&
	       l->seen.phase != INTAKE_SCANNING && l->seen.missing == 0;
}

void lane_set_duty(struct lane *l, bool mine, bool through, bool drains)
{
	bool change = drains != l->node_drains;

	/* It has become drained since it asked for it: another node takes it when its time is over. */
	if (l->drained && !l->duty)
		mine = false;
	if (mine != l->duty) {
		lane_log(l, LOG_PLAIN_INFO,
			 mine ? "this node looks through its sources from now on"
			      : "another node looks through its sources");
		l->duty = mine;
		l->through = false; /* until it is said anew */
		if (mine && l->intake_off) {
			l->intake_off = false; /* the drain goes on with its own look */
			lane_apply_pause(l);
		}
		if (l->intake)
			intake_set_following(l->intake, !mine);
	}
	l->through = through;
	l->node_drains = drains;
	if (change)
		lane_apply_pause(l);
	lane_news(l);
	if (mine) /* what others have sealed */
		lane_count(l);
}

bool lane_index_lags(const struct lane *l)
{
	const struct queue_counts *now = &l->counts, *then = &l->indexed;

	/* Ids tell of one that came while another went. */
	return l->duty && l->counted && l->phase == LANE_OPEN &&
	       (now->shards != then->shards || now->samples != then->samples ||
		now->last_shard != then->last_shard);
}

bool lane_awaits_nodes(const struct lane *l)
{
	return l->duty && l->counts.jobs[JOB_RUNNING] + l->counts.jobs[JOB_ENCODED] > 0;
}

bool lane_got_back(struct lane *l)
{
	uint64_t available = l->counts.jobs[JOB_AVAILABLE];

	if (!l->duty || available <= l->left_available)
		return false;
	l->left_available = available;
	l->drain_counted = false;
	l->idle_since = 0;
	pipeline_again(l->pipeline);
	return true;
}

bool lane_waits_for_nodes(const struct lane *l)
{
	return l->draining && l->idle_since != 0 && lane_awaits_nodes(l) &&
	       packer_unsealed(l->packer) == 0;
}

char *lane_node_why(const struct lane *l)
{
	if (l->node_drains)
		return xasprintf("node %s drains: `latentctl nodes --resume %s`",
				 l->shared->state->node, l->shared->state->node);
	return xasprintf(
	    "waits for %llu images that other nodes have and that are in no shard "
	    "yet: `latentctl nodes` shows where",
	    (unsigned long long)(l->counts.jobs[JOB_RUNNING] + l->counts.jobs[JOB_ENCODED]));
}

/* What not every encoder can, ENCODE_... */
static unsigned needs_of(const struct lane *l)
{
	return l->recipe.tile > 0 ? ENCODE_TILES : 0;
}

bool lane_is_shut(const struct lane *l)
{
	return l->phase == LANE_OPEN && engine_is_shut(l->engine, needs_of(l));
}

bool lane_yields(const struct lane *l)
{
	return l->claims >= PIPELINE_CLAIMS_NONE && lane_has_work(l);
}

static enum pipeline_claims claims_of(struct lane *l, int64_t now)
{
	bool rests = engine_rests(l->engine) != NULL;

	if (!lane_is_shared(l) || !(rests || lane_is_shut(l))) {
		l->unable_since = 0;
		return PIPELINE_CLAIMS;
	}
	if (l->unable_since == 0)
		l->unable_since = now;
	if (!rests && encode_group_pick(engine_group(l->engine), needs_of(l)))
		return PIPELINE_CLAIMS_ONE; /* an endpoint may be tried */
	return now - l->unable_since < KEEP_MS ? PIPELINE_CLAIMS_NONE : PIPELINE_GIVES_BACK;
}

void lane_look_at_encoders(struct lane *l)
{
	enum pipeline_claims claims = claims_of(l, clock_mono_ms());

	if (claims == l->claims)
		return;
	l->claims = claims;
	pipeline_set_claims(l->pipeline, claims);
	if (claims < PIPELINE_CLAIMS_NONE && !l->drained)
		pipeline_again(l->pipeline);
	lane_count(l);
	lane_news(l);
}

/*
 * Nodes are told of each transaction that makes images available: of one image where they come one by one, and a
 * thousand idle nodes hear it.
 */
static bool may_ask(struct lane *l, int64_t now)
{
	if (now - l->told_paid < TOLD_EVERY_MS)
		return false;
	if (now - l->told_paid > TOLD_EVERY_MS * TOLD_AT_ONCE)
		l->told_paid = now - TOLD_EVERY_MS * TOLD_AT_ONCE;
	l->told_paid += TOLD_EVERY_MS;
	return true;
}

void lane_told(struct lane *l)
{
	l->told = true;
	if (l->phase == LANE_OPEN)
		lane_tick_node(l, clock_mono_ms());
}

void lane_tick_node(struct lane *l, int64_t now)
{
	bool due = now - l->polled_at >= l->shared->poll_ms;

	if (!lane_is_shared(l))
		return;
	lane_tick_orphans(l);
	lane_tick_settle(l, now);
	if (l->drained) /* what comes is for others: nothing would seal it here */
		return;
	/* One that is busy asks by itself, but perhaps it has just done so for the last time. */
	if (!due && (!l->told || lane_is_busy(l) || !may_ask(l, now)))
		return;
	l->polled_at = now;
	l->told = false;
	if (due) /* what other nodes have done, for whoever asks this one */
		lane_count(l);
	if (l->node_drains && packer_unsealed(l->packer) > 0)
		packer_flush(l->packer);
	else if (!lane_is_busy(l))
		pipeline_again(l->pipeline);
}
