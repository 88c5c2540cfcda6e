/*
 * Private to src/source: what lies beside each image of a bucket (companions.h, source_mask()), found while the bucket's list goes by. Keys
 * come in byte order, so what belongs to "a/b" has all come before "a/b/": nothing is waited for but names that the last key
 * begins with, however long the list is.
 *
 *	struct bucket_beside *b = bucket_beside_new();
 *	bucket_beside_put(b, BUCKET_IMAGE, path, size, stamp)      each path of the list that counts, in its order
 *	bucket_beside_end(b)                                       there are no more
 *	while (bucket_beside_take(b, &image))                      at any time: those of which all has been seen
 *	bucket_beside_free(b)
 */
#ifndef LATENTD_SOURCE_BUCKET_BESIDE_H
#define LATENTD_SOURCE_BUCKET_BESIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that change with what is there; 0: it is not. */
struct beside {
	uint64_t text, caption, json; /* .txt, .caption, .json */
	uint64_t mask;
	size_t mask_ending; /* which of source_path_mask_ending() */
};

struct bucket_image {
	char *path; /* to be freed */
	uint64_t size, stamp;
	struct beside beside;
};

enum bucket_kind { BUCKET_OTHER, BUCKET_IMAGE, BUCKET_TEXT, BUCKET_MASK };

struct bucket_beside;

struct bucket_beside *bucket_beside_new(void);
/* NULL is fine. */
void bucket_beside_free(struct bucket_beside *b);
/* A number that is not 0. */
void bucket_beside_put(struct bucket_beside *b, enum bucket_kind kind, const char *path,
		       uint64_t size, uint64_t stamp);
void bucket_beside_end(struct bucket_beside *b);
/* In the order in which they became complete, which the list alone decides. False: none has, for now. */
bool bucket_beside_take(struct bucket_beside *b, struct bucket_image *out);

/* What is there as a word, for a place that remembers it. */
#define BESIDE_WORD_SIZE 8
void beside_write(const struct beside *beside, char out[BESIDE_WORD_SIZE]);
/* What is there is 1. False: it is no such word. */
bool beside_read(const char *word, struct beside *out);

#endif
