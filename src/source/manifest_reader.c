/*
 * A window that moves over the file: `at` is where the next record begins, and byte_at() reads on as far as it is
 * looked at. Where a record ends is found without understanding it.
 */
#include "source/manifest_reader.h"

#include "base/buffer.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 256 << 10 };

/* What byte_at() says instead of a byte. */
enum { AT_END = -1, AT_ERROR = -2, TOO_LONG = -3 };

struct manifest_reader {
	int fd;
	enum manifest_format format;
	struct manifest_record *record;
	struct buffer window;
	uint64_t base; /* of the window in the file */
	size_t at;
	bool end;		    /* the window reaches to the file's end */
	uint64_t line;		    /* at `at` */
	uint64_t first, first_line; /* behind the header */
	bool begun, ended; /* of kohya's object: its brace was met; there is nothing more */
	struct error failed;
};

/* -- the window ----------------------------------------------------------------------------------- */

static int fill(struct manifest_reader *r)
{
	ssize_t n;

	if (r->failed.code != ERR_NONE)
		return AT_ERROR;
	if (r->at > 0) {
		r->window.size -= r->at;
		memmove(r->window.data, r->window.data + r->at, r->window.size);
		r->base += r->at;
		r->at = 0;
	}
	if (buffer_reserve(&r->window, STEP, &r->failed) < 0)
		return AT_ERROR;
	do
		n = pread(r->fd, r->window.data + r->window.size, STEP,
			  (off_t)(r->base + r->window.size));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		error_sys(&r->failed, "read");
		return AT_ERROR;
	}
	r->window.size += (size_t)n;
	r->end = n == 0;
	return 0;
}

/* The byte @i behind `at`. */
static int byte_at(struct manifest_reader *r, size_t i)
{
	while (r->at + i >= r->window.size) {
		if (i > MANIFEST_RECORD_MAX)
			return TOO_LONG;
		if (r->end)
			return AT_END;
		if (fill(r) < 0)
			return AT_ERROR;
	}
	return i > MANIFEST_RECORD_MAX ? TOO_LONG : r->window.data[r->at + i];
}

static const char *bytes_of(const struct manifest_reader *r)
{
	return (const char *)r->window.data + r->at;
}

static void consume(struct manifest_reader *r, size_t n)
{
	const char *p = bytes_of(r), *end = n > 0 ? p + n : p;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		r->line++;
		p++;
	}
	r->at += n;
}

static void pass_mark(struct manifest_reader *r)
{
	if (byte_at(r, 0) == 0xef && byte_at(r, 1) == 0xbb && byte_at(r, 2) == 0xbf)
		r->at += 3;
}

/* -- lines and rows ------------------------------------------------------------------------------- */

/* Bytes up to the end of the line, without it; or AT_ERROR, TOO_LONG. */
static ptrdiff_t line_length(struct manifest_reader *r)
{
	for (size_t i = 0;;) {
		int c = byte_at(r, i);
		size_t left = r->window.size - r->at - i;
		const char *end;

		if (c < 0)
			return c == AT_END ? (ptrdiff_t)i : c;
		end = memchr(bytes_of(r) + i, '\n', left);
		if (end)
			return end - bytes_of(r);
		i += left;
	}
}

/* The same of a row, whose fields in quotes may have lines. */
static ptrdiff_t row_length(struct manifest_reader *r)
{
	int separator = r->format == MANIFEST_TSV ? '\t' : ',';
	bool quoted = false, begins = true;

	for (size_t i = 0;; i++) {
		int c = byte_at(r, i);

		if (c == AT_END && !quoted)
			return (ptrdiff_t)i;
		if (c < 0)
			return c == AT_END ? TOO_LONG : c;
		if (c == '"' && (quoted || begins))
			quoted = !quoted;
		else if (c == '\n' && !quoted)
			return (ptrdiff_t)i;
		/* A quote behind a closing one goes on with its field. */
		begins = c == separator || (c == '"' && !quoted);
	}
}

/* A line that is longer than a record may be, to its end. */
static int pass_line(struct manifest_reader *r)
{
	for (;;) {
		ptrdiff_t n = line_length(r);

		if (n == AT_ERROR)
			return AT_ERROR;
		if (n != TOO_LONG) {
			consume(r, (size_t)n);
			return 0;
		}
		consume(r, MANIFEST_RECORD_MAX);
	}
}

static bool is_blank(const char *bytes, size_t n)
{
	while (n > 0 && strchr(" \t\r", bytes[n - 1]) && bytes[n - 1])
		n--;
	return n == 0;
}

/* The line or row at `at`: its bytes, or what is wrong with it. MANIFEST_END, AT_ERROR. */
static int next_line(struct manifest_reader *r, size_t *size, struct manifest_place *place)
{
	for (;;) {
		bool rows = r->format != MANIFEST_JSONL;
		ptrdiff_t n;

		if (byte_at(r, 0) == '\n') {
			consume(r, 1);
			continue;
		}
		n = rows ? row_length(r) : line_length(r);
		if (n == AT_ERROR)
			return AT_ERROR;
		if (n == 0 && r->end)
			return MANIFEST_END;
		*place = (struct manifest_place){r->base + r->at, r->line, NULL};
		if (n == TOO_LONG) {
			place->bad = rows ? "a quote in it is not closed, or it is over 4 MiB"
					  : "it is over 4 MiB";
			return pass_line(r);
		}
		*size = (size_t)n;
		if (!is_blank(bytes_of(r), *size))
			return 0;
		consume(r, *size);
	}
}

/* -- kohya's object ------------------------------------------------------------------------------- */

static int broken(struct manifest_reader *r, struct manifest_place *place, const char *why)
{
	place->bad = why;
	r->ended = true;
	return 0;
}

/* Behind white space; its byte. */
static int pass_white(struct manifest_reader *r)
{
	int c;

	while ((c = byte_at(r, 0)) == ' ' || c == '\t' || c == '\r' || c == '\n')
		consume(r, 1);
	return c;
}

/* From the member at `at` to the ',' or '}' behind it; AT_END, AT_ERROR or TOO_LONG. */
static ptrdiff_t member_length(struct manifest_reader *r)
{
	bool quoted = false, escaped = false;
	int depth = 0;

	for (size_t i = 0;; i++) {
		int c = byte_at(r, i);

		if (c < 0)
			return c;
		if (quoted) {
			quoted = escaped || c != '"';
			escaped = !escaped && c == '\\';
		} else if (c == '"') {
			quoted = true;
		} else if ((c == ',' || c == '}') && depth == 0) {
			return (ptrdiff_t)i;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			depth--;
		}
		if (depth < 0)
			return AT_END;
	}
}

static int next_member(struct manifest_reader *r, size_t *size, struct manifest_place *place)
{
	int c = r->ended ? 0 : pass_white(r);
	ptrdiff_t n;

	if (r->ended)
		return MANIFEST_END;
	if (!r->begun && c == '{') {
		r->begun = true;
		consume(r, 1);
		c = pass_white(r);
	} else if (r->begun && c == ',') {
		consume(r, 1);
		c = pass_white(r);
	}
	if (c == AT_ERROR)
		return AT_ERROR;
	*place = (struct manifest_place){r->base + r->at, r->line, NULL};
	if (c == AT_END)
		return broken(r, place,
			      r->begun ? "the file ends in the middle" : "it is no JSON object");
	if (r->begun && c == '}') {
		r->ended = true;
		return MANIFEST_END;
	}
	if (!r->begun || c != '"')
		return broken(r, place, "it is no JSON object of images from here on");
	n = member_length(r);
	if (n == AT_ERROR)
		return AT_ERROR;
	if (n == TOO_LONG)
		return broken(r, place, "it is over 4 MiB: nothing behind it is read");
	if (n == AT_END)
		return broken(r, place, "the file ends in the middle of it");
	*size = (size_t)n;
	return 0;
}

/* -- all ------------------------------------------------------------------------------------------ */

static int begin(struct manifest_reader *r, struct error *err)
{
	struct manifest_place place;
	size_t size = 0;
	int result = 0;

	pass_mark(r);
	if (r->format == MANIFEST_CSV || r->format == MANIFEST_TSV) {
		result = next_line(r, &size, &place);
		if (result == 0 && place.bad)
			return error_set(err, ERR_CONFIG, "the first row names no columns: %s",
					 place.bad);
		if (result == 0 && manifest_record_header(r->record, bytes_of(r), size, err) < 0)
			return -1;
		if (result == 0)
			consume(r, size);
	}
	if (r->failed.code != ERR_NONE) {
		*err = r->failed;
		return -1;
	}
	r->first = r->base + r->at;
	r->first_line = r->line;
	return 0;
}

int manifest_reader_open(int fd, enum manifest_format format,
			 const struct manifest_columns *columns, struct manifest_reader **out,
			 struct error *err)
{
	struct manifest_reader *r = xcalloc(1, sizeof(*r));

	r->fd = fd;
	r->format = format;
	r->record = manifest_record_new(format, columns);
	r->line = 1;
	if (begin(r, err) < 0) {
		manifest_reader_close(r);
		return -1;
	}
	*out = r;
	return 0;
}

void manifest_reader_close(struct manifest_reader *r)
{
	if (!r)
		return;
	manifest_record_free(r->record);
	buffer_release(&r->window);
	free(r);
}

static size_t first_line(const char *bytes, size_t size)
{
	const char *end = memchr(bytes, '\n', size);

	return end ? (size_t)(end - bytes) : size;
}

int manifest_reader_next(struct manifest_reader *r, bool paths_only, struct manifest_item *item,
			 struct manifest_place *place, struct error *err)
{
	size_t size = 0;
	int result;

	error_clear(&r->failed);
	result =
	    r->format == MANIFEST_KOHYA ? next_member(r, &size, place) : next_line(r, &size, place);
	if (r->failed.code != ERR_NONE) {
		*err = r->failed;
		return -1;
	}
	if (result == MANIFEST_END || place->bad)
		return result;
	place->bad = manifest_record_parse(r->record, bytes_of(r), size, paths_only, item);
	/* A row with a quote too many took the next rows for its own. */
	if (place->bad && r->format != MANIFEST_KOHYA)
		size = first_line(bytes_of(r), size);
	consume(r, size);
	return 0;
}

void manifest_reader_seek(struct manifest_reader *r, uint64_t offset)
{
	if (offset >= r->base && offset < r->base + r->window.size) {
		r->at = (size_t)(offset - r->base);
	} else {
		buffer_reset(&r->window);
		r->base = offset;
		r->at = 0;
		r->end = false;
	}
	r->begun = true;
	r->ended = false;
}

void manifest_reader_rewind(struct manifest_reader *r)
{
	manifest_reader_seek(r, r->first);
	r->line = r->first_line;
	r->begun = false;
}
