#include "daemon/spool_index.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

void spool_index_release(struct spool_index *index)
{
	for (size_t i = 0; i < index->n; i++)
		free(index->groups[i].entries);
	free(index->groups);
	*index = (struct spool_index)SPOOL_INDEX_INIT;
}

static struct spool_group *find_group(struct spool_index *index, const char *name)
{
	for (size_t i = 0; i < index->n; i++) {
		if (strcmp(index->groups[i].name, name) == 0)
			return &index->groups[i];
	}
	ARRAY_GROW(index->groups, index->n, index->capacity);
	index->groups[index->n] = (struct spool_group){.entries = NULL};
	snprintf(index->groups[index->n].name, RECORD_GROUP_SIZE, "%s", name);
	return &index->groups[index->n++];
}

void spool_index_add(struct spool_index *index, const struct spooled *entry)
{
	struct spool_group *g = find_group(index, entry->group);

	if (g->n == 0 || entry->since < g->since)
		g->since = entry->since;
	ARRAY_GROW(g->entries, g->n, g->capacity);
	g->entries[g->n++] = *entry;
	g->bytes += entry->bytes;
}

/* Some have left it. */
static void renew_since(struct spool_group *g)
{
	g->since = g->n > 0 ? g->entries[0].since : 0;
	for (size_t i = 1; i < g->n; i++) {
		if (g->entries[i].since < g->since)
			g->since = g->entries[i].since;
	}
}

bool spool_index_remove(struct spool_index *index, int64_t job, const struct spool_place *place)
{
	for (size_t i = 0; i < index->n; i++) {
		struct spool_group *g = &index->groups[i];

		for (size_t k = 0; k < g->n; k++) {
			struct spooled *e = &g->entries[k];

			if (e->job != job || e->place.segment != place->segment ||
			    e->place.offset != place->offset)
				continue;
			g->bytes -= e->bytes;
			*e = g->entries[--g->n];
			renew_since(g);
			return true;
		}
	}
	return false;
}

static int by_rank(const void *a, const void *b)
{
	const struct spooled *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (x->job > y->job) - (x->job < y->job);
}

/* How many of the group's first entries make one shard: up to @samples, and not past @bytes but for one. */
static size_t shard_length(const struct spool_group *g, size_t samples, uint64_t bytes)
{
	uint64_t sum = 0;
	size_t n = 0;

	while (n < g->n && n < samples && sum < bytes)
		sum += g->entries[n++].bytes;
	return n;
}

static struct spooled *take_from(struct spool_group *g, size_t samples, uint64_t bytes, size_t *n)
{
	struct spooled *taken;

	qsort(g->entries, g->n, sizeof(*g->entries), by_rank);
	*n = shard_length(g, samples, bytes);
	taken = xcalloc(*n, sizeof(*taken));
	memcpy(taken, g->entries, *n * sizeof(*taken));
	memmove(g->entries, g->entries + *n, (g->n - *n) * sizeof(*taken));
	g->n -= *n;
	for (size_t i = 0; i < *n; i++)
		g->bytes -= taken[i].bytes;
	renew_since(g);
	return taken;
}

static bool is_full(const struct spool_group *g, size_t samples, uint64_t bytes)
{
	return g->n >= samples || g->bytes >= bytes;
}

size_t spool_index_full(const struct spool_index *index, size_t samples, uint64_t bytes)
{
	size_t full = 0;

	for (size_t i = 0; i < index->n; i++) {
		const struct spool_group *g = &index->groups[i];
		size_t by_samples = g->n / samples, by_bytes = (size_t)(g->bytes / bytes);

		full += by_samples > by_bytes ? by_samples : by_bytes;
	}
	return full;
}

struct spooled *spool_index_take(struct spool_index *index, size_t samples, uint64_t bytes,
				 bool any, size_t *n)
{
	for (size_t i = 0; i < index->n; i++) {
		struct spool_group *g = &index->groups[i];

		if (is_full(g, samples, bytes) || (any && g->n > 0))
			return take_from(g, samples, bytes, n);
	}
	return NULL;
}

static bool is_older(const struct spool_place *a, const struct spool_place *b)
{
	return a->segment != b->segment ? a->segment < b->segment : a->offset < b->offset;
}

struct spooled *spool_index_take_oldest(struct spool_index *index, size_t samples, uint64_t bytes,
					size_t *n)
{
	const struct spool_place *oldest = NULL;
	struct spool_group *from = NULL;

	for (size_t i = 0; i < index->n; i++) {
		for (size_t k = 0; k < index->groups[i].n; k++) {
			const struct spool_place *place = &index->groups[i].entries[k].place;

			if (!oldest || is_older(place, oldest)) {
				oldest = place;
				from = &index->groups[i];
			}
		}
	}
	return from ? take_from(from, samples, bytes, n) : NULL;
}

struct spooled *spool_index_take_aged(struct spool_index *index, int64_t since, size_t samples,
				      uint64_t bytes, size_t *n)
{
	for (size_t i = 0; i < index->n; i++) {
		struct spool_group *g = &index->groups[i];

		if (g->n > 0 && g->since < since)
			return take_from(g, samples, bytes, n);
	}
	return NULL;
}

void spool_index_note_shard(struct spool_index *index, const char *name)
{
	char group[RECORD_GROUP_SIZE];
	unsigned number = 0;

	if (sscanf(name, "%*[^/]/%63[^/]/%u", group, &number) == 2) {
		struct spool_group *g = find_group(index, group);

		if (number >= g->next_shard)
			g->next_shard = number + 1;
	}
}

unsigned spool_index_take_number(struct spool_index *index, const char *group)
{
	return find_group(index, group)->next_shard++;
}

uint64_t spool_index_bytes(const struct spool_index *index)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < index->n; i++)
		bytes += index->groups[i].bytes;
	return bytes;
}

size_t spool_index_count(const struct spool_index *index)
{
	size_t n = 0;

	for (size_t i = 0; i < index->n; i++)
		n += index->groups[i].n;
	return n;
}
