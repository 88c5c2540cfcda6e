/*
 * What `latentctl plan` is asked to do, from its command line.
 */
#ifndef LATENTD_CONFIG_PLAN_OPTIONS_H
#define LATENTD_CONFIG_PLAN_OPTIONS_H

#include "config/pixel_options.h"
#include "config/source_options.h"
#include "config/vae_options.h"

struct plan_options {
	struct pixel_options pixels; /* placement_settings only */
	const char *vae;	     /* path, preset or hub id; NULL: the usual latent is assumed */
	struct vae_options vae_options;
	struct source_options source;
	const char *sizes; /* file of lines "W H", "-": stdin; NULL: folders are looked at */
	const char *svg;   /* NULL: no picture */
	const char *out;   /* whose dataset it is compared with; NULL: with none */
	const char *name;  /* of that dataset; NULL: the only one */
	size_t batch;	   /* 0: not asked for */
	size_t crops;	   /* further ones of each image */
	double rate;	   /* images a second, 0: not known */
	size_t jobs;	   /* decode processes; 0: two for each core */
	bool flip, hash, list, json;
	bool no_captions, quiet, help;
	const char *masks; /* masks_where() */
};

extern const struct setting plan_settings[];
extern const size_t n_plan_settings;

/* What no single option can tell. ERR_CONFIG. */
int plan_options_check(const struct plan_options *options, size_t n_sources, struct error *err);

#endif
