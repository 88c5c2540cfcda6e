/*
 * The inside of one `latentctl encode`: encode_run.c opens what lasts from its beginning to its end, and encode_loop.c what
 * encodes between.
 *
 *	encode_loop_open(run, err)         all above its "event" is open
 *	encode_loop_turn(run, err)         until nothing is left, or a signal or run->fatal ends it
 *	encode_loop_close(run)             in any case; the queue is the caller's again
 */
#ifndef LATENTD_DAEMON_ENCODE_LOOP_H
#define LATENTD_DAEMON_ENCODE_LOOP_H

#include "config/encode_options.h"
#include "daemon/dataset_open.h"
#include "daemon/decode_pool.h"
#include "daemon/encode_remote.h"
#include "daemon/encode_setup.h"
#include "daemon/output.h"
#include "daemon/pipeline.h"
#include "daemon/run_report.h"
#include "daemon/run_sources.h"
#include "daemon/sources.h"
#include "daemon/spending.h"

struct encode_run {
	const struct encode_options *options;
	struct output output;
	struct encode_setup setup;
	struct spending *spending;
	char *name; /* of the dataset */
	char owner[QUEUE_OWNER_SIZE];
	struct queue *queue;
	struct opened_dataset dataset;
	struct run_sources sources;
	char *stdin_archive; /* its path; NULL: none was asked for, or it is not there yet */
	struct sources_scanned scanned;

	sd_event *event;
	sd_event_source *on_int, *on_term;
	struct inbox *inbox;
	struct db *db;
	struct packer *packer;
	struct encode_driver *driver;
	struct encode_group encoders;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct pipeline *pipeline;
	struct run_report report;

	size_t new_shards; /* of this run */
	struct pipeline_counts counts;
	struct encode_remote_told told;
	int64_t looked_at; /* at endpoints */
	size_t left_out;   /* GPUs, since they failed */
	bool interrupted;
	bool untidy; /* interrupted before what was there was brought up to date */
	struct error fatal;
};

int encode_loop_open(struct encode_run *run, struct error *err);
int encode_loop_turn(struct encode_run *run, struct error *err);
void encode_loop_close(struct encode_run *run);
/* From any thread: whether the loop has taken a signal to end, which is pending no more. */
bool encode_loop_interrupted(void);

#endif
