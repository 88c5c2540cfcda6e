/*
 * Private to src/source: what lies beside an image in its folder, under its name with another ending. Its caption is the
 * .txt, else the .caption, else the text "caption" in the .json; its metadata are the object in the .json. A .json that
 * is none, or over SOURCE_CAPTION_MAX, is passed over.
 */
#ifndef LATENTD_SOURCE_COMPANIONS_H
#define LATENTD_SOURCE_COMPANIONS_H

#include "source/source.h"

struct companion_search {
	bool (*may_be)(const void *arg,
		       const char *name); /* false: it is not there. NULL: may be */
	const void *arg;
	bool read_json; /* one without a caption is no caption, and is read to know that */
};

/* Fills caption and meta of @entry, which is of file @name in folder @dir. */
void companions_look(int dir, enum source_links links, const char *name,
		     const struct companion_search *search, struct source_entry *entry);
/* Appends the object in the @bytes of a .json and the caption in that, as far as they are there. @caption, @has_caption, @meta: may be NULL. */
void companions_of_json(const struct buffer *bytes, struct buffer *caption, bool *has_caption,
			struct buffer *meta);
/* As source_ops.caption and meta, of the file @path below @root. */
int companions_caption(int root, enum source_links links, const char *path, struct buffer *out,
		       struct error *err);
int companions_meta(int root, enum source_links links, const char *path, struct buffer *out,
		    struct error *err);

#endif
