#include "daemon/commands.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>

struct status {
	const struct opened_output *opened;
	bool json, begun;
	struct error *err;
};

static void print_json(const struct status *s, const struct queue_dataset *d,
		       const struct queue_counts *c)
{
	json_t *root = json_object(), *jobs = json_object();
	/* Where it lies now: an output may have been moved since the row was made. */
	cleanup_free char *folder = xasprintf("%s/%s", s->opened->output.root, d->name);
	char *text;

	for (int i = 0; i < JOB_STATES; i++)
		json_object_set_new(jobs, job_state_name((enum job_state)i),
				    json_integer((json_int_t)c->jobs[i]));
	json_object_set_new(root, "dataset", json_string(d->name));
	json_object_set_new(root, "output", json_string(folder));
	json_object_set_new(root, "recipe_id", json_string(d->recipe_id));
	json_object_set_new(root, "running", json_boolean(s->opened->running));
	json_object_set_new(root, "jobs", jobs);
	json_object_set_new(root, "samples", json_integer((json_int_t)c->samples));
	json_object_set_new(root, "shards", json_integer((json_int_t)c->shards));
	json_object_set_new(root, "shard_bytes", json_integer((json_int_t)c->shard_bytes));
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text)
		puts(text);
	free(text);
}

static void print_text(const struct queue_dataset *d, const struct queue_counts *c)
{
	uint64_t total = 0;
	char size[24];

	for (int i = 0; i < JOB_STATES; i++)
		total += c->jobs[i];
	printf("%s\n", d->name);
	printf("  recipe       %s\n", d->recipe_id);
	printf("  images       %llu\n", (unsigned long long)total);
	for (int i = 0; i < JOB_STATES; i++) {
		if (c->jobs[i] > 0)
			printf("  %-12s %llu\n", job_state_name((enum job_state)i),
			       (unsigned long long)c->jobs[i]);
	}
	printf("  shards       %llu with %llu sample%s, %s\n", (unsigned long long)c->shards,
	       (unsigned long long)c->samples, plural(c->samples),
	       text_bytes(c->shard_bytes, size));
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct status *s = arg;
	struct queue_counts counts;

	if (queue_counts(s->opened->queue, d->id, &counts, s->err) < 0)
		return -1;
	if (s->json) {
		print_json(s, d, &counts);
		return 0;
	}
	if (!s->begun)
		printf("%s\n", s->opened->running ? s->opened->output.owner
						  : "no process works on this output now");
	s->begun = true;
	print_text(d, &counts);
	return 0;
}

int cmd_status(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name json", 0,
						    "status --out DIR [--name NAME] [--json]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct status status = {.opened = &opened, .err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (opened_output_open(options.out, &opened, err) < 0)
		return -1;
	status.json = options.json;
	return each_dataset(opened.queue, options.name, on_dataset, &status, err);
}
