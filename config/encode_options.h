/*
 * What `latentctl encode` is asked to do, from its command line.
 */
#ifndef LATENTD_CONFIG_ENCODE_OPTIONS_H
#define LATENTD_CONFIG_ENCODE_OPTIONS_H

#include "config/cuda_options.h"
#include "config/dataset_options.h"
#include "config/encoder_limits.h"
#include "config/fetch_options.h"
#include "config/output_options.h"
#include "config/recipe_options.h"
#include "config/remote_options.h"
#include "config/source_options.h"
#include "config/store_options.h"

struct encode_options {
	const char *out;
	const char *name;  /* NULL: made from model, resolution and recipe */
	const char *state; /* NULL: below XDG_STATE_HOME */
	struct recipe_options recipe;
	struct output_options output;
	struct store_options store;
	enum on_duplicate duplicates;
	enum on_delete on_delete;
	bool on_delete_all;
	struct source_options source;
	struct fetch_options fetch;
	uint64_t host_patience; /* ms */
	const char *part;	/* "2/3" (dataset_part_parse); NULL: all */
	bool no_captions;
	const char *masks; /* masks_where() */
	size_t jobs;	   /* 0: all cores */
	struct encoder_limits encoder;
	const char *device;		/* "cpu" (also NULL), "cuda:1" */
	struct cuda_limits cuda;	/* all but the device: encode_options_cuda() */
	struct setting_texts endpoints; /* none: this machine encodes */
	const char *token_file;		/* for all of them */
	struct remote_options remote;
	size_t memory; /* bytes of pixels and latents in flight */
	bool quiet;
	bool help;
};

extern const struct setting encode_settings[];
extern const size_t n_encode_settings;

/* The endpoints as a configuration has them; @endpoints is room for them. */
struct remote_config encode_options_remote(const struct encode_options *options,
					   struct remote_endpoint endpoints[SETTING_TEXTS_MAX]);
/* False: it is not on a GPU. */
bool encode_options_cuda(const struct encode_options *options, struct cuda_limits *out);
/* What no single option can tell: what is missing, and what does not go together. ERR_CONFIG. */
int encode_options_check(const struct encode_options *options, size_t n_sources, struct error *err);

#endif
