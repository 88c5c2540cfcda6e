#include "storage/store.h"

#include "base/checked.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

struct memory_object {
	char *name; /* out of sight: ".latentd/quarantine/...", ".latentd/staged/..." */
	struct buffer data;
};

struct memory_store {
	struct store base;
	struct memory_object *objects;
	size_t n, capacity;
};

struct memory_writer {
	struct store_writer base;
	struct buffer data;
};

static const struct store_ops memory_ops;

static struct memory_store *memory_store(struct store *s)
{
	assert(s->ops == &memory_ops);
	return (struct memory_store *)s;
}

static struct memory_object *find_object(struct memory_store *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->objects[i].name, name) == 0)
			return &s->objects[i];
	}
	return NULL;
}

static int get_object(struct store *base, const char *name, struct memory_object **out,
		      struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct memory_object *object = find_object(memory_store(base), name);

	if (!object)
		return error_data(err, "missing", "%s is not there", text_quote(name, quoted));
	*out = object;
	return 0;
}

static int copy_range(const struct buffer *from, void *data, size_t size, uint64_t offset,
		      struct error *err)
{
	if (offset > from->size || size > from->size - offset)
		return error_data(err, "truncated", "the object has only %zu bytes", from->size);
	if (size > 0)
		memcpy(data, from->data + offset, size);
	return 0;
}

static int memory_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct memory_writer *w = (struct memory_writer *)sink;

	if (buffer_reserve(&w->data, size, err) < 0)
		return -1;
	buffer_append(&w->data, data, size);
	return 0;
}

static int memory_begin(struct store *base, struct store_writer **out, struct error *err)
{
	struct memory_writer *w = xcalloc(1, sizeof(*w));

	(void)err;
	w->base = (struct store_writer){.sink = {.write = memory_write}, .store = base};
	*out = &w->base;
	return 0;
}

static int memory_flush(struct store_writer *base, struct error *err)
{
	(void)base;
	(void)err;
	return 0;
}

static int memory_writer_read(struct store_writer *base, void *data, size_t size, uint64_t offset,
			      struct error *err)
{
	return copy_range(&((struct memory_writer *)base)->data, data, size, offset, err);
}

static int compare_objects(const void *a, const void *b)
{
	const struct memory_object *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static const char *const area_prefixes[STORE_AREAS] = {"", ".latentd/staged/", ".latentd/retired/"};

static void sort_objects(struct memory_store *s)
{
	qsort(s->objects, s->n, sizeof(s->objects[0]), compare_objects);
}

static int memory_publish(struct store_writer *base, enum store_area area, const char *name,
			  struct error *err)
{
	struct memory_writer *w = (struct memory_writer *)base;
	struct memory_store *s = memory_store(base->store);
	cleanup_free char *full = xasprintf("%s%s", area_prefixes[area], name);

	(void)err;
	if (find_object(s, full))
		return STORE_EXISTS;
	ARRAY_GROW(s->objects, s->n, s->capacity);
	s->objects[s->n++] = (struct memory_object){.name = TAKE(full), .data = w->data};
	w->data = (struct buffer)BUFFER_INIT;
	sort_objects(s);
	return 0;
}

static void memory_discard(struct store_writer *base)
{
	struct memory_writer *w = (struct memory_writer *)base;

	buffer_release(&w->data);
	free(w);
}

static int memory_read(struct store *base, const char *name, void *data, size_t size,
		       uint64_t offset, struct error *err)
{
	struct memory_object *object = NULL;

	if (get_object(base, name, &object, err) < 0)
		return -1;
	return copy_range(&object->data, data, size, offset, err);
}

static int memory_size(struct store *base, const char *name, uint64_t *bytes, struct error *err)
{
	struct memory_object *object = NULL;

	if (get_object(base, name, &object, err) < 0)
		return -1;
	*bytes = object->data.size;
	return 0;
}

static int memory_list(struct store *base, enum store_area area, const char *prefix,
		       store_object_fn fn, void *arg, struct error *err)
{
	struct memory_store *s = memory_store(base);
	size_t length = strlen(prefix), hidden = strlen(area_prefixes[area]);

	(void)err;
	for (size_t i = 0; i < s->n; i++) {
		const char *name = s->objects[i].name + hidden;
		int r;

		if (strncmp(s->objects[i].name, area_prefixes[area], hidden) != 0)
			continue;
		/* Names in sight never begin with a dot (store.c); those out of sight do. */
		if (name[0] == '.' || strncmp(name, prefix, length) != 0 ||
		    (length > 0 && name[length] != '/'))
			continue;
		r = fn(arg, name, s->objects[i].data.size);
		if (r != 0)
			return r;
	}
	return 0;
}

static int memory_quarantine(struct store *base, const char *name, struct error *err)
{
	struct memory_object *object = NULL;
	char *hidden;

	if (get_object(base, name, &object, err) < 0)
		return -1;
	hidden = xasprintf(".latentd/quarantine/%s", name);
	free(object->name);
	object->name = hidden;
	return 0;
}

static int memory_move(struct store *base, const char *name, enum store_area from,
		       enum store_area to, struct error *err)
{
	struct memory_store *s = memory_store(base);
	cleanup_free char *source = xasprintf("%s%s", area_prefixes[from], name);
	cleanup_free char *target = xasprintf("%s%s", area_prefixes[to], name);
	struct memory_object *object = NULL;

	if (get_object(base, source, &object, err) < 0)
		return -1;
	if (find_object(s, target))
		return STORE_EXISTS;
	free(object->name);
	object->name = TAKE(target);
	sort_objects(s);
	return 0;
}

static int memory_remove(struct store *base, enum store_area area, const char *name,
			 struct error *err)
{
	struct memory_store *s = memory_store(base);
	cleanup_free char *full = xasprintf("%s%s", area_prefixes[area], name);
	struct memory_object *object = find_object(s, full);

	(void)err;
	if (!object)
		return 0;
	free(object->name);
	buffer_release(&object->data);
	*object = s->objects[--s->n];
	sort_objects(s);
	return 0;
}

static void memory_close(struct store *base)
{
	struct memory_store *s = memory_store(base);

	for (size_t i = 0; i < s->n; i++) {
		free(s->objects[i].name);
		buffer_release(&s->objects[i].data);
	}
	free(s->objects);
	free(s);
}

int store_memory_open(struct store **out, struct error *err)
{
	struct memory_store *s = xcalloc(1, sizeof(*s));

	(void)err;
	s->base.ops = &memory_ops;
	*out = &s->base;
	return 0;
}

static const struct store_ops memory_ops = {
    .name = "memory",
    .begin = memory_begin,
    .flush = memory_flush,
    .writer_read = memory_writer_read,
    .publish = memory_publish,
    .discard = memory_discard,
    .read = memory_read,
    .size = memory_size,
    .list = memory_list,
    .move = memory_move,
    .remove = memory_remove,
    .quarantine = memory_quarantine,
    .close = memory_close,
};
