/*
 * Brings what a source has into the queue.
 */
#ifndef LATENTD_DAEMON_SCAN_H
#define LATENTD_DAEMON_SCAN_H

#include "queue/queue.h"
#include "source/source.h"

struct scan_options {
	int64_t dataset;
	uint32_t
	    root; /* the source's number in the dataset; tells equal paths of two sources apart */
	bool shuffled; /* rank by a seeded hash of the key; else in order of the scan */
	uint64_t seed;
	/* only images whose key falls into part (0 .. parts - 1); parts 0 or 1: all */
	uint32_t part, parts;
	bool captions;	     /* what the source says of them counts; it must look for them */
	bool need_captions;  /* an image without one waits for it */
	uint64_t first_rank; /* for the order of the scan: ranks of this source begin here */
};

/* Lists @source to its end and enqueues everything; adds to *counts. */
int scan_source(struct queue *queue, struct source *source, const struct scan_options *options,
		struct enqueue_counts *counts, struct error *err);

#endif
