#include "daemon/scan.h"

#include "source/sample_key.h"

#include "base/checked.h"

#include <string.h>

enum { PAGE_ENTRIES = 1000 };

struct scan_page {
	struct job_spec specs[PAGE_ENTRIES];
	char keys[PAGE_ENTRIES][2][SAMPLE_KEY_SIZE];
	size_t n;
};

struct scan_page *scan_page_new(void)
{
	return xcalloc(1, sizeof(struct scan_page));
}

bool scan_page_is_full(const struct scan_page *page)
{
	return page->n == PAGE_ENTRIES;
}

void scan_page_clear(struct scan_page *page)
{
	for (size_t i = 0; i < page->n; i++)
		free((char *)page->specs[i].path);
	page->n = 0;
}

void scan_page_free(struct scan_page *page)
{
	if (!page)
		return;
	scan_page_clear(page);
	free(page);
}

int scan_page_flush(struct scan_page *page, struct queue *queue, int64_t dataset,
		    struct enqueue_counts *counts, struct error *err)
{
	int r = page->n > 0 ? queue_enqueue(queue, dataset, page->specs, page->n, counts, err) : 0;

	scan_page_clear(page);
	return r;
}

/*
 * Members of one archive come together, so that it is read in one go: archives are shuffled among each other, and
 * within one its members, unless only their own order is fast.
 */
static uint64_t member_rank(const struct scan_options *options, const struct source_entry *entry,
			    const char *key)
{
	uint64_t archive = hash64_of(entry->path, entry->archive, options->seed ^ options->root);
	uint64_t member = hash64_of(key, strlen(key), options->seed) >> 32;

	if (entry->place > 0)
		member = entry->place < UINT32_MAX ? entry->place : UINT32_MAX;
	return (archive >> 33) << 32 | member;
}

/* Ranks are 63 bits: SQLite's integers are signed. */
static uint64_t rank_of(const struct scan_options *options, const struct source_entry *entry,
			const char *key, uint64_t position)
{
	if (!options->shuffled)
		return options->first_rank + (position < SCAN_LAST ? position : SCAN_LAST);
	if (entry->key)
		return member_rank(options, entry, key);
	return hash64_of(key, strlen(key), options->seed) >> 1;
}

static const char *key_path(const struct source_entry *entry)
{
	return entry->key ? entry->key : entry->path;
}

/* By the plain key, so that all files that compete for one key are of one part. */
static bool is_ours(const struct scan_options *options, const struct source_entry *entry)
{
	char key[SAMPLE_KEY_SIZE];

	if (options->parts < 2)
		return true;
	sample_key(key_path(entry), key);
	return hash64_of(key, strlen(key), 0) % options->parts == options->part;
}

/* Of caption, metadata and mask, which come into a record together; where captions are needed, no caption is none. */
static uint64_t caption_of(const struct scan_options *options, const struct source_entry *entry)
{
	const uint64_t all[] = {entry->caption, entry->meta, entry->mask};

	if (!options->captions || entry->caption == SOURCE_UNSEEN)
		return CAPTION_UNSEEN;
	if ((entry->meta == 0 && entry->mask == 0) ||
	    (entry->caption == 0 && options->need_captions))
		return entry->caption;
	return (hash64_of(all, entry->mask ? sizeof(all) : 2 * sizeof(all[0]), 0) >> 16) | 1;
}

void scan_page_add(struct scan_page *page, const struct scan_options *options,
		   const struct source_entry *entry, uint64_t position)
{
	cleanup_free char *distinction = xasprintf("%u/%s", options->root, entry->path);
	char(*keys)[SAMPLE_KEY_SIZE] = page->keys[page->n];
	struct job_spec *spec = &page->specs[page->n];

	if (!is_ours(options, entry))
		return;
	page->n++;
	sample_key(key_path(entry), keys[0]);
	sample_key_distinct(key_path(entry), distinction, keys[1]);
	*spec = (struct job_spec){.root = options->root,
				  .path = xstrdup(entry->path),
				  .key = keys[0],
				  .key_distinct = keys[1],
				  .size = entry->size,
				  .mtime_ns = entry->mtime_ns,
				  .inode = entry->inode,
				  .caption = caption_of(options, entry),
				  .wants_caption = options->need_captions,
				  .rank = rank_of(options, entry, keys[0], position)};
	spec->unsettled =
	    options->is_young && options->is_young(options->arg, options->root, entry);
}

static bool stops(const struct scan_options *options, const struct enqueue_counts *counts)
{
	return options->on_page && options->on_page(options->arg, counts);
}

int scan_source(struct queue *queue, struct source *source, const struct scan_options *options,
		struct enqueue_counts *counts, struct error *err)
{
	struct scan_page *page = scan_page_new();
	struct source_entry entry;
	uint64_t position = 0;
	int r;

	while ((r = source_next(source, &entry, err)) == 0) {
		scan_page_add(page, options, &entry, position++);
		if (!scan_page_is_full(page))
			continue;
		r = scan_page_flush(page, queue, options->dataset, counts, err);
		if (r == 0 && stops(options, counts))
			r = SCAN_STOPPED;
		if (r != 0)
			break;
	}
	if (r == SOURCE_END)
		r = scan_page_flush(page, queue, options->dataset, counts, err);
	if (r == 0 && stops(options, counts))
		r = SCAN_STOPPED;
	scan_page_free(page);
	return r;
}
