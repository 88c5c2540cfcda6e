#include "source/remote_fetch.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct remote_fetch {
	struct remote_files *files;
	struct remote_part parts[REMOTE_PARTS]; /* without a URL: not wanted */
	bool at_hand[REMOTE_PARTS];
	atomic_size_t left; /* parts under way, and whoever starts them */
	void (*done)(void *owner);
	void *owner;
};

struct remote_fetch *remote_fetch_new(struct remote_files *files)
{
	struct remote_fetch *fetch = xcalloc(1, sizeof(*fetch));

	fetch->files = files;
	for (size_t i = 0; i < REMOTE_PARTS; i++)
		fetch->parts[i].fd = -1;
	return fetch;
}

void remote_fetch_free(struct remote_fetch *fetch)
{
	if (!fetch)
		return;
	for (size_t i = 0; i < REMOTE_PARTS; i++) {
		if (fetch->parts[i].fd >= 0)
			close(fetch->parts[i].fd);
		free(fetch->parts[i].url);
		free(fetch->parts[i].etag);
	}
	free(fetch);
}

void remote_fetch_add(struct remote_fetch *fetch, enum remote_which which,
		      const struct remote_want *want)
{
	struct remote_part *part = &fetch->parts[which];

	part->url = xstrdup(want->url);
	part->etag = want->etag ? xstrdup(want->etag) : NULL;
	part->offset = want->offset;
	part->size = want->size;
	part->may_be_empty = which != REMOTE_IMAGE;
	if (want->size == 0)
		part->fd = remote_files_at_hand(fetch->files, want->url);
	fetch->at_hand[which] = part->fd >= 0;
}

bool remote_fetch_has(const struct remote_fetch *fetch, enum remote_which which)
{
	return fetch->parts[which].url != NULL;
}

bool remote_fetch_has_piece(const struct remote_fetch *fetch, enum remote_which which)
{
	return fetch->parts[which].url && fetch->parts[which].size > 0;
}

bool remote_fetch_is_gone(const struct remote_fetch *fetch, enum remote_which which)
{
	const struct error *why = &fetch->parts[which].err;

	return why->code == ERR_DATA && strcmp(why->reason, "not_found") == 0;
}

bool remote_fetch_waits(const struct remote_fetch *fetch)
{
	for (size_t i = 0; i < REMOTE_PARTS; i++) {
		if (fetch->parts[i].url && !fetch->at_hand[i])
			return true;
	}
	return false;
}

/* Whoever is the last. */
static void one_ended(struct remote_fetch *fetch)
{
	if (atomic_fetch_sub(&fetch->left, 1) == 1)
		fetch->done(fetch->owner);
}

static void on_part(struct remote_part *part)
{
	one_ended(part->owner);
}

void remote_fetch_start(struct remote_fetch *fetch, void (*done)(void *owner), void *owner)
{
	fetch->done = done;
	fetch->owner = owner;
	atomic_init(&fetch->left, 1);
	for (size_t i = 0; i < REMOTE_PARTS; i++) {
		struct remote_part *part = &fetch->parts[i];

		if (!part->url || fetch->at_hand[i])
			continue;
		part->done = on_part;
		part->owner = fetch;
		atomic_fetch_add(&fetch->left, 1);
		remote_files_fetch(fetch->files, part);
	}
	one_ended(fetch);
}

int remote_fetch_take(struct source_order *order, enum remote_which which, struct error *err)
{
	struct remote_part *part = &order->fetch->parts[which];

	if (part->fd < 0) {
		*err = part->err;
		order->put_off_ms = part->put_off_ms;
	}
	return TAKE_FD(part->fd);
}

int remote_fetch_read(struct source_order *order, enum remote_which which, size_t size_max,
		      struct buffer *out, struct error *err)
{
	cleanup_close int fd = remote_fetch_take(order, which, err);

	return fd < 0 ? -1 : fd_read_all(fd, size_max, out, err);
}

int remote_fetch_image(struct source_order *order, struct error *err)
{
	order->fd = remote_fetch_take(order, REMOTE_IMAGE, err);
	return order->fd < 0 ? -1 : 0;
}

/* An empty file is one that was not written, and none that says that all counts. */
int remote_fetch_mask(struct source_order *order, struct error *err)
{
	if (remote_fetch_read(order, REMOTE_MASK, SOURCE_MASK_MAX, &order->mask, err) == 0 &&
	    order->mask.size == 0)
		error_data(err, "mask", "the file is empty");
	return err->code == ERR_NONE ? 0 : error_wrap(err, "its mask");
}
