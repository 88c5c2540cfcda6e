/*
 * One dataset of the daemon, from its folders to its shards: an intake that finds files, a pipeline that makes
 * latents of them, a packer that makes shards of those; and what keeps the output tidy when there is nothing to do.
 *
 *	lane = lane_new(&shared, config)
 *	after each turn of the loop: lane_pump() of all, lane_decode() of all; once a second lane_tick(lane)
 *	lane_pause(lane, true)  lane_drain(lane)  lane_seal(lane)  lane_scan(lane) ...
 *	lane_stop(lane)                 what is encoded stays in the spool, everything else goes back to the queue
 *	lane_is_closed(lane)            then lane_free(lane)
 *
 * A lane opens by itself and goes on by itself: where a disk, a model or a folder fails it, it closes, says why, and
 * opens again after a while. Other lanes do not notice. Opening and tidying happen on the background thread,
 * everything else on the loop's.
 */
#ifndef LATENTD_DAEMON_LANE_H
#define LATENTD_DAEMON_LANE_H

#include "config/daemon_config.h"
#include "daemon/db.h"
#include "daemon/decode_pool.h"
#include "daemon/engines.h"
#include "daemon/log_event.h"
#include "daemon/memory_budget.h"
#include "daemon/outputs.h"
#include "daemon/service_status.h"

/* Jobs are counted at most so often: that is a few rows, but on the database thread. */
#define LANE_COUNT_MS 100
/* A source that is not there may be mounted soon: but nobody waits for it longer than that. */
#define LANE_PATIENCE_MS 10000

/* What the lanes of a daemon have in common; outlives them. */
struct lane_shared {
	sd_event *event;
	struct inbox *inbox;
	struct db *db;
	struct executor *background;
	struct queue *queue;	 /* of the background thread */
	struct outputs *outputs; /* of the background thread */
	const struct state_folder *state;
	const char *owner;
	struct decode_pool *pool;
	struct memory_budget *memory;
	struct engines *engines;
	struct stage_meter *stages;
	const char *part;  /* "2/3" of every dataset; NULL: as configured */
	int64_t poll_ms;   /* how often an idle one asks what other nodes made available */
	int64_t upkeep_ms; /* how often one that nodes share is merged and collected; 0: never */
	/* One line for people. */
	void (*log)(void *arg, enum log_event event, const char *dataset, const char *line);
	void *arg;
};

struct json_t;
struct lane;
struct upkeep_order;

/* @config lives as long as the lane, or until lane_reconfigure(). */
struct lane *lane_new(const struct lane_shared *shared, const struct dataset_config *config);
/* Only once it is closed. NULL is fine. */
void lane_free(struct lane *l);

void lane_pump(struct lane *l);
/* Begins images, as far as decode workers have room. */
void lane_decode(struct lane *l);
/* What takes time to come: once a second. */
void lane_tick(struct lane *l);

const char *lane_name(const struct lane *l);
/* The folder of its output, as configured. */
const char *lane_output(const struct lane *l);
int lane_priority(const struct lane *l);
/* What lanes share. */
enum lane_share {
	LANE_ENCODERS,
	LANE_DECODERS, /* those of a dataset of large files are busy for long with few images */
	LANE_SHARES
};
/* Pixels that these had of it: who had least goes first. */
uint64_t lane_had(const struct lane *l, enum lane_share of);
/* It starts again from here: a lane that was idle has saved nothing up. */
void lane_set_had(struct lane *l, enum lane_share of, uint64_t pixels);
/* Its packer gets on, or has nothing to do. Once a second. */
bool lane_stores(struct lane *l, int64_t now);
/* What keeps it from going on, and what waits where; adds to *out. */
struct lane_load {
	size_t queues[STAGES];	 /* images */
	size_t lanes;		 /* that are open */
	size_t waits_for_memory; /* images */
	size_t behind;		 /* lanes whose packer has all it may have */
	uint64_t left;		 /* images to do, of lanes that work on them */
	bool scanning;
};
void lane_load(const struct lane *l, struct lane_load *out);
/* It works on images that the encoder at @index of the configuration may encode. */
bool lane_needs(const struct lane *l, size_t index);
/* It has images under way. */
bool lane_is_busy(const struct lane *l);

/*
 * What this node was told: whether it looks through the sources and writes the indexes (another node does otherwise), and whether
 * whoever does has been through; @drains: it begins nothing new, and seals what it has.
 */
void lane_set_duty(struct lane *l, bool mine, bool through, bool drains);
/* As node_pulse.deaths, of a lane with a duty: it looks for what the dead have left; the number for which it has done so,
 * -1 where it has no duty. */
void lane_note_deaths(struct lane *l, int64_t deaths);
int64_t lane_deaths_settled(const struct lane *l);
/* It is open and takes part (drained, only in the duty that it has); how many images it has encoded. */
bool lane_works(const struct lane *l);
/* It is drained and has the duty: another node that takes part is to have it. */
bool lane_passes_duty(const struct lane *l);
uint64_t lane_encoded(const struct lane *l);
/* A drain is under way. */
bool lane_drains(const struct lane *l);
/* For others: it has looked through all sources. */
bool lane_has_scanned(const struct lane *l);

/* Other settings. With @reopen it closes, and opens with them; without, only priority and pause differ. */
void lane_reconfigure(struct lane *l, const struct dataset_config *config, bool reopen);
void lane_set_priority(struct lane *l, int priority);
void lane_pause(struct lane *l, bool paused);
/* Nothing new is begun in it; @why is said of it: NULL ends that. Not a pause by people. */
void lane_hold(struct lane *l, const char *why);
void lane_scan(struct lane *l);
void lane_seal(struct lane *l);
/*
 * Takes no new files once it has looked through all folders, encodes and seals everything; lane_is_drained() then. Images whose
 * servers have not been reached for LANE_PATIENCE_MS are left.
 */
void lane_drain(struct lane *l);
bool lane_is_paused(const struct lane *l);
/* A lane that is paused, or held, or lacks a source, does not get there. */
bool lane_is_drained(const struct lane *l);
/* There are jobs again that were done with (a retry). */
void lane_again(struct lane *l);
/* Closes and opens again, so that queue, shards and spool are compared anew; a drain goes on after that. */
void lane_reopen(struct lane *l);
/* Another node has made something available. */
void lane_told(struct lane *l);
/* How many files vanish by it; 0: none wait for that. */
uint64_t lane_accept_deletions(struct lane *l);
/*
 * What a person gives is kept in lane_folder(), OUT/NAME, on the background thread; then the lane is told: lane_give_captions(),
 * {key: text or null}, NULL: those of files count again; lane_give_arrays(). NULL with *err: it is not open now, @captions
 * are given and it has none, or arrays are, and nodes share it.
 */
const char *lane_folder(const struct lane *l, bool captions, struct error *err);
void lane_give_captions(struct lane *l, struct json_t *list);
void lane_give_arrays(struct lane *l);
/*
 * gc or compact, in whatever phase it is, behind those that were asked for before: what is encoded meanwhile waits in the spool for
 * its shard. Sizes that are 0 are those of its settings. *id, to know it by, rises. ERR_CONFIG: nodes share it; ERR_TRANSIENT: too many wait.
 */
int lane_upkeep(struct lane *l, const struct upkeep_order *order, int64_t *id, struct error *err);
/* Those that wait and the last ones that ended, as GET .../upkeep says it (docs/API.md). The caller has the reference. */
struct json_t *lane_upkeep_json(const struct lane *l);
void lane_stop(struct lane *l);
bool lane_is_closed(const struct lane *l);
/*
 * Whether a drain that has not ended is not to be waited for, because only others can help it: a failure that needs a person
 * (ERR_CONFIG and the like), an output that another process has (LANE_TAKEN), a quota that is used up, or nothing to do but
 * in sources that have not been there for LANE_PATIENCE_MS.
 */
enum lane_hope { LANE_HOPE, LANE_LOST, LANE_TAKEN };
enum lane_hope lane_hope(const struct lane *l);

/* Of its dataset in the queue; 0: not known yet. */
int64_t lane_queue_id(const struct lane *l);
/* Jobs have changed: lane_counts() follows soon, LANE_COUNT_MS after the last time at the earliest; a second, of a shared queue. */
void lane_count(struct lane *l);
/* Of its jobs, a moment ago. */
void lane_counts(const struct lane *l, struct queue_counts *out);
/* lane_status() would show something else than the last time, or will when it has been pumped again. */
bool lane_has_news(const struct lane *l);
/* How people see it; strings are made for @out. */
void lane_status(struct lane *l, struct service_dataset *out);

#endif
