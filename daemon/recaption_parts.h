/*
 * What the parts of recaption.c share; nobody else includes it.
 *
 *	recaption.c         what has changed comes into the shards
 *	recaption_list.c    what it is now, and what readers are told until then
 */
#ifndef LATENTD_DAEMON_RECAPTION_PARTS_H
#define LATENTD_DAEMON_RECAPTION_PARTS_H

#include "daemon/recaption.h"

struct json_t;

/* A job whose caption is in its shards, and which stays on the list all the same. */
struct recaption_stored {
	struct stored_job {
		int64_t job;
		bool elsewhere; /* in several shards */
	} * jobs;		/* by id */
	size_t n, capacity;
	bool left; /* not all shards were done: those elsewhere may be missing in some */
};

bool recaption_is_stored(const struct recaption_stored *stored, int64_t job);

/* Outcomes of reading: it cannot be read now, *why says why; it is of a source that this run does not look at. */
enum { RECAPTION_UNREADABLE = 1, RECAPTION_ELSEWHERE };

/* NULL: this run does not look at it. */
struct source *recaption_source(const struct recaption_options *o, uint32_t root);
/* The captions that count instead of those of files; to be released. */
int recaption_given(const struct recaption_options *o, struct json_t **out, struct error *err);
/* *out, to be freed, is NULL if there is none. */
int recaption_caption(const struct recaption_options *o, const struct json_t *given,
		      const struct recaption_row *row, char **out, struct error *why);
/* The same of what its source knows beyond that. */
int recaption_meta(const struct recaption_options *o, const struct recaption_row *row, char **out,
		   struct error *why);
/* Appends its file; nothing, where there is none. */
int recaption_mask(const struct recaption_options *o, const struct recaption_row *row,
		   struct buffer *out, struct error *why);

/* captions_list_write(), but for what is stored. */
int recaption_list_write(const struct recaption_options *o, const struct recaption_stored *stored,
			 struct error *err);

#endif
