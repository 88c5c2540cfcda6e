/*
 * What the parts of a bucket as a source share; nobody else includes it.
 *
 *	source_s3.c          the list
 *	source_s3_beside.c   what lies beside an image, and how it is fetched
 *	source_s3_archives.c archives, and how their members are
 */
#ifndef LATENTD_SOURCE_SOURCE_S3_PARTS_H
#define LATENTD_SOURCE_SOURCE_S3_PARTS_H

#include "source/bucket_beside.h"
#include "source/remote_fetch.h"
#include "source/source.h"

#include "net/s3.h"

enum { BUCKET_PAGE = 1000 };

struct bucket_object {
	char *key;
	char *etag; /* of an archive; NULL */
	uint64_t size, stamp;
};

struct source_s3 {
	struct source base;
	struct source_folder_options options;
	struct source_choice choice;
	struct remote_files *files;
	struct s3 *s3;
	char *bucket, *prefix; /* which ends in '/', or is empty */
	struct remote_known
	    *known; /* what lay beside each image when it was listed; NULL: nowhere */
	struct bucket_object page[BUCKET_PAGE];
	size_t n, at;
	char *after;	 /* the last key of the page; NULL: none was asked for */
	bool ended;	 /* no page follows */
	bool finished;	 /* ... and no image is waited for */
	bool disordered; /* the page's keys do not go up */
	int64_t asked_at,
	    told_at; /* for the page, monotonic; told_at: 0: nobody was told that it is waited for */
	struct bucket_beside *beside;
	struct bucket_image image;	  /* that was given out last */
	struct bucket_archives *archives; /* NULL: they are passed over */
	struct archive_file *archive;	  /* that is being listed; NULL: none */
	size_t archive_at, unread;	  /* unread: archives that could not be read to their end */
	struct buffer archive_path, archive_key;
};

/* 48 bits that are not 0. */
uint64_t bucket_stamp(const char *etag);
/* "s3://BUCKET/PREFIX" and @path, of which the first @n bytes, and @ending; to be freed. */
char *bucket_url(const struct source_s3 *s, const char *path, size_t n, const char *ending);
/* What key @path, below the prefix, is. */
enum bucket_kind bucket_kind_of(const struct source_s3 *s, const char *path);

/* -- source_s3_beside.c ---------------------------------------------------------------------------- */

/* Asks the list for @path alone: *out is to be freed. SOURCE_GONE: it is not there. */
int bucket_look(struct source_s3 *s, const char *path, struct bucket_image *out, struct error *err);
/* Notes what lies beside @image, for those who read it, and fills @entry. */
void bucket_describe(struct source_s3 *s, const struct bucket_image *image,
		     struct source_entry *entry);

/* Of source_ops. */
int bucket_prepare(struct source *base, struct source_order *order, struct error *err);
int bucket_finish(struct source *base, struct source_order *order, struct error *err);
int bucket_caption(struct source *base, const char *path, struct buffer *out, struct error *err);
int bucket_meta(struct source *base, const char *path, struct buffer *out, struct error *err);
int bucket_open_mask(struct source *base, const char *path, struct error *err);

/* -- source_s3_archives.c -------------------------------------------------------------------------- */

struct archive_file;

/* @options outlives it. */
struct bucket_archives *bucket_archives_new(const struct source_folder_options *options);
/* NULL is fine. */
void bucket_archives_free(struct bucket_archives *a);
void bucket_archives_keep_lists(struct bucket_archives *a, const char *folder);
/* Every archive that there is has been asked for: lists of others go. */
void bucket_archives_listed(struct bucket_archives *a);
/* Archive @path, listed; the caller closes it. SOURCE_GONE. */
int bucket_archives_get(struct source_s3 *s, const char *path, const struct s3_object *known,
			struct archive_file **out, struct error *err);
/* Where there was no archive there may be one by now. NULL is fine. */
void bucket_archives_look_again(struct bucket_archives *a);

/* As the source's, or FOLDER_NO_ARCHIVE: the path leads into none. */
int bucket_archives_examine(struct source_s3 *s, const char *path, struct source_entry *entry,
			    struct error *err);
int bucket_archives_open_sample(struct source_s3 *s, const char *path, int *out, struct error *err);
int bucket_archives_caption(struct source_s3 *s, const char *path, struct buffer *out,
			    struct error *err);
int bucket_archives_meta(struct source_s3 *s, const char *path, struct buffer *out,
			 struct error *err);
int bucket_archives_open_mask(struct source_s3 *s, const char *path, int *out, struct error *err);
int bucket_archives_prepare(struct source_s3 *s, struct source_order *order, struct error *err);
int bucket_archives_finish(struct source_s3 *s, struct source_order *order, struct error *err);

#endif
