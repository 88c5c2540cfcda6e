/*
 * Where samples come from. A source lists what is there, in a stable order, and opens one sample's
 * bytes when they are wanted.
 *
 *	struct source *s = NULL;
 *	source_folder_open("/data/photos", &options, &s, err);
 *	while ((r = source_next(s, &entry, err)) == 0)          entry is valid until the next call
 *		...
 *	fd = source_open_sample(s, "a/b.jpg", err);             while listing or long after
 *	source_close(s);
 *
 * Paths are bytes, relative to the source, '/' between parts: any name the file system allows.
 * One thread at a time.
 */
#ifndef LATENTD_SOURCE_SOURCE_H
#define LATENTD_SOURCE_SOURCE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define SOURCE_END 1

struct source_entry {
	const char *path; /* relative, NUL-terminated bytes */
	uint64_t size;	  /* what the file is known by between scans */
	int64_t mtime_ns;
	uint64_t inode;
};

struct source;

struct source_ops {
	const char *name; /* "folder", "memory" */

	/*
	 * The next entry, in an order that depends only on the names. SOURCE_END after the last one.
	 * A folder that cannot be read is reported through options.note and passed over.
	 */
	int (*next)(struct source *s, struct source_entry *entry, struct error *err);

	/*
	 * A descriptor on the sample's bytes, positioned at 0, opened without blocking. ERR_DATA:
	 * `not_regular` (a FIFO, device or folder), `unreadable` (permission), `gone` (no longer there).
	 */
	int (*open_sample)(struct source *s, const char *path, struct error *err);

	/*
	 * Appends the caption that belongs to @path: for a file, the text beside it with the extension
	 * .txt. Valid UTF-8 without byte order mark and without trailing white space; bytes that are not
	 * UTF-8 become U+FFFD. 0 with nothing appended if there is none; SOURCE_NO_CAPTION then.
	 */
	int (*caption)(struct source *s, const char *path, struct buffer *out, struct error *err);

	void (*close)(struct source *s);
};

#define SOURCE_NO_CAPTION 1

struct source {
	const struct source_ops *ops;
};

int source_next(struct source *s, struct source_entry *entry, struct error *err);
int source_open_sample(struct source *s, const char *path, struct error *err);
int source_caption(struct source *s, const char *path, struct buffer *out, struct error *err);
/* NULL is fine. */
void source_close(struct source *s);

/* -- folder --------------------------------------------------------------------------------------- */

/*
 * Files with the extension of an image format (any case; formats this build cannot decode are listed
 * too, so that they are reported and not silently left out), in all folders below @path, in byte order of
 * their paths, hidden names (.x) left out. Symbolic links to files are followed, to folders not.
 */
struct source_folder_options {
	bool recursive;
	/* Called with one line for what is passed over or odd (an unreadable folder, a folder with an
	 * image's name). May be NULL. */
	void (*note)(void *arg, const char *line);
	void *note_arg;
};

int source_folder_open(const char *path, const struct source_folder_options *options,
		       struct source **out, struct error *err);

/* -- memory: for tests ---------------------------------------------------------------------------- */

struct source_memory_file {
	const char *path;
	const void *data;
	size_t size;
	const char *caption; /* NULL: none */
};

int source_memory_open(const struct source_memory_file *files, size_t n, struct source **out,
		       struct error *err);

#endif
