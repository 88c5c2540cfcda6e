#include "daemon/api_history.h"

#include "base/checked.h"

#include "daemon/json_text.h"

#include <jansson.h>

static json_t *stretch_json(const struct history_row *row)
{
	json_t *o = json_object();
	double rate = row->ms > 0 ? (double)row->images * 1000 / (double)row->ms : 0;

	json_object_set_new(o, "at", json_integer(row->at));
	json_object_set_new(o, "seen_ms", json_integer(row->ms));
	json_object_set_new(o, "images", json_count(row->images));
	json_object_set_new(o, "images_per_second", json_rounded(rate, 3));
	json_object_set_new(o, "todo", json_count(row->todo));
	return o;
}

static json_t *series_json(struct history *h, enum history_series series, int64_t wall)
{
	json_t *o = json_object(), *list = json_array();
	struct history_row rows[HISTORY_PLACES];
	size_t n = 0;

	history_read(h, series, wall, rows, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, stretch_json(&rows[i]));
	json_object_set_new(o, "step_ms", json_integer(history_step_ms(series)));
	json_object_set_new(
	    o, "span_ms", json_integer(history_step_ms(series) * (int64_t)history_places(series)));
	json_object_set_new(o, "stretches", list);
	return o;
}

json_t *api_history_json(struct history *h, int64_t wall)
{
	json_t *body = json_object();

	json_object_set_new(body, "taken_at", json_integer(wall));
	json_object_set_new(body, "hour", series_json(h, HISTORY_HOUR, wall));
	json_object_set_new(body, "day", series_json(h, HISTORY_DAY, wall));
	return body;
}
