/*
 * Images that did not become samples: `failed` and `skipped`.
 */
#include "daemon/commands.h"

#include "base/buffer.h"
#include "base/checked.h"

#include "daemon/ctl_api.h"
#include "daemon/ctl_source.h"
#include "daemon/status_text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct listing {
	const struct read_options *options;
	struct ctl_source *source;
	bool skipped;
	size_t n;
};

static void print_json(json_t *job)
{
	char *text = json_dumps(job, JSON_COMPACT);

	if (text)
		puts(text);
	free(text);
}

/* The file's bytes; where its folder is not known, its path below that. */
static void print_path(const json_t *job)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;

	if (status_path(&path, job, "path") < 0 && status_path(&path, job, "source") < 0)
		return;
	buffer_append_string(&path, "\n");
	fwrite(path.data, 1, path.size, stdout);
}

static int on_job(void *arg, json_t *job)
{
	struct listing *l = arg;
	cleanup_buffer struct buffer line = BUFFER_INIT;

	l->n++;
	if (l->options->json) {
		print_json(job);
	} else if (l->options->paths) {
		print_path(job);
	} else {
		status_job_line(&line, job);
		fwrite(line.data, 1, line.size, stdout);
	}
	return 0;
}

static int list_dataset(struct listing *l, const char *name, struct error *err)
{
	cleanup_free char *reason = l->options->reason ? ctl_api_word(l->options->reason) : NULL;
	cleanup_free char *what =
	    xasprintf("jobs?state=%s%s%s", l->skipped ? "skipped" : "quarantined",
		      reason ? "&reason=" : "", reason ? reason : "");

	return ctl_source_each(l->source, name, what, "jobs", on_job, l, err);
}

static int list_all(struct listing *l, struct error *err)
{
	json_t *status = NULL, *dataset;
	size_t i;
	int r = ctl_source_status(l->source, &status, err);

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		if (r == 0)
			r = list_dataset(l, json_string_value(json_object_get(dataset, "name")),
					 err);
	}
	json_decref(status);
	if (r == 0 && l->n == 0 && !l->options->json && !l->options->paths)
		printf("no images %s%s\n", l->skipped ? "were skipped" : "have failed",
		       l->options->reason ? " for this reason" : "");
	return r;
}

static int list_jobs(const struct read_options *options, bool skipped, const char *command,
		     struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct listing listing = {.options = options, .skipped = skipped};
	int r;

	r = ctl_source_open(options, &source, err);
	if (r != 0)
		return ctl_ended(command, r, err);
	listing.source = source;
	return list_all(&listing, err);
}

static int run(int argc, char **argv, const struct read_command *command, bool skipped,
	       struct error *err)
{
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, command, &options);

	if (r == 0 && options.json && options.paths)
		r = read_options_wrong(argv[0], command, "--json and --paths do not go together");
	if (r != 0)
		return read_options_exit(r);
	return list_jobs(&options, skipped || options.skipped, argv[0], err);
}

int cmd_failed(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name reason skipped json paths", 0,
	    "failed [--out DIR | --socket PATH] [--name NAME] [--reason R] [--json | --paths]"};

	return run(argc, argv, &command, false, err);
}

int cmd_skipped(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name reason json paths", 0,
	    "skipped [--out DIR | --socket PATH] [--name NAME] [--reason R] [--json | --paths]"};

	return run(argc, argv, &command, true, err);
}
