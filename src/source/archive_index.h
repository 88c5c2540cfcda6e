/*
 * What an archive holds for a source: its images in the order in which they stand, each with the caption and the
 * metadata that belong to it.
 *
 *	struct archive_index *x = archive_index_new();
 *	archive_index_add(x, &member)                  for each member
 *	archive_index_end(x)                            afterwards nothing is added
 *	archive_index_item(x, i)  archive_index_find(x, "a/b.jpg")
 *	archive_index_free(x)
 *
 * Names. A leading "./" is left out. A member whose name leads out of the archive ("../", absolute), that is hidden, or
 * that is a link or a device is passed over. Of equal names the last one counts, as where they are unpacked.
 *
 * Samples. Members of one folder whose names are equal up to the first dot are one sample, as in WebDataset. The
 * caption of an image is its .txt, else its .caption, else the "caption" of its .json; a companion with its whole name
 * before the ending goes before one of the sample. Its metadata are the object in its .json, and "cls" from its .cls.
 * The key of an image that has companions through its sample is the sample's.
 */
#ifndef LATENTD_SOURCE_ARCHIVE_INDEX_H
#define LATENTD_SOURCE_ARCHIVE_INDEX_H

#include "source/unpack.h"

struct archive_item {
	const char *path; /* inside the archive */
	const char *name; /* as it stands there */
	const char *key;  /* what its key is made from: a path inside the archive, with an ending */
	uint64_t size;	  /* UNPACK_UNKNOWN */
	uint64_t place, offset;
	uint64_t
	    end; /* where the next member begins; UNPACK_NOWHERE: it is the last, or that is not known */
	bool encrypted;
	const char *caption; /* as it stands there; NULL: none */
	size_t caption_size;
	bool caption_unread;	/* there is one, which is too large or cannot be read */
	uint64_t caption_stamp; /* 48 bits that change with it; 0: none */
	const char *meta;	/* a JSON object; NULL: none */
};

struct archive_index;

struct archive_index *archive_index_new(void);
void archive_index_free(struct archive_index *x);
void archive_index_add(struct archive_index *x, const struct unpack_member *m);
/* Whether @m counts for an index; of others only the name of the last one does, and where the one behind an image begins. */
bool archive_index_wants(const struct unpack_member *m);
void archive_index_end(struct archive_index *x);

size_t archive_index_count(const struct archive_index *x);
const struct archive_item *archive_index_item(const struct archive_index *x, size_t i);
/* NULL: there is none. */
const struct archive_item *archive_index_find(const struct archive_index *x, const char *path);
/* All of them can be read in any order. */
bool archive_index_is_random(const struct archive_index *x);
/* Images that were passed over, and the name of the last one; NULL: none. */
size_t archive_index_passed_over(const struct archive_index *x, const char **last);
/* The name of the last member of any kind; "" */
const char *archive_index_last(const struct archive_index *x);

#endif
