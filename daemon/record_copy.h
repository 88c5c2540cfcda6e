/*
 * A record of what is stored already, under other names or with another caption: the latent is not encoded again.
 */
#ifndef LATENTD_DAEMON_RECORD_COPY_H
#define LATENTD_DAEMON_RECORD_COPY_H

#include "daemon/recipe.h"
#include "storage/record.h"

/* Of the file that the copy is for. */
struct record_names {
	const char *key, *path; /* @key: of the image, whatever variant is copied */
	const char *caption;	/* valid UTF-8; NULL: none */
	bool captions;		/* false: no KEY.txt at all */
	uint64_t rank;
	const char *meta; /* a JSON object; NULL: nothing is known */
};

/*
 * Makes of @stored, a record of @content under @recipe, what record_build() makes of the same latent under other
 * names: KEY.json with key, source, caption and meta replaced, the latent (its bytes as they are where the codec is the
 * recipe's), the caption. Everything in
 * @stored is checked, the latent against its hash too. ERR_DATA `record`: it is not such a record, or damaged;
 * `path_too_long`: the same as in record_build().
 */
int record_copy(const struct record *stored, const struct recipe *recipe,
		const struct hash128 *content, const struct record_names *names, struct record *out,
		struct error *err);

/* What may change of a record without its latent. */
struct record_texts {
	const char *caption; /* valid UTF-8; NULL: none */
	const char *meta;    /* a JSON object; NULL: whatever it has */
};

/* Whether these are in its KEY.json. False if it has no KEY.json that can be read. */
bool record_has_texts(const struct record *record, const struct record_texts *texts);
/*
 * These in KEY.json and KEY.txt. Other members are as they were, byte for byte.
 * ERR_DATA `record`: it has no KEY.json that can be read.
 */
int record_retext(struct record *record, const struct record_texts *texts, struct error *err);

/* That of its latent; without one the default. */
enum output_codec record_codec(const struct record *record);
/* Every array of @record (`NAME.npy`, `NAME.npy.zst`) becomes a member in that codec, the latent byte for byte as encode writes it; the others stay. ERR_DATA. */
int record_recode(struct record *record, enum output_codec codec, struct error *err);

#endif
