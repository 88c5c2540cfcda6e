/*
 * What the parts of a lane share; nobody else includes it.
 *
 *	lane.c           its life: phases, what happens in each, commands
 *	lane_asked.c     what people ask of it
 *	lane_open.c      opening: model, output, queue, store, spool; and the closing of it
 *	lane_counts.c    its jobs, counted
 *	lane_limits.c    its quotas and its hours
 *	lane_node.c      what it leaves to other nodes
 *	lane_settle.c    what who replaced shards left
 *	lane_tidy.c      rewriting and indexes, when there is nothing to encode
 *	lane_upkeep.c    gc and compact, when people ask for them
 *	lane_status.c    what it says of itself, to people and to the service
 */
#ifndef LATENTD_DAEMON_LANE_PARTS_H
#define LATENTD_DAEMON_LANE_PARTS_H

#include "daemon/dataset_open.h"
#include "daemon/eta.h"
#include "daemon/intake.h"
#include "daemon/lane.h"
#include "daemon/pipeline.h"
#include "daemon/service_watchdog.h"
#include "daemon/spending.h"

#include <stdatomic.h>

/* Small shards are merged so often, and for the first time so long after the lane was opened. */
#define LANE_SWEEP_EVERY_MS ((int64_t)24 * 60 * 60 * 1000)
#define LANE_SWEEP_FIRST_MS ((int64_t)60 * 60 * 1000)

enum lane_phase {
	LANE_CLOSED,
	LANE_LOADING, /* waits for its model */
	LANE_OPENING, /* on the background thread */
	LANE_OPEN,
	LANE_CLOSING, /* waits for what is under way */
};

/* The last state of the intake, as far as it is needed here. */
struct lane_intake {
	enum intake_phase phase;
	uint64_t scans, scan_files, running_files, young, folders_watched, folders_polled,
	    deletions;
	int64_t scan_began_at, scan_ms;
	size_t missing;
	int64_t missing_since; /* monotonic */
	bool removal_waits;
	uint64_t removal_asked; /* after so many scans */
	char *why, *watch_note, *not_believed;
};

/* Times are monotonic milliseconds. */
struct lane {
	const struct lane_shared *shared;
	const struct dataset_config *config;
	const struct dataset_config
	    *next_config; /* when the background thread does not use the other */
	bool reopen;	  /* it must close first */
	enum lane_phase phase;
	struct error why; /* it closed because of that */
	int64_t retry_at; /* when it opens again; INT64_MAX: not by itself */
	unsigned
	    failures; /* in a row: nothing was stored in between, and it was not open for long */
	int64_t opened_at;
	bool opened_before;
	bool taken;	/* by another process: its output */
	bool reopening; /* as soon as it is open, it closes and opens again */
	/* what people asked for */
	int priority;
	bool paused, draining, drained, stopping;
	bool intake_off; /* for the drain: every folder was looked through */
	unsigned drain_looks;
	bool drain_counted; /* `counts` are asked for since nothing was left to do */
	char *held;	    /* nothing new is begun: why */
	struct work_hours hours;
	bool over_quota;
	struct spending *spending; /* images that endpoints encode for it */
	bool spending_known;	   /* what was spent before */
	bool duty;		   /* this node looks through the sources, and writes the indexes */
	bool through;		   /* whoever does has looked through all of them */
	bool node_drains;	   /* somebody asked this node to */
	int64_t deaths;		   /* of nodes, as node_pulse.deaths */
	int64_t deaths_settled;	   /* their orphans were looked for at that number */
	bool settling;		   /* on the background thread */
	bool settling_rewrites;	   /* likewise: see lane_settle.c */
	int64_t settled_at;
	int64_t polled_at;	     /* jobs that other nodes made available */
	bool told;		     /* that there are some, since it last asked */
	int64_t told_paid;	     /* see may_ask() */
	enum pipeline_claims claims; /* of a shared one: fewer while nothing encodes here */
	int64_t unable_since;	     /* nothing encodes here since then; 0: something does */
	uint64_t left_available;     /* jobs, when the end of a drain last asked for some */
	struct queue_counts indexed; /* of the catalog, when the indexes were last made */
	bool over_requests;
	int64_t requests_at; /* while it is: when some may be sent again, wall clock */

	struct engine *engine;
	struct recipe recipe;
	struct resolutions resolutions;
	struct output *output;
	struct opened_dataset dataset;
	struct packer *packer;
	struct pipeline *pipeline;
	struct intake *intake;
	struct lane_intake seen;
	bool sources_came; /* some, since it was opened: before, nothing of it can be claimed */
	struct pipeline_root
	    *roots; /* one for each source of the configuration; root used if its source is open */
	uint32_t *roots_came; /* intake_root.came of those that are open */
	bool closing;	      /* its parts have been told, then */
	int64_t closing_since;

	int64_t queue_id; /* of the dataset; 0: not known yet */
	char recipe_id[RECIPE_ID_SIZE];
	struct queue_counts counts;
	bool counting, count_again, counted; /* under way, wanted, known */
	struct error count_failure;	     /* while they are not known: why */
	int64_t counted_at;
	bool news; /* people have not been shown what happened since */
	enum dataset_state shown;
	uint64_t had[LANE_SHARES], had_before[LANE_SHARES]; /* pixels; before this pipeline */
	uint64_t encoded, failed, skipped;		    /* since it was made */
	struct rate rate;
	struct eta eta;
	char *last_shard;
	int64_t last_shard_at; /* wall clock */
	uint64_t shard_bytes_written;

	struct watchdog_mark stored;
	int64_t removal_asked_at;
	int64_t idle_since; /* 0: it is not idle */
	int64_t flushed_at; /* when little was sealed because nothing more came */
	/*
	 * Of a dataset whose vanished files lose their samples: a file may have vanished while its record waited for
	 * its shard, where scans leave it alone.
	 */
	bool sealed_unseen;
	uint64_t scan_asked;		  /* for the last time, when so many were through */
	uint64_t scans_wanted;		  /* so many must be through */
	bool tidy_wanted;		  /* shards hold samples that are dead, or other captions */
	bool index_wanted;		  /* the catalog is another one than the indexes' */
	struct lane_upkeep *upkeep;	  /* what people asked for, oldest first */
	bool tidying;			  /* on the background thread, that or this */
	atomic_bool interrupted;	  /* that is to end soon */
	atomic_uint_fast64_t store_waits; /* how often its store was waited for */
	int64_t tidied_at;
	int64_t swept_at;  /* retired files were looked at, small shards merged */
	int64_t upkeep_at; /* likewise of one that nodes share, monotonic; 0: not yet */
};

/* -- lane.c ----------------------------------------------------------------------------------------- */

void lane_log(const struct lane *l, enum log_event event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What is paused, held or resting is so in its parts, too. */
void lane_apply_pause(struct lane *l);
/* What people have not been shown yet. */
void lane_news(struct lane *l);
/* It closes because of @why, and opens again by itself unless that is beyond it. */
void lane_fail(struct lane *l, const struct error *why);

/* Nodes share its queue. */
bool lane_is_shared(const struct lane *l);

/* -- lane_node.c ------------------------------------------------------------------------------------ */

/* Another node looks through its sources. */
bool lane_follows(const struct lane *l);
/* Once a second, while it is open. */
void lane_tick_node(struct lane *l, int64_t now);
/* Leaves its images to other nodes while no encoder here can have them: once a second, and when it opens. */
void lane_look_at_encoders(struct lane *l);
/* It does so, and as far as is known there are some. */
bool lane_yields(const struct lane *l);
/* No encoder here can have its images now: those that could do not rest, but fail or ask for time. */
bool lane_is_shut(const struct lane *l);
/* Its indexes lag behind what all nodes have put into the catalog. */
bool lane_index_lags(const struct lane *l);
/* Other nodes have images that are in no shard yet; the one with the duty waits for them at the end. */
bool lane_awaits_nodes(const struct lane *l);
/*
 * At the end of a drain: images that other nodes had may have been given back since it last asked for some, and are
 * asked for. True: the drain goes on. What stays available, of folders that are no longer configured, is asked for once.
 */
bool lane_got_back(struct lane *l);
/* Nothing else keeps its drain from ending. */
bool lane_waits_for_nodes(const struct lane *l);
/* Why it drains, or waits for other nodes; to be freed. */
char *lane_node_why(const struct lane *l);

/* -- lane_orphans.c --------------------------------------------------------------------------------- */

/* Once a second, while it is open. */
void lane_tick_orphans(struct lane *l);
/* Shards of nodes that died are still to be looked for. */
bool lane_orphans_pend(const struct lane *l);

/* -- lane_settle.c ---------------------------------------------------------------------------------- */

/* Once a second, while it is open. */
void lane_tick_settle(struct lane *l, int64_t now);

/* -- lane_open.c ------------------------------------------------------------------------------------ */

/* The model is there: everything else, on the background thread. */
void lane_begin_open(struct lane *l);
/* Nothing is under way any more. */
void lane_end(struct lane *l);
/* The sources that can be read are now those that the intake found. */
void lane_take_roots(struct lane *l, const struct intake_state *state);

/* -- lane_counts.c ---------------------------------------------------------------------------------- */

/* Where they are wanted, and the last time was long enough ago. */
void lane_ask_counts(struct lane *l);

/* -- lane_limits.c ---------------------------------------------------------------------------------- */

/* Its settings keep it from beginning anything now; where there is a quota, also before it is known what is used. */
bool lane_rests(const struct lane *l);
/* It has a quota, and its images could not be counted yet. */
bool lane_lacks_counts(const struct lane *l);
/* As far as is known there are images that it could begin. */
bool lane_has_work(const struct lane *l);
/* Looks at clock, bytes and requests: once a second, and after other settings. */
void lane_look_at_limits(struct lane *l);
/* Of its settings: what its spending is held against. */
struct cost_limits lane_cost_limits(const struct dataset_config *config);
/* Why it rests, to be freed; NULL: it does not. */
char *lane_limits_why(const struct lane *l);

/* -- lane_status.c ---------------------------------------------------------------------------------- */

enum dataset_state lane_state(const struct lane *l);
/* What encoders and decoders had of it since the last time. */
void lane_note_shares(struct lane *l);
/* Once a second, whatever its phase. */
void lane_tick_eta(struct lane *l, int64_t now);

/* -- lane_tidy.c ------------------------------------------------------------------------------------ */

/* Whatever is wanted and can be done now. The lane is open and idle. */
void lane_tidy(struct lane *l);

/* -- lane_upkeep.c ---------------------------------------------------------------------------------- */

/* After each turn: begins what waits, or its next piece, if the background thread may change shards now. */
void lane_pump_upkeep(struct lane *l);
/* Asks for what is due in a dataset that nodes share, if this one has the duty. The lane is open and idle. */
void lane_tick_upkeep(struct lane *l, int64_t now);
/* Some has not ended: shards are its own until it has. */
bool lane_has_upkeep(const struct lane *l);
void lane_forget_upkeep(struct lane *l);

#endif
