/*
 * Opened, a shard is: u32 n, u32 place[n + 1], config, samples; places count from the shard's beginning (streaming
 * 0.13: base/format/mds/writer.py). The first piece is n and place[0], which tell how long the second is: the rest of the
 * head. Each sample is a piece.
 */
#include "storage/shard_mds.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/frame_pieces.h"
#include "base/text.h"
#include "storage/mds_sample.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define START_BYTES 8
/* Of one record, compressed: more than a shard can hold. */
#define SPAN_MAX ((uint64_t)4 << 30)

/* -- writing ------------------------------------------------------------------------------ */

struct shard_writer {
	struct sink *sink;
	const char *columns;
	struct record *records;
	struct shard_span **spans; /* the caller's: filled when the shard is finished */
	size_t n, capacity;
	uint64_t offset; /* in the file */
};

static struct shard_writer *mds_writer_new(struct sink *sink, const char *columns)
{
	struct shard_writer *w = xcalloc(1, sizeof(*w));

	w->sink = sink;
	w->columns = columns;
	return w;
}

static void mds_writer_free(struct shard_writer *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		record_release(&w->records[i]);
	free(w->records);
	free(w->spans);
	free(w);
}

static int copy_record(struct record *out, const struct record *record, struct error *err)
{
	cleanup_record struct record copy = RECORD_INIT;

	if (record_init(&copy, record->key, record->group, err) < 0)
		return -1;
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *m = &record->members[i];
		cleanup_buffer struct buffer data = BUFFER_INIT;

		if (buffer_reserve(&data, m->data.size, err) < 0)
			return -1;
		buffer_append(&data, m->data.data, m->data.size);
		if (record_add_buffer(&copy, m->suffix, &data, err) < 0)
			return -1;
	}
	*out = copy;
	copy = (struct record)RECORD_INIT;
	return 0;
}

static int mds_add(struct shard_writer *w, const struct record *record, struct shard_span *span,
		   struct error *err)
{
	struct record copy = RECORD_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (record->n_members == 0)
		return error_set(err, ERR_BUG, "record %s has no members",
				 text_quote(record->key, quoted));
	if (copy_record(&copy, record, err) < 0)
		return -1;
	if (w->n == w->capacity) {
		w->capacity = w->capacity ? w->capacity * 2 : 64;
		w->records = xrealloc(w->records, w->capacity, sizeof(*w->records));
		w->spans = xrealloc(w->spans, w->capacity, sizeof(struct shard_span *));
	}
	w->records[w->n] = copy;
	w->spans[w->n++] = span;
	return 0;
}

static int write_piece(struct shard_writer *w, struct piece_writer *frame, const void *data,
		       size_t size, struct shard_span *span, struct error *err)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	int r = data ? piece_writer_put(frame, data, size, &out, err)
		     : piece_writer_end(frame, &out, err);

	if (r < 0 || sink_write(w->sink, out.data, out.size, err) < 0)
		return -1;
	if (span)
		*span = (struct shard_span){w->offset, out.size};
	w->offset += out.size;
	return 0;
}

/* @samples: one a record; with the head in front they are the shard. */
static int write_frame(struct shard_writer *w, const struct mds_columns *columns,
		       const struct buffer *samples, struct error *err)
{
	cleanup_buffer struct buffer head = BUFFER_INIT, config = BUFFER_INIT;
	cleanup_piece_writer struct piece_writer *frame = NULL;
	uint64_t at;

	if (mds_columns_config(columns, &config, err) < 0)
		return -1;
	at = 4 + 4 * ((uint64_t)w->n + 1) + config.size;
	buffer_put_u32(&head, (uint32_t)w->n);
	buffer_put_u32(&head, (uint32_t)at);
	for (size_t i = 0; i < w->n; i++) {
		at += samples[i].size;
		if (at > UINT32_MAX)
			return error_data(err, "too_large",
					  "an MDS shard has less than 4 GiB: make shards smaller");
		buffer_put_u32(&head, (uint32_t)at);
	}
	buffer_append(&head, config.data, config.size);
	frame = piece_writer_new(at, COMPRESS_LEVEL_FLOATS);
	if (write_piece(w, frame, head.data, START_BYTES, NULL, err) < 0 ||
	    write_piece(w, frame, head.data + START_BYTES, head.size - START_BYTES, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < w->n; i++) {
		if (write_piece(w, frame, samples[i].data, samples[i].size, w->spans[i], err) < 0)
			return -1;
	}
	return write_piece(w, frame, NULL, 0, NULL, err);
}

static int mds_finish(struct shard_writer *w, struct error *err)
{
	cleanup_free struct buffer *samples = xcalloc(w->n + 1, sizeof(*samples));
	struct mds_columns columns;
	int r = mds_columns_choose(&columns, w->columns, w->records, w->n, err);

	for (size_t i = 0; r == 0 && i < w->n; i++) {
		r = mds_sample_put(&columns, &w->records[i], &samples[i], err);
		record_release(&w->records[i]); /* so that memory holds it once */
	}
	if (r == 0)
		r = write_frame(w, &columns, samples, err);
	for (size_t i = 0; i < w->n; i++)
		buffer_release(&samples[i]);
	return r;
}

/* -- reading ------------------------------------------------------------------------------ */

/* A frame that is damaged is a shard that is damaged. */
static int of_shard(int r, struct error *err)
{
	if (r < 0 && err->code == ERR_DATA && strcmp(err->reason, "zstd") == 0) {
		struct error cause = *err;

		error_clear(err);
		error_data(err, "shard", "damaged or foreign MDS shard: %s", cause.message);
	}
	return r;
}

struct mds_reader {
	struct piece_reader *frame;
	struct buffer head, sample;
	uint32_t n;
	struct mds_columns columns;
};

static void reader_release(struct mds_reader *r)
{
	piece_reader_free(r->frame);
	buffer_release(&r->head);
	buffer_release(&r->sample);
}

#define cleanup_reader cleanup_with(reader_release)

static uint32_t place(const struct mds_reader *r, size_t i)
{
	return get_u32le(r->head.data + 4 + 4 * i);
}

static int bad_shard(const char *what, struct error *err)
{
	return error_data(err, "shard", "damaged or foreign MDS shard: %s", what);
}

static int read_head(struct mds_reader *r, struct error *err)
{
	uint64_t content = piece_reader_content(r->frame), table;

	if (piece_reader_next(r->frame, START_BYTES, &r->head, err) < 0)
		return -1;
	r->n = get_u32le(r->head.data);
	table = 4 + 4 * ((uint64_t)r->n + 1);
	if (place(r, 0) < table || place(r, 0) > content)
		return bad_shard("its head is too short", err);
	if (piece_reader_next(r->frame, place(r, 0) - START_BYTES, &r->head, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n; i++) {
		if (place(r, i) > place(r, i + 1))
			return bad_shard("its places are not in order", err);
	}
	return mds_columns_parse(&r->columns, r->head.data + table, place(r, 0) - table, err);
}

static int reader_open(struct mds_reader *r, shard_read_at_fn read_at, void *read_arg,
		       uint64_t size, struct error *err)
{
	if (piece_reader_open(read_at, read_arg, size, &r->frame, err) < 0)
		return -1;
	return read_head(r, err);
}

static int next_sample(struct mds_reader *r, size_t i, struct shard_span *span, struct error *err)
{
	span->offset = piece_reader_position(r->frame);
	buffer_reset(&r->sample);
	if (place(r, i) == place(r, i + 1))
		return bad_shard("a sample of nothing", err);
	if (piece_reader_next(r->frame, place(r, i + 1) - place(r, i), &r->sample, err) < 0)
		return -1;
	span->bytes = piece_reader_position(r->frame) - span->offset;
	return 0;
}

static int read_records(struct mds_reader *r, shard_record_fn fn, void *arg, struct error *err)
{
	for (size_t i = 0; i < r->n; i++) {
		cleanup_record struct record record = RECORD_INIT;
		struct shard_span span;
		int result;

		if (next_sample(r, i, &span, err) < 0 ||
		    mds_sample_read(&r->columns, r->sample.data, r->sample.size, &record, err) < 0)
			return -1;
		result = fn(arg, &record, &span, err);
		if (result != 0)
			return result;
	}
	return piece_reader_end(r->frame, err);
}

static int mds_read(shard_read_at_fn read_at, void *read_arg, uint64_t size, shard_record_fn fn,
		    void *arg, struct error *err)
{
	cleanup_reader struct mds_reader r = {.frame = NULL};
	int result = reader_open(&r, read_at, read_arg, size, err);

	if (result == 0)
		result = read_records(&r, fn, arg, err);
	return of_shard(result, err);
}

/* @most: bytes that it may have when opened. */
static int read_span(shard_read_at_fn read_at, void *read_arg, const struct shard_span *span,
		     uint64_t most, struct buffer *sample, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	if (buffer_reserve(&bytes, (size_t)span->bytes, err) < 0 ||
	    read_at(read_arg, bytes.data, (size_t)span->bytes, span->offset, err) < 0)
		return -1;
	return piece_open(bytes.data, (size_t)span->bytes, most, sample, err);
}

/* The head stands before every record, so nothing behind this one is read. */
static int mds_read_record(shard_read_at_fn read_at, void *read_arg, const struct shard_span *span,
			   struct record *out, struct error *err)
{
	cleanup_reader struct mds_reader r = {.frame = NULL};
	int result;

	if (span->bytes == 0 || span->bytes > SPAN_MAX || span->offset > UINT64_MAX - span->bytes)
		return bad_shard("a record's place is not one", err);
	result = reader_open(&r, read_at, read_arg, span->offset, err);
	if (result == 0)
		result = read_span(read_at, read_arg, span, place(&r, r.n) - place(&r, 0),
				   &r.sample, err);
	if (result == 0)
		result = mds_sample_read(&r.columns, r.sample.data, r.sample.size, out, err);
	return of_shard(result, err);
}

int shard_mds_columns(shard_read_at_fn read_at, void *read_arg, uint64_t size,
		      char out[MDS_SPECIFICATION_SIZE], struct error *err)
{
	cleanup_reader struct mds_reader r = {.frame = NULL};
	int result = reader_open(&r, read_at, read_arg, size, err);

	if (result == 0)
		memcpy(out, r.columns.specification, MDS_SPECIFICATION_SIZE);
	return of_shard(result, err);
}

/* -- its entry in an index ---------------------------------------------------------------- */

struct hashed_file {
	shard_read_at_fn read_at;
	void *arg;
	struct xxh64_stream *xxh64; /* of all that was read, from the beginning on */
};

static int hashed_read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	struct hashed_file *file = arg;

	if (file->read_at(file->arg, data, size, offset, err) < 0)
		return -1;
	xxh64_stream_update(file->xxh64, data, size);
	return 0;
}

struct content {
	struct xxh64_stream *xxh64;
	struct sha256_stream *sha256;
};

static void content_add(struct content *c, const struct buffer *piece)
{
	xxh64_stream_update(c->xxh64, piece->data, piece->size);
	sha256_stream_update(c->sha256, piece->data, piece->size);
}

static json_t *file_json(const char *basename, int length, uint64_t bytes,
			 const struct sha256 *sha256, uint64_t xxh64)
{
	char hex[SHA256_HEX_SIZE], hex64[17];
	json_t *file = json_object(), *hashes = json_object();

	sha256_hex(sha256, hex);
	snprintf(hex64, sizeof(hex64), "%016" PRIx64, xxh64);
	json_object_set_new(hashes, "sha256", json_string(hex));
	json_object_set_new(hashes, "xxh64", json_string(hex64));
	json_object_set_new(file, "basename", json_sprintf("%.*s", length, basename));
	json_object_set_new(file, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(file, "hashes", hashes);
	return file;
}

static int read_content(struct mds_reader *r, struct content *content, struct error *err)
{
	content_add(content, &r->head);
	for (size_t i = 0; i < r->n; i++) {
		struct shard_span span;

		if (next_sample(r, i, &span, err) < 0)
			return -1;
		content_add(content, &r->sample);
	}
	return piece_reader_end(r->frame, err);
}

/* Of the config all but what is latentd's own: a reader takes exactly what it knows. */
static void put_entry(const struct mds_reader *r, const struct content *content, uint64_t size,
		      const struct sha256 *sha256, uint64_t xxh64, const char *basename,
		      struct buffer *out)
{
	size_t table = 4 + 4 * ((size_t)r->n + 1);
	json_t *entry =
	    json_loadb((const char *)r->head.data + table, place(r, 0) - table, 0, NULL);
	struct sha256 opened = sha256_stream_value(content->sha256);
	int length = (int)(strlen(basename) - strlen(".zstd"));
	char *text;

	json_object_del(entry, "latentd");
	json_object_set_new(entry, "samples", json_integer(r->n));
	json_object_set_new(entry, "raw_data",
			    file_json(basename, length, piece_reader_content(r->frame), &opened,
				      xxh64_stream_value(content->xxh64)));
	json_object_set_new(entry, "zip_data",
			    file_json(basename, (int)strlen(basename), size, sha256, xxh64));
	text = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(entry);
	buffer_append_string(out, text ? text : "null");
	free(text);
}

int shard_mds_index_entry(shard_read_at_fn read_at, void *read_arg, uint64_t size,
			  const struct sha256 *sha256, const char *basename, struct buffer *out,
			  struct error *err)
{
	cleanup_reader struct mds_reader r = {.frame = NULL};
	cleanup_xxh64_stream struct xxh64_stream *of_file = xxh64_stream_new();
	cleanup_xxh64_stream struct xxh64_stream *of_content = xxh64_stream_new();
	cleanup_sha256_stream struct sha256_stream *sha = sha256_stream_new();
	struct hashed_file file = {read_at, read_arg, of_file};
	struct content content = {of_content, sha};
	int result = reader_open(&r, hashed_read_at, &file, size, err);

	if (result == 0)
		result = read_content(&r, &content, err);
	if (result < 0)
		return of_shard(result, err);
	put_entry(&r, &content, size, sha256, xxh64_stream_value(of_file), basename, out);
	return 0;
}

const struct shard_ops shard_mds_ops = {
    .name = "mds",
    .extension = ".mds.zstd",
    .writer_new = mds_writer_new,
    .add = mds_add,
    .finish = mds_finish,
    .writer_free = mds_writer_free,
    .read = mds_read,
    .read_record = mds_read_record,
};
