#include "daemon/source_pixels.h"

#include "daemon/decode_pool.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

enum { RETURNS_AT_MOST = 3, STOP_US = 100 * 1000 };

/* The one image that is under way. */
struct reading {
	source_pixels_place_fn place;
	void *arg;
	const struct image_policy *policy;
	struct hash128 content;
	struct image image;
	size_t most_bytes;
	struct error *err;
	bool ended, failed, returned;
};

struct source_pixels {
	sd_event *event;
	struct decode_pool *pool;
	size_t slot_bytes;
	bool (*stop)(void *arg); /* NULL: never */
	void *stop_arg;
};

static void end(struct reading *r, bool failed)
{
	r->ended = true;
	r->failed = failed;
}

static void on_hashed(void *arg, const struct hash128 *content, uint64_t bytes)
{
	struct reading *r = arg;

	(void)bytes;
	r->content = *content;
}

static int check_room(const struct reading *r, const struct render_geometry *g)
{
	if (image_bytes(&r->image) <= r->most_bytes)
		return 0;
	return error_data(r->err, "too_large", "%zux%zu pixels are more than expected", g->width,
			  g->height);
}

static void on_header(void *arg, const struct image_header *header, struct decode_ticket *ticket)
{
	struct reading *r = arg;
	struct render_geometry g = {.full_width = 0};

	image_release(&r->image);
	r->image = (struct image)IMAGE_INIT;
	if (r->place(r->arg, header, &g, r->err) != 0 ||
	    image_alloc(&r->image, g.width, g.height, r->err) < 0 || check_room(r, &g) < 0) {
		decode_pool_skip(ticket);
		end(r, true);
		return;
	}
	decode_pool_place(ticket, &g, 1, r->policy);
}

static void on_done(void *arg, const uint8_t *pixels)
{
	struct reading *r = arg;

	memcpy(r->image.pixels, pixels, image_bytes(&r->image));
	end(r, false);
}

static void on_failed(void *arg, const struct error *why)
{
	struct reading *r = arg;

	*r->err = *why;
	end(r, true);
}

static void on_returned(void *arg)
{
	struct reading *r = arg;

	r->returned = true;
}

int source_pixels_open(size_t pixels, struct source_pixels **out, struct error *err)
{
	struct source_pixels *reader = xcalloc(1, sizeof(*reader));
	const struct decode_pool_options pool = {
	    .mode = DECODE_MODE_PIXELS,
	    .workers = 1,
	    .limits = IMAGE_LIMITS_DEFAULT,
	    .slot_bytes = 3 * pixels,
	    .time_limit_ms = 60000,
	    .handlers = {on_hashed, on_header, on_done, on_failed, on_returned}};
	int r = sd_event_new(&reader->event);

	reader->slot_bytes = pool.slot_bytes;
	if (r < 0) {
		errno = -r;
		error_sys(err, "start the event loop");
	} else {
		r = decode_pool_open(reader->event, &pool, &reader->pool, err);
	}
	if (r < 0) {
		source_pixels_close(reader);
		return -1;
	}
	*out = reader;
	return 0;
}

void source_pixels_close(struct source_pixels *reader)
{
	if (!reader)
		return;
	decode_pool_close(reader->pool);
	sd_event_unref(reader->event);
	free(reader);
}

void source_pixels_stop(struct source_pixels *reader, bool (*stop)(void *arg), void *arg)
{
	reader->stop = stop;
	reader->stop_arg = arg;
}

static int turn(struct source_pixels *reader, struct error *err)
{
	int r;

	if (reader->stop && reader->stop(reader->stop_arg))
		return error_set(err, ERR_TRANSIENT, "stopped before it was decoded");
	if (decode_pool_dead(reader->pool))
		return error_set(err, ERR_IO, "no decode process can be kept running: %s",
				 decode_pool_last_end(reader->pool));
	r = sd_event_run(reader->event, reader->stop ? STOP_US : UINT64_MAX);
	if (r >= 0)
		return 0;
	errno = -r;
	return error_sys(err, "wait for events");
}

/* Until it has ended or was given back; a worker may have to be started first. */
static int read_once(struct source_pixels *reader, int fd, struct reading *r)
{
	bool started = false;

	r->returned = false;
	while (!r->ended && !r->returned) {
		if (!started && decode_pool_room(reader->pool) > 0) {
			decode_pool_start(reader->pool, fd, r);
			started = true;
		} else if (turn(reader, r->err) < 0) {
			return -1;
		}
	}
	return 0;
}

int source_pixels_read(struct source_pixels *reader, int fd, source_pixels_place_fn place,
		       void *arg, const struct image_policy *policy, struct image *out,
		       struct hash128 *content, struct error *err)
{
	struct reading r = {.place = place,
			    .arg = arg,
			    .policy = policy,
			    .image = IMAGE_INIT,
			    .most_bytes = reader->slot_bytes,
			    .err = err};
	int status = 0;

	for (size_t i = 0; status == 0 && !r.ended && i < RETURNS_AT_MOST; i++)
		status = read_once(reader, fd, &r);
	if (status == 0 && !r.ended)
		status = error_data(err, "worker_died", "its decoder was lost again and again");
	if (status < 0 || r.failed) {
		image_release(&r.image);
		return -1;
	}
	*out = r.image;
	if (content)
		*content = r.content;
	return 0;
}
