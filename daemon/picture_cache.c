/*
 * An array: pictures are tens of kilobytes, so there are hundreds of them, and what takes time is making one.
 */
#include "daemon/picture_cache.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

struct picture {
	char *name;
	struct buffer data;
	uint64_t used; /* when it was asked for last */
};

static_assert(sizeof(struct picture) <= PICTURE_CACHE_EACH, "a picture takes more than is counted");

struct picture_cache {
	struct picture *pictures;
	size_t n, capacity, bytes, limit;
	uint64_t clock;
};

struct picture_cache *picture_cache_new(size_t bytes)
{
	struct picture_cache *c = xcalloc(1, sizeof(*c));

	c->limit = bytes;
	return c;
}

static size_t cost_of(const char *name, size_t size)
{
	return PICTURE_CACHE_EACH + strlen(name) + 1 + size;
}

static void drop(struct picture_cache *c, size_t i)
{
	c->bytes -= cost_of(c->pictures[i].name, c->pictures[i].data.size);
	free(c->pictures[i].name);
	buffer_release(&c->pictures[i].data);
	c->pictures[i] = c->pictures[--c->n];
}

void picture_cache_free(struct picture_cache *c)
{
	if (!c)
		return;
	while (c->n > 0)
		drop(c, c->n - 1);
	free(c->pictures);
	free(c);
}

/* n: it is not there. */
static size_t find(const struct picture_cache *c, const char *name)
{
	size_t i = 0;

	while (i < c->n && strcmp(c->pictures[i].name, name) != 0)
		i++;
	return i;
}

bool picture_cache_get(struct picture_cache *c, const char *name, struct buffer *out)
{
	size_t i = find(c, name);

	if (i == c->n)
		return false;
	c->pictures[i].used = ++c->clock;
	buffer_append(out, c->pictures[i].data.data, c->pictures[i].data.size);
	return true;
}

static size_t oldest(const struct picture_cache *c)
{
	size_t found = 0;

	for (size_t i = 1; i < c->n; i++) {
		if (c->pictures[i].used < c->pictures[found].used)
			found = i;
	}
	return found;
}

void picture_cache_put(struct picture_cache *c, const char *name, const void *data, size_t size)
{
	size_t i = find(c, name), cost = cost_of(name, size);
	struct picture *p;

	if (i < c->n)
		drop(c, i);
	if (cost > c->limit)
		return;
	while (c->bytes + cost > c->limit)
		drop(c, oldest(c));
	ARRAY_GROW(c->pictures, c->n, c->capacity);
	p = &c->pictures[c->n++];
	*p = (struct picture){xstrdup(name), BUFFER_INIT, ++c->clock};
	buffer_append(&p->data, data, size);
	c->bytes += cost;
}
