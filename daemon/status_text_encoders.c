#include "daemon/status_text_parts.h"

#include "base/text.h"

#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>

/* Of an encoder or an endpoint: what it does now. */
static void rate_items(struct text_line *line, const json_t *o)
{
	double rate = json_number_value(json_object_get(o, "images_per_second"));

	if (rate > 0)
		text_line_item(line, "%.1f/s", rate);
	if (json_is_number(json_object_get(o, "busy")))
		text_line_item(line, "busy %.0f %%",
			       100 * json_number_value(json_object_get(o, "busy")));
}

static void endpoint_text(struct buffer *out, const json_t *p)
{
	struct text_line line = {out, 0, "endpoint"};
	double latency = json_number_value(json_object_get(p, "latency_ms"));
	int64_t wait = json_integer_value(json_object_get(p, "wait_ms"));
	char count[28];

	text_line_item(&line, "%s %s", status_text_of(p, "url"), status_text_of(p, "state"));
	if (wait > 0)
		text_line_item(&line, "tried again in %lld s", (long long)(wait + 999) / 1000);
	text_line_item(&line, "%s of %llu in flight",
		       text_count(status_count_of(p, "in_flight"), count),
		       (unsigned long long)status_count_of(p, "limit"));
	if (latency > 0)
		text_line_item(&line, "%.0f ms", latency);
	text_line_item(&line, "%s encoded", text_count(status_count_of(p, "images"), count));
	rate_items(&line, p);
	if (status_count_of(p, "failures") > 0)
		text_line_item(&line, "%s of %llu requests failed",
			       text_count(status_count_of(p, "failures"), count),
			       (unsigned long long)status_count_of(p, "requests"));
	text_line_end(&line);
}

/* How many of @endpoints, from @first on, are in that state. */
static size_t count_in(const json_t *endpoints, size_t first, const char *state)
{
	size_t n = 0;

	for (size_t i = first; i < json_array_size(endpoints); i++)
		n += strcmp(status_text_of(json_array_get(endpoints, i), "state"), state) == 0;
	return n;
}

/* The first of @endpoints that says what is wrong with it; NULL: none does. */
static const json_t *first_wrong(const json_t *endpoints)
{
	const json_t *p;
	size_t i;

	json_array_foreach(endpoints, i, p)
	{
		if (*status_text_of(p, "why"))
			return p;
	}
	return NULL;
}

/* "  endpoints  12: 10 ok, 1 warming, 1 failing: URL: reason" */
static void endpoints_line(struct buffer *out, const json_t *endpoints)
{
	const json_t *wrong = first_wrong(endpoints);
	size_t n = json_array_size(endpoints);
	const char *before = ":";

	buffer_appendf(out, "  %-*s%zu", TEXT_LABEL_COLUMNS - 2, "endpoints", n);
	for (size_t i = 0; i < n; i++) {
		const char *state = status_text_of(json_array_get(endpoints, i), "state");
		size_t all = count_in(endpoints, 0, state);

		if (count_in(endpoints, i, state) < all) /* it was said */
			continue;
		buffer_appendf(out, "%s %zu ", before, all);
		text_clean(out, state);
		before = ",";
	}
	if (wrong) {
		buffer_append_string(out, ": ");
		text_clean(out, status_text_of(wrong, "url"));
		buffer_append_string(out, ": ");
		text_clean(out, status_text_of(wrong, "why"));
	}
	buffer_append_string(out, "\n");
}

static void endpoints_text(struct buffer *out, const json_t *endpoints, bool folded)
{
	const json_t *p;
	size_t i;

	if (folded && json_array_size(endpoints) > 1) {
		endpoints_line(out, endpoints);
		return;
	}
	json_array_foreach(endpoints, i, p) endpoint_text(out, p);
}

void status_encoder_text(struct buffer *out, const json_t *e, bool folded)
{
	cleanup_buffer struct buffer name = BUFFER_INIT;
	struct text_line line = {out, 0, "encoder"};
	uint64_t in_flight = status_count_of(e, "in_flight");
	char count[28], bytes[24];

	text_line_item(&line, "%s %s", status_text_of(e, "name"), status_text_of(e, "state"));
	text_line_item(&line, "%s", status_text_of(e, "engine"));
	if (in_flight > 0)
		text_line_item(&line, "%s in flight", text_count(in_flight, count));
	if (json_is_true(json_object_get(e, "paused")) && in_flight > 0)
		text_line_item(&line, "paused when that is done");
	if (json_is_number(json_object_get(e, "batch")))
		text_line_item(&line, "batches of %.3g",
			       json_number_value(json_object_get(e, "batch")));
	text_line_item(&line, "%s encoded", text_count(status_count_of(e, "images_done"), count));
	if (status_count_of(e, "images_failed") > 0)
		text_line_item(&line, "%s failed",
			       text_count(status_count_of(e, "images_failed"), count));
	rate_items(&line, e);
	if (status_count_of(e, "memory_used") > 0)
		text_line_item(&line, "%s in memory",
			       text_bytes(status_count_of(e, "memory_used"), bytes));
	text_line_end(&line);
	endpoints_text(out, json_object_get(e, "endpoints"), folded);
	text_warning(out, status_text_of(e, "why"));
}
