/*
 * Engines on a loop of their own, and what comes of batches.
 */
#ifndef LATENTD_TESTS_COMPONENT_ENGINES_RIG_H
#define LATENTD_TESTS_COMPONENT_ENGINES_RIG_H

#include "daemon/db.h"
#include "daemon/engines.h"
#include "tests/testing.h"

struct engines_rig {
	sd_event *event;
	struct inbox *inbox;
	struct engines *engines;
	size_t changes, batches, images, lost; /* lost: items that are to be tried again */
	bool may_fail;
	struct error failure; /* of the last batch */
	char left_out[512];
	size_t back;
	char engine[64];     /* of the last batch */
	struct queue *queue; /* where it is kept what is spent; NULL: nowhere */
	struct db *db;
	struct error err;
};

void rig_open(struct engines_rig *f, const struct encoder_config *configs, size_t n,
	      int64_t idle_ms);
/* The same, with a database. */
void rig_open_spending(struct engines_rig *f, const struct encoder_config *configs, size_t n);
void rig_close(struct engines_rig *f);
/* Turns the loop once; fails the test where nothing happens for half a minute. */
void rig_turn(struct engines_rig *f);
/* Until nothing is in flight or being opened. */
void rig_settle(struct engines_rig *f);
/* People see of no encoder that something of it failed. */
void rig_assert_no_failure(struct engines_rig *f);
/* Of this VAE, when its load has ended, well or not. */
struct engine *rig_wanted(struct engines_rig *f, const char *vae);
/* Of this recipe, ready. */
struct engine *rig_load(struct engines_rig *f, const struct recipe_options *recipe);
/* Images of 16 x 16 pixels. */
struct encode_batch *rig_batch(size_t n);
/* There must be room. */
void rig_submit(const struct encode_group *g, struct encode_batch *batch);
/* NULL: the plugin that computes on the processor stands for the GPU's. */
void rig_use_plugin(const char *path);

#endif
