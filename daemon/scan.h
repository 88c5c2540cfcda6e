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
	/* True: the file may still be written: it is noted that it is there, and nothing else. May be NULL. */
	bool (*is_young)(void *arg, uint32_t root, const struct source_entry *entry);
	/* After each page, with what all of them were. True: no further. May be NULL. */
	bool (*on_page)(void *arg, const struct enqueue_counts *counts);
	void *arg;
};

#define SCAN_STOPPED 2			       /* of scan_source: on_page said so */
#define SCAN_LAST    (((uint64_t)1 << 40) - 1) /* the position behind all that a scan finds */

/* Some entries on their way into the queue. */
struct scan_page;

struct scan_page *scan_page_new(void);
/* NULL is fine. */
void scan_page_free(struct scan_page *page);
/* Copies @entry if it is of the part. The page must not be full. */
void scan_page_add(struct scan_page *page, const struct scan_options *options,
		   const struct source_entry *entry, uint64_t position);
bool scan_page_is_full(const struct scan_page *page);
/* Enqueues what is in it; it is empty then, also after an error. */
int scan_page_flush(struct scan_page *page, struct queue *queue, int64_t dataset,
		    struct enqueue_counts *counts, struct error *err);
void scan_page_clear(struct scan_page *page);

/* Lists @source to its end and enqueues everything; adds to *counts. */
int scan_source(struct queue *queue, struct source *source, const struct scan_options *options,
		struct enqueue_counts *counts, struct error *err);

#endif
