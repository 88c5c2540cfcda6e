/*
 * The source folders of a run: opened, numbered as the dataset knows them, scanned into the queue.
 *
 *	run_sources_open(&sources, paths, n, note, arg, err)     nothing is made
 *	run_sources_number(&sources, state, dataset name, err)
 *	run_sources_scan(&sources, queue, &options, &counts, err)
 *	run_sources_close(&sources)
 */
#ifndef LATENTD_DAEMON_RUN_SOURCES_H
#define LATENTD_DAEMON_RUN_SOURCES_H

#include "daemon/pipeline.h"
#include "daemon/scan.h"

struct run_sources {
	struct pipeline_root *roots;
	char **paths; /* absolute */
	size_t n;
	size_t others; /* folders that the dataset knows and this run was not given */
};

/* ERR_CONFIG: a folder is not there, or lies in another of them. @note: one line about what is odd. */
int run_sources_open(struct run_sources *s, const char *const *paths, size_t n,
		     void (*note)(void *arg, const char *line), void *arg, struct error *err);
int run_sources_number(struct run_sources *s, const char *state, const char *dataset,
		       struct error *err);
/* @options: root and first_rank are set for each source. ERR_CONFIG: there is no image at all. */
int run_sources_scan(struct run_sources *s, struct queue *queue, const struct scan_options *options,
		     struct enqueue_counts *counts, struct error *err);
/* Jobs of the other folders that wait for a run that is given them. */
int run_sources_left_out(const struct run_sources *s, struct queue *queue, int64_t dataset,
			 size_t *n, struct error *err);
void run_sources_close(struct run_sources *s);

#endif
