/*
 * The numbers of a dataset's source folders: a job names its source by number, so that a tree may move.
 *
 *	STATE/NAME.archives/NUMBER  what was found in the archives of a source, or in a manifest (source_keep_lists())
 *	STATE/NAME.sources.json    {"0": {"path": "/data/photos", "inode": ..., "born_ns": ..., "device": ...}}
 *
 * Of a manifest the file has "root" too: the folder that the paths of its jobs are below.
 *
 * A folder that is known keeps its number. One that is not, but is the same folder as a known one whose path is no
 * longer there (renamed: same inode and birth time), takes its number over. Every other gets the next free number.
 */
#ifndef LATENTD_DAEMON_SOURCES_H
#define LATENTD_DAEMON_SOURCES_H

#include "base/cleanup.h"
#include "base/error.h"
#include "config/fetch_options.h"
#include "config/source_options.h"
#include "source/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sources_numbers {
	const uint32_t *given; /* as nodes that share a queue agree on them; NULL: found here */
	uint32_t *numbers;     /* of the folders asked for; the caller's memory */
	const char *root;      /* of those that are manifests; NULL: the folder that each is in */
	size_t others;	       /* known folders that were not asked for */
	bool moved_device;     /* one of them is on another device than the last time */
};

/*
 * Fills @out for the @n absolute paths and remembers them. ERR_CONFIG: the file is damaged; numbers are
 * never guessed, because jobs would point into the wrong folder.
 */
int sources_number(const char *state, const char *dataset, char *const *paths, size_t n,
		   struct sources_numbers *out, struct error *err);

enum source_links sources_links(enum followed_symlinks symlinks);

/* By which it is remembered: without links, of a bucket as it is written. To be freed; NULL with errno: it is not there. */
char *sources_real_path(const char *path);

/* Which files of a folder or an archive count; refers to @options. */
struct source_choice sources_choice(const struct source_options *options);
/* How a manifest is read; of other sources nothing is used. */
struct source_manifest_options sources_manifest(const struct source_options *options);
/* How files elsewhere are fetched, likewise. */
struct source_remote_options sources_remote(const struct fetch_options *o);

/* Where lists of the archives in source @number are kept, to be freed (source_keep_lists()). */
char *sources_lists(const char *state, const char *dataset, uint32_t number);

/* Folders by number, as they were last seen; of a manifest the folder that its paths are below. */
struct sources_known {
	struct sources_folder {
		uint32_t number;
		char *path;
		char *source; /* itself */
	} * folders;
	size_t n;
};

/* Those of a dataset. Where nothing is remembered, or nothing that can be read, there are none. */
void sources_known_read(const char *state, const char *dataset, struct sources_known *out);
/* NULL: not known. */
const char *sources_known_path(const struct sources_known *known, uint32_t number);
const char *sources_known_source(const struct sources_known *known, uint32_t number);
void sources_known_release(struct sources_known *known);

#define cleanup_sources cleanup_with(sources_known_release)

#endif
