/*
 * From what was asked for to what encodes: the encoder with its model, the buckets and the recipe. Nothing is made on
 * disk, so whatever is wrong with model or options is refused first.
 */
#ifndef LATENTD_DAEMON_ENCODE_SETUP_H
#define LATENTD_DAEMON_ENCODE_SETUP_H

#include "config/recipe_options.h"
#include "daemon/recipe.h"
#include "encoder/encoder.h"

struct encode_setup {
	struct encoder *encoder;
	struct bucket_table *buckets;
	struct recipe recipe;
};

/* @threads of the encoder, 0: all cores. @setup all zero before; close it in any case. */
int encode_setup_open(const struct recipe_options *options, size_t threads,
		      struct encode_setup *setup, struct error *err);
void encode_setup_close(struct encode_setup *setup);

#endif
