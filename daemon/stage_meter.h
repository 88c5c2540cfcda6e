/*
 * What each stage of the work does and how long it takes, counted where it happens, by whichever thread.
 *
 *	stage_meter_enter(m, STAGE_WRITE)	a worker of that stage is busy from now on
 *	...
 *	stage_meter_leave(m, STAGE_WRITE)
 *	stage_meter_did(m, STAGE_WRITE, 1, ns)	that was one image, and took so long
 *
 * Everywhere a meter that is NULL counts nothing.
 */
#ifndef LATENTD_DAEMON_STAGE_METER_H
#define LATENTD_DAEMON_STAGE_METER_H

#include <stddef.h>
#include <stdint.h>

enum work_stage {
	STAGE_NONE = -1,
	STAGE_OPEN,   /* of the file, and its caption: a thread for each dataset */
	STAGE_READ,   /* of the whole file, its hash and its header: a decode worker */
	STAGE_DECODE, /* the same worker */
	STAGE_RESIZE, /* the same worker, row by row as they are decoded */
	STAGE_ENCODE, /* an encoder */
	STAGE_WRITE,  /* records into the spool, and shards of them: a thread for each dataset */
	STAGES,
};

/* "open", "read", ... */
const char *stage_name(enum work_stage stage);

#define STAGE_BUCKETS 13
/* Upper bounds in seconds of all but the last, which has none. */
extern const double stage_bounds[STAGE_BUCKETS - 1];

struct stage_sums {
	uint64_t images;
	uint64_t busy_ns; /* of all workers, until now */
	/* Each for itself: images, of encoding batches; and how long they took together. */
	uint64_t buckets[STAGE_BUCKETS], took_ns;
	size_t active; /* workers now */
};

struct stage_meter;

struct stage_meter *stage_meter_new(void);
/* NULL is fine. */
void stage_meter_free(struct stage_meter *m);

void stage_meter_enter(struct stage_meter *m, enum work_stage stage);
void stage_meter_leave(struct stage_meter *m, enum work_stage stage);
/* @images left the stage after @ns in it. */
void stage_meter_did(struct stage_meter *m, enum work_stage stage, uint64_t images, uint64_t ns);
/* @ns for which a worker was in @from belonged to @to. */
void stage_meter_shift(struct stage_meter *m, enum work_stage from, enum work_stage to,
		       uint64_t ns);
void stage_meter_sums(struct stage_meter *m, enum work_stage stage, struct stage_sums *out);

#endif
