/*
 * What the desk's parts share; nobody else includes it.
 *
 *	serve_desk.c      jobs, lines of images of one size, batches
 *	serve_decode.c    from an image's file to its pixels
 */
#ifndef LATENTD_DAEMON_SERVE_DESK_PARTS_H
#define LATENTD_DAEMON_SERVE_DESK_PARTS_H

#include "daemon/serve_desk.h"

#include <stdatomic.h>

struct serve_item {
	struct serve_job *job;
	size_t index;
	int64_t since; /* that it could be encoded; monotonic ms */
	struct serve_item *next;
};

/* Images of one size that wait for a batch. */
struct size_line {
	size_t width, height, n;
	unsigned
	    needs; /* ENCODE_VALUES: tensors of floats, which not every encoder takes; ENCODE_DECODE */
	struct serve_item *first, *last;
};

struct job_list {
	struct serve_job *first, *last;
};

struct serve_desk {
	struct serve_desk_options options;
	sd_event_source *timer;
	atomic_size_t coming; /* requests on their way here, or being decoded */
	struct job_list to_decode;
	struct job_list for_memory; /* their worker waits */
	struct size_line *lines;
	size_t n_lines, lines_capacity;
	atomic_size_t jobs; /* posted and not answered */
	size_t batches;	    /* at encoders */
	uint64_t served;
	bool cancelled;
};

/* -- serve_desk.c ----------------------------------------------------------------------------------- */

/* @bytes of the shared budget instead of those that it has. */
void serve_job_reserve(struct serve_job *job, size_t bytes);
/* Why nothing more is done for @job: nobody waits, or not any longer; NULL: go on. */
const char *serve_job_pointless(const struct serve_job *job);
/* Its pixels or values are there: all images of @job stand in line. */
void serve_job_ready(struct serve_job *job);
/* Answers @job, none of whose images is anywhere. */
void serve_job_fail(struct serve_job *job, const struct error *why);
void serve_job_fail_transient(struct serve_job *job, const char *why);

/* -- serve_decode.c --------------------------------------------------------------------------------- */

/* @job, an image, becomes ready or fails. */
void serve_decode_job(struct serve_job *job);
void serve_decode_pump(struct serve_desk *d);
/* None is decoded any more, and no job is left here. */
void serve_decode_cancel(struct serve_desk *d);

#endif
