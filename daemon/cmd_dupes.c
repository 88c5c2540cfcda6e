#include "daemon/commands.h"

#include "base/buffer.h"
#include "base/text.h"

#include "daemon/ctl_source.h"
#include "daemon/status_text.h"

#include <jansson.h>
#include <stdio.h>

struct listing {
	struct ctl_source *source;
	bool json;
	const char *dataset;
	size_t contents, files;
};

/* The whole path where it is known; quoted, because names may hold anything. */
static void print_file(const json_t *job)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (status_path(&path, job, "path") < 0 && status_path(&path, job, "source") < 0)
		return;
	printf("  %s%s\n", text_quote((const char *)path.data, quoted),
	       json_is_true(json_object_get(job, "stored")) ? "" : " (left out)");
}

static void print_json(const struct listing *l, json_t *content)
{
	char *text;

	json_object_set_new(content, "dataset", json_string(l->dataset));
	text = json_dumps(content, JSON_COMPACT);
	if (text)
		puts(text);
	free(text);
}

static int on_content(void *arg, json_t *content)
{
	struct listing *l = arg;
	const json_t *jobs = json_object_get(content, "jobs"), *job;
	size_t i;

	l->contents++;
	l->files += json_array_size(jobs);
	if (l->json) {
		print_json(l, content);
		return 0;
	}
	printf("%s: %zu files with the content %s\n", l->dataset, json_array_size(jobs),
	       json_string_value(json_object_get(content, "content")));
	json_array_foreach(jobs, i, job) print_file(job);
	return 0;
}

static int list_all(struct listing *l, struct error *err)
{
	json_t *status = NULL, *dataset;
	size_t i;
	int r = ctl_source_status(l->source, &status, err);

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		l->dataset = json_string_value(json_object_get(dataset, "name"));
		if (r == 0)
			r = ctl_source_each(l->source, l->dataset, "dupes", "contents", on_content,
					    l, err);
	}
	json_decref(status);
	if (r == 0 && !l->json && l->contents == 0)
		puts("no two files have the same content");
	else if (r == 0 && !l->json)
		printf("%zu content%s in %zu files\n", l->contents, plural(l->contents), l->files);
	return r;
}

int cmd_dupes(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name json", 0, "dupes [--out DIR | --socket PATH] [--name NAME] [--json]"};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	struct listing listing = {.dataset = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open(&options, &source, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	listing.source = source;
	listing.json = options.json;
	return list_all(&listing, err);
}
