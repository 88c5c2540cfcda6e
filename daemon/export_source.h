/*
 * A dataset as exporters see it: its samples, from the shards alone, with what changed since they were written. No queue
 * is asked, so a copy on another machine is as good.
 *
 *	export_source_open(folder, &source, err);              OUT/NAME
 *	export_source_each(source, fn, arg, err);              every live sample, always in the same order
 *	export_source_close(source);
 */
#ifndef LATENTD_DAEMON_EXPORT_SOURCE_H
#define LATENTD_DAEMON_EXPORT_SOURCE_H

#include "daemon/record_facts.h"

#include "vae/vae_config.h"

struct json_t;

/* The latent space of a dataset, as its records tell it. */
struct export_space {
	char recipe_id[RECIPE_ID_SIZE];
	size_t channels; /* of a latent, also where moments are stored */
	enum dtype dtype;
	bool moments, draw, scaled;
	double scaling_factor, shift_factor; /* no shift: 0 */
	size_t patch_size;		     /* 1, or 2: FLUX.2 */
	size_t n_statistics;
	double latents_mean[VAE_MAX_STATISTICS], latents_std[VAE_MAX_STATISTICS];
};

struct export_sample {
	const char *key;
	const char *path;    /* of the image, relative to its source, any bytes; stays below it */
	const char *caption; /* as it is now; NULL: none */
	size_t original_width, original_height, resized_width, resized_height;
	size_t target_width, target_height, crop_top, crop_left;
	double kohya_crop_ltrb[4];
	unsigned orientation;
	struct json_t *record;	      /* KEY.json, with that caption; of this call alone */
	const struct ndarray *stored; /* as the shard has it */
	uint32_t variant;	      /* of its image: variants.h */
	const struct ndarray
	    *mirrored; /* that sample's, where export_source_pair() was asked for; NULL: none */
	const struct ndarray *mask; /* uint8 [height][width] of the target; NULL: it has none */
	bool attached;		    /* it has other arrays, too (`latentctl attach`) */
};

typedef int (*export_sample_fn)(void *arg, const struct export_sample *sample, struct error *err);

struct export_source;

/* ERR_CONFIG: it has no shards. */
int export_source_open(const char *folder, struct export_source **out, struct error *err);
/* NULL is fine. */
void export_source_close(struct export_source *s);
/* From now on a mirrored image comes with its plain one, as one sample. */
void export_source_pair(struct export_source *s);
/* From now on only samples of this resolution; their variants are numbered as if there were no other. */
void export_source_resolution(struct export_source *s, size_t resolution);
/* -1 and ERR_CONFIG: export_source_each() has met nothing. */
int export_source_refuse_empty(const struct export_source *s, struct error *err);
/* Live samples and nothing else; every latent is compared with its hash. ERR_DATA names the shard that is damaged. ERR_CONFIG:
 * samples of two recipes. Not 0 from @fn ends it with that value. */
int export_source_each(struct export_source *s, export_sample_fn fn, void *arg, struct error *err);
/* The dataset's: its folder's. */
const char *export_source_name(const struct export_source *s);
/* Of the samples met so far; valid from the first one on. */
const struct export_space *export_source_space(const struct export_source *s);

/*
 * The latent as float32 [C][h][w]: the mean of moments, otherwise what is stored. Raw: as the VAE gives it (a scaled one is
 * scaled back). Normalised: as the model is trained on it, with patches where it has them. ERR_DATA: `shape`, `out_of_range`.
 */
int export_latent(const struct export_space *space, const struct ndarray *stored, bool normalised,
		  struct ndarray *out, struct error *err);
/* F32 or F16 to @dtype (F32, F16, BF16), to nearest. ERR_DATA `out_of_range`. */
int export_convert(const struct ndarray *latent, enum dtype dtype, struct ndarray *out,
		   struct error *err);

#endif
