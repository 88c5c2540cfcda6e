/*
 * Archives for tests, as libarchive writes them: the kind is that of the name's ending.
 *
 *	struct archive_samples *s = archive_samples_begin("a.tar.gz", NULL);
 *	archive_samples_add(s, "b/c.jpg", bytes, size);
 *	archive_samples_end(s);
 *
 * What fails ends the process with a message.
 */
#ifndef LATENTD_TESTS_ARCHIVE_SAMPLES_H
#define LATENTD_TESTS_ARCHIVE_SAMPLES_H

#include <stddef.h>

struct archive_samples;

/* @password: of the members of a .zip; NULL: none. */
struct archive_samples *archive_samples_begin(const char *path, const char *password);
void archive_samples_add(struct archive_samples *s, const char *name, const void *bytes,
			 size_t size);
/* A symbolic or a hard link, or with @target NULL a device. */
void archive_samples_add_link(struct archive_samples *s, const char *name, const char *target,
			      int hard);
void archive_samples_end(struct archive_samples *s);

#endif
