#include "daemon/scan.h"

#include "source/sample_key.h"

#include "base/checked.h"

#include <string.h>

enum { SCAN_BATCH = 1000 };

/* Entries on their way into the queue, with their own memory. */
struct scan_batch {
	struct job_spec specs[SCAN_BATCH];
	char keys[SCAN_BATCH][2][SAMPLE_KEY_SIZE];
	size_t n;
};

static int flush(struct queue *queue, int64_t dataset, struct scan_batch *b,
		 struct enqueue_counts *counts, struct error *err)
{
	int r = b->n > 0 ? queue_enqueue(queue, dataset, b->specs, b->n, counts, err) : 0;

	for (size_t i = 0; i < b->n; i++)
		free((char *)b->specs[i].path);
	b->n = 0;
	return r;
}

/* Ranks are 63 bits: SQLite's integers are signed. */
static uint64_t rank_of(const struct scan_options *options, const char *key, uint64_t position)
{
	if (!options->shuffled)
		return options->first_rank + position;
	return hash64_of(key, strlen(key), options->seed) >> 1;
}

/* By the plain key, so that all files that compete for one key are of one part. */
static bool is_ours(const struct scan_options *options, const struct source_entry *entry)
{
	char key[SAMPLE_KEY_SIZE];

	if (options->parts < 2)
		return true;
	sample_key(entry->path, key);
	return hash64_of(key, strlen(key), 0) % options->parts == options->part;
}

static uint64_t caption_of(const struct scan_options *options, const struct source_entry *entry)
{
	return options->captions && entry->caption != SOURCE_UNSEEN ? entry->caption
								    : CAPTION_UNSEEN;
}

static void add(struct scan_batch *b, const struct scan_options *options,
		const struct source_entry *entry, uint64_t position)
{
	cleanup_free char *distinction = xasprintf("%u/%s", options->root, entry->path);
	size_t i = b->n++;

	sample_key(entry->path, b->keys[i][0]);
	sample_key_distinct(entry->path, distinction, b->keys[i][1]);
	b->specs[i] = (struct job_spec){.root = options->root,
					.path = xstrdup(entry->path),
					.key = b->keys[i][0],
					.key_distinct = b->keys[i][1],
					.size = entry->size,
					.mtime_ns = entry->mtime_ns,
					.inode = entry->inode,
					.caption = caption_of(options, entry),
					.wants_caption = options->need_captions,
					.rank = rank_of(options, b->keys[i][0], position)};
}

static void batch_free(struct scan_batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free((char *)b->specs[i].path);
	free(b);
}

int scan_source(struct queue *queue, struct source *source, const struct scan_options *options,
		struct enqueue_counts *counts, struct error *err)
{
	struct scan_batch *b = xcalloc(1, sizeof(*b));
	struct source_entry entry;
	uint64_t position = 0;
	int r;

	while ((r = source_next(source, &entry, err)) == 0) {
		if (is_ours(options, &entry))
			add(b, options, &entry, position);
		position++;
		if (b->n == SCAN_BATCH && (r = flush(queue, options->dataset, b, counts, err)) < 0)
			break;
	}
	if (r == SOURCE_END)
		r = flush(queue, options->dataset, b, counts, err);
	batch_free(b);
	return r;
}
