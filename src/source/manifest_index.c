/*
 * Pairs gather in memory; a full load is sorted and written behind the others. At the end the loads are merged into
 * another file, read through small windows.
 *
 *	"LDMI" version  key  pairs  doubles     32 bytes, written last; then hash, offset of each pair
 */
#include "source/manifest_index.h"

#include "base/atomic_file.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"

#include <fcntl.h>
#include <string.h>

#define NAME "manifest"

enum {
	VERSION = 1,
	HEADER_BYTES = 32,
	PAIR_BYTES = 16,
	LOAD_PAIRS = 1 << 20,
	WINDOW_PAIRS = 4096,
};

struct pair {
	uint64_t hash, offset;
};

struct manifest_index {
	int fd;
	char *folder;
	struct pair *load;
	size_t n;
	struct atomic_file loads; /* those that are written, each full */
	uint64_t pairs;		  /* all */
	uint64_t doubles;
};

/* -- files ---------------------------------------------------------------------------------------- */

/* What gets no name later has none from the start: nothing is left behind. */
static int begin_file(const char *folder, bool named, struct atomic_file *f, struct error *err)
{
	const char *tmp = getenv("TMPDIR");

	if (folder && dir_make(folder, err) < 0)
		return -1;
	if (!folder)
		folder = tmp && *tmp ? tmp : "/tmp";
	if (atomic_file_begin(f, folder, err) < 0)
		return -1;
	if (!named)
		unlink(f->path);
	return 0;
}

static int read_pair(int fd, uint64_t i, struct pair *out)
{
	uint8_t bytes[PAIR_BYTES];
	struct error ignored = ERROR_INIT;

	if (fd_pread_all(fd, bytes, sizeof(bytes), (off_t)(HEADER_BYTES + i * PAIR_BYTES),
			 &ignored) < 0)
		return -1;
	*out = (struct pair){get_u64le(bytes), get_u64le(bytes + 8)};
	return 0;
}

/* -- making --------------------------------------------------------------------------------------- */

int manifest_index_begin(const char *folder, struct manifest_index **out, struct error *err)
{
	struct manifest_index *x = xcalloc(1, sizeof(*x));

	x->fd = -1;
	x->loads = (struct atomic_file)ATOMIC_FILE_INIT;
	x->folder = folder ? xstrdup(folder) : NULL;
	if (begin_file(folder, false, &x->loads, err) < 0) {
		manifest_index_close(x);
		return -1;
	}
	x->load = xcalloc(LOAD_PAIRS, sizeof(*x->load));
	*out = x;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct pair *one = a, *other = b;

	if (one->hash != other->hash)
		return one->hash < other->hash ? -1 : 1;
	return (one->offset > other->offset) - (one->offset < other->offset);
}

static int write_load(struct manifest_index *x, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	if (x->n > 0)
		qsort(x->load, x->n, sizeof(*x->load), compare);
	if (buffer_reserve(&bytes, x->n * PAIR_BYTES, err) < 0)
		return -1;
	for (size_t i = 0; i < x->n; i++) {
		buffer_put_u64(&bytes, x->load[i].hash);
		buffer_put_u64(&bytes, x->load[i].offset);
	}
	x->n = 0;
	return fd_write_all(x->loads.fd, bytes.data, bytes.size, err);
}

int manifest_index_add(struct manifest_index *x, uint64_t hash, uint64_t offset, struct error *err)
{
	x->load[x->n++] = (struct pair){hash, offset};
	x->pairs++;
	return x->n == LOAD_PAIRS ? write_load(x, err) : 0;
}

/* One load while all are merged. */
struct window {
	uint64_t next, end; /* pairs of the file, behind those that are in memory */
	uint8_t *bytes;
	size_t at, n;
	struct pair first;
};

/* False: the load is at its end, or cannot be read. */
static bool advance(const struct manifest_index *x, struct window *w, struct error *err)
{
	if (w->at == w->n) {
		uint64_t left = w->end - w->next;

		w->at = 0;
		w->n = left < WINDOW_PAIRS ? (size_t)left : WINDOW_PAIRS;
		if (w->n == 0 || fd_pread_all(x->loads.fd, w->bytes, w->n * PAIR_BYTES,
					      (off_t)(w->next * PAIR_BYTES), err) < 0) {
			w->n = 0;
			return false;
		}
		w->next += w->n;
	}
	w->first = (struct pair){get_u64le(w->bytes + w->at * PAIR_BYTES),
				 get_u64le(w->bytes + w->at * PAIR_BYTES + 8)};
	w->at++;
	return true;
}

static int merge_windows(struct manifest_index *x, struct window *windows, size_t n, int fd,
			 struct error *err)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	uint64_t last = 0;

	for (uint64_t i = 0; i < x->pairs; i++) {
		size_t least = 0;

		for (size_t k = 1; k < n; k++) {
			if (compare(&windows[k].first, &windows[least].first) < 0)
				least = k;
		}
		x->doubles += i > 0 && windows[least].first.hash == last;
		last = windows[least].first.hash;
		buffer_put_u64(&out, last);
		buffer_put_u64(&out, windows[least].first.offset);
		if (!advance(x, &windows[least], err))
			windows[least].first = (struct pair){UINT64_MAX, UINT64_MAX};
		if (err->code != ERR_NONE)
			return -1;
		if (out.size >= WINDOW_PAIRS * PAIR_BYTES) {
			if (fd_write_all(fd, out.data, out.size, err) < 0)
				return -1;
			buffer_reset(&out);
		}
	}
	return fd_write_all(fd, out.data, out.size, err);
}

static int merge(struct manifest_index *x, int fd, struct error *err)
{
	size_t n = (size_t)((x->pairs + LOAD_PAIRS - 1) / LOAD_PAIRS);
	cleanup_free struct window *windows = xcalloc(n + 1, sizeof(*windows));
	cleanup_free uint8_t *bytes = xcalloc(n + 1, WINDOW_PAIRS * PAIR_BYTES);
	const uint8_t none[HEADER_BYTES] = {0};

	for (size_t i = 0; i < n; i++) {
		uint64_t end = (uint64_t)(i + 1) * LOAD_PAIRS;

		windows[i] = (struct window){.next = (uint64_t)i * LOAD_PAIRS,
					     .end = end < x->pairs ? end : x->pairs,
					     .bytes = bytes + i * WINDOW_PAIRS * PAIR_BYTES};
		if (!advance(x, &windows[i], err))
			return -1;
	}
	if (fd_write_all(fd, none, sizeof(none), err) < 0)
		return -1;
	return merge_windows(x, windows, n, fd, err);
}

static int write_header(const struct manifest_index *x, int fd, uint64_t key, struct error *err)
{
	cleanup_buffer struct buffer header = BUFFER_INIT;

	buffer_append(&header, "LDMI", 4);
	buffer_put_u32(&header, VERSION);
	buffer_put_u64(&header, key);
	buffer_put_u64(&header, x->pairs);
	buffer_put_u64(&header, x->doubles);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_sys(err, "seek");
	return fd_write_all(fd, header.data, header.size, err);
}

static int keep(struct manifest_index *x, struct atomic_file *f, struct error *err)
{
	cleanup_free char *path = x->folder ? xasprintf("%s/" NAME, x->folder) : NULL;

	x->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	if (x->fd < 0)
		return error_sys(err, "index of a manifest");
	return path ? atomic_file_commit(f, path, ATOMIC_REPLACE, err) : 0;
}

int manifest_index_end(struct manifest_index *x, uint64_t key, struct error *err)
{
	struct atomic_file f = ATOMIC_FILE_INIT;
	int r = x->n > 0 ? write_load(x, err) : 0;

	if (r == 0)
		r = begin_file(x->folder, x->folder != NULL, &f, err);
	if (r == 0)
		r = merge(x, f.fd, err);
	if (r == 0)
		r = write_header(x, f.fd, key, err);
	if (r == 0)
		r = keep(x, &f, err);
	atomic_file_abort(&f);
	atomic_file_abort(&x->loads);
	free(TAKE(x->load));
	return r;
}

/* -- asking --------------------------------------------------------------------------------------- */

struct manifest_index *manifest_index_open(const char *folder, uint64_t key)
{
	cleanup_free char *path = xasprintf("%s/" NAME, folder);
	struct error ignored = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_RDONLY, 0, &ignored);
	uint8_t header[HEADER_BYTES];
	struct manifest_index *x;
	size_t size = 0;

	if (fd < 0 || fd_pread_all(fd, header, sizeof(header), 0, &ignored) < 0 ||
	    fd_size(fd, &size, &ignored) < 0 || memcmp(header, "LDMI", 4) != 0 ||
	    get_u32le(header + 4) != VERSION || get_u64le(header + 8) != key ||
	    get_u64le(header + 16) != (size - HEADER_BYTES) / PAIR_BYTES)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->loads = (struct atomic_file)ATOMIC_FILE_INIT;
	x->fd = TAKE_FD(fd);
	x->pairs = get_u64le(header + 16);
	x->doubles = get_u64le(header + 24);
	return x;
}

void manifest_index_close(struct manifest_index *x)
{
	if (!x)
		return;
	if (x->fd >= 0)
		close(x->fd);
	atomic_file_abort(&x->loads);
	free(x->load);
	free(x->folder);
	free(x);
}

uint64_t manifest_index_find(const struct manifest_index *x, uint64_t hash)
{
	uint64_t low = 0, high = x->pairs;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct pair pair;

		if (read_pair(x->fd, middle, &pair) < 0)
			return x->pairs;
		if (pair.hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool manifest_index_at(const struct manifest_index *x, uint64_t i, uint64_t hash, uint64_t *offset)
{
	struct pair pair;

	if (i >= x->pairs || read_pair(x->fd, i, &pair) < 0 || pair.hash != hash)
		return false;
	*offset = pair.offset;
	return true;
}

bool manifest_index_has_doubles(const struct manifest_index *x)
{
	return x->doubles > 0;
}
