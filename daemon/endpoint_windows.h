/*
 * How busy each endpoint of an encoder was of late, and how many images it gave: looked at once a second.
 *
 *	struct endpoint_windows w = {.n = 0}
 *	once a second: busy = endpoint_windows_tick(&w, engines, index, now, passed)
 *	endpoint_windows_picture(&w, &status->encoders[index])
 *	endpoint_windows_release(&w)
 *
 * An endpoint is busy by as much of what it bears as is under way.
 */
#ifndef LATENTD_DAEMON_ENDPOINT_WINDOWS_H
#define LATENTD_DAEMON_ENDPOINT_WINDOWS_H

#include "daemon/engines.h"
#include "daemon/service_status.h"

struct endpoint_windows {
	struct endpoint_window *items;
	size_t n, capacity;
};

/*
 * Of the encoder at @index of @engines, at @now, @passed ns after the last time (both monotonic). How busy all of them are
 * together, 0 to 1; 0 where it has none.
 */
double endpoint_windows_tick(struct endpoint_windows *w, const struct engines *engines,
			     size_t index, int64_t now, int64_t passed);
/* Fills in `busy` and `images_per_second` of the endpoints that @encoder has. */
void endpoint_windows_picture(const struct endpoint_windows *w, struct service_encoder *encoder);
void endpoint_windows_release(struct endpoint_windows *w);

#endif
