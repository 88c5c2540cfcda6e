/*
 * Private to src/source: the names in one folder that a walk comes back to, read whole and sorted.
 *
 *	folder_names_read(&names, fd, &reading, err)
 *	names.names[0 .. names.n)
 *	folder_names_release(&names)
 */
#ifndef LATENTD_SOURCE_FOLDER_NAMES_H
#define LATENTD_SOURCE_FOLDER_NAMES_H

#include "source/source.h"

/* What a walk reads folders for. */
struct folder_reading {
	const struct source_folder_options *options;
	bool archives; /* they count */
	struct buffer *
	    path; /* the folder's with its '/', or nothing for the root; its end is written over meanwhile */
};

/* All zero: nothing yet. */
struct folder_names {
	struct buffer arena; /* the names, each with its NUL */
	const char *
	    *names; /* into it, in order of bytes; those of folders and archives end with '/' */
	size_t n;
	bool captions; /* names of companions are among them */
	bool unread;   /* there may be a folder that cannot be read */
};

/*
 * ERR_TRANSIENT: options->stop said so, no descriptor; ERR_IO, ERR_NOMEM: nothing is kept. What is odd, and what is passed over
 * though it looks as if it counted, is noted.
 */
int folder_names_read(struct folder_names *names, int fd, const struct folder_reading *reading,
		      struct error *err);
bool folder_names_have(const struct folder_names *names, const char *name);
void folder_names_release(struct folder_names *names);

/* "PATH WHAT" to options->note. */
void folder_note(const struct source_folder_options *options, const struct buffer *path,
		 const char *what);
/* The same of what could not be read. */
void folder_note_unread(const struct source_folder_options *options, const struct buffer *path,
			const char *what);

#endif
