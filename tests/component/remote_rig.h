/*
 * A remote encoder, the endpoints that it is to use, and some images whose latents are known.
 *
 *	struct remote_rig *rig = remote_rig_new(n, latentd);
 *	rig->servers[0].script = ..., rig->options.retries = ...;       whatever differs
 *	remote_rig_open(rig);
 *	batch = remote_rig_encode(rig, 3, POSTERIOR_MEAN);
 *	assert_rig_mean(&batch->items[2], 2, ENCODER_REMOTE_PNG);
 *	encode_batch_free(batch);
 *	remote_rig_free(rig);
 */
#ifndef LATENTD_TESTS_REMOTE_RIG_H
#define LATENTD_TESTS_REMOTE_RIG_H

#include "tests/component/vae_endpoint.h"

#include "encoder/encoder_remote.h"
#include "encoder/pixel_planes.h"
#include "net/cost_guard.h"

enum {
	RIG_WIDTH = 72,
	RIG_HEIGHT = 40,
	RIG_LATENT_W = 9,
	RIG_LATENT_H = 5,
	RIG_PIXELS = RIG_LATENT_W * RIG_LATENT_H, /* of a latent */
	RIG_IMAGES = 8,
	RIG_SERVERS = 4,
	RIG_C = ENDPOINT_CHANNELS,
};

struct remote_rig {
	struct vae_endpoint servers[RIG_SERVERS];
	struct encoder_remote_endpoint endpoints[RIG_SERVERS];
	struct encoder_remote_options options;
	struct cost_guard guard; /* see remote_rig_guard() */
	struct encoder *encoder;
};

extern uint8_t remote_rig_images[RIG_IMAGES][RIG_HEIGHT][RIG_WIDTH][3];

/* Makes the images: setup of a group of tests. */
int remote_rig_setup(void **state);

/* With @n endpoints that are not started yet; foreign ones are declared. */
struct remote_rig *remote_rig_new(size_t n, bool latentd);
/* It has a guard of its own; before remote_rig_open(). */
void remote_rig_guard(struct remote_rig *rig, uint64_t requests_per_hour, uint64_t bytes_per_day);
void remote_rig_open(struct remote_rig *rig);
/* Closes what is open. */
void remote_rig_free(struct remote_rig *rig);

/* @n images: 0, 1, ..., and again from 0. */
struct encode_batch *remote_rig_batch(size_t n, enum posterior posterior);
void remote_rig_submit(struct remote_rig *rig, struct encode_batch *batch);
struct encode_batch *remote_rig_collect(struct remote_rig *rig);
/* All three. */
struct encode_batch *remote_rig_encode(struct remote_rig *rig, size_t n, enum posterior posterior);
struct encoder_remote_endpoint_view remote_rig_view(const struct remote_rig *rig, size_t i);

/* What a server's answer for image @i comes from, when it is sent so. */
void remote_rig_moments(size_t i, enum encoder_remote_send send, enum pixel_range range,
			float moments[2 * RIG_C * RIG_PIXELS]);
/* The item has the mean of image @i. */
void assert_rig_mean(const struct encode_item *item, size_t i, enum encoder_remote_send send);

/* Scripts of an endpoint; @arg points to the fault. */
enum endpoint_fault fault_first(void *arg, size_t n);
enum endpoint_fault fault_always(void *arg, size_t n);

#endif
