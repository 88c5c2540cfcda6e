/*
 * From an encoded image to its record: KEY.json, the latent as .npy.zst or .npy, the caption as .txt. docs/FORMAT.md
 * says what each field means.
 */
#ifndef LATENTD_DAEMON_RECORD_BUILD_H
#define LATENTD_DAEMON_RECORD_BUILD_H

#include "daemon/recipe.h"
#include "storage/record.h"

/* What is known of one sample beside its latent. */
struct sample_facts {
	const char *key; /* of its image */
	uint32_t variant;
	const char *path; /* of the source, relative, any bytes */
	struct hash128 content;
	struct image_header header;
	struct bucket_placement placement; /* the rule's, of its resolution */
	const char *caption;		   /* valid UTF-8; NULL: none */
	bool captions;			   /* false: no KEY.txt at all */
	const char *meta;		   /* a JSON object; NULL: nothing is known */
	const char *engine;
	bool in_float32; /* it overflowed in the recipe's precision, and was repeated */
};

/*
 * @latent: float32 [channels][h][w] as the encoder gives it, which is scaled here where the recipe says so. Fills key, group, rank and members of @out. ERR_DATA
 * `out_of_range`: a value that the container dtype cannot hold; `path_too_long`: 4096 bytes or more.
 */
int record_build(const struct recipe *recipe, const struct sample_facts *facts,
		 const struct ndarray *latent, uint64_t rank, struct record *out,
		 struct error *err);

struct json_t;
/* The "meta" of KEY.json; what is no JSON object becomes an empty one. */
struct json_t *record_meta_json(const char *meta);

/* Adds the array, in the container's dtype, as that member. */
int record_add_latent(const struct recipe *recipe, const struct ndarray *stored,
		      struct record *record, struct error *err);

#endif
