/* A finished image becomes one record of the spool, with all its variants. */
#include "daemon/packer_parts.h"

#include "daemon/record_copy.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>
#include <unistd.h>

void finished_release(struct finished *f)
{
	free(f->key);
	free(f->path);
	free(f->caption);
	free(f->meta);
	for (size_t i = 0; i < RESOLUTIONS_MAX; i++)
		free(f->engines[i]);
	for (size_t i = 0; i < VARIANTS; i++)
		ndarray_release(&f->latents[i]);
	free(f->stored.shard);
	buffer_release(&f->mask);
	if (f->has_file)
		close(f->file);
}

static struct packed packed_of(const struct finished *f)
{
	return (struct packed){.job = f->job,
			       .fence = f->fence,
			       .content = f->facts.content,
			       .copied = f->stored.where != CONTENT_NONE,
			       .again = f->again};
}

struct append_item {
	struct finished finished;
	struct spooled entry;
	struct error rejected; /* this record cannot be made */
	bool stored;
};

struct append_task {
	struct task base;
	struct packer *packer;
	size_t n;
	size_t bytes; /* of the latents */
	size_t files; /* open */
	struct append_item *items;
	uint64_t spool_bytes; /* on disk afterwards */
	struct error failure; /* the spool failed */
};

/* The stored record, of the spool with its variants, of a shard by itself. */
static int read_stored(const struct packer *p, const struct finished *f, size_t index,
		       struct record *out, struct error *err)
{
	const struct packer_stored *stored = &f->stored;
	cleanup_record struct record bundle = RECORD_INIT;

	if (stored->where != CONTENT_SPOOLED)
		return shard_read_record(packer_store_of(p, stored->dataset), stored->shard,
					 &stored->spans[index], out, err);
	if (spool_read(p->options.spool, &stored->place, &bundle, err) < 0)
		return -1;
	return variant_take(&bundle, recipe_variant(p->options.recipe, index), out, err);
}

/* The same record from the stored one. Whatever is wrong with that one is ERR_DATA: it is encoded then. */
static int copy_stored(const struct packer *p, const struct finished *f, size_t index,
		       struct record *out, struct error *err)
{
	const struct packer_options *options = &p->options;
	const struct record_names names = {f->key,  f->path, f->caption, f->facts.captions,
					   f->rank, f->meta};
	cleanup_record struct record stored = RECORD_INIT;
	struct error why = ERROR_INIT;
	int r = read_stored(p, f, index, &stored, &why);

	if (r == 0)
		r = record_copy(&stored, options->recipe, &f->facts.content, &names, out, &why);
	return r == 0 ? 0 : error_data(err, "record", "%s", why.message);
}

static int make_unmasked(const struct packer *p, struct finished *f, size_t index,
			 struct record *out, struct error *err)
{
	size_t resolution = index / recipe_variants_each(p->options.recipe);

	if (f->stored.where != CONTENT_NONE)
		return copy_stored(p, f, index, out, err);
	f->facts.key = f->key;
	f->facts.variant = recipe_variant(p->options.recipe, index);
	f->facts.in_float32 = f->in_float32[index];
	f->facts.path = f->path;
	f->facts.caption = f->caption;
	f->facts.meta = f->meta;
	f->facts.placement = f->placements[resolution];
	f->facts.engine = f->engines[resolution];
	return record_build(p->options.recipe, &f->facts, &f->latents[index], f->rank, out, err);
}

static int make_mask(struct packer *p, const struct finished *f, struct record *record,
		     struct error *err)
{
	if (p->options.alpha)
		return mask_put_alpha(&p->mask_reader, f->has_file ? f->file : -1, record, err);
	return p->options.masks ? mask_put(&p->mask_reader, &f->mask, record, err) : 0;
}

static int make_record(struct packer *p, struct finished *f, size_t index, struct record *out,
		       struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;

	if (make_unmasked(p, f, index, &record, err) < 0 || make_mask(p, f, &record, err) < 0)
		return -1;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

/* "512x512_768x768": the sizes of all resolutions, which the samples of a shard share. */
static void add_to_group(struct record *bundle, const char *size)
{
	size_t n = strlen(bundle->group);

	snprintf(bundle->group + n, sizeof(bundle->group) - n, "_%s", size);
}

/* All variants of an image, as one record of the spool. */
static int make_bundle(struct packer *p, struct finished *f, struct record *out, struct error *err)
{
	cleanup_record struct record bundle = RECORD_INIT;
	size_t n = recipe_variants(p->options.recipe),
	       each = recipe_variants_each(p->options.recipe);

	for (size_t i = 0; i < n; i++) {
		uint32_t variant = recipe_variant(p->options.recipe, i);
		cleanup_record struct record record = RECORD_INIT;
		struct record_facts facts;

		/* What does not read back would stop its whole shard later. */
		if (make_record(p, f, i, &record, err) < 0 ||
		    record_facts_read(&record, &facts, err) < 0)
			return -1;
		if (facts.variant != variant)
			return error_data(err, "record", "%s is another variant", record.key);
		if (i > 0 && i % each == 0)
			add_to_group(&bundle, record.group);
		if (i > 0) {
			if (variant_put(&bundle, variant, &record, err) < 0)
				return -1;
			continue;
		}
		bundle = record;
		record = (struct record)RECORD_INIT;
	}
	*out = bundle;
	bundle = (struct record)RECORD_INIT;
	return 0;
}

static void append_one(struct append_task *t, struct append_item *item)
{
	const struct packer_options *options = &t->packer->options;
	cleanup_record struct record record = RECORD_INIT;
	struct finished *f = &item->finished;

	atomic_fetch_add(&t->packer->steps, 1);
	if (make_bundle(t->packer, f, &record, &item->rejected) < 0)
		return;
	record.dataset = options->dataset;
	record.job = f->job;
	record.fence = f->fence;
	if (spool_append(options->spool, &record, &item->entry.place, &t->failure) < 0)
		return;
	item->entry.job = f->job;
	item->entry.rank = f->rank;
	item->entry.bytes = record_bytes(&record);
	memcpy(item->entry.group, record.group, sizeof(item->entry.group));
	item->stored = true;
}

static void append_run(struct task *task)
{
	struct append_task *t = (struct append_task *)task;
	struct stage_meter *stages = t->packer->options.stages;

	stage_meter_enter(stages, STAGE_WRITE);
	for (size_t i = 0; i < t->n && t->failure.code == ERR_NONE; i++) {
		int64_t began = clock_mono_ns();

		append_one(t, &t->items[i]);
		stage_meter_did(stages, STAGE_WRITE, 1, (uint64_t)(clock_mono_ns() - began));
	}
	t->spool_bytes = spool_bytes(t->packer->options.spool);
	stage_meter_leave(stages, STAGE_WRITE);
}

static void append_done(struct task *task)
{
	struct append_task *t = (struct append_task *)task;
	struct packer *p = t->packer;

	p->under_way--;
	p->append_tasks++;
	p->backlog_tasks--;
	p->backlog_bytes -= t->bytes;
	p->backlog_files -= t->files;
	p->spool_bytes = t->spool_bytes;
	for (size_t i = 0; i < t->n; i++) {
		struct append_item *item = &t->items[i];
		struct finished *f = &item->finished;
		struct packed what = packed_of(f);

		if (item->stored) {
			ARRAY_GROW(p->unsynced, p->n_unsynced, p->unsynced_capacity);
			p->unsynced[p->n_unsynced++] = (struct unsynced){item->entry, what};
		} else {
			p->pending--;
		}
		if (item->rejected.code == ERR_DATA)
			p->options.handlers.on_rejected(p->options.arg, &what, f->path,
							&item->rejected);
		else if (item->rejected.code != ERR_NONE)
			packer_fail(p, &item->rejected);
		finished_release(f);
	}
	if (t->failure.code != ERR_NONE)
		packer_fail(p, &t->failure);
	if (p->n_unsynced == 0 && !p->syncing)
		p->settled_tasks = p->append_tasks;
	free(t->items);
	free(t);
	packer_pump(p);
}

void packer_append(struct packer *p, struct finished *items, size_t n)
{
	struct append_task *t = xcalloc(1, sizeof(*t));
	int64_t now = clock_mono_ms();

	if (now <= p->flush_at)
		now = p->flush_at + 1; /* it came after that flush, in the same millisecond */
	t->base.run = append_run;
	t->base.done = append_done;
	t->packer = p;
	t->n = n;
	t->items = xcalloc(n, sizeof(*t->items));
	for (size_t i = 0; i < n; i++) {
		t->items[i].finished = items[i];
		t->items[i].entry.since = now;
		t->files += items[i].has_file;
		for (size_t v = 0; v < VARIANTS; v++)
			t->bytes += items[i].latents[v].bytes;
	}
	free(items);
	p->pending += n;
	p->posted_tasks++;
	p->backlog_tasks++;
	p->backlog_bytes += t->bytes;
	p->backlog_files += t->files;
	packer_post(p, &t->base);
}
