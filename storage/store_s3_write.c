/*
 * A writer is one of the local store, whose bytes are hashed on their way. The journal of an upload in parts is a file
 * .latentd/uploads/HASH-OF-KEY.json: {"key", "sha256", "upload_id", "part_size"}, there from the upload's beginning to its end.
 */
#include "storage/store_s3_parts.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "net/s3_upload.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum { JOURNAL_MAX = 16 << 10 };

struct s3_writer {
	struct store_writer base;
	struct store_writer *inner;
	struct sha256_stream *hash;
	uint64_t size;
	char sha256[SHA256_HEX_SIZE]; /* "": not taken yet */
};

static int write_bytes(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct s3_writer *w = (struct s3_writer *)sink;

	if (sink_write(store_writer_sink(w->inner), data, size, err) < 0)
		return -1;
	sha256_stream_update(w->hash, data, size);
	w->size += size;
	return 0;
}

int s3_store_begin(struct store *base, struct store_writer **out, struct error *err)
{
	struct s3_store *s = s3_store_of(base);
	struct store_writer *inner = NULL;
	struct s3_writer *w;

	if (s->readonly)
		return s3_store_refuse(s, err);
	if (store_begin(s->local, &inner, err) < 0)
		return -1;
	w = xcalloc(1, sizeof(*w));
	w->base = (struct store_writer){.sink = {.write = write_bytes}, .store = base};
	w->inner = inner;
	w->hash = sha256_stream_new();
	*out = &w->base;
	return 0;
}

int s3_store_flush(struct store_writer *base, struct error *err)
{
	return store_flush(((struct s3_writer *)base)->inner, err);
}

int s3_store_writer_read(struct store_writer *base, void *data, size_t size, uint64_t offset,
			 struct error *err)
{
	return store_writer_read(((struct s3_writer *)base)->inner, data, size, offset, err);
}

void s3_store_discard(struct store_writer *base)
{
	struct s3_writer *w = (struct s3_writer *)base;

	store_discard(w->inner);
	sha256_stream_free(w->hash);
	free(w);
}

/* -- the journal ------------------------------------------------------------------------------------- */

static char *journal_path(const struct s3_store *s, const char *key)
{
	struct hash128 hash = hash128_of(key, strlen(key));
	char hex[HASH128_HEX_SIZE];

	hash128_hex(&hash, hex);
	return xasprintf("%s/.latentd/uploads/%s.json", s->folder, hex);
}

struct journal {
	char *key, *sha256, *upload_id; /* NULL: there is none */
	size_t part_bytes; /* parts of another size hold other bytes under their numbers */
};

static void journal_release(struct journal *j)
{
	free(j->key);
	free(j->sha256);
	free(j->upload_id);
}

#define cleanup_journal cleanup_with(journal_release)

static const char *text_of(const json_t *root, const char *name)
{
	const char *text = json_string_value(json_object_get(root, name));

	return text ? text : "";
}

/* One that cannot be read is none: the upload begins anew, and what it left is a leftover. */
static void journal_read(const struct s3_store *s, const char *key, struct journal *out)
{
	cleanup_free char *path = journal_path(s, key);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	json_t *root = NULL;

	if (file_exists(path) && file_read_regular(path, JOURNAL_MAX, &text, &ignored) == 0)
		root = json_loadb((const char *)text.data, text.size, 0, NULL);
	if (strcmp(text_of(root, "key"), key) == 0 && *text_of(root, "upload_id"))
		*out = (struct journal){
		    xstrdup(key), xstrdup(text_of(root, "sha256")),
		    xstrdup(text_of(root, "upload_id")),
		    (size_t)json_integer_value(json_object_get(root, "part_size"))};
	json_decref(root);
}

static int journal_drop(const struct s3_store *s, const char *key, struct error *err)
{
	cleanup_free char *path = journal_path(s, key);

	return unlink(path) < 0 && errno != ENOENT ? error_sys(err, "remove %s", path) : 0;
}

/* -- publishing -------------------------------------------------------------------------------------- */

struct publishing {
	struct s3_store *store;
	struct s3_writer *writer;
	char *key;
};

static int read_writer(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct publishing *p = arg;

	return store_writer_read(p->writer->inner, data, size, offset, err);
}

static int note_upload(void *arg, const char *upload_id, struct error *err)
{
	const struct publishing *p = arg;
	cleanup_free char *path = journal_path(p->store, p->key);
	json_t *root =
	    json_pack("{s:s, s:s, s:s, s:I}", "key", p->key, "sha256", p->writer->sha256,
		      "upload_id", upload_id, "part_size", (json_int_t)p->store->part_bytes);
	cleanup_free char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;

	json_decref(root);
	if (!text)
		return error_data(err, "protocol", "the store's name of an upload is no text");
	if (dir_make_below(p->store->folder, ".latentd/uploads", err) < 0)
		return -1;
	return atomic_file_write(path, text, strlen(text), err);
}

static int publish_key(struct publishing *p, struct error *err)
{
	cleanup_journal struct journal j = {.key = NULL};
	struct s3_upload upload = {.key = p->key,
				   .size = p->writer->size,
				   .sha256 = p->writer->sha256,
				   .mode = S3_NEW,
				   .part_bytes = p->store->part_bytes,
				   .read = read_writer,
				   .on_begun = note_upload,
				   .arg = p};
	int r;

	journal_read(p->store, p->key, &j);
	if (j.key && strcmp(j.sha256, upload.sha256) == 0 && j.part_bytes == upload.part_bytes)
		upload.upload_id = j.upload_id;
	else if (j.key && s3_abort(p->store->uploads, p->key, j.upload_id, err) < 0)
		return -1;
	r = s3_upload(p->store->uploads, &upload, err);
	if (r < 0)
		return -1;
	if (journal_drop(p->store, p->key, err) < 0)
		return -1;
	return r == S3_IN_THE_WAY ? STORE_EXISTS : r;
}

int s3_store_publish(struct store_writer *base, enum store_area area, const char *name,
		     struct error *err)
{
	struct s3_writer *w = (struct s3_writer *)base;
	struct s3_store *s = s3_store_of(base->store);
	cleanup_free char *key = s3_store_key(s, area, name);
	struct publishing p = {s, w, key};

	if (store_flush(w->inner, err) < 0)
		return -1;
	if (w->size > STORE_S3_OBJECT_MAX)
		return error_set(err, ERR_CONFIG,
				 "%s is larger than the 5 GiB of an S3 store: give a "
				 "smaller shard_size",
				 name);
	if (!w->sha256[0]) {
		struct sha256 hash = sha256_stream_value(w->hash);

		sha256_hex(&hash, w->sha256);
	}
	atomic_store(&s->changed, true);
	return publish_key(&p, err);
}
