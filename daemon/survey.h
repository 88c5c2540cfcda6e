/*
 * A look at every file of some sources: its header, its caption, its hash if wanted. Files are read by decode
 * workers; nothing is written, and no name is kept longer than the call it is given in.
 *
 *	survey_run(sources, n, &options, err)       -> options.on_file for every file, in any order
 */
#ifndef LATENTD_DAEMON_SURVEY_H
#define LATENTD_DAEMON_SURVEY_H

#include "base/hash.h"
#include "image/decode.h"
#include "source/source.h"

struct survey_file {
	size_t source;	   /* its number */
	uint64_t position; /* in the listing of all sources, from 0: the only order there is */
	const char *path;  /* relative to the source */
	uint64_t bytes;
	bool has_caption;
	const struct hash128 *content;	   /* NULL: not asked for, or the file could not be read */
	const struct image_header *header; /* NULL: @why, an ERR_DATA, says what is wrong */
	const struct error *why;
};

struct survey_options {
	bool hash;     /* reads every byte, not only headers */
	bool captions; /* one that cannot be read makes the file a bad one, as in encode */
	/* Once, with a line that warns of how images are looked at here; NULL: not told. */
	void (*on_note)(void *arg, const char *line);
	size_t *
	    elsewhere; /* counts files that would have to be fetched: nothing else is done with them */
	size_t jobs; /* decode processes; 0: two for each core */
	void (*on_file)(void *arg, const struct survey_file *file);
	void *arg;
};

/* Visits all sources, which are at their beginning, to their end. */
int survey_run(struct source *const *sources, size_t n, const struct survey_options *options,
	       struct error *err);

#endif
