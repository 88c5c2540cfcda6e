/*
 * What a record that exists says of itself, and its latent, checked against that: whatever bytes they are.
 *
 *	record_facts_read(&record, &facts, err)
 *	record_latent_read(&record, &facts, &latent, err)
 */
#ifndef LATENTD_DAEMON_RECORD_FACTS_H
#define LATENTD_DAEMON_RECORD_FACTS_H

#include "daemon/recipe.h"
#include "storage/record.h"

/*
 * Member of the latent: "latent.npy.zst", "moments.npy.zst"; "latent.npy" without a codec, "latent.u8.npy.zst". At most 19
 * bytes: with the longest key its name fits a tar.
 */
const char *record_latent_suffix(bool moments, enum output_codec codec);

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
