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

/*
 * Member of the latent: "latent.npy.zst", "moments.npy.zst"; "latent.npy" without a codec, "latent.u8.npy.zst". At most 19
 * bytes: with the longest key its name fits a tar.
 */
const char *record_latent_suffix(bool moments, enum output_codec codec);

/* Adds the array, in the container's dtype, as that member. */
int record_add_latent(const struct recipe *recipe, const struct ndarray *stored,
		      struct record *record, struct error *err);

/*
 * "512x768" of a placement: the group that a record belongs to. Where images have several resolutions the sizes of all are joined:
 * "512x512_768x768".
 */
void record_group(const struct bucket_placement *p, char out[RECORD_GROUP_SIZE]);
/* Of the shard "SPLIT/GROUP/NUMBER.EXT"; "" where that is not its name. */
void record_group_of_shard(const char *name, char out[RECORD_GROUP_SIZE]);
/* Whether records of this size are in such a group. */
bool record_group_has(const char *group, size_t width, size_t height);

/* What KEY.json says, as far as verify, adoption and the catalog need it. */
struct record_facts {
	char key[RECORD_KEY_SIZE];
	char image[RECORD_KEY_SIZE]; /* the key of its plain variant, and of its job */
	char path[4096];	     /* decoded from `source` */
	char recipe_id[RECIPE_ID_SIZE];
	uint32_t variant;
	struct hash128 content, latent;
	size_t channels, height, width;
	enum dtype dtype;
	size_t target_width, target_height;
	size_t original_width, original_height; /* 0: it does not say */
	bool has_mask, mask_given;		/* record_mask.h; given: by a file */
	struct hash128 mask;
	bool moments, scaled;
	enum output_codec codec;
	double
	    snr_db; /* of a latent that was rounded on purpose; NaN: it was not, or nothing was lost */
	char caption[80]; /* its beginning, for a table */
};

/* Checks the whole of KEY.json of @record. ERR_DATA `record`. */
int record_facts_read(const struct record *record, struct record_facts *out, struct error *err);

/*
 * Opens the latent of @record and compares shape, dtype, hash and finiteness with what @facts say, and the mask where it has one.
 * ERR_DATA `record`. @out, the latent, may be NULL.
 */
int record_latent_read(const struct record *record, const struct record_facts *facts,
		       struct ndarray *out, struct error *err);

#endif
