#include "daemon/api_log.h"

#include "daemon/json_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *api_log_line(const struct event_line *line)
{
	json_t *item = json_object();

	json_object_set_new(item, "id", json_count((uint64_t)line->id));
	json_object_set_new(item, "at", json_count((uint64_t)line->at));
	json_object_set_new(item, "level", json_string(log_levels[line->level]));
	json_object_set_new(item, "dataset", json_clean(line->dataset));
	json_object_set_new(item, "text", json_clean(line->text));
	return item;
}

static void on_line(void *arg, const struct event_line *line)
{
	json_array_append_new(arg, api_log_line(line));
}

json_t *api_log_lines(struct event_log *log, const struct event_filter *filter, int64_t *next)
{
	json_t *lines = json_array();

	*next = event_log_read(log, filter, on_line, lines);
	return lines;
}

int api_log_page(struct event_log *log, const struct api_params *params, json_t **out,
		 struct error *err)
{
	struct event_filter filter = {.after = EVENT_LOG_NEWEST,
				      .level = params->has_level ? params->level : LOG_LEVEL_DEBUG,
				      .dataset = params->dataset,
				      .limit = params->limit};
	const char *after = params->after;
	json_t *lines;
	int64_t read = 0;
	char next[24];

	if (after && (strlen(after) > 18 || after[strspn(after, "0123456789")] != '\0' || !*after))
		return error_set(err, ERR_CONFIG, "after: expected `next` of an earlier answer");
	if (after)
		filter.after = strtoll(after, NULL, 10);
	lines = api_log_lines(log, &filter, &read);
	snprintf(next, sizeof(next), "%lld", (long long)read);
	*out = json_object();
	json_object_set_new(*out, "lines", lines);
	json_object_set_new(*out, "next", json_string(next));
	return 0;
}
