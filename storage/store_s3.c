#include "storage/store_s3_parts.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/s3_upload.h"

#include <assert.h>
#include <string.h>

/* More than what is asked for is fetched where an object is read from its beginning on. */
enum { READ_AHEAD = 4 << 20, OWNER_MAX = 4096 };

#define OWNER_NAME ".latentd/owner"

static const struct store_ops s3_ops;

struct s3_store *s3_store_of(struct store *s)
{
	assert(s->ops == &s3_ops);
	return (struct s3_store *)s;
}

char *s3_store_key(const struct s3_store *s, enum store_area area, const char *name)
{
	static const char *const areas[STORE_AREAS] = {"", ".latentd/staged/", ".latentd/retired/"};

	return xasprintf("%s%s%s", s->prefix, areas[area], name);
}

int s3_store_refuse(const struct s3_store *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_set(err, ERR_BUG, "the store of %s was opened for reading only",
			 text_quote(s->folder, quoted));
}

void s3_store_forget(struct s3_store *s)
{
	free(s->name);
	s->name = NULL;
	buffer_reset(&s->cached);
}

static int missing(const char *name, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_data(err, "missing", "%s is not there", text_quote(name, quoted));
}

/* -- reading ----------------------------------------------------------------------------------------- */

/* ERR_DATA is said of the object, and who hears it takes it for lost: a store that refuses to tell has not said so. */
static int asked(int r, struct error *err)
{
	if (r < 0 && err->code == ERR_DATA && strcmp(err->reason, "truncated") != 0)
		err->code = ERR_IO;
	return r;
}

static int s3_size(struct store *base, const char *name, uint64_t *bytes, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *key = s3_store_key(s, STORE_VISIBLE, name);
	struct s3_object object;
	int r = asked(s3_head(s->s3, key, &object, err), err);

	if (r == S3_NOT_THERE)
		return missing(name, err);
	if (r == 0)
		*bytes = object.size;
	return r;
}

static int read_of_last(struct s3_store *s, void *data, size_t size, uint64_t offset)
{
	uint64_t end = s->cached_at + s->cached.size;

	if (offset < s->cached_at || offset > end || size > end - offset)
		return 0;
	memcpy(data, s->cached.data + (offset - s->cached_at), size);
	return 1;
}

/* What follows what was read last is read on from there, and a good piece more. */
static size_t size_to_get(const struct s3_store *s, size_t size, uint64_t offset)
{
	uint64_t end = s->cached_at + s->cached.size, rest = s->size - offset;
	bool goes_on =
	    offset == 0 || (s->cached.size > 0 && offset >= s->cached_at && offset <= end);
	uint64_t wanted = goes_on && size < READ_AHEAD ? READ_AHEAD : size;

	return (size_t)(wanted < rest ? wanted : rest);
}

static int look_at(struct s3_store *s, const char *name, struct error *err)
{
	uint64_t size;

	if (!atomic_exchange(&s->changed, false) && s->name && strcmp(s->name, name) == 0)
		return 0;
	s3_store_forget(s);
	if (s3_size(&s->base, name, &size, err) < 0)
		return -1;
	s->name = xstrdup(name);
	s->size = size;
	s->cached_at = 0;
	return 0;
}

static int s3_read(struct store *base, const char *name, void *data, size_t size, uint64_t offset,
		   struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *key = s3_store_key(s, STORE_VISIBLE, name);
	cleanup_buffer struct buffer piece = BUFFER_INIT;
	int r;

	if (look_at(s, name, err) < 0)
		return -1;
	if (offset > s->size || size > s->size - offset)
		return error_data(err, "truncated", "%s has only %llu bytes", key,
				  (unsigned long long)s->size);
	if (size == 0 || read_of_last(s, data, size, offset))
		return 0;
	r = asked(s3_get(s->s3, key, offset, size_to_get(s, size, offset), &piece, err), err);
	if (r == S3_NOT_THERE)
		s3_store_forget(s);
	if (r != 0)
		return r == S3_NOT_THERE ? missing(name, err) : r;
	memcpy(data, piece.data, size);
	buffer_release(&s->cached);
	s->cached = piece;
	s->cached_at = offset;
	piece = (struct buffer)BUFFER_INIT;
	return 0;
}

struct listing {
	size_t hidden; /* bytes of the key before the name */
	store_object_fn fn;
	void *arg;
};

static int on_item(void *arg, const struct s3_item *item, struct error *err)
{
	const struct listing *l = arg;
	const char *name = item->key + l->hidden;
	size_t length = strlen(name);

	(void)err;
	/* Some programs put an empty object where a folder would be, or one below a folder without a name. */
	if (length == 0 || name[0] == '.' || name[0] == '/' || strstr(name, "/.") ||
	    strstr(name, "//") || name[length - 1] == '/')
		return 0;
	return l->fn(l->arg, name, item->size);
}

static int s3_list_area(struct store *base, enum store_area area, const char *prefix,
			store_object_fn fn, void *arg, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *whole = s3_store_key(s, area, "");
	cleanup_free char *below = xasprintf("%s%s%s", whole, prefix, prefix[0] ? "/" : "");
	struct listing l = {strlen(whole), fn, arg};

	return s3_list(s->s3, below, NULL, on_item, &l, err);
}

/* -- moving ------------------------------------------------------------------------------------------- */

/* A crash between copy and delete leaves both; the next move of the same finds them equal and deletes. */
static int move_key(struct s3_store *s, const char *from, const char *to, const char *name,
		    struct error *err)
{
	int r = s3_copy(s->s3, from, to, S3_NEW, err);

	if (r == S3_NOT_THERE)
		return missing(name, err);
	if (r != 0)
		return r == S3_IN_THE_WAY ? STORE_EXISTS : r;
	s3_store_forget(s);
	return s3_delete(s->s3, from, err);
}

static int s3_move(struct store *base, const char *name, enum store_area from, enum store_area to,
		   struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *source = s3_store_key(s, from, name);
	cleanup_free char *target = s3_store_key(s, to, name);

	return s->readonly ? s3_store_refuse(s, err) : move_key(s, source, target, name, err);
}

static int s3_remove(struct store *base, enum store_area area, const char *name, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *key = s3_store_key(s, area, name);

	return s->readonly ? s3_store_refuse(s, err) : s3_delete(s->s3, key, err);
}

static int s3_quarantine(struct store *base, const char *name, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *from = s3_store_key(s, STORE_VISIBLE, name), *flat = xstrdup(name);

	if (s->readonly)
		return s3_store_refuse(s, err);
	for (char *p = flat; *p; p++)
		*p = *p == '/' ? '_' : *p;
	for (unsigned n = 0;; n++) {
		cleanup_free char *to = xasprintf("%s.latentd/quarantine/%s", s->prefix, flat);
		cleanup_free char *numbered = xasprintf("%s.%u", to, n);
		int r = move_key(s, from, n == 0 ? to : numbered, name, err);

		if (r != STORE_EXISTS)
			return r;
	}
}

/* -- beside the objects ------------------------------------------------------------------------------- */

static int s3_mirror(struct store *base, const char *name, const void *data, size_t size,
		     struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	cleanup_free char *key = xasprintf("%s%s", s->prefix, name);

	return data ? s3_put(s->s3, key, data, size, S3_REPLACE, err) : s3_delete(s->s3, key, err);
}

struct leftovers {
	struct s3_store *store;
	store_leftover_fn fn;
	void *arg;
};

/* Who goes on with one that is forgotten begins anew. */
static int on_upload(void *arg, const struct s3_item *item, struct error *err)
{
	const struct leftovers *l = arg;

	if (!l->fn(l->arg, item->key, item->modified_ms))
		return 0;
	return s3_abort(l->store->s3, item->key, item->upload_id, err);
}

static int s3_leftovers(struct store *base, store_leftover_fn fn, void *arg, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	struct leftovers l = {s, fn, arg};

	return s3_list_uploads(s->s3, s->prefix, on_upload, &l, err);
}

/* -- opening ------------------------------------------------------------------------------------------ */

static int claim(struct s3_store *s, const char *owner, struct error *err)
{
	cleanup_free char *key = xasprintf("%s" OWNER_NAME, s->prefix);
	cleanup_free char *name = s3_name(s->s3, key);
	cleanup_buffer struct buffer other = BUFFER_INIT;
	struct s3_object object;
	char quoted[TEXT_QUOTE_SIZE];
	int r = s3_put(s->s3, key, owner, strlen(owner), S3_NEW, err);

	if (r != S3_IN_THE_WAY)
		return r;
	r = s3_head(s->s3, key, &object, err);
	if (r == 0)
		r = s3_get(s->s3, key, 0, object.size < OWNER_MAX ? (size_t)object.size : OWNER_MAX,
			   &other, err);
	if (r < 0)
		return r;
	return error_set(err, ERR_CONFIG,
			 "the store belongs to another output (%s): give this one a prefix of its "
			 "own, or delete %s if that output is gone",
			 text_quote(other.data ? (const char *)other.data : "", quoted), name);
}

static void s3_close_store(struct store *base)
{
	struct s3_store *s = s3_store_of(base);

	store_close(s->local);
	s3_close(s->s3);
	s3_close(s->uploads);
	free(s->folder);
	free(s->prefix);
	free(s->name);
	buffer_release(&s->cached);
	free(s);
}

static int open_client(struct s3_store *s, const struct store_s3_options *o, struct error *err)
{
	cleanup_free char *bucket = NULL;
	cleanup_free char *prefix = NULL;
	struct s3_options options = {.place = {.endpoint = o->endpoint,
					       .region = o->region,
					       .profile = o->profile,
					       .addressing = o->addressing},
				     .patience_ms = o->patience_ms,
				     .stop = o->stop,
				     .on_wait = o->on_wait,
				     .arg = o->arg};
	size_t length;

	if (s3_url_parse(o->url, &bucket, &prefix, err) < 0)
		return -1;
	for (length = strlen(prefix); length > 0 && prefix[length - 1] == '/'; length--)
		prefix[length - 1] = '\0';
	s->prefix = xasprintf("%s%s", prefix, prefix[0] ? "/" : "");
	options.place.bucket = bucket;
	if (s3_open(&options, &s->s3, err) < 0)
		return -1;
	return o->readonly ? 0 : s3_open(&options, &s->uploads, err);
}

static int open_local(const struct store_s3_options *o, struct store **out, struct error *err)
{
	if (o->readonly)
		return store_local_open(o->folder, true, out, err);
	return (o->beside ? store_local_open_beside : store_local_open_shared)(o->folder, o->node,
									       out, err);
}

int store_s3_open(const struct store_s3_options *o, struct store **out, struct error *err)
{
	struct s3_store *s = xcalloc(1, sizeof(*s));

	s->base.ops = &s3_ops;
	s->folder = xstrdup(o->folder);
	s->readonly = o->readonly;
	s->part_bytes = o->part_bytes;
	if (open_local(o, &s->local, err) < 0 || open_client(s, o, err) < 0 ||
	    (o->owner && claim(s, o->owner, err) < 0)) {
		s3_close_store(&s->base);
		return -1;
	}
	*out = &s->base;
	return 0;
}

static const struct store_ops s3_ops = {
    .name = "s3",
    .begin = s3_store_begin,
    .flush = s3_store_flush,
    .writer_read = s3_store_writer_read,
    .publish = s3_store_publish,
    .discard = s3_store_discard,
    .read = s3_read,
    .size = s3_size,
    .list = s3_list_area,
    .move = s3_move,
    .remove = s3_remove,
    .quarantine = s3_quarantine,
    .mirror = s3_mirror,
    .leftovers = s3_leftovers,
    .close = s3_close_store,
};
