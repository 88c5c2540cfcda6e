/*
 * Layout, version 1, little-endian:
 *
 *	segment   u8 magic[8] "LATSPOOL", u32 version = 1, u32 zero, u64 number (the file's name),
 *	          u64 XXH3-64 of these 24 bytes
 *	          then records back to back
 *	record    u32 magic "LREC", u32 length, u64 XXH3-64 of the payload (seed 0)
 *	          payload: a record as record.c encodes it
 *
 * A record is whole when its frame fits the file, its payload has the frame's hash, and
 * record_decode takes it. A frame that fits but whose payload is damaged is stepped over if another
 * frame that fits follows where its length says.
 */
#include "storage/spool_segment.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT_VERSION 1
#define SEGMENT_HASHED	24
#define FRAME_MAGIC	0x4345524cu /* "LREC" */

static const uint8_t segment_magic[8] = {'L', 'A', 'T', 'S', 'P', 'O', 'O', 'L'};

void spool_segment_release(struct spool_segment *seg)
{
	free(seg->entries);
	*seg = (struct spool_segment){.number = 0};
}

char *spool_segment_path(const char *dir, uint64_t number)
{
	return xasprintf("%s/%016" PRIx64 ".spool", dir, number);
}

bool spool_segment_number(const char *name, uint64_t *number)
{
	if (strspn(name, "0123456789abcdef") != 16 || strcmp(name + 16, ".spool") != 0)
		return false;
	*number = strtoull(name, NULL, 16);
	return true;
}

/* -- writing ------------------------------------------------------------------------------ */

int spool_segment_create(const char *dir, uint64_t number, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *path = spool_segment_path(dir, number);
	cleanup_buffer struct buffer header = BUFFER_INIT;
	cleanup_close int fd = file_open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0666, err);

	if (fd < 0)
		return -1;
	buffer_append(&header, segment_magic, sizeof(segment_magic));
	buffer_put_u32(&header, SEGMENT_VERSION);
	buffer_put_u32(&header, 0);
	buffer_put_u64(&header, number);
	buffer_put_u64(&header, hash64_of(header.data, SEGMENT_HASHED, 0));
	if (fd_write_all(fd, header.data, header.size, err) < 0)
		return error_wrap(err, "%s", text_quote(path, quoted));
	if (fsync(fd) < 0)
		return error_sys(err, "fsync %s", text_quote(path, quoted));
	if (dir_sync(dir, err) < 0)
		return -1;
	return TAKE_FD(fd);
}

int spool_frame_append(const struct record *record, struct buffer *out, struct error *err)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT;
	size_t start = out->size, bytes = record_bytes(record), payload;

	/* Names and numbers of a record are far below 4 KiB. */
	if (bytes > UINT32_MAX - 4096)
		return error_data(err, "too_large", "a record of %zu bytes", bytes);
	if (buffer_reserve(out, bytes + 4096, err) < 0)
		return -1;
	buffer_append_zeros(out, SPOOL_FRAME_SIZE);
	record_encode(record, out);
	payload = out->size - start - SPOOL_FRAME_SIZE;
	buffer_put_u32(&frame, FRAME_MAGIC);
	buffer_put_u32(&frame, (uint32_t)payload);
	buffer_put_u64(&frame, hash64_of(out->data + start + SPOOL_FRAME_SIZE, payload, 0));
	memcpy(out->data + start, frame.data, SPOOL_FRAME_SIZE);
	return 0;
}

/* -- entries ------------------------------------------------------------------------------ */

void spool_segment_add(struct spool_segment *seg, uint64_t offset, uint64_t size)
{
	ARRAY_GROW(seg->entries, seg->n_entries, seg->capacity);
	seg->entries[seg->n_entries++] =
	    (struct spool_entry){.offset = offset, .size = size, .live = true};
	seg->n_live++;
}

static int compare_entry(const void *offset, const void *entry)
{
	uint64_t a = *(const uint64_t *)offset, b = ((const struct spool_entry *)entry)->offset;

	return a < b ? -1 : a > b;
}

struct spool_entry *spool_segment_find(struct spool_segment *seg, const struct spool_place *place)
{
	struct spool_entry *entry = NULL;

	if (seg->n_entries > 0)
		entry = bsearch(&place->offset, seg->entries, seg->n_entries, sizeof(*entry),
				compare_entry);
	return entry && entry->live && entry->size == place->size ? entry : NULL;
}

/* -- reading ------------------------------------------------------------------------------ */

enum frame_state {
	FRAME_NONE,    /* no frame, or one that does not fit */
	FRAME_DAMAGED, /* a frame that fits; its payload is not what was written */
	FRAME_WHOLE,
};

/* Whether a frame that fits @left bytes begins at @offset, and its size. */
static int read_frame(int fd, uint64_t offset, uint64_t left, uint64_t *size, uint64_t *hash,
		      bool *fits, struct error *err)
{
	uint8_t frame[SPOOL_FRAME_SIZE];

	*fits = false;
	if (left <= SPOOL_FRAME_SIZE)
		return 0;
	if (fd_pread_all(fd, frame, sizeof(frame), (off_t)offset, err) < 0)
		return -1;
	*size = SPOOL_FRAME_SIZE + (uint64_t)get_u32le(frame + 4);
	*hash = get_u64le(frame + 8);
	*fits = get_u32le(frame) == FRAME_MAGIC && *size <= left;
	return 0;
}

/* What is at @offset of a file with @left bytes from there on. *size is set unless FRAME_NONE. */
static int check_frame(int fd, uint64_t offset, uint64_t left, struct buffer *scratch,
		       uint64_t *size, struct record *out, enum frame_state *state,
		       struct error *err)
{
	uint64_t hash;
	size_t payload;
	bool fits;

	*state = FRAME_NONE;
	if (read_frame(fd, offset, left, size, &hash, &fits, err) < 0)
		return -1;
	if (!fits)
		return 0;
	payload = (size_t)(*size - SPOOL_FRAME_SIZE);
	buffer_reset(scratch);
	if (buffer_reserve(scratch, payload, err) < 0 ||
	    fd_pread_all(fd, scratch->data, payload, (off_t)(offset + SPOOL_FRAME_SIZE), err) < 0)
		return -1;
	*state = FRAME_DAMAGED;
	if (hash64_of(scratch->data, payload, 0) != hash)
		return 0;
	if (record_decode(scratch->data, payload, out, err) == 0) {
		*state = FRAME_WHOLE;
		return 0;
	}
	if (err->code != ERR_DATA)
		return -1;
	error_clear(err);
	return 0;
}

int spool_segment_read(int fd, const struct spool_place *place, struct record *out,
		       struct error *err)
{
	cleanup_buffer struct buffer scratch = BUFFER_INIT;
	cleanup_record struct record record = RECORD_INIT;
	enum frame_state state;
	uint64_t size;

	if (check_frame(fd, place->offset, place->size, &scratch, &size, &record, &state, err) < 0)
		return -1;
	if (state != FRAME_WHOLE || size != place->size)
		return error_data(err, "spool", "damaged record");
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

/* -- scanning ----------------------------------------------------------------------------- */

struct scan {
	struct spool_segment *seg;
	int fd;
	const struct spool_options *options;
	struct buffer scratch;
};

static void report(const struct scan *s, const char *what, uint64_t offset, uint64_t bytes)
{
	char line[160];

	if (!s->options->on_damage)
		return;
	snprintf(line, sizeof(line),
		 "spool segment %016" PRIx64 ": %s (%" PRIu64 " bytes at byte %" PRIu64 ")",
		 s->seg->number, what, bytes, offset);
	s->options->on_damage(s->options->damage_arg, line);
}

/*
 * A header that does not have its own hash is damage, and the records behind it speak for
 * themselves; one that is whole and says another version is for another program.
 */
static int check_header(const struct scan *s, struct error *err)
{
	uint8_t header[SPOOL_HEADER_SIZE];

	if (fd_pread_all(s->fd, header, sizeof(header), 0, err) < 0)
		return -1;
	if (memcmp(header, segment_magic, sizeof(segment_magic)) != 0 ||
	    hash64_of(header, SEGMENT_HASHED, 0) != get_u64le(header + SEGMENT_HASHED) ||
	    get_u64le(header + 16) != s->seg->number) {
		report(s, "damaged header", 0, SPOOL_HEADER_SIZE);
		return 0;
	}
	if (get_u32le(header + 8) != SEGMENT_VERSION)
		return error_set(err, ERR_CONFIG,
				 "spool segment %016" PRIx64
				 " has version %u, this program knows %d",
				 s->seg->number, get_u32le(header + 8), SEGMENT_VERSION);
	return 0;
}

/*
 * The record at *offset, which moves behind it. *more becomes false where the log cannot be
 * followed any further; what is then behind *whole is lost.
 */
static int scan_record(struct scan *s, uint64_t *offset, uint64_t *whole, bool *more,
		       spool_record_fn on_record, void *arg, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	struct spool_place place = {.segment = s->seg->number, .offset = *offset};
	enum frame_state state;
	uint64_t next, size, hash;

	if (check_frame(s->fd, *offset, s->seg->size - *offset, &s->scratch, &place.size, &record,
			&state, err) < 0)
		return -1;
	if (state == FRAME_WHOLE) {
		*offset += place.size;
		*whole = *offset;
		if (!on_record || on_record(arg, &place, &record) == 0)
			spool_segment_add(s->seg, place.offset, place.size);
		return 0;
	}
	*more = false;
	next = *offset + place.size;
	if (state == FRAME_DAMAGED && next < s->seg->size &&
	    read_frame(s->fd, next, s->seg->size - next, &size, &hash, more, err) < 0)
		return -1;
	if (*more) {
		report(s, "damaged record, stepped over", *offset, place.size);
		*offset = next;
	}
	return 0;
}

int spool_segment_scan(struct spool_segment *seg, int fd, bool last,
		       const struct spool_options *options, spool_record_fn on_record, void *arg,
		       uint64_t *whole, struct error *err)
{
	struct scan s = {.seg = seg, .fd = fd, .options = options, .scratch = BUFFER_INIT};
	uint64_t offset = SPOOL_HEADER_SIZE, end = SPOOL_HEADER_SIZE;
	bool more = true;
	int r = check_header(&s, err);

	while (r == 0 && more && offset < seg->size)
		r = scan_record(&s, &offset, &end, &more, on_record, arg, err);
	buffer_release(&s.scratch);
	if (r < 0)
		return -1;
	if (end < seg->size)
		report(&s, last ? "cut back to its last whole record" : "damaged to its end", end,
		       seg->size - end);
	*whole = end;
	return 0;
}
