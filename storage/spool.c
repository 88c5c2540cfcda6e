/*
 * Segments in the order of their numbers; only the last one grows. A segment is synced before the
 * next one is begun, so whatever is not durable is in the last one. Layout and scan:
 * spool_segment.c.
 *
 * Which records are live is known in memory only. A segment goes when none is: dropping costs no
 * write, and a crash merely hands out again what had been dropped.
 */
#include "storage/spool.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "storage/spool_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SEGMENT_BYTES ((size_t)64 << 20)
/* The segment that grows is removed too when nothing in it is live and it is above this part. */
#define REMOVE_PART 16

struct spool {
	char *dir;
	size_t segment_bytes;
	struct spool_segment *segments; /* by number */
	size_t n, capacity;
	uint64_t next_number;
	int fd;		 /* the last segment, for appending; -1: the next append begins one */
	uint64_t synced; /* bytes of it that are durable */
	bool failed;
	struct buffer scratch;
};

static struct spool_segment *last_segment(const struct spool *s)
{
	return &s->segments[s->n - 1];
}

static struct spool_segment *find_segment(const struct spool *s, uint64_t number)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->segments[i].number == number)
			return &s->segments[i];
	}
	return NULL;
}

/* -- removing ----------------------------------------------------------------------------- */

static bool removable(const struct spool *s, const struct spool_segment *seg)
{
	bool grows = s->fd >= 0 && seg == last_segment(s);

	return seg->n_live == 0 && (!grows || seg->size > s->segment_bytes / REMOVE_PART);
}

static int remove_segment(struct spool *s, size_t index, struct error *err)
{
	struct spool_segment *seg = &s->segments[index];
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *path = spool_segment_path(s->dir, seg->number);

	if (unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, "remove %s", text_quote(path, quoted));
	if (s->fd >= 0 && seg == last_segment(s)) {
		close(s->fd);
		s->fd = -1;
	}
	spool_segment_release(seg);
	s->n--;
	memmove(seg, seg + 1, (s->n - index) * sizeof(*seg));
	return dir_sync(s->dir, err);
}

static int remove_dead(struct spool *s, struct error *err)
{
	for (size_t i = s->n; i-- > 0;) {
		if (removable(s, &s->segments[i]) && remove_segment(s, i, err) < 0)
			return -1;
	}
	return 0;
}

/* -- opening ------------------------------------------------------------------------------ */

static int compare_segments(const void *a, const void *b)
{
	const struct spool_segment *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int list_segments(struct spool *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct dirent *entry;
	DIR *dir = opendir(s->dir);

	if (!dir)
		return error_sys(err, "open folder %s", text_quote(s->dir, quoted));
	while ((entry = readdir(dir))) {
		uint64_t number;

		if (!spool_segment_number(entry->d_name, &number))
			continue;
		ARRAY_GROW(s->segments, s->n, s->capacity);
		s->segments[s->n++] = (struct spool_segment){.number = number};
	}
	closedir(dir);
	if (s->n > 0) {
		qsort(s->segments, s->n, sizeof(s->segments[0]), compare_segments);
		s->next_number = last_segment(s)->number + 1;
	}
	return 0;
}

/* The last segment goes on growing behind its last whole record, once all of that is durable. */
static int continue_segment(struct spool *s, int fd, uint64_t whole, struct error *err)
{
	struct spool_segment *seg = last_segment(s);

	if (whole < seg->size && ftruncate(fd, (off_t)whole) < 0)
		return error_sys(err, "cut spool segment back");
	if (fsync(fd) < 0)
		return error_sys(err, "fsync spool segment");
	seg->size = whole;
	s->synced = whole;
	return 0;
}

/* A segment too short for its header never held a record: its maker died. */
static int open_segment(struct spool *s, size_t index, const struct spool_options *options,
			spool_record_fn on_record, void *arg, struct error *err)
{
	struct spool_segment *seg = &s->segments[index];
	bool last = index == s->n - 1;
	cleanup_free char *path = spool_segment_path(s->dir, seg->number);
	cleanup_close int fd = file_open(path, last ? O_RDWR | O_APPEND : O_RDONLY, 0, err);
	uint64_t whole = 0;
	size_t size;

	if (fd < 0 || fd_size(fd, &size, err) < 0)
		return -1;
	seg->size = size;
	if (size < SPOOL_HEADER_SIZE)
		return 0;
	if (spool_segment_scan(seg, fd, last, options, on_record, arg, &whole, err) < 0)
		return -1;
	if (!last)
		return 0;
	if (continue_segment(s, fd, whole, err) < 0)
		return -1;
	s->fd = TAKE_FD(fd);
	return 0;
}

int spool_open(const char *dir, const struct spool_options *options, spool_record_fn on_record,
	       void *arg, struct spool **out, struct error *err)
{
	static const struct spool_options defaults;
	struct spool *s = xcalloc(1, sizeof(*s));
	int r;

	options = options ? options : &defaults;
	s->dir = xstrdup(dir);
	s->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES;
	s->fd = -1;
	r = dir_make(dir, err);
	if (r == 0)
		r = list_segments(s, err);
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = open_segment(s, i, options, on_record, arg, err);
	if (r == 0)
		r = remove_dead(s, err);
	if (r < 0) {
		spool_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	if (s->fd >= 0) {
		/* If this fails too, the worst is that records nobody was promised come back. */
		if (s->failed && ftruncate(s->fd, (off_t)s->synced) < 0)
			s->synced = 0;
		close(s->fd);
	}
	for (size_t i = 0; i < s->n; i++)
		spool_segment_release(&s->segments[i]);
	free(s->segments);
	buffer_release(&s->scratch);
	free(s->dir);
	free(s);
}

/* -- using -------------------------------------------------------------------------------- */

static int refuse_failed(const struct spool *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_set(err, ERR_IO, "spool %s failed before and must be opened again",
			 text_quote(s->dir, quoted));
}

int spool_sync(struct spool *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (s->failed)
		return refuse_failed(s, err);
	if (s->fd < 0 || s->synced == last_segment(s)->size)
		return 0;
	if (fdatasync(s->fd) < 0) {
		s->failed = true;
		return error_sys(err, "fdatasync in %s", text_quote(s->dir, quoted));
	}
	s->synced = last_segment(s)->size;
	return 0;
}

/* The segment that takes @size bytes more: the last one, or a new one. */
static int make_room(struct spool *s, size_t size, struct error *err)
{
	if (s->fd >= 0) {
		uint64_t used = last_segment(s)->size;

		if (used == SPOOL_HEADER_SIZE || used + size <= s->segment_bytes)
			return 0;
		if (spool_sync(s, err) < 0)
			return -1;
		close(s->fd);
		s->fd = -1;
	}
	s->fd = spool_segment_create(s->dir, s->next_number, err);
	if (s->fd < 0)
		return -1;
	ARRAY_GROW(s->segments, s->n, s->capacity);
	s->segments[s->n++] =
	    (struct spool_segment){.number = s->next_number++, .size = SPOOL_HEADER_SIZE};
	s->synced = SPOOL_HEADER_SIZE;
	return 0;
}

int spool_append(struct spool *s, const struct record *record, struct spool_place *place,
		 struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct spool_segment *seg;

	if (s->failed)
		return refuse_failed(s, err);
	buffer_reset(&s->scratch);
	if (spool_frame_append(record, &s->scratch, err) < 0)
		return -1;
	if (make_room(s, s->scratch.size, err) < 0 ||
	    fd_write_all(s->fd, s->scratch.data, s->scratch.size, err) < 0) {
		s->failed = true;
		return error_wrap(err, "spool %s", text_quote(s->dir, quoted));
	}
	seg = last_segment(s);
	spool_segment_add(seg, seg->size, s->scratch.size);
	*place = (struct spool_place){
	    .segment = seg->number, .offset = seg->size, .size = s->scratch.size};
	seg->size += s->scratch.size;
	return 0;
}

static struct spool_entry *find_place(const struct spool *s, const struct spool_place *place,
				      struct spool_segment **seg, struct error *err)
{
	struct spool_entry *entry = NULL;

	*seg = find_segment(s, place->segment);
	if (*seg)
		entry = spool_segment_find(*seg, place);
	if (!entry)
		error_set(err, ERR_BUG, "spool place %llx:%llu holds no live record",
			  (unsigned long long)place->segment, (unsigned long long)place->offset);
	return entry;
}

int spool_read(struct spool *s, const struct spool_place *place, struct record *out,
	       struct error *err)
{
	struct spool_segment *seg;
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *path = spool_segment_path(s->dir, place->segment);
	cleanup_close int fd = -1;

	if (!find_place(s, place, &seg, err))
		return -1;
	fd = file_open(path, O_RDONLY, 0, err);
	if (fd < 0)
		return -1;
	if (spool_segment_read(fd, place, out, err) < 0)
		return error_wrap(err, "%s at byte %llu", text_quote(path, quoted),
				  (unsigned long long)place->offset);
	return 0;
}

int spool_drop(struct spool *s, const struct spool_place *place, struct error *err)
{
	struct spool_segment *seg;
	struct spool_entry *entry = find_place(s, place, &seg, err);

	if (!entry)
		return -1;
	entry->live = false;
	seg->n_live--;
	return remove_dead(s, err);
}

uint64_t spool_bytes(const struct spool *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n; i++)
		bytes += s->segments[i].size;
	return bytes;
}

size_t spool_records(const struct spool *s)
{
	size_t live = 0;

	for (size_t i = 0; i < s->n; i++)
		live += s->segments[i].n_live;
	return live;
}
