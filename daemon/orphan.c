#include "daemon/orphan.h"

#include "daemon/dataset_splits.h"
#include "daemon/record_facts.h"
#include "daemon/record_group.h"
#include "daemon/shard_form.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/note.h"
#include "queue/queue_nodes.h"
#include "storage/seal.h"

#include <string.h>

static bool is_stopped(const struct orphan_options *o, struct error *err)
{
	if (!o->stop || !o->stop(o->arg))
		return false;
	error_set(err, ERR_TRANSIENT, "it was interrupted");
	return true;
}

/* -- one of them ---------------------------------------------------------------------------------- */

/* An orphan's contents, as the catalog wants them. */
struct adoption {
	const struct orphan_options *options;
	struct record_facts *facts;
	struct shard_span *spans;
	size_t n, capacity;
	size_t n_spans, spans_capacity;
};

static int on_orphan_record(void *arg, const struct record *record, const struct shard_span *span,
			    struct error *err)
{
	struct adoption *a = arg;
	struct record_facts facts;

	if (is_stopped(a->options, err) || record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, NULL, err) < 0)
		return -1;
	if (strcmp(facts.recipe_id, a->options->recipe_id) != 0)
		return error_data(err, "shard", "%s is of another recipe", record->key);
	ARRAY_GROW(a->facts, a->n, a->capacity);
	a->facts[a->n++] = facts;
	ARRAY_GROW(a->spans, a->n_spans, a->spans_capacity);
	a->spans[a->n_spans++] = *span;
	return 0;
}

/* 0, QUEUE_CONFLICT, or -1: ERR_DATA where the shard is bad. */
static int enter_orphan(struct adoption *a, const char *name, struct error *err)
{
	const struct orphan_options *options = a->options;
	struct sample_row *samples;
	struct shard_row row = {.dataset = options->dataset,
				.path = name,
				.format = shard_format_of_file(name)->name,
				.samples = a->n,
				.sealed_at = clock_wall_ms()};
	char group[RECORD_GROUP_SIZE];
	int64_t id;
	int result;

	if (a->n == 0)
		return error_data(err, "shard", "it holds no sample");
	if (shard_file_hashes(options->store, name, &row.bytes, &row.sha256, &row.xxh3, err) < 0)
		return -1;
	record_group_of_shard(name, group);
	row.group = group;
	samples = xcalloc(a->n, sizeof(*samples));
	for (size_t i = 0; i < a->n; i++)
		samples[i] = (struct sample_row){.key = a->facts[i].image,
						 .path = a->facts[i].path,
						 .variant = a->facts[i].variant,
						 .content = a->facts[i].content,
						 .latent = a->facts[i].latent,
						 .offset = a->spans[i].offset,
						 .bytes = a->spans[i].bytes};
	result = queue_complete(options->queue, &row, samples, a->n, clock_wall_ms(), &id, err);
	free(samples);
	return result;
}

/* One that was finished before a repack. */
static void note_form(const char *name, const struct adoption *a)
{
	const struct orphan_options *o = a->options;
	cleanup_free char *other = NULL;
	struct error ignored = ERROR_INIT;
	struct dataset_form form;

	if (shard_form_read(o->store, name, &a->spans[0], &form, &ignored) < 0)
		return;
	other = dataset_form_difference(&form, o->form);
	if (other)
		note_tell(o->note, o->arg,
			  "%s has %s, as before a repack: the next `latentctl repack` changes it",
			  name, other);
}

struct search {
	const char *name;
	bool found;
};

static int on_row(void *arg, const struct shard_row *row)
{
	struct search *s = arg;

	s->found = strcmp(row->path, s->name) == 0;
	return s->found;
}

/* Of nodes, its own one and the one that looks after the dead may come upon it at the same time. */
static int put_away(const struct orphan_options *o, const char *name, const char *why,
		    struct error *err)
{
	struct search known = {name, false};
	uint64_t bytes = 0;

	if (queue_shards(o->queue, o->dataset, on_row, &known, err) < 0)
		return -1;
	if (known.found)
		return 0;
	if (store_size(o->store, name, &bytes, err) == 0 &&
	    store_quarantine(o->store, name, err) == 0) {
		note_tell(o->note, o->arg,
			  "%s is not in the catalog and cannot be adopted (%s): moved to "
			  ".latentd/quarantine",
			  name, why);
		return 0;
	}
	if (err->code != ERR_DATA)
		return -1;
	error_clear(err); /* it has been put away already */
	return 0;
}

int orphan_adopt(const struct orphan_options *o, const char *name, size_t *adopted,
		 struct error *err)
{
	struct adoption a = {.options = o};
	struct error why = ERROR_INIT;
	int result = shard_read_stored(o->store, name, on_orphan_record, &a, &why);

	if (result == 0)
		result = enter_orphan(&a, name, &why);
	if (result == 0) {
		*adopted += a.n;
		note_tell(o->note, o->arg,
			  "%s was finished but not in the catalog: adopted (%zu samples)", name,
			  a.n);
		note_form(name, &a);
	} else if (result == QUEUE_CONFLICT || why.code == ERR_DATA) {
		result = put_away(o, name,
				  result == QUEUE_CONFLICT ? "its samples are in other shards"
							   : why.message,
				  err);
	} else {
		*err = why;
	}
	free(a.facts);
	free(a.spans);
	return result;
}

/* -- those of nodes that are dead ------------------------------------------------------------------- */

struct names {
	char **items;
	size_t n, capacity;
};

static void names_release(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}

#define cleanup_names cleanup_with(names_release)

static void names_add(struct names *names, const char *name)
{
	ARRAY_GROW(names->items, names->n, names->capacity);
	names->items[names->n++] = xstrdup(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	if (shard_format_of_file(name))
		names_add(arg, name);
	return 0;
}

static int on_node(void *arg, const struct node_row *row)
{
	if (row->alive)
		names_add(arg, row->name);
	return 0;
}

static int on_known(void *arg, const struct shard_row *row)
{
	names_add(arg, row->path);
	return 0;
}

static int on_retired(void *arg, const struct retired_row *row)
{
	names_add(arg, row->path);
	return 0;
}

static bool is_alive(const struct names *alive, const char *shard)
{
	for (size_t i = 0; i < alive->n; i++) {
		if (sealed_name_is_of(shard, alive->items[i]))
			return true;
	}
	return false;
}

static int settle_one(const struct orphan_options *o, const char *name, size_t *adopted,
		      struct error *err)
{
	if (is_stopped(o, err))
		return -1;
	if (!o->dry_run)
		return orphan_adopt(o, name, adopted, err);
	note_tell(o->note, o->arg,
		  "%s is not in the catalog: it would be adopted, or moved to .latentd/quarantine",
		  name);
	return 0;
}

int orphans_settle(const struct orphan_options *o, size_t *adopted, struct error *err)
{
	cleanup_names struct names there = {NULL, 0, 0}, alive = {NULL, 0, 0}, known = {NULL, 0, 0};

	/*
	 * In this order: what is there, of a node that is dead after that, and has no row even then, will not get one from
	 * it; and what has lost its row since is among the retired.
	 */
	if (splits_list(o->store, on_object, &there, err) < 0 ||
	    queue_nodes(o->queue, on_node, &alive, err) < 0 ||
	    queue_shards(o->queue, o->dataset, on_known, &known, err) < 0 ||
	    queue_retired(o->queue, o->dataset, on_retired, &known, err) < 0)
		return -1;
	if (o->node)
		names_add(&alive, o->node);
	if (known.n > 0)
		qsort(known.items, known.n, sizeof(*known.items), by_name);
	for (size_t i = 0; i < there.n; i++) {
		char *const *name = &there.items[i];

		if (is_alive(&alive, *name) || !(o->turn || sealed_name_has_node(*name)) ||
		    (known.n > 0 &&
		     bsearch(name, known.items, known.n, sizeof(*known.items), by_name)))
			continue;
		if (settle_one(o, *name, adopted, err) < 0)
			return -1;
	}
	return 0;
}
