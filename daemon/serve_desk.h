/*
 * The half of the server that runs on the loop: images are decoded by the confined workers, gathered by size, encoded
 * in batches, and whoever asked is told. HTTP is serve_http's.
 *
 *	serve_desk_open(&options, &desk, err)
 *	serve_desk_expect(desk)                 any thread: a request is coming in
 *	serve_desk_post(desk, job)              any thread: it is there; job->answered is called on the loop's thread
 *	serve_desk_unexpect(desk)               any thread: or it never will be
 *	after each turn of the loop: serve_desk_pump(desk)
 *	serve_desk_on_batch(desk, batch, failure)   a batch with batch->owner == desk has come back
 *	serve_desk_cancel(desk), serve_desk_close(desk)
 *
 * All images of one size are encoded together, whoever they are of: encoders give moments, and what each request wants of
 * them is made afterwards. When nothing else is coming in and no batch is under way, an image goes at once; else it waits
 * for others of its size, options.gather at most if the encoder could begin with it.
 */
#ifndef LATENTD_DAEMON_SERVE_DESK_H
#define LATENTD_DAEMON_SERVE_DESK_H

#include "daemon/decode_pool.h"
#include "daemon/engines.h"
#include "daemon/executor.h"
#include "daemon/memory_budget.h"
#include "daemon/serve_ask.h"
#include "daemon/serve_stats.h"

struct serve_desk;

struct serve_desk_options {
	sd_event *event;
	struct inbox *inbox;
	struct decode_pool *pool;
	struct memory_budget *memory; /* pool and budget may be shared */
	struct engine *engine;
	struct serve_stats *stats;
	size_t batch; /* images; 0: what the encoder likes */
	size_t max_pixels;
	uint64_t gather_ms;
};

/* Sides of images are multiples of it, or become so. */
size_t serve_model_step(const struct encode_model *model);

struct serve_item; /* one image of a job on its way */

/* One request. The memory is the caller's, and the desk's between post and answered. */
struct serve_job {
	struct task base;
	struct serve_desk *desk;
	/* What is to be encoded. */
	size_t n, width, height; /* of images the size shows when they are read */
	bool decode;		 /* the tensor is latents of so many values each */
	size_t latent_floats;
	struct serve_tensor tensor; /* or: */
	int image;		    /* descriptor of a file; -1: a tensor */
	struct hash128 content;	    /* of the image */
	int client;		    /* socket of who asked; -1: not looked at */
	int64_t deadline;	    /* monotonic ms: an encode begins before it, or never */
	void (*answered)(struct serve_job *job);
	/* The result: an error, or n latents or pictures. */
	struct error error;
	struct serve_latent *latents;
	/* The desk's own. */
	struct serve_item *items;
	size_t left, submitted;
	uint8_t *pixels; /* of an image */
	size_t reserved, file_bytes;
	struct image_header header;
	struct decode_ticket *ticket;
	bool expected;
	struct serve_job *next;
};

int serve_desk_open(const struct serve_desk_options *options, struct serve_desk **out,
		    struct error *err);
void serve_desk_expect(struct serve_desk *d);
void serve_desk_unexpect(struct serve_desk *d);
void serve_desk_post(struct serve_desk *d, struct serve_job *job);
/* Frees what the desk has made of @job; after answered. */
void serve_job_release(struct serve_job *job);

void serve_desk_pump(struct serve_desk *d);
void serve_desk_on_batch(struct serve_desk *d, struct encode_batch *batch,
			 const struct error *failure);
/* Jobs that were posted and are not answered. */
size_t serve_desk_jobs(const struct serve_desk *d);
/* Pixels given to encoders so far, for who shares them by that; it may be set forward. */
uint64_t serve_desk_served(const struct serve_desk *d);
void serve_desk_set_served(struct serve_desk *d, uint64_t pixels);
/*
 * Whoever has no image at an encoder is answered with ERR_TRANSIENT, and whoever comes; what encoders have is to be
 * cancelled there.
 */
void serve_desk_cancel(struct serve_desk *d);
/* When no job is left; or pool and encoders never give anything back any more. NULL is fine. */
void serve_desk_close(struct serve_desk *d);

#endif
