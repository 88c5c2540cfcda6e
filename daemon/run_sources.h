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
	size_t
	    unread; /* folders, archives and manifests that could not be read, or not all of them */
	bool (*stop)(void *arg); /* set before it is opened: as in struct source_folder_options */
	struct source_choice choice;		 /* likewise */
	struct source_manifest_options manifest; /* likewise */
	struct source_remote_options remote;	 /* likewise */
	const char *masks;			 /* likewise */
	size_t waiting; /* archives and manifests that are still being written */
	bool moved_device;
};

/* What is made of files that are no longer there. */
struct deletion_policy {
	bool remove;	   /* their samples die too */
	bool all;	   /* however many they are */
	bool may_be_empty; /* finding no image at all is no error */
};

struct sources_scanned {
	struct enqueue_counts found;
	struct scan_counts vanished;
	/* NULL, or why nothing was done about the files that are no longer there. */
	const char *not_believed;
	bool
	    waits; /* nothing is concluded: an archive is being written, and its members were not looked at */
	bool open; /* samples are to be removed, by run_sources_remove() */
	int64_t dataset;
};

/*
 * ERR_CONFIG: a folder is not there, or lies in another of them. @captions: scans look for them. @note: one line about
 * what is odd.
 */
int run_sources_open(struct run_sources *s, const char *const *paths, size_t n, bool captions,
		     void (*note)(void *arg, const char *line), void *arg, struct error *err);
int run_sources_number(struct run_sources *s, const char *state, const char *dataset,
		       struct error *err);
/*
 * @options: root and first_rank are set for each source. Files that are no longer there are gone, unless that looks
 * like a disk that is not there: a folder or an archive cannot be read, is on another device than the last time, or more than a
 * tenth of the files (and more than 10) vanished at once. ERR_CONFIG: there is no image at all. SCAN_STOPPED: by
 * options->on_page; nothing is concluded.
 */
int run_sources_scan(struct run_sources *s, struct queue *queue, const struct scan_options *options,
		     const struct deletion_policy *policy, struct sources_scanned *out,
		     struct error *err);
/*
 * Removes the samples of files that are no longer there, after the run: a file that was only moved has been copied from
 * its old sample by then. Does nothing where the scan did not leave that to do.
 */
int run_sources_remove(struct queue *queue, int64_t dataset, struct sources_scanned *scanned,
		       struct error *err);
/* Jobs of the other folders that wait for a run that is given them. */
int run_sources_left_out(const struct run_sources *s, struct queue *queue, int64_t dataset,
			 size_t *n, struct error *err);
void run_sources_close(struct run_sources *s);

#endif
