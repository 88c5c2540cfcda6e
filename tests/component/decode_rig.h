/*
 * A decode_pool on a loop of its own, and images that remember how they ended.
 */
#ifndef LATENTD_TESTS_COMPONENT_DECODE_RIG_H
#define LATENTD_TESTS_COMPONENT_DECODE_RIG_H

#include "daemon/decode_pool.h"
#include "image/bucket.h"
#include "tests/testing.h"

/* SHOT_SEEN: the header is the end, where only headers are asked for. */
enum shot_end { SHOT_RUNNING, SHOT_SKIPPED, SHOT_SEEN, SHOT_DONE, SHOT_FAILED, SHOT_RETURNED };

/* One image on its way through the pool. */
struct shot {
	/* what the test wants */
	bool skip; /* when its header is known */
	bool hold; /* no placement until rig_place */
	/* what came */
	enum shot_end end;
	size_t ends; /* must be 1 */
	struct hash128 content;
	uint64_t bytes;
	struct image_header header;
	struct decode_ticket *ticket;
	struct bucket_placement placement;
	uint8_t *pixels; /* [target_height][target_width][3] */
	struct error why;
	struct rig *rig;
};

struct rig {
	sd_event *event;
	struct decode_pool *pool;
	struct bucket_table *buckets;
	struct image_policy policy;
	struct stage_meter *stages; /* of the pool; at its end nobody may be at work */
	size_t descriptors;	    /* of this process before anything was opened */
};

/* @program: in the build folder. 64 x 64 targets; the limits are IMAGE_LIMITS_DEFAULT but for @max_file. */
struct rig_options {
	const char *program;
	enum decode_mode mode;
	size_t workers;
	size_t images_per_process;
	bool require_confinement;
	uint64_t time_limit_ms; /* 0: a minute */
	size_t max_file;	/* 0: default */
	enum bucket_rule rule;
	size_t resolution; /* 0: 64 */
};

/* The result of decode_pool_open. */
int rig_open(struct rig *rig, const struct rig_options *options, struct error *err);
/* Of lying_worker, square targets; all workers are ready. */
void rig_open_liar(struct rig *rig, size_t workers, uint64_t time_limit_ms);
/* Closes and checks that no descriptor and no process is left. */
void rig_close(struct rig *rig);
/* Turns the loop once; fails the test where nothing happens for half a minute. */
void rig_turn(struct rig *rig);
/* Waits for room in a worker and starts @shot with these bytes. */
void rig_start(struct rig *rig, struct shot *shot, const void *data, size_t size);
/* The same, of a shot with .hold, and waits for its header. */
void rig_start_held(struct rig *rig, struct shot *shot, const void *data, size_t size);
/* The same, and waits for its end. */
void rig_shoot(struct rig *rig, struct shot *shot, const void *data, size_t size);
void rig_wait(struct rig *rig, struct shot *shot);
/* An image of bytes @byte, by lying_worker, must be decoded. */
void rig_works(struct rig *rig, char byte);
void rig_place(struct shot *shot);
void shot_release(struct shot *shot);

/* "BUILD/NAME", to be freed. */
char *rig_program(const char *name);

#define cleanup_shot cleanup_with(shot_release)

#endif
