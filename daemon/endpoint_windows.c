#include "daemon/endpoint_windows.h"

#include "daemon/busy_window.h"

#include "base/checked.h"
#include "encoder/encoder_remote.h"

#include <string.h>

/* One URL with one model; it goes when the model leaves the memory. */
struct endpoint_window {
	char *url, *model;
	struct busy_window window;
	uint64_t busy_ns, images;
	bool seen; /* by this tick */
};

struct look {
	struct endpoint_windows *windows;
	int64_t now, passed;
	size_t in_flight, limit;
};

static struct endpoint_window *find(const struct endpoint_windows *w, const char *url,
				    const char *model)
{
	for (size_t i = 0; i < w->n; i++) {
		if (strcmp(w->items[i].url, url) == 0 && strcmp(w->items[i].model, model) == 0)
			return &w->items[i];
	}
	return NULL;
}

/* The endpoint has counted from zero since the last tick, or since its model was loaded after that. */
static void begin(struct endpoint_window *e, const struct look *look)
{
	e->window.n = 0;
	e->busy_ns = e->images = 0;
	busy_window_add(&e->window, look->now - look->passed, 0, 0);
}

static struct endpoint_window *window_of(const struct look *look, const char *url,
					 const char *model)
{
	struct endpoint_windows *w = look->windows;
	struct endpoint_window *e = find(w, url, model);

	if (e)
		return e;
	ARRAY_GROW(w->items, w->n, w->capacity);
	e = &w->items[w->n++];
	*e = (struct endpoint_window){.url = xstrdup(url), .model = xstrdup(model)};
	begin(e, look);
	return e;
}

static void look_at(void *arg, const struct encoder *encoder, const char *model)
{
	struct look *look = arg;
	struct encoder_remote_view view;
	size_t limit = 0;

	if (!encoder_remote_view(encoder, &view))
		return;
	for (size_t i = 0; i < view.n_endpoints; i++) {
		struct encoder_remote_endpoint_view p;
		struct endpoint_window *e;
		size_t busy;

		if (!encoder_remote_endpoint_view(encoder, i, &p))
			break;
		busy = p.in_flight < p.limit ? p.in_flight : p.limit;
		e = window_of(look, p.url, model);
		if (p.images < e->images) /* its model was loaded anew */
			begin(e, look);
		e->seen = true;
		e->images = p.images;
		if (p.limit > 0)
			e->busy_ns +=
			    (uint64_t)((double)look->passed * (double)busy / (double)p.limit);
		busy_window_add(&e->window, look->now, e->busy_ns, e->images);
		look->in_flight += p.in_flight;
		limit += p.limit;
	}
	/* Many endpoints bear more than is ever sent at once, and nothing is sent for a model without work. */
	if (view.images > 0)
		look->limit += limit < view.max_requests ? limit : view.max_requests;
}

static void forget(struct endpoint_window *e)
{
	free(e->url);
	free(e->model);
}

static void drop_unseen(struct endpoint_windows *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (w->items[i].seen) {
			w->items[i].seen = false;
			w->items[kept++] = w->items[i];
		} else {
			forget(&w->items[i]);
		}
	}
	w->n = kept;
}

double endpoint_windows_tick(struct endpoint_windows *w, const struct engines *engines,
			     size_t index, int64_t now, int64_t passed)
{
	struct look look = {.windows = w, .now = now, .passed = passed};

	engines_each(engines, index, look_at, &look);
	drop_unseen(w);
	if (look.limit == 0)
		return 0;
	return look.in_flight < look.limit ? (double)look.in_flight / (double)look.limit : 1;
}

void endpoint_windows_picture(const struct endpoint_windows *w, struct service_encoder *encoder)
{
	for (size_t i = 0; i < encoder->n_endpoints; i++) {
		struct service_endpoint *p = &encoder->endpoints[i];
		const struct endpoint_window *e = find(w, p->url, p->model);

		p->busy = e ? busy_window_busy(&e->window, BUSY_WINDOW_NOW) : -1;
		p->images_per_second = e ? busy_window_rate(&e->window, BUSY_WINDOW_MINUTE) : -1;
	}
}

void endpoint_windows_release(struct endpoint_windows *w)
{
	for (size_t i = 0; i < w->n; i++)
		forget(&w->items[i]);
	free(w->items);
	*w = (struct endpoint_windows){.n = 0};
}
