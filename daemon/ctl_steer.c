#include "daemon/ctl_steer.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include "daemon/commands.h"
#include "daemon/ctl_api.h"
#include "daemon/ctl_source.h"
#include "daemon/text_lines.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* "photos: 3 images will be tried again; what the daemon adds", "photos: paused" */
static void print_answer(const char *dataset, const struct ctl_order *order, const json_t *answer)
{
	const char *message = json_string_value(json_object_get(answer, "message"));
	uint64_t n = (uint64_t)json_integer_value(json_object_get(answer, "count"));
	cleanup_buffer struct buffer said = BUFFER_INIT;
	char count[28];

	if (message)
		text_clean(&said, message);
	if (dataset)
		printf("%s: ", dataset);
	if (!dataset || strcmp(order->noun, "dataset") != 0)
		printf("%s %s%s ", text_count(n, count), order->noun, plural(n));
	fputs(order->done, stdout);
	if (said.size > 0)
		printf("; %s", (const char *)said.data);
	putchar('\n');
}

static int give(struct ctl_source *source, const struct read_options *options,
		const struct ctl_order *order, const char *dataset, struct error *err)
{
	json_t *answer = NULL, *body = order->body ? order->body(options) : NULL;

	if (ctl_source_post(source, dataset, order->command, body, &answer, err) < 0)
		return dataset ? error_wrap(err, "%s", dataset) : -1;
	print_answer(dataset, order, answer);
	json_decref(answer);
	return 0;
}

static bool is_meant(const struct ctl_order *order, const json_t *dataset)
{
	return !order->where || json_integer_value(json_object_get(dataset, order->where)) > 0;
}

int ctl_steer(struct ctl_source *source, const struct read_options *options,
	      const struct ctl_order *order, size_t *given, struct error *err)
{
	json_t *status = NULL, *dataset;
	size_t i, n = 0;
	int r;

	if (!options->name && !options->out && !order->each)
		return give(source, options, order, NULL, err);
	r = ctl_source_status(source, &status, err);
	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		if (r != 0 || !is_meant(order, dataset))
			continue;
		r = give(source, options, order,
			 json_string_value(json_object_get(dataset, "name")), err);
		n++;
	}
	json_decref(status);
	if (given)
		*given = n;
	return r;
}

int ctl_steer_encoder(struct ctl_source *source, const char *encoder, const struct ctl_order *order,
		      struct error *err)
{
	cleanup_free char *word = ctl_api_word(encoder);
	cleanup_free char *what = xasprintf("encoders/%s/%s", word, order->command);
	cleanup_free char *shown = xasprintf("encoder %s", encoder);
	json_t *answer = NULL;

	if (ctl_source_post(source, NULL, what, NULL, &answer, err) < 0)
		return error_wrap(err, "%s", shown);
	print_answer(shown, order, answer);
	json_decref(answer);
	return 0;
}
