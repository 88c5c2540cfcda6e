/*
 * A shard is begun when a group is full, has waited long, keeps much waste on disk, or somebody asked: read from the
 * spool, written and verified, published, entered into the catalog; then its records are dropped. One is made at a time, and one
 * published.
 */
#include "daemon/packer_parts.h"

#include "daemon/record_copy.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

struct seal_task {
	struct task base;
	struct packer *packer;
	struct spooled *entries;
	size_t n;
	size_t variants; /* of each entry */
	uint64_t bytes;	 /* of them; 0: counted in the catalog */
	char folder[RECORD_GROUP_SIZE + 8];
	struct seal_target target;
	struct sample_row *samples; /* n * variants, with strings of their own */
	struct made_shard *made;
	bool given_up; /* before it was published */
	struct sealed_shard sealed;
	struct shard_row row;
	uint64_t spool_bytes; /* on disk after the drop */
	struct error err;
};

static int seal_load(void *arg, size_t index, struct record *out, struct error *err)
{
	struct seal_task *t = arg;
	const struct packer_options *options = &t->packer->options;
	const struct spooled *entry = &t->entries[index / t->variants];
	struct sample_row *row = &t->samples[index];
	cleanup_record struct record bundle = RECORD_INIT, record = RECORD_INIT;
	struct record_facts facts;

	atomic_fetch_add(&t->packer->steps, 1);
	/* One that waits since before a repack has the codec of then. */
	if (spool_read(options->spool, &entry->place, &bundle, err) < 0 ||
	    variant_take(&bundle, recipe_variant(options->recipe, index % t->variants), &record,
			 err) < 0 ||
	    record_recode(&record, options->recipe->form.codec, err) < 0 ||
	    record_facts_read(&record, &facts, err) < 0)
		return -1;
	*row = (struct sample_row){.key = xstrdup(facts.image),
				   .path = xstrdup(facts.path),
				   .job = entry->job,
				   .variant = facts.variant,
				   .content = facts.content,
				   .latent = facts.latent};
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

static void seal_row(struct seal_task *t)
{
	const struct packer_options *options = &t->packer->options;

	for (size_t i = 0; i < t->n * t->variants; i++) {
		t->samples[i].offset = t->sealed.spans[i].offset;
		t->samples[i].bytes = t->sealed.spans[i].bytes;
	}
	t->row = (struct shard_row){.dataset = options->dataset,
				    .path = t->sealed.name,
				    .format = dataset_form_format(&options->recipe->form)->name,
				    .group = t->entries[0].group,
				    .bytes = t->sealed.bytes,
				    .samples = t->n * t->variants,
				    .sha256 = t->sealed.sha256,
				    .xxh3 = t->sealed.xxh3,
				    .sealed_at = clock_wall_ms()};
}

static void seal_run(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;
	struct stage_meter *stages = t->packer->options.stages;

	t->samples = xcalloc(t->n * t->variants, sizeof(*t->samples));
	stage_meter_enter(stages, STAGE_WRITE);
	seal_make(&t->target, seal_load, t, t->n * t->variants, &t->made, &t->err);
	stage_meter_leave(stages, STAGE_WRITE);
}

/* Whatever comes of it, what is on disk of the made shard goes; its records are in the spool. */
static void publish_run(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;
	struct packer *p = t->packer;

	atomic_fetch_add(&p->steps, 1);
	t->given_up = atomic_load(&p->gives_up);
	stage_meter_enter(p->options.stages, STAGE_WRITE);
	if (!t->given_up && seal_publish(t->made, &t->target, &t->sealed, &t->err) == 0)
		seal_row(t);
	stage_meter_leave(p->options.stages, STAGE_WRITE);
	if (t->err.code != ERR_NONE)
		atomic_store(&p->gives_up, true);
	made_shard_free(t->made);
	t->made = NULL;
}

static void seal_free(struct seal_task *t)
{
	sealed_shard_release(&t->sealed);
	for (size_t i = 0; t->samples && i < t->n * t->variants; i++) {
		free((char *)t->samples[i].key);
		free((char *)t->samples[i].path);
	}
	free(t->samples);
	free(t->entries);
	free(t);
}

static void seal_end(struct seal_task *t)
{
	struct packer *p = t->packer;

	p->sealing--;
	p->being_sealed -= t->n;
	p->sealing_bytes -= t->bytes;
	seal_free(t);
	packer_pump(p);
}

static void drop_run(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;

	stage_meter_enter(t->packer->options.stages, STAGE_WRITE);
	for (size_t i = 0; i < t->n && t->err.code == ERR_NONE; i++)
		spool_drop(t->packer->options.spool, &t->entries[i].place, &t->err);
	stage_meter_leave(t->packer->options.stages, STAGE_WRITE);
	t->spool_bytes = spool_bytes(t->packer->options.spool);
}

static void drop_done(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;

	t->packer->under_way--;
	t->packer->spool_bytes = t->spool_bytes;
	if (t->err.code != ERR_NONE)
		packer_fail(t->packer, &t->err);
	seal_end(t);
}

static void seal_completed(void *arg, bool conflict, const struct error *err)
{
	struct seal_task *t = arg;
	struct packer *p = t->packer;
	struct error twice = ERROR_INIT;

	p->under_way--;
	if (conflict) {
		/* Of a node that was silent for so long that others did its work: opening again finds what is left. */
		error_set(&twice, p->options.node ? ERR_TRANSIENT : ERR_BUG,
			  "%s holds a sample that another shard has", t->sealed.name);
		err = &twice;
	}
	if (err->code != ERR_NONE) {
		packer_fail(p, err);
		seal_end(t);
		return;
	}
	p->sealing_bytes -= t->bytes; /* the catalog counts them now */
	t->bytes = 0;
	p->options.handlers.on_shard(p->options.arg, t->sealed.name, t->n * t->variants,
				     t->sealed.bytes);
	for (size_t i = 0; i < t->n; i++)
		packer_forget_place(p, t->entries[i].job, &t->entries[i].place);
	t->base.run = drop_run;
	t->base.done = drop_done;
	packer_post(p, &t->base);
}

static void publish_done(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;
	struct packer *p = t->packer;

	p->under_way--;
	if (t->err.code != ERR_NONE)
		packer_fail(p, &t->err);
	if (t->given_up || t->err.code != ERR_NONE) {
		seal_end(t);
		return;
	}
	spool_index_note_shard(&p->index, t->sealed.name);
	p->under_way++;
	db_complete(p->options.db, &t->row, t->samples, t->n * t->variants, seal_completed, t);
}

/*
 * A database that lost its last commits may give an image a second number before any node has noticed, and this one has it
 * under both. Opening again tells which record counts.
 */
static void blame_database(struct seal_task *t)
{
	const struct error why = t->err;

	if (!t->packer->options.node || why.code != ERR_DATA || strcmp(why.reason, "bad_name") != 0)
		return;
	error_clear(&t->err);
	error_set(&t->err, ERR_TRANSIENT, "%s", why.message);
}

static void seal_done(struct task *task)
{
	struct seal_task *t = (struct seal_task *)task;
	struct packer *p = t->packer;

	p->under_way--;
	p->making = false;
	blame_database(t);
	if (t->err.code != ERR_NONE) {
		packer_fail(p, &t->err);
		seal_end(t);
		return;
	}
	t->base.run = publish_run;
	t->base.done = publish_done;
	packer_post_upload(p, &t->base);
	packer_pump(p);
}

/* Bytes on disk that nobody needs, but for which some record in the same segment is still live. */
static uint64_t wasted(const struct packer *p)
{
	uint64_t needed = p->spool_foreign + packer_unsealed_bytes(p);

	return p->spool_bytes > needed ? p->spool_bytes - needed : 0;
}

/* Everything that was appended before the flush is in the index, or was rejected. */
static bool flush_is_ready(const struct packer *p)
{
	return p->flushing && p->settled_tasks >= p->flush_tasks;
}

size_t packer_shard_images(const struct packer *p)
{
	size_t variants = recipe_variants(p->options.recipe), samples = p->options.shard_samples;

	return samples > variants ? samples / variants : 1;
}

/* What the next shard is made of, *n of them; NULL: there is no reason for one. */
static struct spooled *take_entries(struct packer *p, size_t *n)
{
	const struct packer_options *o = &p->options;
	size_t images = packer_shard_images(p);
	bool any = p->draining && p->drain_seals && p->pending == 0;
	struct spooled *entries = spool_index_take(&p->index, images, o->shard_bytes, any, n);

	if (!entries && flush_is_ready(p)) {
		entries =
		    spool_index_take_aged(&p->index, p->flush_at + 1, images, o->shard_bytes, n);
		p->flushing = entries != NULL;
	}
	if (!entries && o->seal_age_ms > 0)
		entries = spool_index_take_aged(&p->index, clock_mono_ms() - o->seal_age_ms, images,
						o->shard_bytes, n);
	if (!entries && wasted(p) > o->spool_waste)
		entries = spool_index_take_oldest(&p->index, images, o->shard_bytes, n);
	return entries;
}

static struct seal_task *seal_new(struct packer *p, struct spooled *entries, size_t n)
{
	const struct packer_options *o = &p->options;
	struct seal_task *t = xcalloc(1, sizeof(*t));

	t->base.run = seal_run;
	t->base.done = seal_done;
	t->packer = p;
	t->entries = entries;
	t->n = n;
	t->variants = recipe_variants(o->recipe);
	for (size_t i = 0; i < n; i++)
		t->bytes += entries[i].bytes;
	snprintf(t->folder, sizeof(t->folder), "train/%s", entries[0].group);
	t->target = (struct seal_target){.store = o->store,
					 .format = dataset_form_format(&o->recipe->form),
					 .columns = o->recipe->form.columns,
					 .folder = t->folder,
					 .first_number =
					     spool_index_take_number(&p->index, entries[0].group),
					 .node = o->node};
	return t;
}

void packer_seal(struct packer *p)
{
	struct seal_task *t;
	struct spooled *entries;
	size_t n = 0;

	if (p->making || p->sealing >= p->sealing_max || p->held || p->failed ||
	    (p->draining && !p->drain_seals))
		return;
	entries = take_entries(p, &n);
	if (!entries)
		return;
	t = seal_new(p, entries, n);
	p->making = true;
	p->sealing++;
	p->being_sealed += n;
	p->sealing_bytes += t->bytes;
	packer_post(p, &t->base);
}

/* -- what others want ------------------------------------------------------------------------------- */

void packer_flush(struct packer *p)
{
	int64_t now = clock_mono_ms();

	p->flushing = true;
	p->flush_at = now > p->flush_at ? now : p->flush_at + 1;
	p->flush_tasks = p->posted_tasks;
	packer_pump(p);
}

void packer_hold(struct packer *p, bool held)
{
	p->held = held;
	packer_pump(p);
}

bool packer_sealing(const struct packer *p)
{
	return p->sealing > 0;
}
