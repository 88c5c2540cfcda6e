/*
 * Of each record only one digest stays in memory: key, suffixes and member hashes in order. Reading
 * back goes through the format's reader, so a shard that is published has been parsed once by the
 * code that others will parse it with, and all its bytes have been compared by hash with what was
 * written.
 */
#include "storage/seal.h"

#include "storage/shard_mds.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define HASH_BLOCK ((size_t)1 << 20)

/* Passes bytes on and knows their hashes. */
struct hash_sink {
	struct sink base;
	struct sink *next;
	struct sha256_stream *sha256;
	struct hash128_stream *xxh3;
	uint64_t bytes;
};

struct made_shard {
	const struct shard_ops *format;
	const char *columns;
	struct store_writer *writer;
	size_t n;
	struct hash128 *digests;
	struct shard_span *spans;
	uint64_t bytes;
	struct sha256 sha256;
	struct hash128 xxh3;
};

/* Reading back: every byte is hashed once, in order, whatever order the format reads in. */
struct verifying {
	const struct made_shard *sealing;
	size_t seen;
	uint64_t hashed;
	struct hash128_stream *xxh3;
};

void sealed_shard_release(struct sealed_shard *sealed)
{
	free(sealed->spans);
	*sealed = (struct sealed_shard){.name = ""};
}

static int hash_sink_write(struct sink *base, const void *data, size_t size, struct error *err)
{
	struct hash_sink *sink = (struct hash_sink *)base;

	if (sink_write(sink->next, data, size, err) < 0)
		return -1;
	sha256_stream_update(sink->sha256, data, size);
	hash128_stream_update(sink->xxh3, data, size);
	sink->bytes += size;
	return 0;
}

static struct hash128 record_digest(const struct record *r)
{
	cleanup_hash128_stream struct hash128_stream *h = hash128_stream_new();

	hash128_stream_update(h, r->key, strlen(r->key) + 1);
	for (size_t i = 0; i < r->n_members; i++) {
		const struct record_member *member = &r->members[i];

		hash128_stream_update(h, member->suffix, strlen(member->suffix) + 1);
		hash128_stream_update(h, member->hash.bytes, sizeof(member->hash.bytes));
	}
	return hash128_stream_value(h);
}

/* -- writing ------------------------------------------------------------------------------ */

static int write_records(struct made_shard *s, struct shard_writer *out, seal_load_fn load,
			 void *arg, struct error *err)
{
	for (size_t i = 0; i < s->n; i++) {
		cleanup_record struct record record = RECORD_INIT;

		if (load(arg, i, &record, err) < 0)
			return -1;
		s->digests[i] = record_digest(&record);
		if (s->format->add(out, &record, &s->spans[i], err) < 0)
			return -1;
	}
	return s->format->finish(out, err);
}

static int write_shard(struct made_shard *s, seal_load_fn load, void *arg, struct error *err)
{
	cleanup_sha256_stream struct sha256_stream *sha256 = sha256_stream_new();
	cleanup_hash128_stream struct hash128_stream *xxh3 = hash128_stream_new();
	struct hash_sink sink = {.base = {.write = hash_sink_write},
				 .next = store_writer_sink(s->writer),
				 .sha256 = sha256,
				 .xxh3 = xxh3};
	struct shard_writer *out = s->format->writer_new(&sink.base, s->columns);
	int r = write_records(s, out, load, arg, err);

	s->format->writer_free(out);
	s->bytes = sink.bytes;
	s->sha256 = sha256_stream_value(sha256);
	s->xxh3 = hash128_stream_value(xxh3);
	return r;
}

/* -- verifying ---------------------------------------------------------------------------- */

static int verify_read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	struct verifying *v = arg;

	if (store_writer_read(v->sealing->writer, data, size, offset, err) < 0)
		return -1;
	if (offset <= v->hashed && v->hashed - offset < size) {
		size_t known = (size_t)(v->hashed - offset);

		hash128_stream_update(v->xxh3, (const uint8_t *)data + known, size - known);
		v->hashed = offset + size;
	}
	return 0;
}

static int verify_record(void *arg, const struct record *record, const struct shard_span *span,
			 struct error *err)
{
	struct verifying *v = arg;
	char quoted[TEXT_QUOTE_SIZE];
	struct hash128 digest = record_digest(record);

	if (v->seen == v->sealing->n || !hash128_equal(&digest, &v->sealing->digests[v->seen]) ||
	    span->offset != v->sealing->spans[v->seen].offset ||
	    span->bytes != v->sealing->spans[v->seen].bytes)
		return error_data(err, "verify", "record %zu, %s, is not what was written", v->seen,
				  text_quote(record->key, quoted));
	v->seen++;
	return 0;
}

/* What the format's reader left unread. */
static int verify_rest(struct verifying *v, struct error *err)
{
	cleanup_free uint8_t *block = xmalloc(HASH_BLOCK);

	while (v->hashed < v->sealing->bytes) {
		uint64_t left = v->sealing->bytes - v->hashed;
		size_t size = left < HASH_BLOCK ? (size_t)left : HASH_BLOCK;

		if (verify_read_at(v, block, size, v->hashed, err) < 0)
			return -1;
	}
	return 0;
}

static int verify_shard(const struct made_shard *s, struct error *err)
{
	cleanup_hash128_stream struct hash128_stream *xxh3 = hash128_stream_new();
	struct verifying v = {.sealing = s, .xxh3 = xxh3};
	struct hash128 hash;

	if (s->format->read(verify_read_at, &v, s->bytes, verify_record, &v, err) != 0 ||
	    verify_rest(&v, err) < 0) {
		struct error cause = *err;

		if (cause.code != ERR_DATA)
			return -1;
		error_clear(err);
		return error_data(err, "verify", "the shard read back: %s", cause.message);
	}
	hash = hash128_stream_value(xxh3);
	if (v.seen != s->n || !hash128_equal(&hash, &s->xxh3))
		return error_data(err, "verify", "%zu of %zu records read back, or other bytes",
				  v.seen, s->n);
	return 0;
}

/* -- sealing ------------------------------------------------------------------------------ */

/* Where the node's name is before it, if there is one. */
static const char *dash_of(const char *name)
{
	const char *file = strrchr(name, '/');

	return strchr(file ? file : name, '-');
}

bool sealed_name_is_of(const char *name, const char *node)
{
	const char *dash = dash_of(name);
	size_t n = node ? strlen(node) : 0;

	return !node || (dash && strncmp(dash + 1, node, n) == 0 && dash[1 + n] == '.');
}

bool sealed_name_has_node(const char *name)
{
	return dash_of(name) != NULL;
}

/* The first free name. */
static int publish(const struct made_shard *s, const struct seal_target *target,
		   char name[SEALED_NAME_SIZE], struct error *err)
{
	for (unsigned number = target->first_number;; number++) {
		int n = snprintf(name, SEALED_NAME_SIZE, "%s/%06u%s%s%s", target->folder, number,
				 target->node ? "-" : "", target->node ? target->node : "",
				 s->format->extension);
		int r;

		if (n < 0 || n >= SEALED_NAME_SIZE)
			return error_set(err, ERR_CONFIG, "shard folder '%s' is too long",
					 target->folder);
		r = target->area == STORE_STAGED ? store_stage(s->writer, name, err)
						 : store_publish(s->writer, name, err);
		if (r != STORE_EXISTS)
			return r;
	}
}

int seal_make(const struct seal_target *target, seal_load_fn load, void *arg, size_t n,
	      struct made_shard **out, struct error *err)
{
	struct made_shard *s;

	if (n == 0)
		return error_set(err, ERR_BUG, "a shard of no records");
	s = xcalloc(1, sizeof(*s));
	*s = (struct made_shard){.format = target->format, .columns = target->columns, .n = n};
	s->digests = xcalloc(n, sizeof(s->digests[0]));
	s->spans = xcalloc(n, sizeof(s->spans[0]));
	if (store_begin(target->store, &s->writer, err) < 0 || write_shard(s, load, arg, err) < 0 ||
	    store_flush(s->writer, err) < 0 || verify_shard(s, err) < 0) {
		made_shard_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

int seal_publish(struct made_shard *s, const struct seal_target *target, struct sealed_shard *out,
		 struct error *err)
{
	struct sealed_shard sealed = {
	    .samples = s->n, .bytes = s->bytes, .sha256 = s->sha256, .xxh3 = s->xxh3};

	if (publish(s, target, sealed.name, err) < 0)
		return -1;
	sealed.spans = TAKE(s->spans);
	*out = sealed;
	return 0;
}

void made_shard_free(struct made_shard *s)
{
	if (!s)
		return;
	store_discard(s->writer);
	free(s->digests);
	free(s->spans);
	free(s);
}

int seal_shard(const struct seal_target *target, seal_load_fn load, void *arg, size_t n,
	       struct sealed_shard *out, struct error *err)
{
	struct made_shard *made = NULL;
	int r = seal_make(target, load, arg, n, &made, err);

	if (r == 0)
		r = seal_publish(made, target, out, err);
	made_shard_free(made);
	return r;
}

/* -- visible shards ----------------------------------------------------------------------- */

int shard_file_hashes(struct store *store, const char *name, uint64_t *bytes, struct sha256 *sha256,
		      struct hash128 *xxh3, struct error *err)
{
	cleanup_sha256_stream struct sha256_stream *sha = sha256_stream_new();
	cleanup_hash128_stream struct hash128_stream *xxh = hash128_stream_new();
	cleanup_free uint8_t *block = xmalloc(HASH_BLOCK);
	uint64_t size;

	if (store_size(store, name, &size, err) < 0)
		return -1;
	for (uint64_t at = 0; at < size;) {
		size_t n = size - at < HASH_BLOCK ? (size_t)(size - at) : HASH_BLOCK;

		if (store_read(store, name, block, n, at, err) < 0)
			return -1;
		sha256_stream_update(sha, block, n);
		hash128_stream_update(xxh, block, n);
		at += n;
	}
	*bytes = size;
	*sha256 = sha256_stream_value(sha);
	*xxh3 = hash128_stream_value(xxh);
	return 0;
}

struct stored_shard {
	struct store *store;
	const char *name;
};

static int stored_read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	struct stored_shard *shard = arg;

	return store_read(shard->store, shard->name, data, size, offset, err);
}

static const struct shard_ops *format_of(const char *name, struct error *err)
{
	const struct shard_ops *format = shard_format_of_file(name);
	char quoted[TEXT_QUOTE_SIZE];

	if (!format)
		error_data(err, "shard", "%s: not a shard's extension", text_quote(name, quoted));
	return format;
}

int shard_read_stored(struct store *store, const char *name, shard_record_fn fn, void *arg,
		      struct error *err)
{
	const struct shard_ops *format = format_of(name, err);
	struct stored_shard shard = {store, name};
	uint64_t bytes;

	if (!format || store_size(store, name, &bytes, err) < 0)
		return -1;
	return format->read(stored_read_at, &shard, bytes, fn, arg, err);
}

int shard_read_record(struct store *store, const char *name, const struct shard_span *span,
		      struct record *out, struct error *err)
{
	const struct shard_ops *format = format_of(name, err);
	struct stored_shard shard = {store, name};

	return format ? format->read_record(stored_read_at, &shard, span, out, err) : -1;
}

int shard_stored_columns(struct store *store, const char *name, char out[MDS_SPECIFICATION_SIZE],
			 struct error *err)
{
	const struct shard_ops *format = format_of(name, err);
	struct stored_shard shard = {store, name};
	uint64_t bytes = 0;

	out[0] = '\0';
	if (!format || format != &shard_mds_ops)
		return format ? 0 : -1;
	if (store_size(store, name, &bytes, err) < 0)
		return -1;
	return shard_mds_columns(stored_read_at, &shard, bytes, out, err);
}
