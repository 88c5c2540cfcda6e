#include "daemon/upkeep_command.h"

#include "daemon/ctl_source.h"
#include "daemon/dataset_store.h"
#include "daemon/shared_output.h"
#include "daemon/text_lines.h"

#include "base/checked.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* How long the daemon is left alone before it is asked again: from, and up to. */
enum { ASK_FIRST_MS = 10, ASK_MOST_MS = 1000 };

static struct upkeep_order order_of(enum upkeep_kind kind, const struct read_options *o)
{
	return (struct upkeep_order){.kind = kind,
				     .dry_run = o->dry_run,
				     .grace_hours = o->grace_hours,
				     .shard_samples = o->shard_samples,
				     .shard_bytes = o->shard_size};
}

static void print_result(const char *dataset, const json_t *result)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	upkeep_text(&text, dataset, result);
	fwrite(text.data, 1, text.size, stdout);
}

static void print_note(enum upkeep_kind kind, const char *dataset, const char *line)
{
	fprintf(stderr, "latentctl %s: %s: %s\n", upkeep_name(kind), dataset, line);
}

/* -- by the daemon that works on the output ------------------------------------------------------- */

struct asking {
	struct ctl_source *source;
	const char *dataset;
	enum upkeep_kind kind;
};

static json_t *body_of(const struct upkeep_order *o)
{
	if (o->kind == UPKEEP_GC)
		return json_pack("{s:b, s:I}", "dry_run", o->dry_run, "grace_hours",
				 (json_int_t)o->grace_hours);
	return json_pack("{s:b, s:I, s:I}", "dry_run", o->dry_run, "shard_samples",
			 (json_int_t)o->shard_samples, "shard_size", (json_int_t)o->shard_bytes);
}

static int post_order(const struct asking *a, const struct upkeep_order *order, json_int_t *id,
		      struct error *err)
{
	json_t *answer = NULL;
	int r = ctl_source_post(a->source, a->dataset, upkeep_name(a->kind), body_of(order),
				&answer, err);

	if (r == 0)
		*id = json_integer_value(json_object_get(answer, "id"));
	json_decref(answer);
	return r;
}

static void print_notes(const struct asking *a, const json_t *upkeep)
{
	const json_t *note;
	size_t i;

	json_array_foreach(json_object_get(upkeep, "notes"), i, note)
	{
		cleanup_buffer struct buffer line = BUFFER_INIT;

		text_clean(&line, json_string_value(note) ? json_string_value(note) : "");
		print_note(a->kind, a->dataset, line.data ? (const char *)line.data : "");
	}
}

/* 0: it has ended, and was printed; 1: not yet. */
static int look_at(const struct asking *a, const json_t *upkeep, struct error *err)
{
	const char *state = json_string_value(json_object_get(upkeep, "state"));
	const char *why = json_string_value(json_object_get(upkeep, "error"));

	if (!state || strcmp(state, "waiting") == 0 || strcmp(state, "running") == 0)
		return 1;
	print_notes(a, upkeep);
	if (strcmp(state, "failed") == 0)
		return error_set(err, ERR_IO, "%s", why ? why : "it failed");
	print_result(a->dataset, json_object_get(upkeep, "result"));
	return 0;
}

/* The same, once the daemon was asked for it. */
static int look(const struct asking *a, json_int_t id, struct error *err)
{
	json_t *page = NULL, *upkeep;
	bool found = false;
	size_t i;
	struct error why = ERROR_INIT;
	int r = ctl_source_page(a->source, a->dataset, "upkeep", &page, &why);

	if (r < 0)
		return error_set(err, why.code,
				 "%s (what was done is kept: ask again when the daemon runs)",
				 why.message);
	json_array_foreach(json_object_get(page, "upkeep"), i, upkeep)
	{
		if (json_integer_value(json_object_get(upkeep, "id")) != id)
			continue;
		found = true;
		r = look_at(a, upkeep, err);
	}
	json_decref(page);
	if (r == 0 && !found)
		return error_set(err, ERR_TRANSIENT,
				 "the daemon was started again meanwhile (what was done is kept: "
				 "ask again for the rest)");
	return r;
}

static int ask(const struct asking *a, const struct upkeep_order *order, struct error *err)
{
	int64_t wait_ms = ASK_FIRST_MS;
	json_int_t id = 0;
	int r = post_order(a, order, &id, err);

	if (r < 0)
		return -1;
	while ((r = look(a, id, err)) > 0) {
		nanosleep(&(struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000}, NULL);
		wait_ms = wait_ms * 2 < ASK_MOST_MS ? wait_ms * 2 : ASK_MOST_MS;
	}
	return r;
}

static int ask_daemon(struct ctl_source *source, const struct upkeep_order *order,
		      struct error *err)
{
	json_t *status = NULL, *dataset;
	int r = ctl_source_status(source, &status, err);
	size_t i;

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		const struct asking a = {
		    source, json_string_value(json_object_get(dataset, "name")), order->kind};

		if (r == 0 && ask(&a, order, err) < 0)
			r = error_wrap(err, "%s", a.dataset);
	}
	json_decref(status);
	return r < 0 ? -1 : EXIT_OK;
}

/* -- by ourselves --------------------------------------------------------------------------------- */

struct visit {
	const struct upkeep_order *order;
	struct upkeep_place place; /* but for the dataset */
	struct error *err;
};

static void on_note(void *arg, const char *line)
{
	const struct visit *v = arg;

	print_note(v->order->kind, v->place.dataset->name, line);
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct visit *v = arg;
	const struct dataset_store_use use = {.readonly = v->order->dry_run};
	struct upkeep *upkeep = upkeep_new(v->order);
	int r;

	v->place.dataset = d;
	v->place.use = &use;
	v->place.note = on_note;
	v->place.arg = v;
	r = upkeep_run(upkeep, &v->place, v->err);
	if (r == 0) {
		json_t *result = upkeep_result(upkeep);

		print_result(d->name, result);
		json_decref(result);
	}
	upkeep_free(upkeep);
	return r < 0 ? -1 : 0;
}

static int on_shared_dataset(void *arg, const struct queue_dataset *d, const char *root,
			     int64_t now)
{
	struct visit *v = arg;

	v->place.root = root;
	v->place.now = now;
	return on_dataset(v, d);
}

/* 0, EXIT_BUSY or -1. *none: nodes do not share it, and nothing was done. */
static int do_shared(const char *command, const struct read_options *options,
		     const struct upkeep_order *order, bool *none, struct error *err)
{
	cleanup_shared_output struct shared_output *shared = NULL;
	struct visit visit = {.order = order, .place = {.shared = true}, .err = err};
	int r = shared_output_open(command, options, &shared, err);

	*none = r == SHARED_OUTPUT_NONE;
	if (r != 0)
		return r;
	visit.place.queue = shared_output_queue(shared);
	return shared_output_each(shared, on_shared_dataset, &visit, err);
}

/* 0, EXIT_BUSY or -1. */
static int open_output(const char *command, const struct read_options *options,
		       struct opened_output *opened, struct error *err)
{
	return options->dry_run ? opened_output_open(options->out, opened, err)
				: opened_output_own(command, options->out, opened, err);
}

static int do_it(const char *command, const struct read_options *options,
		 const struct upkeep_order *order, struct error *err)
{
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct visit visit = {.order = order, .err = err};
	int r = open_output(command, options, &opened, err);

	visit.place.queue = opened.queue;
	visit.place.root = opened.output.root;
	visit.place.busy = opened.running;
	if (r == 0)
		r = each_dataset(opened.queue, &opened.output, options->name, on_dataset, &visit,
				 err);
	return r;
}

int upkeep_command(int argc, char **argv, const struct read_command *command, enum upkeep_kind kind,
		   struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	struct upkeep_order order;
	bool none = false;
	int r = read_options_parse(argc, argv, command, &options);

	if (r != 0)
		return read_options_exit(r);
	order = order_of(kind, &options);
	r = do_shared(argv[0], &options, &order, &none, err);
	if (!none)
		return r;
	r = ctl_source_open_daemon(&options, &source, err);
	if (r == 0)
		return ask_daemon(source, &order, err);
	if (r < 0)
		return -1;
	error_clear(err);
	return do_it(argv[0], &options, &order, err);
}
