/*
 * The writer makes its own headers (ustar.h), because a shard's bytes must depend on nothing but
 * its records. The reader is libarchive: it parses what strangers may have damaged, and as a second
 * implementation it checks the writer each time a shard is sealed. On top of it the reader does the
 * arithmetic of a plain tar (512 + size, rounded up) and compares it with where libarchive finds
 * the next header, so that every byte of the file is accounted for.
 */
#include "storage/shard_wds.h"

#include "base/checked.h"
#include "base/text.h"
#include "storage/ustar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_BLOCK ((size_t)256 << 10)
#define TAR_END	   ((size_t)2 * USTAR_BLOCK)

/* -- writing ------------------------------------------------------------------------------ */

struct shard_writer {
	struct sink *sink;
	uint64_t offset;
	char last_key[RECORD_KEY_SIZE];
};

static struct shard_writer *wds_writer_new(struct sink *sink, const char *columns)
{
	struct shard_writer *w = xcalloc(1, sizeof(*w));

	(void)columns;
	w->sink = sink;
	return w;
}

static void wds_writer_free(struct shard_writer *w)
{
	free(w);
}

static bool key_valid(const char *key)
{
	const char *part = key;

	for (;;) {
		size_t length = strcspn(part, "/");

		if (length == 0 || part[0] == '.')
			return false;
		if (part[length] == '\0')
			return !strchr(part, '.');
		part += length + 1;
	}
}

static int check_record(const struct shard_writer *w, const struct record *record,
			struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (record->n_members == 0)
		return error_set(err, ERR_BUG, "record %s has no members",
				 text_quote(record->key, quoted));
	if (!key_valid(record->key) || strcmp(record->key, w->last_key) == 0)
		return error_data(err, "bad_name", "%s cannot be a key in a tar here",
				  text_quote(record->key, quoted));
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *member = &record->members[i];
		size_t length = strlen(record->key) + 1 + strlen(member->suffix);

		if (length > USTAR_NAME_MAX)
			return error_data(err, "name_too_long",
					  "%s with .%s has %zu bytes, a tar name at most %d",
					  text_quote(record->key, quoted), member->suffix, length,
					  USTAR_NAME_MAX);
		if (member->data.size > USTAR_SIZE_MAX)
			return error_data(err, "too_large", "%s.%s: %zu bytes do not fit a tar",
					  text_quote(record->key, quoted), member->suffix,
					  member->data.size);
	}
	return 0;
}

static int write_bytes(struct shard_writer *w, const void *data, size_t size, struct error *err)
{
	if (sink_write(w->sink, data, size, err) < 0)
		return -1;
	w->offset += size;
	return 0;
}

static int write_member(struct shard_writer *w, const char *key, const struct record_member *member,
			struct error *err)
{
	static const uint8_t zeros[USTAR_BLOCK];
	char name[RECORD_KEY_SIZE + RECORD_SUFFIX_SIZE];
	uint8_t header[USTAR_BLOCK];

	snprintf(name, sizeof(name), "%s.%s", key, member->suffix);
	ustar_header(header, name, member->data.size);
	if (write_bytes(w, header, sizeof(header), err) < 0 ||
	    write_bytes(w, member->data.data, member->data.size, err) < 0)
		return -1;
	return write_bytes(w, zeros, ustar_padding(member->data.size), err);
}

static int wds_add(struct shard_writer *w, const struct record *record, struct shard_span *span,
		   struct error *err)
{
	uint64_t start = w->offset;

	if (check_record(w, record, err) < 0)
		return -1;
	for (size_t i = 0; i < record->n_members; i++) {
		if (write_member(w, record->key, &record->members[i], err) < 0)
			return -1;
	}
	memcpy(w->last_key, record->key, sizeof(w->last_key));
	*span = (struct shard_span){.offset = start, .bytes = w->offset - start};
	return 0;
}

static int wds_finish(struct shard_writer *w, struct error *err)
{
	static const uint8_t end[TAR_END];

	return write_bytes(w, end, sizeof(end), err);
}

/* -- reading ------------------------------------------------------------------------------ */

struct wds_reader {
	shard_read_at_fn read_at;
	void *read_arg;
	uint64_t size;
	uint64_t position; /* what libarchive has been given */
	uint8_t *block;
	bool read_failed; /* err is read_at's */
	struct error *err;

	uint64_t next; /* where the next header must be */
	struct record record;
	struct shard_span span;
};

static la_ssize_t give_block(struct archive *a, void *arg, const void **out)
{
	struct wds_reader *r = arg;
	uint64_t left = r->size - r->position;
	size_t n = left < READ_BLOCK ? (size_t)left : READ_BLOCK;

	if (n > 0 && r->read_at(r->read_arg, r->block, n, r->position, r->err) < 0) {
		archive_set_error(a, EIO, "cannot be read");
		r->read_failed = true;
		return ARCHIVE_FATAL;
	}
	r->position += n;
	*out = r->block;
	return (la_ssize_t)n;
}

static int damaged(struct wds_reader *r, const char *what)
{
	if (r->read_failed)
		return -1;
	return error_data(r->err, "shard", "damaged or foreign tar at byte %llu: %s",
			  (unsigned long long)r->next, what);
}

static int archive_failed(struct wds_reader *r, struct archive *a)
{
	const char *text = archive_error_string(a);

	if (archive_errno(a) == ENOMEM)
		memory_is_out();
	return damaged(r, text ? text : "a header that makes no sense");
}

/*
 * Splits a member's name as webdataset does; false where that gives no key, no suffix or too much.
 */
static bool split_name(const char *name, char key[RECORD_KEY_SIZE], char suffix[RECORD_SUFFIX_SIZE])
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
	const char *dot = strchr(base, '.');
	size_t length = dot ? (size_t)(dot - name) : 0;

	if (!dot || dot == base || length >= RECORD_KEY_SIZE || dot[1] == '\0' ||
	    strlen(dot + 1) >= RECORD_SUFFIX_SIZE)
		return false;
	memcpy(key, name, length);
	key[length] = '\0';
	memcpy(suffix, dot + 1, strlen(dot + 1) + 1);
	return true;
}

/* Hands out the record that is whole now, and empties it. */
static int give_record(struct wds_reader *r, shard_record_fn fn, void *arg)
{
	int result;

	if (r->record.n_members == 0)
		return 0;
	r->span.bytes = r->next - r->span.offset;
	result = fn(arg, &r->record, &r->span, r->err);
	record_release(&r->record);
	return result;
}

/* The data of @entry, whose header is at r->next, becomes a member of the record. */
static int take_member(struct wds_reader *r, struct archive *a, struct archive_entry *entry,
		       const char *suffix)
{
	cleanup_buffer struct buffer data = BUFFER_INIT;
	int64_t size = archive_entry_size(entry);
	uint64_t left = r->size - r->next - USTAR_BLOCK;
	la_ssize_t got;

	if (size < 0 || (uint64_t)size > left ||
	    ustar_padding((uint64_t)size) > left - (uint64_t)size)
		return damaged(r, "a member larger than the file");
	if (r->record.n_members == RECORD_MAX_MEMBERS || record_member(&r->record, suffix))
		return damaged(r, "too many members of one record, or one twice");
	if (buffer_reserve(&data, (size_t)size, r->err) < 0)
		return -1;
	got = archive_read_data(a, data.data, (size_t)size);
	if (got < 0)
		return archive_failed(r, a);
	if (got != size)
		return damaged(r, "a member ends early");
	data.size = (size_t)size;
	data.data[data.size] = '\0';
	r->next += USTAR_BLOCK + (uint64_t)size + ustar_padding((uint64_t)size);
	return record_add_buffer(&r->record, suffix, &data, r->err);
}

static int read_entry(struct wds_reader *r, struct archive *a, struct archive_entry *entry,
		      shard_record_fn fn, void *arg)
{
	char key[RECORD_KEY_SIZE], suffix[RECORD_SUFFIX_SIZE];
	const char *name = archive_entry_pathname(entry);
	int result;

	if ((uint64_t)archive_read_header_position(a) != r->next || r->size - r->next < USTAR_BLOCK)
		return damaged(r, "an extended header, or a header that is not where it should be");
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
		return damaged(r, "a member that is not a regular file");
	if (!name || !split_name(name, key, suffix))
		return damaged(r, "a name that is not KEY.SUFFIX");
	if (strcmp(r->record.key, key) != 0) {
		uint64_t start = r->next;

		result = give_record(r, fn, arg);
		if (result != 0)
			return result;
		if (record_init(&r->record, key, "", r->err) < 0)
			return -1;
		r->span.offset = start;
	}
	return take_member(r, a, entry, suffix);
}

/* libarchive stops at the first zero block: the rest must be zero too, and at least two blocks. */
static int check_end(struct wds_reader *r)
{
	uint64_t at = r->next;

	if (r->size - at < TAR_END)
		return damaged(r, "it ends without its end mark");
	while (at < r->size) {
		size_t n = r->size - at < READ_BLOCK ? (size_t)(r->size - at) : READ_BLOCK;

		if (r->read_at(r->read_arg, r->block, n, at, r->err) < 0)
			return -1;
		if (r->block[0] != 0 || memcmp(r->block, r->block + 1, n - 1) != 0)
			return damaged(r, "bytes behind its end mark");
		at += n;
	}
	return 0;
}

/* In steps: archive_read_open() does not look whether one of them had the memory for it. */
static int read_entries(struct wds_reader *r, struct archive *a, struct archive_entry *entry,
			shard_record_fn fn, void *arg)
{
	int result;

	if (archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_set_callback_data(a, r) != ARCHIVE_OK ||
	    archive_read_set_read_callback(a, give_block) != ARCHIVE_OK ||
	    archive_read_open1(a) != ARCHIVE_OK) {
		if (!archive_error_string(a)) /* so a filter says that it has no memory */
			memory_is_out();
		return archive_failed(r, a);
	}
	while ((result = archive_read_next_header2(a, entry)) == ARCHIVE_OK) {
		result = read_entry(r, a, entry, fn, arg);
		if (result != 0)
			return result;
	}
	if (result != ARCHIVE_EOF)
		return archive_failed(r, a);
	result = check_end(r);
	return result == 0 ? give_record(r, fn, arg) : result;
}

static int wds_read(shard_read_at_fn read_at, void *read_arg, uint64_t size, shard_record_fn fn,
		    void *arg, struct error *err)
{
	struct wds_reader r = {.read_at = read_at,
			       .read_arg = read_arg,
			       .size = size,
			       .err = err,
			       .record = RECORD_INIT};
	struct archive_entry *entry;
	struct archive *a;
	int result;

	if (size < TAR_END)
		return damaged(&r, "too short for a tar");
	a = archive_read_new();
	entry = archive_entry_new();
	if (!a || !entry)
		memory_is_out();
	r.block = xmalloc(READ_BLOCK);
	result = read_entries(&r, a, entry, fn, arg);
	archive_entry_free(entry);
	archive_read_free(a);
	record_release(&r.record);
	free(r.block);
	return result;
}

/* A span as a tar of its own: an end mark stands behind it. */
struct lone_record {
	shard_read_at_fn read_at;
	void *read_arg;
	const struct shard_span *span;
	struct record *out;
	bool taken;
};

static int lone_read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	struct lone_record *lone = arg;
	uint64_t left = offset < lone->span->bytes ? lone->span->bytes - offset : 0;
	size_t stored = size < left ? size : (size_t)left;

	memset((uint8_t *)data + stored, 0, size - stored);
	if (stored == 0)
		return 0;
	return lone->read_at(lone->read_arg, data, stored, lone->span->offset + offset, err);
}

static int take_lone(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct lone_record *lone = arg;
	cleanup_record struct record copy = RECORD_INIT;

	if (span->offset != 0 || span->bytes != lone->span->bytes)
		return error_data(err, "shard", "more than one record where one was expected");
	if (record_init(&copy, record->key, record->group, err) < 0)
		return -1;
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *m = &record->members[i];

		if (record_add(&copy, m->suffix, m->data.data, m->data.size, err) < 0)
			return -1;
	}
	*lone->out = copy;
	copy = (struct record)RECORD_INIT;
	lone->taken = true;
	return 0;
}

static int wds_read_record(shard_read_at_fn read_at, void *read_arg, const struct shard_span *span,
			   struct record *out, struct error *err)
{
	struct lone_record lone = {
	    .read_at = read_at, .read_arg = read_arg, .span = span, .out = out};

	if (span->bytes > UINT64_MAX - TAR_END || span->offset > UINT64_MAX - span->bytes)
		return error_data(err, "shard", "a record's place is beyond any file");
	if (wds_read(lone_read_at, &lone, span->bytes + TAR_END, take_lone, &lone, err) < 0) {
		if (lone.taken)
			record_release(out);
		return -1;
	}
	return lone.taken ? 0 : error_data(err, "shard", "no record where one was expected");
}

const struct shard_ops shard_wds_ops = {
    .name = "wds",
    .extension = ".tar",
    .writer_new = wds_writer_new,
    .add = wds_add,
    .finish = wds_finish,
    .writer_free = wds_writer_free,
    .read = wds_read,
    .read_record = wds_read_record,
};
