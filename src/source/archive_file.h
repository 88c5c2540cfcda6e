/*
 * Private to src/source: one archive that is open, as a source shows it. Paths here are those inside it.
 */
#ifndef LATENTD_SOURCE_ARCHIVE_FILE_H
#define LATENTD_SOURCE_ARCHIVE_FILE_H

#include "source/archive_index.h"
#include "source/archive_list.h"
#include "source/remote_ranges.h"
#include "source/source.h"

struct stat;

/* What all archives of a source share. */
struct archive_reading {
	const struct source_folder_options *options;
	struct unpack *unpack;	     /* NULL: none was needed yet */
	struct archive_lists *lists; /* NULL: none are kept */
};

void archive_reading_release(struct archive_reading *reading);

struct archive_file {
	unsigned users;		      /* each of them closes it */
	char *path;		      /* of the archive in its source, for messages */
	struct unpack_input in;	      /* without a file and read: it could not even be opened */
	struct remote_ranges *ranges; /* of one that is elsewhere */
	uint64_t number;
	uint64_t size, inode;
	int64_t mtime_ns;
	uint64_t device;
	struct archive_index *index;
	struct error damage; /* ERR_DATA: why there may be more than what is listed */
};

/*
 * Lists it, or takes the list that is kept of it. @fd is taken; -1 with *damage: it cannot be opened, which is its damage. An archive that is damaged is
 * no error here; ERR_TRANSIENT: stopped by options->stop, no process to parse it, no descriptor; ERR_IO.
 */
int archive_file_open(int fd, const char *path, const struct stat *st, const struct error *damage,
		      struct archive_reading *reading, struct archive_file **out,
		      struct error *err);
/*
 * The same of an object. @ranges is taken; NULL with *damage: it cannot be had. ERR_DATA of its reading is damage as well, but for `changed`,
 * which is an error here; ERR_TRANSIENT, ERR_CONFIG also as @ranges gives.
 */
int archive_file_open_remote(struct remote_ranges *ranges, const char *path,
			     const struct archive_stamp *stamp, const struct error *damage,
			     struct archive_reading *reading, struct archive_file **out,
			     struct error *err);
/* NULL is fine. */
void archive_file_close(struct archive_file *a);
/* Members that are there may be missing from its list: options->unread counts it. What is no archive at all has none. */
void archive_file_count_unread(const struct archive_file *a,
			       const struct source_folder_options *options);
/* It is still what @st says. */
bool archive_file_is(const struct archive_file *a, const struct stat *st);

/*
 * Entry number @i; false: there are no more. Its path and key are those inside the archive; path NULL: it is the archive
 * itself, which is the last entry where it is damaged.
 */
bool archive_file_entry(const struct archive_file *a, size_t i, struct source_entry *entry);
/* The same of one path, NULL for the archive itself. SOURCE_GONE. */
int archive_file_examine(const struct archive_file *a, const char *inside,
			 struct source_entry *entry);
/* Size, time and inode of a file. */
void archive_file_describe(const struct stat *st, struct source_entry *entry);
/* As source_ops.open_sample, caption and meta. */
int archive_file_read(struct archive_file *a, const char *inside, struct archive_reading *reading,
		      struct error *err);
int archive_file_caption(const struct archive_file *a, const char *inside, struct buffer *out,
			 struct error *err);
/* Where its bytes stand, headers and all, of a member that can be read without what is before it. False: it cannot, or is not there. */
bool archive_file_span(const struct archive_file *a, const char *inside, uint64_t *offset,
		       uint64_t *size);
/* As archive_file_read(), out of @piece, which has these bytes alone. */
int archive_file_read_piece(struct archive_file *a, const char *inside, int piece,
			    struct archive_reading *reading, struct error *err);
int archive_file_meta(const struct archive_file *a, const char *inside, struct buffer *out);

#endif
