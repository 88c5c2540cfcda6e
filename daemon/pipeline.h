/*
 * The volatile half of a run: claims jobs, has them decoded, gathers batches by bucket, has those encoded, and
 * hands the latents to the packer. What does not become a latent is settled with its reason.
 *
 * When an image's hash is known, before anything is decoded: a changed file whose content is the one that it had
 * is kept; content that is stored in any dataset of this output under the same recipe is copied; content that is
 * under way waits for that one.
 *
 * A job that several owners died with (QUEUE_SUSPECT_CRASHES) runs alone, after all others.
 *
 *	pipeline_decode_options(&pool_options), decode_pool_open(...)
 *	pipeline_open(event, &options, &pipeline, err)
 *	loop: sd_event_run(event, ...); pipeline_pump(pipeline);
 *	   or, where several share encoders and workers: pipeline_encode_more() of all, pipeline_decode_more() of all
 *	pipeline_finished(pipeline)     nothing is left to claim and nothing is under way
 *	pipeline_set_roots(pipeline, roots, n)   other sources from now on, or none
 *	pipeline_again(pipeline)        there may be something to claim again
 *	pipeline_pause(pipeline, true)  no more claims; what is being decoded or encoded is finished, the rest released
 *	pipeline_set_claims(pipeline, PIPELINE_GIVES_BACK)   others shall have what no encoder here has yet
 *	pipeline_stop(pipeline)         no more claims; what is being encoded is finished, the rest released
 *	pipeline_close(pipeline)
 *
 * Files are opened on a thread of their own: where a file system hangs, so does its dataset, and nobody else.
 *
 * Memory stays under the budget: what a decode will need is reserved from the header before it starts; an image that
 * needs more than the whole budget runs alone.
 */
#ifndef LATENTD_DAEMON_PIPELINE_H
#define LATENTD_DAEMON_PIPELINE_H

#include "daemon/db.h"
#include "daemon/decode_pool.h"
#include "daemon/encode_group.h"
#include "daemon/memory_budget.h"
#include "daemon/packer.h"
#include "net/cost_guard.h"
#include "source/source.h"

struct json_t;
struct pipeline;

/* Where a job's file is: job.root says which. */
struct pipeline_root {
	uint32_t root;
	struct source *source;
};

struct pipeline_options {
	struct inbox *inbox;
	struct db *db;
	struct packer *packer;
	struct decode_pool *pool;     /* opened with pipeline_decode_options() */
	struct memory_budget *memory; /* pool and budget may be shared */
	struct encode_group *encoders;
	size_t best_batch; /* images that fill one of them well */
	const struct recipe *recipe;
	struct resolutions resolutions;	   /* the tables stay the caller's */
	const struct pipeline_root *roots; /* copied */
	size_t n_roots;
	int64_t dataset;
	bool captions;
	bool masks; /* read with each file, for the packer */
	bool alpha; /* files are kept open until the packer has drawn their alpha */
	const struct json_t *
	    given; /* captions that count instead of those of files: caption_list.h; NULL: none. The caller may
		     * change it, on the loop's thread */
	/* When only images of servers that cannot be reached are left, or such as are not due yet, it is finished after so long; 0: never. */
	int64_t patience_ms;
	/* Images that endpoints encode for it, by requests, are spent here, and none beyond its limits; NULL: no limits. */
	struct cost_guard *guard;
	bool drop_duplicates;	    /* skip them, instead of giving each a record of its own */
	struct stage_meter *stages; /* where its work is counted; NULL: nowhere */
	/* A job that ended otherwise than encoded, in one line; @kind as settled. */
	void (*on_outcome)(void *arg, const char *path, enum outcome_kind kind, const char *reason,
			   const char *message);
	void (*on_fatal)(void *arg, const struct error *why);
	void *arg;
};

/* What did not need the encoder. */
struct pipeline_counts {
	size_t copied, kept;
	size_t again;	 /* encoded or copied, after a change of the file */
	uint64_t pixels; /* given to encoders so far */
	uint64_t drawn;	 /* what decode workers had, in pixels of the files and of the targets */
};

/* Handlers and time limits of a decode pool for pipelines. */
void pipeline_decode_options(struct decode_pool_options *options);
int pipeline_open(sd_event *event, const struct pipeline_options *options, struct pipeline **out,
		  struct error *err);
/* Does whatever can be done now; call after each turn of the loop. */
void pipeline_pump(struct pipeline *p);
/* The same in two parts: all but the beginning of images, and that. */
void pipeline_encode_more(struct pipeline *p);
void pipeline_decode_more(struct pipeline *p);
bool pipeline_finished(const struct pipeline *p);
/* It finished without images that are due later. */
bool pipeline_gave_up(const struct pipeline *p);
/* Images are under way; otherwise it is finished, or asks for some. */
bool pipeline_has_images(const struct pipeline *p);
/* Copies @roots; their sources live as long as they are among the roots, and are then closed by pipeline_close_source(). */
void pipeline_set_roots(struct pipeline *p, const struct pipeline_root *roots, size_t n);
/* @source is no root's any more: it is closed when no file of it is being opened. */
void pipeline_close_source(struct pipeline *p, struct source *source);
/* For so long nothing could be reached, and images wait for servers; what is there is encoded. */
bool pipeline_reaches_nothing(const struct pipeline *p, int64_t ms);
void pipeline_again(struct pipeline *p);
void pipeline_pause(struct pipeline *p, bool paused);
/* What it claims while others want the same images, and nothing may be there to encode them. */
enum pipeline_claims {
	PIPELINE_CLAIMS,
	PIPELINE_CLAIMS_ONE, /* at a time, with which an encoder is tried */
	PIPELINE_CLAIMS_NONE,
	PIPELINE_GIVES_BACK /* and all that no encoder has, uncharged */
};
/* PIPELINE_CLAIMS at first. */
void pipeline_set_claims(struct pipeline *p, enum pipeline_claims claims);
/* options.patience_ms from now on. */
void pipeline_set_patience(struct pipeline *p, int64_t ms);
void pipeline_stop(struct pipeline *p);
/* An encode driver's answer, to whichever pipeline the batch is of. */
void pipeline_on_batch(struct encode_batch *batch, const struct error *failure);
/* The packer has it durable. */
void pipeline_on_encoded(struct pipeline *p, const struct packed *what);
/* The packer could not make a record of it. */
void pipeline_on_rejected(struct pipeline *p, const struct packed *what, const char *path,
			  const struct error *why);
const struct pipeline_counts *pipeline_counts(const struct pipeline *p);
/* Adds the images that wait for each stage, or are in it. */
void pipeline_queues(const struct pipeline *p, size_t queues[STAGES]);
/* Images whose decode waits for memory. */
size_t pipeline_waits_for_memory(const struct pipeline *p);
/* Once it is finished; or its pool and encoders never give anything back any more. NULL is fine. */
void pipeline_close(struct pipeline *p);

#endif
