#include "daemon/busy_window.h"

#include <stdbool.h>

void busy_window_add(struct busy_window *w, int64_t now, uint64_t busy_ns, uint64_t images)
{
	w->marks[w->n++ % BUSY_WINDOW] = (struct busy_mark){now, busy_ns, images};
}

static bool ends(const struct busy_window *w, size_t seconds, const struct busy_mark **first,
		 const struct busy_mark **last)
{
	size_t back = seconds < BUSY_WINDOW ? seconds : BUSY_WINDOW - 1;

	if (w->n < 2)
		return false;
	if (back > w->n - 1)
		back = w->n - 1;
	*last = &w->marks[(w->n - 1) % BUSY_WINDOW];
	*first = &w->marks[(w->n - 1 - back) % BUSY_WINDOW];
	return (*last)->at > (*first)->at;
}

double busy_window_busy(const struct busy_window *w, size_t seconds)
{
	const struct busy_mark *first, *last;

	if (!ends(w, seconds, &first, &last))
		return -1;
	return (double)(last->busy_ns - first->busy_ns) / (double)(last->at - first->at);
}

double busy_window_rate(const struct busy_window *w, size_t seconds)
{
	const struct busy_mark *first, *last;

	if (!ends(w, seconds, &first, &last))
		return -1;
	return (double)(last->images - first->images) * 1e9 / (double)(last->at - first->at);
}
