#include "source/remote_files.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "net/http_url.h"
#include "net/s3_request.h"
#include "source/source_path.h"
#include "source/unpack.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { CONNECTIONS = 32, PER_HOST = 4, START_SIZE = 256 };

#define BYTES_MAX ((uint64_t)256 << 20)

enum { WEB, STORE, POOLS };

struct remote_files {
	struct download_options options;
	pthread_mutex_t lock; /* several threads may want a pool first */
	struct download_pool *pools[POOLS];
	struct remote_s3 *s3;
	char *cache_folder; /* NULL: none */
	uint64_t cache_bytes;
	struct remote_cache *cache;
	int64_t recheck_ms;
	struct remote_known *known; /* NULL: nothing is remembered */
};

static bool names_object(const char *url)
{
	cleanup_free char *bucket = NULL;
	cleanup_free char *key = NULL;
	struct error ignored = ERROR_INIT;

	return s3_url_parse(url, &bucket, &key, &ignored) == 0 && *key;
}

const char *remote_url_wrong(const char *url)
{
	if (!source_path_is_url(url))
		return "it is no URL of http, https or s3";
	if (strlen(url) > REMOTE_URL_MAX)
		return "its URL is too long";
	if (s3_is_url(url))
		return names_object(url) ? NULL : "it is no s3://BUCKET/KEY";
	return http_url_is_valid(url) ? NULL : "its URL is not whole, or has a user in it";
}

struct remote_files *remote_files_new(const struct source_folder_options *options)
{
	const struct source_remote_options *remote = &options->remote;
	struct remote_files *f = xcalloc(1, sizeof(*f));

	f->options = (struct download_options){
	    .connections = remote->connections > 0 ? remote->connections : CONNECTIONS,
	    .per_host = remote->per_host > 0 ? remote->per_host : PER_HOST,
	    .rate = remote->rate,
	    .bytes_max = remote->bytes_max > 0 ? remote->bytes_max : BYTES_MAX,
	    .only_public = !remote->private_hosts,
	    .stop = options->stop,
	    .stop_arg = options->stop_arg};
	f->s3 = remote_s3_new();
	f->recheck_ms = remote->recheck_ms;
	f->cache_folder = remote->cache ? xstrdup(remote->cache) : NULL;
	f->cache_bytes = remote->cache_bytes;
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

int remote_files_begin(struct remote_files *f, struct error *err)
{
	return f->cache_folder ? remote_cache_open(f->cache_folder, f->cache_bytes, &f->cache, err)
			       : 0;
}

int remote_files_at_hand(struct remote_files *f, const char *url)
{
	return s3_is_url(url) ? -1 : remote_cache_get(f->cache, url);
}

void remote_files_drop(struct remote_files *f, const char *url)
{
	remote_cache_drop(f->cache, url);
}

void remote_files_keep(struct remote_files *f, const char *folder)
{
	remote_known_close(f->known);
	f->known = f->recheck_ms > 0 ? remote_known_open(folder) : NULL;
}

void remote_files_describe(struct remote_files *f, const char *url, struct source_entry *entry)
{
	struct remote_fact fact = {.version = REMOTE_VERSION_FIRST};

	remote_known_find(f->known, url, &fact);
	*entry = (struct source_entry){
	    .path = url, .inode = fact.version, .key = strstr(url, "://") + 3};
}

void remote_files_close(struct remote_files *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < POOLS; i++)
		download_pool_close(f->pools[i]);
	remote_s3_free(f->s3);
	remote_known_close(f->known);
	remote_cache_close(f->cache);
	free(f->cache_folder);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

uint64_t remote_files_bytes_max(const struct remote_files *f)
{
	return f->options.bytes_max;
}

size_t remote_files_ahead(const struct remote_files *f)
{
	return f->options.connections;
}

/* Where a bucket is, the environment says, and no list: private addresses are as good as others there. */
static struct download_pool *pool_of(struct remote_files *f, const char *url, struct error *err)
{
	struct download_options options = f->options;
	int which = s3_is_url(url) ? STORE : WEB;

	options.only_public = options.only_public && which == WEB;
	pthread_mutex_lock(&f->lock);
	if (!f->pools[which])
		download_pool_open(&options, &f->pools[which], err);
	pthread_mutex_unlock(&f->lock);
	return f->pools[which];
}

/* *object, which is released when the download is done, is what of it is in a bucket. */
static int make(struct remote_files *f, const char *url, struct remote_object *object,
		struct download *d, struct error *err)
{
	*d = (struct download){.url = url, .fd = -1};
	*object = (struct remote_object)REMOTE_OBJECT_INIT;
	if (!s3_is_url(url))
		return 0;
	d->sign = remote_s3_sign;
	d->judge = remote_s3_judge;
	d->arg = object;
	return remote_s3_init(f->s3, url, object, err);
}

/* Servers send pages for images that are gone, with status 200. The decoders would call it no image. */
static bool is_page(int fd)
{
	static const char *const starts[] = {"<!doctype", "<html", "<head", "<?xml", "<!--"};
	char text[START_SIZE + 1] = "";
	ssize_t n = pread(fd, text, START_SIZE, 0);
	const char *at = text;

	if (n <= 0)
		return false;
	if (strncmp(at, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	at += strspn(at, " \t\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		if (strncasecmp(at, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	return false;
}

/* -- what is remembered ---------------------------------------------------------------------------- */

/* What does not fit is not asked with. */
static void keep_text(char *out, size_t size, const char *text)
{
	*out = '\0';
	if (text && strlen(text) < size)
		memcpy(out, text, strlen(text) + 1);
}

/* As its server said just now. */
static void take_validators(const struct download *d, struct remote_fact *fact)
{
	fact->checked_at = clock_wall_ms();
	keep_text(fact->etag, sizeof(fact->etag), d->etag_now);
	keep_text(fact->modified, sizeof(fact->modified), d->modified_now);
}

static void remember(struct remote_files *f, const struct download *d)
{
	struct remote_fact fact = {.version = REMOTE_VERSION_FIRST};

	if (!f->known)
		return;
	remote_known_find(f->known, d->url, &fact);
	take_validators(d, &fact);
	remote_known_put(f->known, d->url, &fact);
}

bool remote_files_recheck(const struct remote_files *f)
{
	return f->recheck_ms > 0;
}

/* Servers that know no conditional requests send all of it with the same ETag or date. */
static bool is_same(const struct download *d, const struct remote_fact *fact)
{
	if (d->unchanged)
		return true;
	if (fact->etag[0])
		return d->etag_now && strcmp(d->etag_now, fact->etag) == 0;
	return d->modified_now && strcmp(d->modified_now, fact->modified) == 0;
}

static void on_checked(struct download *d)
{
	struct remote_check *c = d->owner;
	struct remote_files *f = c->files;

	if (d->err.code != ERR_NONE) {
		c->changed = false; /* nothing is known */
	} else if (is_same(d, &c->fact)) {
		c->fact.checked_at = clock_wall_ms();
		remote_known_put(f->known, c->url, &c->fact);
	} else {
		c->changed = true;
		remote_cache_drop(f->cache, c->url);
		take_validators(d, &c->fact);
		c->fact.version = c->fact.version < (uint64_t)c->fact.checked_at
				      ? (uint64_t)c->fact.checked_at
				      : c->fact.version + 1;
		remote_known_put(f->known, c->url, &c->fact);
	}
	download_release(d);
	remote_s3_release(&c->object);
	free(c->url);
	c->done(c);
}

bool remote_files_check(struct remote_files *f, const char *url, struct remote_check *c)
{
	struct error ignored = ERROR_INIT;
	struct download_pool *pool;
	int64_t age;

	memset(&c->fact, 0, sizeof(c->fact));
	if (!remote_known_find(f->known, url, &c->fact) ||
	    !(c->fact.etag[0] || c->fact.modified[0]))
		return false;
	age = clock_wall_ms() - c->fact.checked_at;
	pool = age >= 0 && age < f->recheck_ms ? NULL : pool_of(f, url, &ignored);
	if (!pool || make(f, url, &c->object, &c->download, &ignored) < 0)
		return false;
	c->files = f;
	c->url = xstrdup(url);
	c->download.url = c->url;
	c->download.etag = c->fact.etag[0] ? c->fact.etag : NULL;
	c->download.modified = c->fact.modified[0] ? c->fact.modified : NULL;
	c->download.check = true;
	c->download.done = on_checked;
	c->download.owner = c;
	download_start(pool, &c->download);
	return true;
}

/* -- what came ------------------------------------------------------------------------------------- */

/* The descriptor of what came, at its beginning; d->err says otherwise why not. */
static int take(struct remote_files *f, struct download *d, struct error *err)
{
	int fd = -1;

	if (d->err.code != ERR_NONE) {
		*err = d->err;
	} else if (d->fd < 0) {
		error_data(err, "truncated", "the server sent nothing");
	} else if (!s3_is_url(d->url) && is_page(d->fd)) {
		error_data(err, "web_page", "the server sent a page of HTML or XML%s%.100s%s",
			   d->type ? " (" : "", d->type ? d->type : "", d->type ? ")" : "");
	} else if (lseek(d->fd, 0, SEEK_SET) < 0) {
		error_sys(err, "lseek");
	} else {
		fd = TAKE_FD(d->fd);
		if (d->size == 0)
			remember(f, d);
		if (d->size == 0 && !s3_is_url(d->url))
			remote_cache_put(f->cache, d->url, fd);
	}
	download_release(d);
	return fd;
}

/* Wrong keys, region or clock are no fault of a file. */
static int64_t put_off_ms(const struct error *err, const struct download *d)
{
	return err->code == ERR_TRANSIENT || err->code == ERR_CONFIG ? d->retry_ms : 0;
}

static struct download_pool *begin_part(struct remote_files *f, struct remote_part *part)
{
	struct download_pool *pool = pool_of(f, part->url, &part->err);

	part->fd = -1;
	part->files = f;
	if (!pool || make(f, part->url, &part->object, &part->download, &part->err) < 0)
		return NULL;
	part->download.offset = part->offset;
	part->download.size = part->size;
	part->download.match = part->etag;
	return pool;
}

static void end_part(struct remote_part *part)
{
	struct download *d = &part->download;

	if (part->may_be_empty && d->fd < 0 && d->err.code == ERR_NONE)
		d->fd = unpack_file_new(0, &d->err);
	part->fd = take(part->files, d, &part->err);
	part->put_off_ms = put_off_ms(&part->err, d);
	remote_s3_release(&part->object);
}

static void on_done(struct download *d)
{
	struct remote_part *part = d->owner;

	end_part(part);
	part->done(part);
}

void remote_files_fetch(struct remote_files *f, struct remote_part *part)
{
	struct download_pool *pool = begin_part(f, part);

	if (!pool) {
		part->done(part);
		return;
	}
	part->download.done = on_done;
	part->download.owner = part;
	download_start(pool, &part->download);
}

int remote_files_fetch_now(struct remote_files *f, struct remote_part *part, struct error *err)
{
	struct download_pool *pool = begin_part(f, part);
	struct error ignored = ERROR_INIT;

	if (pool) {
		download_wait(pool, &part->download, &ignored); /* take() says so */
		end_part(part);
	}
	if (part->fd < 0)
		*err = part->err;
	return part->fd < 0 ? -1 : 0;
}

int remote_files_open(struct remote_files *f, const char *url, struct error *err)
{
	cleanup_free char *own = xstrdup(url);
	struct remote_part part = {.url = own};
	int fd = remote_files_at_hand(f, url);

	if (fd < 0 && remote_files_fetch_now(f, &part, err) == 0)
		fd = part.fd;
	return fd;
}
