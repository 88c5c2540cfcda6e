/*
 * The mask of a sample: which parts of its image count, from 0 to 255 for each pixel of what was encoded. It is drawn from a
 * picture of the image's size, or from the alpha of the image itself, by the geometry of the sample's record, and becomes its
 * member `mask.npy.zst`.
 *
 *	struct mask_reader reader = MASK_READER_INIT;
 *	mask_reader_init(&reader, &recipe)
 *	mask_put(&reader, &file, &record, err)      of each variant
 *	mask_reader_release(&reader)
 *
 * By one thread at a time. Pictures are decoded by a confined worker, which is started with the first.
 */
#ifndef LATENTD_DAEMON_RECORD_MASK_H
#define LATENTD_DAEMON_RECORD_MASK_H

#include "daemon/record_facts.h"
#include "daemon/source_pixels.h"

struct mask_reader {
	enum resample_filter filter;
	bool apply_exif;
	struct source_pixels *pixels; /* NULL: not started */
	size_t most;		      /* pixels that it can draw */
};

#define MASK_READER_INIT                                                                           \
	{                                                                                          \
		.pixels = NULL                                                                     \
	}

void mask_reader_init(struct mask_reader *reader, const struct recipe *recipe);
void mask_reader_release(struct mask_reader *reader);

/*
 * Gives @record, of any variant, the mask in the picture @file, in the place of one that it has; an empty @file: there is none,
 * all of the image counts. ERR_DATA `mask_size`: it has not the size of the image; `mask`: it cannot be decoded.
 */
int mask_put(struct mask_reader *reader, const struct buffer *file, struct record *record,
	     struct error *err);
/*
 * The same from the alpha channel of the image in the file @image, which stays the caller's; -1: it is known to have none. Without one
 * all of it counts. ERR_DATA `mask`: it cannot be decoded, or is not the file that the record was made of.
 */
int mask_put_alpha(struct mask_reader *reader, int image, struct record *record, struct error *err);
/* *same: whether @record has that mask. Errors of mask_put(). */
int mask_compare(struct mask_reader *reader, const struct buffer *file, const struct record *record,
		 bool *same, struct error *err);
/*
 * Opens the mask that @record has by @facts, and compares it with its size and hash. ERR_DATA `record`. @out may be NULL.
 */
int record_mask_read(const struct record *record, const struct record_facts *facts,
		     struct ndarray *out, struct error *err);

#endif
