/*
 * Samples and encoded jobs of the queue in memory by content.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

static bool is_copied_from(const struct memory_queue *q, int64_t from, int64_t dataset, bool own)
{
	return own ? from == dataset
		   : strcmp(q->datasets[from - 1].recipe_id, q->datasets[dataset - 1].recipe_id) ==
			 0;
}

static void find_visible(const struct memory_queue *q, int64_t dataset, bool own,
			 const struct hash128 *content, struct content_found *found)
{
	for (size_t i = 0; i < q->sample_count && found->where == CONTENT_NONE; i++) {
		const struct memory_sample *s = &q->samples[i];

		if (s->job == 0 || s->row.dead || !hash128_equal(&s->row.content, content) ||
		    !is_copied_from(q, q->shards[s->shard - 1].row.dataset, dataset, own))
			continue;
		*found = (struct content_found){
		    .where = CONTENT_VISIBLE,
		    .job = s->job,
		    .dataset = q->shards[s->shard - 1].row.dataset,
		    .shard = s->shard,
		    .variant = s->row.variant,
		    .offset = s->row.offset,
		    .bytes = s->row.bytes,
		    .key = xstrdup(s->row.key),
		    .shard_path = xstrdup(q->shards[s->shard - 1].path),
		};
	}
}

static void find_spooled(const struct memory_queue *q, int64_t dataset, bool own,
			 const struct hash128 *content, struct content_found *found)
{
	for (size_t i = 0; i < q->job_count && found->where == CONTENT_NONE; i++) {
		const struct memory_job *j = &q->jobs[i];

		if (j->state != JOB_ENCODED || !j->job.has_content ||
		    !hash128_equal(&j->job.content, content) ||
		    !is_copied_from(q, j->job.dataset, dataset, own))
			continue;
		*found = (struct content_found){
		    .where = CONTENT_SPOOLED,
		    .job = j->job.id,
		    .dataset = j->job.dataset,
		    .key = xstrdup(j->job.key),
		};
	}
}

int memory_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
			struct content_found *found, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	if (memory_dataset_check(q, dataset, err) < 0)
		return -1;
	for (int own = 1; own >= 0; own--) {
		find_visible(q, dataset, own, content, found);
		find_spooled(q, dataset, own, content, found);
	}
	return 0;
}

int memory_find_variants(struct queue *base, struct content_found *found, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	/* A shard's stand in rising offset. */
	for (size_t i = 0; i < q->sample_count; i++) {
		const struct memory_sample *s = &q->samples[i];
		const struct variant_place place = {s->row.variant, s->row.offset, s->row.bytes};

		if (s->job == found->job && s->shard == found->shard && !s->row.dead)
			content_found_add(found, &place);
	}
	return 0;
}
