/*
 * A recipe: everything that decides a latent's value. Its id names it in every record, shard and
 * queue: change any part and it is another recipe.
 *
 * The canonical text is compact JSON with sorted keys; `id` is the first 128 bits of its SHA-256, in hex.
 */
#ifndef LATENTD_DAEMON_RECIPE_H
#define LATENTD_DAEMON_RECIPE_H

#include "daemon/dataset_form.h"
#include "daemon/resolutions.h"

#include "base/hash.h"
#include "base/ndarray.h"
#include "image/decode.h"
#include "image/resample.h"
#include "vae/posterior.h"
#include "vae/rounding.h"
#include "vae/vae_config.h"
#include "vae/vae_engine.h"

struct json_t;

#define RECIPE_ID_SIZE	     33
#define RECIPE_DECLARED_SIZE 64

struct recipe {
	/* the network */
	bool fake; /* the fake encoder: never mistaken for a real one */
	/*
	 * What an endpoint is said to compute that does not tell its weights; "": they are known. Of @vae only what
	 * describes latents counts then, and draws have no seed: nobody can repeat them.
	 */
	char declared[RECIPE_DECLARED_SIZE];
	struct vae_config vae;
	struct sha256 weights;
	/* The trainer whose cache the latents are from: nothing is known of pixels then. NULL: encoded here. */
	const char *imported;
	/* pixels */
	struct bucket_options buckets;			 /* with every default filled in */
	struct bucket_options more[RESOLUTIONS_MAX - 1]; /* of further resolutions, rising */
	size_t n_more;
	enum resample_filter filter;
	struct image_policy policy;
	enum vae_precision precision;
	/* Of each image: variants.h */
	bool flip;	/* the mirrored picture is encoded, too */
	unsigned crops; /* further crops */
	/* what is kept */
	enum posterior posterior;
	uint64_t seed; /* of draws and further crops; not part of the id otherwise */
	size_t tile;   /* pixels of diffusers' tiles, kl_tiles.h; 0: images are encoded whole */
	enum dtype dtype;
	enum rounding rounding;
	bool scaled; /* (z - shift_factor) * scaling_factor; not of moments */
	/* how it lies in a shard: no part of the id, but one for a whole dataset */
	struct dataset_form form;
	/* made from the above by recipe_finish() */
	char id[RECIPE_ID_SIZE];
	char *json;
};

void recipe_finish(struct recipe *r);
/*
 * Adds `patch_size`, `latents_mean` and `latents_std` to @object, a json_t, where @config has them: what a trainer
 * needs beside the two factors (vae_config.h).
 */
void recipe_put_statistics(void *object, const struct vae_config *config);
/* The member `vae` of the canonical text, as a new json_t: network, factors and weights alone decide it. */
struct json_t *recipe_vae_json(const struct recipe *r);
/* Samples of one image, and how many of them have the same resolution. */
size_t recipe_variants(const struct recipe *r);
size_t recipe_variants_each(const struct recipe *r);
/* The number of the @index-th of them; those of one resolution stand together. */
uint32_t recipe_variant(const struct recipe *r, size_t index);
/* Whether its latents can be made again: they are no draws, or draws with a seed. */
bool recipe_is_repeatable(const struct recipe *r);
/* What the network computes in; "unknown" of an endpoint that does not tell. */
const char *recipe_precision(const struct recipe *r);
void recipe_release(struct recipe *r);

/*
 * One line that says in what two canonical texts differ: "buckets.resolution 512, now 256; dtype ...".
 * To be freed.
 */
char *recipe_difference(const char *stored, const char *asked);

#endif
