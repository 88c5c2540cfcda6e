#include "source/remote_ranges.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <string.h>
#include <time.h>

enum { PATIENCE_MS = 120 * 1000, PAUSE_MS = 1000, LOOK_MS = 200 };

struct remote_ranges {
	struct remote_files *files;
	char *url, *etag;
	uint64_t size;
	bool (*stop)(void *arg);
	void *stop_arg;
	struct buffer window; /* of the object from here on: */
	uint64_t at;
	size_t length; /* of the last request */
};

struct remote_ranges *remote_ranges_new(struct remote_files *files, const char *url,
					const char *etag, uint64_t size,
					const struct source_folder_options *options)
{
	struct remote_ranges *r = xcalloc(1, sizeof(*r));

	r->files = files;
	r->url = xstrdup(url);
	r->etag = *etag ? xstrdup(etag) : NULL;
	r->size = size;
	r->stop = options->stop;
	r->stop_arg = options->stop_arg;
	return r;
}

void remote_ranges_free(struct remote_ranges *r)
{
	if (!r)
		return;
	buffer_release(&r->window);
	free(r->url);
	free(r->etag);
	free(r);
}

static bool is_stopped(const struct remote_ranges *r)
{
	return r->stop && r->stop(r->stop_arg);
}

/* False: it is stopped. */
static bool rest(const struct remote_ranges *r, int64_t ms)
{
	const struct timespec look = {.tv_nsec = (long)LOOK_MS * 1000000};

	for (; ms > 0 && !is_stopped(r); ms -= LOOK_MS)
		nanosleep(&look, NULL);
	return !is_stopped(r);
}

static bool passes(const struct error *why)
{
	return why->code == ERR_TRANSIENT ||
	       (why->code == ERR_DATA && strcmp(why->reason, "unreachable") == 0);
}

static int fetch_once(struct remote_ranges *r, uint64_t offset, size_t size, struct error *err)
{
	struct remote_part part = {
	    .url = r->url, .offset = offset, .size = size, .etag = r->etag, .fd = -1};
	int result = remote_files_fetch_now(r->files, &part, err);
	cleanup_close int fd = part.fd;

	buffer_reset(&r->window);
	r->at = offset;
	return result < 0 ? -1 : fd_read_all(fd, size, &r->window, err);
}

/* The window from @offset on. */
static int fetch(struct remote_ranges *r, uint64_t offset, size_t size, struct error *err)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct error why = ERROR_INIT;

	while (fetch_once(r, offset, size, &why) < 0) {
		if (!passes(&why) || clock_mono_ms() >= until || !rest(r, PAUSE_MS)) {
			if (passes(&why))
				return error_set(err, ERR_TRANSIENT, "%s", why.message);
			*err = why;
			return -1;
		}
		error_clear(&why);
	}
	return 0;
}

/* How much is asked for at @offset, which is not in the window. */
static size_t next_length(const struct remote_ranges *r, uint64_t offset)
{
	uint64_t end = r->at + r->window.size, left = r->size - offset;
	bool near = r->length > 0 && offset >= end && offset - end <= REMOTE_RANGE_NEAR;
	size_t length = near ? r->length * 2 : REMOTE_RANGE_FIRST;

	if (length > REMOTE_RANGE_MAX)
		length = REMOTE_RANGE_MAX;
	return length < left ? length : (size_t)left;
}

int remote_ranges_read(void *ranges, uint64_t offset, void *out, size_t size, struct error *err)
{
	struct remote_ranges *r = ranges;
	uint8_t *to = out;

	while (size > 0) {
		size_t n, skip;

		if (offset < r->at || offset >= r->at + r->window.size) {
			r->length = next_length(r, offset);
			if (fetch(r, offset, r->length, err) < 0)
				return -1;
		}
		skip = (size_t)(offset - r->at);
		n = r->window.size - skip < size ? r->window.size - skip : size;
		memcpy(to, r->window.data + skip, n);
		to += n;
		offset += n;
		size -= n;
	}
	return 0;
}
