/*
 * Turns batches of pixels into latents. The one interface that does not block: a device or many
 * requests must be kept busy.
 *
 *	encoder_cpu_open(&options, &encoder, err);
 *	const struct encoder_caps *caps = encoder_caps(encoder);
 *	encoder_submit(encoder, batch, err)          0 taken, ENCODER_FULL: collect first
 *	encoder_collect(encoder, timeout_ms, &done, err)   0 a finished batch, ENCODER_NOTHING
 *	encoder_close(encoder);
 *
 * One driver thread per encoder makes all calls except cancel and ticks. A batch belongs to the encoder from
 * submit until collect hands it back, with result or error in each item: an image that fails does
 * not fail its neighbours. What fails as a whole (lost device, no memory) is the return value of
 * collect, with the batch handed back all the same and that error in each item that was not
 * finished.
 *
 * The functions below check both ways: what a backend gets is a batch it can compute, what the
 * caller gets is in each item a finite latent of the right shape or an error.
 */
#ifndef LATENTD_ENCODER_ENCODER_H
#define LATENTD_ENCODER_ENCODER_H

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/ndarray.h"
#include "vae/posterior.h"

#include <stdbool.h>

#define ENCODER_FULL	1
#define ENCODER_NOTHING 1

struct encode_item {
	void *owner; /* the caller's, not touched */
	/* One of the two, the caller's memory, [height][width][3]: */
	const uint8_t *pixels; /* sRGB */
	const float *values;   /* what a VAE takes, [-1, 1] where it is of pixels, all finite */
	/* (of a decode: the latent as the decoder takes it, [channels][h][w]) */
	struct hash128 content; /* of the source file: seeds a draw and the fake encoder */
	/*
	 * The result, float32 [channels][h][w], of a decode the picture around [-1, 1], [height][width][3]; whoever
	 * holds the batch releases or takes it.
	 */
	struct ndarray latent;
	bool in_float32;    /* it was not finite in the encoder's precision, and was repeated */
	struct error error; /* or why there is none: ERR_DATA blames the image */
};

struct encode_batch {
	size_t width, height; /* of every image in it */
	bool decode;	      /* latents to pictures: posterior, seed and tile count for nothing */
	enum posterior posterior;
	uint64_t seed; /* for draws */
	size_t tile;   /* pixels of diffusers' tiles, kl_tiles.h; 0: images are encoded whole */
	const char *engine; /* of the encoder that has it: lives as long as that one */
	void *owner;	    /* the caller's, not touched */
	int64_t given_at;   /* the caller's too: when it was submitted */
	bool here;	    /* the caller's too: endpoints are not to have it ... */
	bool sent;	    /* ... and whether they had it */
	size_t n;
	struct encode_item *items;
};

struct encoder_caps {
	size_t latent_channels;
	size_t downscale;     /* pixels per latent along one axis */
	size_t best_batch;    /* images that fill it well */
	size_t max_in_flight; /* batches between submit and collect */
	size_t max_images;    /* in them together, or a few more; 0: as many as they have */
	bool mean, moments, draw;
	bool values;	    /* takes items that have values instead of pixels */
	bool tiles;	    /* can encode in diffusers' tiles */
	bool decodes;	    /* takes batches to be decoded */
	const char *engine; /* for the record: "cpu/onednn-2.6.3 float32"; the encoder owns it */
};

struct encoder;

/* Bytes on the device that it computes on. */
struct encoder_memory {
	uint64_t used;	/* weights and maps, as of the last image; 0: not known */
	uint64_t limit; /* that they may take; 0: not known */
};

struct encoder_ops {
	const char *name; /* "cpu", "fake" */
	const struct encoder_caps *(*caps)(const struct encoder *e);
	/* How many more batches submit takes now. */
	size_t (*capacity)(struct encoder *e);
	int (*submit)(struct encoder *e, struct encode_batch *batch, struct error *err);
	/*
	 * Waits at most @timeout_ms (-1: as long as it takes) for a batch. A backend whose pollable
	 * is -1 computes here, however long that takes. A failure comes with the batch that it ended.
	 */
	int (*collect)(struct encoder *e, int timeout_ms, struct encode_batch **done,
		       struct error *err);
	/*
	 * From any thread: batches in flight come back soon, in the middle of an image too, unfinished
	 * items with ERR_TRANSIENT. What is submitted afterwards is computed.
	 */
	void (*cancel)(struct encoder *e);
	/* From any thread: grows with every piece of work that is done. */
	uint64_t (*ticks)(const struct encoder *e);
	/* Readable when collect has something; -1 if it always has what submit took. */
	int (*pollable)(struct encoder *e);
	/* From any thread. NULL: it has no device here. */
	struct encoder_memory (*memory)(const struct encoder *e);
	void (*close)(struct encoder *e);
};

struct encoder {
	const struct encoder_ops *ops;
};

const struct encoder_caps *encoder_caps(const struct encoder *e);
size_t encoder_capacity(struct encoder *e);
/*
 * ERR_CONFIG: a size that is not a multiple of downscale, a posterior, tiles or a decode that this encoder cannot
 * give, values where it takes none. ERR_BUG: an empty batch, an item without pixels and values, with both, or with a
 * latent or error from before. The batch stays the caller's then.
 */
int encoder_submit(struct encoder *e, struct encode_batch *batch, struct error *err);
/* *done is the batch that is finished or failed; NULL with ENCODER_NOTHING. */
int encoder_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
		    struct error *err);
void encoder_cancel(struct encoder *e);
/*
 * For a watchdog: while a batch is in flight and this stands still for seconds, the encoder hangs. A
 * piece of work takes some 50 ms on a free machine; vae_engine_*.c name exceptions.
 */
uint64_t encoder_ticks(const struct encoder *e);
int encoder_pollable(struct encoder *e);
/* From any thread; false: it has no device here, or does not say. */
bool encoder_memory(const struct encoder *e, struct encoder_memory *out);
/* NULL is fine. Nothing may be in flight. */
void encoder_close(struct encoder *e);

/* A batch of @n empty items; free releases the latents, not the pixels. NULL is fine. */
struct encode_batch *encode_batch_new(size_t n);
void encode_batch_free(struct encode_batch *batch);

#endif
