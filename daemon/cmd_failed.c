#include "daemon/commands.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct failed {
	struct queue *queue;
	const struct read_options *options;
	struct error *err;
	size_t n;
};

static void print_json(const struct job_row *row)
{
	cleanup_buffer struct buffer path = BUFFER_INIT, message = BUFFER_INIT;
	json_t *root = json_object();
	char *text;

	percent_encode(&path, row->path, strlen(row->path));
	utf8_append_clean(&message, row->message, strlen(row->message));
	json_object_set_new(root, "key", json_string(row->key));
	json_object_set_new(root, "source", json_stringn((const char *)path.data, path.size));
	json_object_set_new(root, "reason", json_string(row->reason));
	json_object_set_new(root, "message",
			    json_stringn((const char *)message.data, message.size));
	json_object_set_new(root, "attempts", json_integer(row->attempts));
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text)
		puts(text);
	free(text);
}

static int on_job(void *arg, const struct job_row *row)
{
	struct failed *f = arg;
	char quoted[TEXT_QUOTE_SIZE];

	f->n++;
	if (f->options->json)
		print_json(row);
	else
		printf("%-14s %s: %s\n", row->reason, text_quote(row->path, quoted), row->message);
	return 0;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct failed *f = arg;
	const struct job_filter which = {
	    .dataset = d->id,
	    .state = f->options->skipped ? JOB_SKIPPED : JOB_QUARANTINED,
	    .reason = f->options->reason,
	};

	return queue_jobs(f->queue, &which, on_job, f, f->err);
}

int cmd_failed(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name reason skipped json", 0,
	    "failed --out DIR [--name NAME] [--reason R] [--skipped] [--json]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct failed failed = {.options = &options, .err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (opened_output_open(options.out, &opened, err) < 0)
		return -1;
	failed.queue = opened.queue;
	if (each_dataset(opened.queue, options.name, on_dataset, &failed, err) < 0)
		return -1;
	if (failed.n == 0 && !options.json)
		printf("no images %s%s\n", options.skipped ? "were skipped" : "have failed",
		       options.reason ? " for this reason" : "");
	return EXIT_OK;
}
