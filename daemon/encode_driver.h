/*
 * The thread that drives one encoder: batches in, batches back through the inbox, the encoder kept as
 * full as it takes.
 *
 *	encode_driver_open(inbox, encoder, on_batch, arg, &driver, err)
 *	if (encode_driver_room(driver) > 0)
 *		encode_driver_submit(driver, batch)
 *	on_batch(arg, batch, failure)        on the loop's thread; failure->code is ERR_NONE or why the encoder
 *	                                     as a whole failed, every item then has an error too
 *	encode_driver_close(driver)          cancels; every batch is in the inbox when it returns
 */
#ifndef LATENTD_DAEMON_ENCODE_DRIVER_H
#define LATENTD_DAEMON_ENCODE_DRIVER_H

#include "daemon/executor.h"
#include "encoder/encoder.h"

typedef void (*encode_driver_fn)(void *arg, struct encode_batch *batch,
				 const struct error *failure);

struct encode_driver;

/* What not every encoder can. */
#define ENCODE_TILES  1u /* batches with a tile size */
#define ENCODE_VALUES 2u /* items with values instead of pixels */
#define ENCODE_DECODE 4u /* to be decoded */
#define ENCODE_HERE   8u /* not by endpoints */

/* What several encoders compute on (the cores, a GPU): so much in flight in all of them together. Of the loop's thread. */
struct encode_device {
	size_t limit, in_flight;   /* batches */
	size_t max_images, images; /* in them; 0: no limit */
	uint64_t busy_ns;   /* something was in flight, until busy_since where something is */
	int64_t busy_since; /* monotonic ns */
};

/* As much as one driver of @encoder takes. */
void encode_device_init(struct encode_device *device, const struct encoder *encoder);
/* For so long something was in flight, since the beginning. */
uint64_t encode_device_busy_ns(const struct encode_device *device, int64_t now);

/* The encoder stays the caller's and is used by the driver's thread alone until close. */
int encode_driver_open(struct inbox *inbox, struct encoder *encoder, encode_driver_fn on_batch,
		       void *arg, struct encode_driver **out, struct error *err);
/* From now on @device, which outlives the driver, limits it too. */
void encode_driver_share(struct encode_driver *d, struct encode_device *device);
/* Its encoder takes more than before, or less: its caps say so. */
void encode_driver_resized(struct encode_driver *d);
/*
 * Batches that submit takes now: enough that one waits while others are encoded. 0 while the encoder has nothing to
 * compute with (encoder_remote.h); what it has not begun then comes back with ERR_TRANSIENT.
 */
size_t encode_driver_room(const struct encode_driver *d);
/* It takes no batch until it is told otherwise; what it has it finishes. Of the loop's thread. */
void encode_driver_rest(struct encode_driver *d, bool rests);
/* Whether it rests, or its encoder has nothing to compute with. */
bool encode_driver_is_shut(const struct encode_driver *d);
/* Whether its encoder takes batches that need this (ENCODE_...). */
bool encode_driver_can(const struct encode_driver *d, unsigned needs);
/*
 * ns from one batch to the next that it gives back while it has some, smoothed; of one that had nothing before, from when it
 * was given. 0: it has given none back yet.
 */
int64_t encode_driver_pace(const struct encode_driver *d);
/* Batches submitted and not yet back. */
size_t encode_driver_in_flight(const struct encode_driver *d);
void encode_driver_submit(struct encode_driver *d, struct encode_batch *batch);
/*
 * What is in flight is cancelled, whether the encoder has it yet or not: items that are not finished have
 * ERR_TRANSIENT. Its `on_batch` comes through the inbox. From the loop's thread. NULL is fine.
 */
void encode_driver_cancel(struct encode_driver *d);
/* Joins the thread. Call after the last on_batch, or never look at the inbox again. NULL is fine. */
void encode_driver_close(struct encode_driver *d);

#endif
