/*
 * Private to src/source: files on web servers and in buckets, as sources hand them out. The pool is opened when the first is wanted.
 *
 *	struct remote_files *f = remote_files_new(&options)
 *	fd = remote_files_open(f, url, err)                      waits
 *	remote_files_fetch(f, &part)                             part.done is called
 *	remote_files_close(f)
 *
 * Where it is to notice that files change (recheck_ms), it remembers what servers said of them; remote_window.h asks.
 */
#ifndef LATENTD_SOURCE_REMOTE_FILES_H
#define LATENTD_SOURCE_REMOTE_FILES_H

#include "net/download.h"
#include "source/remote_cache.h"
#include "source/remote_known.h"
#include "source/remote_s3.h"
#include "source/source.h"

#define REMOTE_URL_MAX 8192

struct remote_files;

/* NULL, or why @url cannot be one: its scheme, a user in it, its length. */
const char *remote_url_wrong(const char *url);

struct remote_files *remote_files_new(const struct source_folder_options *options);
/* NULL is fine. */
void remote_files_close(struct remote_files *f);
/* Before it is used: opens the cache. ERR_CONFIG. */
int remote_files_begin(struct remote_files *f, struct error *err);
/* Before it is used: where it remembers. */
void remote_files_keep(struct remote_files *f, const char *folder);
/* Fills @entry, which refers to @url: what is known before it is fetched. */
void remote_files_describe(struct remote_files *f, const char *url, struct source_entry *entry);
/* Of one file. */
uint64_t remote_files_bytes_max(const struct remote_files *f);
/* So many are fetched at once. */
size_t remote_files_ahead(const struct remote_files *f);
/* Errors as download.h, of s3:// as remote_s3.h; and `web_page`: what a web server sent is HTML or XML. */
int remote_files_open(struct remote_files *f, const char *url, struct error *err);

/* As source_open_at_hand() and source_drop_at_hand(): of URLs, not of objects in buckets, whose cache would not know of changes. */
int remote_files_at_hand(struct remote_files *f, const char *url);
void remote_files_drop(struct remote_files *f, const char *url);

/* A file that is fetched, or the @size bytes of it from @offset on, where it has ETag @etag. */
struct remote_part {
	char *url; /* lives until done is called, as does the etag */
	uint64_t offset, size;
	char *etag; /* NULL: of any */
	bool may_be_empty;
	void (*done)(struct remote_part *part);
	void *owner;
	/* The result, as of remote_files_open(). */
	int fd;
	struct error err;
	int64_t put_off_ms; /* as in struct source_order */
	/* Private. */
	struct remote_files *files;
	struct remote_object object;
	struct download download;
};

/* Returns at once; done is called on a thread of its own, or before this returns. */
void remote_files_fetch(struct remote_files *f, struct remote_part *part);
/* The same, and waits; without done. */
int remote_files_fetch_now(struct remote_files *f, struct remote_part *part, struct error *err);

/* Whether a file has changed. */
struct remote_check {
	void (*done)(struct remote_check *c); /* on a thread of its own */
	void *owner;
	bool
	    changed; /* the result: it is another since the last check, and described so from now on */
	/* Private. */
	struct remote_files *files;
	char *url;
	struct remote_fact fact;
	struct remote_object object;
	struct download download;
};

/* Whether files are asked about at all. */
bool remote_files_recheck(const struct remote_files *f);
/* False: @url is not due, or nothing is known to ask with. Otherwise done is called. */
bool remote_files_check(struct remote_files *f, const char *url, struct remote_check *c);

#endif
