/*
 * Which jobs a scan has met: one bit a job, in the memory of the process that scans. Of the backends that keep jobs in a database.
 *
 *	open_scan_begin(&list, dataset, roots, n, last, err)
 *	open_scans_met(&list, dataset, job)	of each file that is enqueued
 *	open_scan_has(scan, job)		at its end
 *	open_scan_close(open_scan_of(&list, dataset))
 */
#ifndef LATENTD_QUEUE_OPEN_SCAN_H
#define LATENTD_QUEUE_OPEN_SCAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct open_scan { /* at most one for each dataset */
	struct open_scan *next;
	int64_t dataset;
	uint32_t *roots;
	size_t n_roots;
	bool all_roots;
	int64_t last;  /* the youngest job when it began: later ones were met by it */
	uint8_t *bits; /* of jobs 1 to last: met */
	size_t met;
};

/*
 * Of the sources @roots; NULL: of all. @last: the youngest job that there is. ERR_BUG: one of the dataset is open. ERR_IO:
 * no queue has had so many jobs.
 */
int open_scan_begin(struct open_scan **list, int64_t dataset, const uint32_t *roots, size_t n,
		    int64_t last, struct error *err);
/* The link to the dataset's; to NULL: there is none. */
struct open_scan **open_scan_of(struct open_scan **list, int64_t dataset);
/* Unlinks and frees it. */
void open_scan_close(struct open_scan **at);
void open_scans_free(struct open_scan **list);
/* Where no scan of the dataset is open nothing happens. */
void open_scans_met(struct open_scan **list, int64_t dataset, int64_t job);
bool open_scan_has(const struct open_scan *scan, int64_t job);

#endif
