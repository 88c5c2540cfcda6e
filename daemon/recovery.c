#include "daemon/recovery.h"

#include "daemon/dataset_splits.h"
#include "daemon/lost_shard.h"
#include "daemon/orphan.h"
#include "daemon/record_facts.h"
#include "daemon/replaced.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/note.h"
#include "base/text.h"

#include <string.h>

/* A record found in the spool. */
struct found {
	struct spooled entry;
	int64_t dataset;
	uint64_t fence;
	struct hash128 path; /* of its source's */
	struct hash128 content;
	bool live; /* its job is `encoded` and this is its newest record */
};

struct recoverer {
	const struct recovery_options *options;
	struct spool *spool;
	struct found *found;
	size_t n, capacity;
	/* the shards in the catalog, by name */
	struct known_shard {
		char *name;
		int64_t id;
		uint64_t bytes;
	} * known;
	size_t n_known, known_capacity;
	size_t n_rows; /* of all nodes */
	/* of them, what took the place of shards of nodes */
	char **rewritten;
	size_t n_rewritten, rewritten_capacity;
	struct retired_list retired;
	/* visible shards without a row */
	char **orphans;
	size_t n_orphans, orphans_capacity;
	size_t adopted, rescued;
	/* every dataset of the queue: the spool may be theirs together */
	int64_t *datasets;
	size_t n_datasets, datasets_capacity;
};

static int check_stop(const struct recoverer *r, struct error *err)
{
	if (r->options->stop && r->options->stop(r->options->arg))
		return error_set(err, ERR_TRANSIENT, "the recovery was interrupted");
	return 0;
}

/* -- 1: the spool --------------------------------------------------------------------------------- */

static void on_damage(void *arg, const char *line)
{
	const struct recoverer *r = arg;

	note_tell(r->options->note, r->options->arg, "spool: %s; its images are encoded again",
		  line);
}

static int on_record(void *arg, const struct spool_place *place, const struct record *record)
{
	struct recoverer *r = arg;
	struct error ignored = ERROR_INIT;
	struct record_facts facts;
	struct found f = {.entry = {.job = record->job,
				    .rank = record->rank,
				    .bytes = record_bytes(record),
				    .place = *place},
			  .dataset = record->dataset,
			  .fence = record->fence};

	if (record_facts_read(record, &facts, &ignored) < 0)
		return 1;
	f.path = hash128_of(facts.path, strlen(facts.path));
	f.content = facts.content;
	memcpy(f.entry.group, record->group, sizeof(f.entry.group));
	ARRAY_GROW(r->found, r->n, r->capacity);
	r->found[r->n++] = f;
	return 0;
}

/* Jobs that were still running when their record became durable. */
static int settle_found(struct recoverer *r, struct error *err)
{
	struct job_outcome *outcomes = xcalloc(r->n, sizeof(*outcomes));
	size_t lost;
	int result = 0;

	for (size_t i = 0; i < r->n; i++)
		outcomes[i] = (struct job_outcome){.job = r->found[i].entry.job,
						   .fence = r->found[i].fence,
						   .kind = OUTCOME_ENCODED,
						   .has_content = true,
						   .content = r->found[i].content};
	if (r->n > 0)
		result =
		    queue_settle(r->options->queue, outcomes, r->n, clock_wall_ms(), &lost, err);
	free(outcomes);
	return result;
}

/* -- 3: catalog and store --------------------------------------------------------------------------- */

static int on_known(void *arg, const struct shard_row *row)
{
	struct recoverer *r = arg;

	r->n_rows++;
	if (r->options->node && !sealed_name_has_node(row->path)) {
		ARRAY_GROW(r->rewritten, r->n_rewritten, r->rewritten_capacity);
		r->rewritten[r->n_rewritten++] = xstrdup(row->path);
	}
	if (!sealed_name_is_of(row->path, r->options->node))
		return 0;
	ARRAY_GROW(r->known, r->n_known, r->known_capacity);
	r->known[r->n_known++] = (struct known_shard){xstrdup(row->path), row->id, row->bytes};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct known_shard *)a)->name, ((const struct known_shard *)b)->name);
}

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct recoverer *r = arg;
	const struct known_shard wanted = {.name = (char *)name};

	(void)bytes;
	if (!shard_format_of_file(name) || !sealed_name_is_of(name, r->options->node) ||
	    (r->n_known > 0 && bsearch(&wanted, r->known, r->n_known, sizeof(*r->known), by_name)))
		return 0;
	ARRAY_GROW(r->orphans, r->n_orphans, r->orphans_capacity);
	r->orphans[r->n_orphans++] = xstrdup(name);
	return 0;
}

/*
 * SQLite does not notice when a page of it lost its rows. Before shards are taken for strangers, and moved away, for
 * want of their rows: there must be as many rows as were counted.
 */
static int check_catalog(struct recoverer *r, struct error *err)
{
	struct queue_counts counts;

	if (queue_counts(r->options->queue, r->options->dataset, &counts, err) < 0)
		return -1;
	/* Where others seal meanwhile the two are of different moments. */
	if (counts.shards == r->n_rows || r->options->node)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "the database beside %s is damaged: %llu shards were counted, %zu are in "
			 "it; remove the folder that it is in and run the same encode again, which "
			 "reads the shards themselves",
			 r->options->spool_dir, (unsigned long long)counts.shards, r->n_rows);
}

/* A shard that was replaced may still be visible: not an orphan, so it goes out of sight first. */
static int settle_rewrites(struct recoverer *r, struct error *err)
{
	const struct replaced_options options = {.queue = r->options->queue,
						 .store = r->options->store,
						 .dataset = r->options->dataset,
						 .note = r->options->note,
						 .arg = r->options->arg};

	if (replaced_settle(&options, err) < 0)
		return -1;
	return retired_list_read(r->options->queue, r->options->dataset, &r->retired, err);
}

static int compare_with_store(struct recoverer *r, struct error *err)
{
	const struct orphan_options orphans = {.queue = r->options->queue,
					       .store = r->options->store,
					       .recipe_id = r->options->recipe->id,
					       .form = &r->options->recipe->form,
					       .dataset = r->options->dataset,
					       .stop = r->options->stop,
					       .note = r->options->note,
					       .arg = r->options->arg};
	const struct lost_shard_options lost = {.queue = r->options->queue,
						.store = r->options->store,
						.dataset = r->options->dataset,
						.shared = r->options->node != NULL,
						.note = r->options->note,
						.arg = r->options->arg};

	if (queue_shards(r->options->queue, r->options->dataset, on_known, r, err) < 0 ||
	    check_catalog(r, err) < 0)
		return -1;
	/* Of nodes, the one that looks through the sources does that (lane_tidy.c). */
	if (!r->options->node && settle_rewrites(r, err) < 0)
		return -1;
	if (r->n_known > 0)
		qsort(r->known, r->n_known, sizeof(*r->known), by_name);
	for (size_t i = 0; i < r->n_known; i++) {
		const struct known_shard *known = &r->known[i];
		const struct shard_row row = {
		    .id = known->id, .path = known->name, .bytes = known->bytes};

		if (check_stop(r, err) < 0 || lost_shard_drop(&lost, &row, err) < 0)
			return -1;
	}
	if (splits_list(r->options->store, on_object, r, err) < 0)
		return -1;
	/* What another process is replacing is in sight for a moment longer than in the catalog. */
	if (r->options->node &&
	    retired_list_read(r->options->queue, r->options->dataset, &r->retired, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_orphans; i++) {
		if (retired_list_find(&r->retired, r->orphans[i]))
			continue;
		if (orphan_adopt(&orphans, r->orphans[i], &r->adopted, err) < 0)
			return -1;
	}
	return 0;
}

/* -- 4: which records are live ---------------------------------------------------------------------- */

/* By job, the newest record first. */
static int by_job(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->entry.job != y->entry.job)
		return x->entry.job < y->entry.job ? -1 : 1;
	return (x->fence < y->fence) - (x->fence > y->fence);
}

/*
 * A database that lost its last commits gives the numbers of jobs again: the record of one that was lost is
 * no other image's. Both have one number.
 */
static bool is_record_of(const struct found *f, const struct job_row *row)
{
	const struct hash128 path = hash128_of(row->path, strlen(row->path));

	return hash128_equal(&f->path, &path) &&
	       (!row->has_content || hash128_equal(&f->content, &row->content));
}

static int on_encoded_job(void *arg, const struct job_row *row)
{
	struct recoverer *r = arg;
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->found[middle].entry.job < row->id)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < r->n && r->found[low].entry.job == row->id; low++) {
		if (is_record_of(&r->found[low], row)) {
			r->found[low].live = true;
			break;
		}
	}
	return 0;
}

static int on_dataset(void *arg, const struct queue_dataset *dataset)
{
	struct recoverer *r = arg;

	ARRAY_GROW(r->datasets, r->n_datasets, r->datasets_capacity);
	r->datasets[r->n_datasets++] = dataset->id;
	return 0;
}

static int mark_live(struct recoverer *r, struct error *err)
{
	if (r->n > 0)
		qsort(r->found, r->n, sizeof(*r->found), by_job);
	if (queue_datasets(r->options->queue, on_dataset, r, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n_datasets; i++) {
		const struct job_filter which = {
		    .dataset = r->datasets[i], .state = JOB_ENCODED, .here = true};

		if (queue_jobs(r->options->queue, &which, on_encoded_job, r, err) < 0)
			return -1;
	}
	return 0;
}

static int drop_dead_records(struct recoverer *r, struct error *err)
{
	int64_t *spooled = xcalloc(r->n, sizeof(*spooled));
	size_t live = 0, requeued = 0;
	int result = 0;

	for (size_t i = 0; i < r->n && result == 0; i++) {
		if (r->found[i].live)
			spooled[live++] = r->found[i].entry.job;
		else
			result = spool_drop(r->spool, &r->found[i].entry.place, err);
	}
	if (result == 0)
		result = queue_requeue_lost(r->options->queue, r->options->dataset, spooled, live,
					    clock_wall_ms(), &requeued, err);
	if (result == 0 && requeued > 0)
		note_tell(r->options->note, r->options->arg,
			  "%zu encoded images are no longer in the spool: encoded again", requeued);
	free(spooled);
	return result;
}

/* -- all of it ------------------------------------------------------------------------------------ */

static void collect(struct recoverer *r, struct recovery *out)
{
	out->entries = xcalloc(r->n, sizeof(*out->entries));
	for (size_t i = 0; i < r->n; i++) {
		if (r->found[i].live && r->found[i].dataset == r->options->dataset)
			out->entries[out->n++] = r->found[i].entry;
	}
	out->shards = xcalloc(r->n_known + r->n_orphans + r->n_rewritten + r->retired.n,
			      sizeof(*out->shards));
	for (size_t i = 0; i < r->n_known; i++)
		out->shards[out->n_shards++] = TAKE(r->known[i].name);
	for (size_t i = 0; i < r->n_orphans; i++)
		out->shards[out->n_shards++] = TAKE(r->orphans[i]);
	for (size_t i = 0; i < r->n_rewritten; i++)
		out->shards[out->n_shards++] = TAKE(r->rewritten[i]);
	for (size_t i = 0; i < r->retired.n; i++)
		out->shards[out->n_shards++] = xstrdup(r->retired.rows[i].path);
	out->spool = TAKE(r->spool);
	out->adopted = r->adopted;
}

void recovery_release(struct recovery *recovered)
{
	for (size_t i = 0; i < recovered->n_shards; i++)
		free(recovered->shards[i]);
	free(recovered->shards);
	free(recovered->entries);
	*recovered = (struct recovery){.n = 0};
}

int recovery_begin(const struct recovery_options *options, struct recoverer **out,
		   struct error *err)
{
	struct recoverer *r = xcalloc(1, sizeof(*r));
	struct spool_options spool = {
	    .segment_bytes = options->segment_bytes, .on_damage = on_damage, .damage_arg = r};

	r->options = options;
	if (spool_open(options->spool_dir, &spool, on_record, r, &r->spool, err) < 0 ||
	    settle_found(r, err) < 0 ||
	    queue_rescue(options->queue, options->dataset, options->owner,
			 options->again ? INT64_MAX : clock_wall_ms(), &r->rescued, err) < 0) {
		recovery_free(r);
		return -1;
	}
	*out = r;
	return 0;
}

int recovery_finish(struct recoverer *r, struct recovery *out, struct error *err)
{
	struct recovery done = {.n = 0};

	if (check_stop(r, err) < 0 || compare_with_store(r, err) < 0 || check_stop(r, err) < 0 ||
	    mark_live(r, err) < 0 || drop_dead_records(r, err) < 0)
		return -1;
	done.rescued = r->rescued;
	collect(r, &done);
	*out = done;
	return 0;
}

void recovery_free(struct recoverer *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_known; i++)
		free(r->known[i].name);
	for (size_t i = 0; i < r->n_orphans; i++)
		free(r->orphans[i]);
	for (size_t i = 0; i < r->n_rewritten; i++)
		free(r->rewritten[i]);
	free(r->rewritten);
	retired_list_release(&r->retired);
	free(r->known);
	free(r->datasets);
	free(r->orphans);
	free(r->found);
	spool_close(r->spool);
	free(r);
}
