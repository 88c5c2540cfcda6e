/*
 * What a run of `latentctl encode` says to a person: notes and outcomes while it goes on, on stderr, and its result,
 * on stdout.
 */
#ifndef LATENTD_DAEMON_RUN_REPORT_H
#define LATENTD_DAEMON_RUN_REPORT_H

#include "daemon/pipeline.h"
#include "daemon/progress.h"
#include "queue/queue.h"

struct run_report {
	struct progress *progress; /* NULL before there is something to count */
	size_t messages;	   /* of failed images so far */
	bool put_off;		   /* it was said that images wait for servers */
};

void run_report_note(struct run_report *report, const char *line);
/* What images wait for is said once. */
void run_report_waits(struct run_report *report, const char *why);
/* A line for each of the first failures; skipped images are only counted. */
void run_report_outcome(struct run_report *report, const char *path, enum outcome_kind kind,
			const char *reason, const char *message);

struct run_result {
	const char *output, *name; /* OUT and NAME */
	const struct queue_counts *queue;
	const struct pipeline_counts *pipeline;
	size_t new_shards;
	size_t left;	 /* images that the same command would go on with */
	size_t left_out; /* images of folders that this run was not given */
	size_t vanished; /* files that are no longer there and whose samples stay */
};

void run_report_result(const struct run_result *result);

#endif
