/*
 * Submit and collect around an engine that computes one image at a time in the calling thread:
 * submit puts the batch in a line, collect computes the oldest. Base of the backends that are such
 * engines.
 *
 *	struct my_encoder { struct encoder_blocking blocking; ... };
 *	encoder_blocking_init(&e->blocking, &my_ops, &caps, my_encode);
 *
 * The ops table takes the functions below as they are; name and close are the backend's.
 */
#ifndef LATENTD_ENCODER_ENCODER_BLOCKING_H
#define LATENTD_ENCODER_ENCODER_BLOCKING_H

#include "encoder/encoder.h"

#include <stdatomic.h>

#define ENCODER_BLOCKING_MAX 16

struct encoder_blocking;

/*
 * The moments [2C][h][w] of one item of @batch. ERR_DATA blames the image; any other error ends the
 * batch. It asks encoder_blocking_step() as often as it can.
 */
typedef int (*encoder_moments_fn)(struct encoder_blocking *e, const struct encode_batch *batch,
				  const struct encode_item *item, float *moments,
				  struct error *err);

/* The picture [height][width][3] of one item that is a latent; the same otherwise. */
typedef int (*encoder_picture_fn)(struct encoder_blocking *e, const struct encode_batch *batch,
				  const struct encode_item *item, float *picture,
				  struct error *err);

struct encoder_blocking {
	struct encoder base;
	struct encoder_caps caps;
	encoder_moments_fn moments;
	encoder_picture_fn picture; /* for the backend to set, where caps.decodes */
	struct ndarray scratch;	    /* of the moments of one item */
	struct encode_batch *line[ENCODER_BLOCKING_MAX];
	uint64_t collected; /* batches so far: the oldest in line has this number */
	/* Numbers of batches: the next one to be submitted, the first one that is not cancelled. */
	atomic_uint_fast64_t submitted, cancelled;
	atomic_uint_fast64_t ticks;
};

/* caps->max_in_flight is at most ENCODER_BLOCKING_MAX. */
void encoder_blocking_init(struct encoder_blocking *e, const struct encoder_ops *ops,
			   const struct encoder_caps *caps, encoder_moments_fn moments);
void encoder_blocking_release(struct encoder_blocking *e);

/*
 * For the engine, from any of its threads, after each piece of work: counts a tick; false if the batch
 * that is computed was cancelled: the engine returns ERR_TRANSIENT. @e: struct encoder_blocking.
 */
bool encoder_blocking_step(void *e);

const struct encoder_caps *encoder_blocking_caps(const struct encoder *e);
size_t encoder_blocking_capacity(struct encoder *e);
int encoder_blocking_submit(struct encoder *e, struct encode_batch *batch, struct error *err);
int encoder_blocking_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
			     struct error *err);
void encoder_blocking_cancel(struct encoder *e);
uint64_t encoder_blocking_ticks(const struct encoder *e);
int encoder_blocking_pollable(struct encoder *e);

#endif
