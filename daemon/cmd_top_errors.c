/*
 * latentctl top-errors: what fails most, with an example of each and what helps.
 */
#include "daemon/commands.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include "daemon/ctl_api.h"
#include "daemon/ctl_source.h"
#include "daemon/status_text.h"
#include "daemon/text_lines.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Of reasons for which somebody can do something. */
static const struct {
	const char *reason, *remedy;
} remedies[] = {
    {"truncated", "the file ends early: copy or download it again; it is tried by itself then"},
    {"corrupt", "the file is damaged: copy or download it again; it is tried by itself then"},
    {"unsupported", "convert it to JPEG, PNG or WebP; `latentctl version` says what is read"},
    {"too_large", "make it smaller; larger images than this are never decoded"},
    {"bomb", "it unpacks to far more than it has: leave it out"},
    {"encrypted", "unpack the archive with its password"},
    {"non_finite", "the model overflows in this precision: try precision f32, or another VAE"},
    {"worker_died", "its decoder died of it: report the file, and leave it out until then"},
    {"timeout", "decoding takes too long: is the machine overloaded? `latentctl retry`"},
    {"refused", "the endpoint does not take it: its log says why; then `latentctl retry`"},
    {"gone", "the file vanished before it was read: it is tried when it is back"},
    {"unreadable", "the daemon's user may not read it: `latentctl doctor`, then `latentctl retry`"},
    {"not_found", "its server says that it is gone: leave it out of the list"},
    {"forbidden", "its server does not give it to you: leave it out of the list"},
    {"bad_status", "its server does not take the request: the message has the status"},
    {"web_page",
     "a page came in its place: open the URL in a browser, or leave it out of the list"},
    {"redirect",
     "its server leads nowhere: open the URL in a browser, or leave it out of the list"},
    {"not_public", "its server is one of this network: private_hosts, if the list is your own"},
    {"unreachable", "it failed while its server gave others: later, `latentctl retry`"},
    {"no_such_host", "its server's name is gone: leave it out of the list, or `latentctl retry`"},
    {"bad_url", "mend the line in the list"},
    {"bad_name", "rename the file"},
    {"name_too_long", "rename the file"},
    {"path_too_long", "move it into a folder with a shorter name"},
};

static const char *remedy_of(const char *reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++) {
		if (strcmp(remedies[i].reason, reason) == 0)
			return remedies[i].remedy;
	}
	return NULL;
}

struct group {
	json_t *row; /* as --json prints it */
	json_int_t images;
};

struct groups {
	struct group *items;
	size_t n, capacity;
};

static void groups_release(struct groups *g)
{
	for (size_t i = 0; i < g->n; i++)
		json_decref(g->items[i].row);
	free(g->items);
}

/* Members "path", "source" and "message" of one of its images. */
static int add_example(struct ctl_source *source, const char *dataset, json_t *row,
		       struct error *err)
{
	const char *reason = json_string_value(json_object_get(row, "reason"));
	cleanup_free char *word = ctl_api_word(reason ? reason : "");
	cleanup_free char *what = xasprintf("jobs?state=%s&reason=%s&limit=1",
					    json_string_value(json_object_get(row, "state")), word);
	json_t *page = NULL;
	const json_t *job;

	if (ctl_source_page(source, dataset, what, &page, err) < 0)
		return -1;
	job = json_array_get(json_object_get(page, "jobs"), 0);
	json_object_set(row, "path", json_object_get(job, "path"));
	json_object_set(row, "source", json_object_get(job, "source"));
	json_object_set(row, "message", json_object_get(job, "message"));
	json_decref(page);
	return 0;
}

static int add_dataset(struct groups *g, struct ctl_source *source, const char *dataset,
		       struct error *err)
{
	json_t *page = NULL, *reason;
	int r = ctl_source_page(source, dataset, "failures", &page, err);
	size_t i;

	json_array_foreach(json_object_get(page, "reasons"), i, reason)
	{
		const char *state = json_string_value(json_object_get(reason, "state"));
		const char *name = json_string_value(json_object_get(reason, "reason"));
		const char *remedy = name ? remedy_of(name) : NULL;
		json_t *row;

		if (r != 0 || !state || !name || strcmp(state, "skipped") == 0)
			continue;
		row = json_copy(reason);
		json_object_set_new(row, "dataset", json_string(dataset));
		json_object_set_new(row, "remedy", remedy ? json_string(remedy) : json_null());
		ARRAY_GROW(g->items, g->n, g->capacity);
		g->items[g->n++] =
		    (struct group){row, json_integer_value(json_object_get(reason, "jobs"))};
		r = add_example(source, dataset, row, err);
	}
	json_decref(page);
	return r;
}

static int most_first(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return (x->images < y->images) - (x->images > y->images);
}

static void print_json(const json_t *row)
{
	char *text = json_dumps(row, JSON_COMPACT);

	if (text)
		puts(text);
	free(text);
}

static void print_group(const struct group *g)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *remedy = json_string_value(json_object_get(g->row, "remedy"));
	char count[28];

	buffer_appendf(&text, "%9s  ", text_count((uint64_t)g->images, count));
	text_clean(&text, json_string_value(json_object_get(g->row, "dataset")));
	buffer_append_string(
	    &text, strcmp(json_string_value(json_object_get(g->row, "state")), "retryable") == 0
		       ? ", tried again by itself\n           "
		       : "\n           ");
	status_job_line(&text, g->row);
	if (remedy)
		buffer_appendf(&text, "           -> %s\n", remedy);
	fwrite(text.data, 1, text.size, stdout);
}

static int list_all(const struct read_options *options, struct ctl_source *source, struct groups *g,
		    struct error *err)
{
	json_t *status = NULL, *dataset;
	size_t i;
	int r = ctl_source_status(source, &status, err);

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		if (r == 0)
			r = add_dataset(g, source,
					json_string_value(json_object_get(dataset, "name")), err);
	}
	json_decref(status);
	if (r != 0)
		return r;
	if (g->n > 0)
		qsort(g->items, g->n, sizeof(*g->items), most_first);
	for (i = 0; i < g->n; i++) {
		if (options->json)
			print_json(g->items[i].row);
		else
			print_group(&g->items[i]);
	}
	if (g->n == 0 && !options->json)
		puts("no images have failed");
	return 0;
}

int cmd_top_errors(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name json", 0, "top-errors [--out DIR | --socket PATH] [--name NAME] [--json]"};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	struct groups groups = {NULL, 0, 0};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open(&options, &source, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	r = list_all(&options, source, &groups, err);
	groups_release(&groups);
	return r;
}
