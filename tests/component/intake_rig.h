/*
 * A folder, a queue on its database thread, and an intake between them, for tests that turn the loop until
 * something is so.
 */
#ifndef LATENTD_TESTS_INTAKE_RIG_H
#define LATENTD_TESTS_INTAKE_RIG_H

#include "daemon/db_queue.h"
#include "daemon/intake.h"

#include "base/buffer.h"
#include "base/clock.h"

struct intake_rig {
	char *top, *dir; /* dir: the source, in top, which has the state too */
	sd_event *event;
	struct inbox *inbox;
	struct queue *behind; /* of the database thread */
	struct db *db;
	struct queue *q; /* the same, for the test */
	int64_t dataset;
	struct intake_source sources[2];
	struct intake_options options;
	struct intake *intake;
	/* what was reported */
	struct intake_state state; /* without its strings */
	struct intake_root roots[2];
	char why[512], watch_note[512];
	size_t states, jobs;
	struct buffer notes, text;
};

/* In memory, where that is possible. The source is there and empty; files that are made are old. */
int intake_rig_setup(void **state);
int intake_rig_teardown(void **state);
void intake_rig_start(struct intake_rig *rig);
/* Starts, and waits for the first scan. */
void intake_rig_scan(struct intake_rig *rig);
/* Closes the intake; nothing may be lost by that. */
void intake_rig_stop(struct intake_rig *rig);

/* Turns the loop once; fails the test when @deadline has passed. */
void intake_rig_turn(struct intake_rig *rig, int64_t deadline);

#define wait_until(rig, condition)                                                                 \
	do {                                                                                       \
		int64_t wait_until_ = clock_mono_ms() + 120000; /* of a busy machine */            \
		while (!(condition))                                                               \
			intake_rig_turn((rig), wait_until_);                                       \
	} while (0)

/* "available a.jpg|gone b.jpg|", by path; all states. */
const char *intake_rig_jobs(struct intake_rig *rig);
bool intake_rig_jobs_are(struct intake_rig *rig, const char *text);
const char *intake_rig_notes(struct intake_rig *rig);

char *intake_rig_path(const struct intake_rig *rig, const char *name);
/* Written and closed now. */
void intake_rig_write(const struct intake_rig *rig, const char *name, const char *bytes);
/* With all folders above it; its time is an hour ago, plus @seconds. */
void intake_rig_make(const struct intake_rig *rig, const char *name, const char *bytes,
		     int64_t seconds);
void intake_rig_unlink(const struct intake_rig *rig, const char *name);

#endif
