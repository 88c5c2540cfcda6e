/*
 * While members are added, names and texts gather in one block of memory that moves as it grows, so they are known by
 * their distance from its beginning; the end makes pointers of them. What belongs to an image is found by its whole name.
 */
#include "source/archive_index.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/hash.h"
#include "source/source_json.h"
#include "source/source_path.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define JSON_FLAGS JSON_REJECT_DUPLICATES

struct text {
	size_t name, bytes, size; /* in the arena */
	bool unread;
	const char *path; /* once all is added */
};

struct archive_index {
	struct buffer arena;
	struct archive_item *items; /* in the order of the archive */
	size_t n, capacity;
	size_t *names; /* of the items, in the arena, until the end */
	size_t names_capacity;
	struct text *texts; /* sorted by path at the end */
	size_t n_texts, texts_capacity;
	const struct archive_item **by_path;
	char **made; /* strings that are no part of the arena */
	size_t n_made, made_capacity;
	size_t passed_over, last_passed, last;
	bool random;
};

struct archive_index *archive_index_new(void)
{
	struct archive_index *x = xcalloc(1, sizeof(*x));

	buffer_put_u8(&x->arena, '\0');
	x->random = true;
	return x;
}

void archive_index_free(struct archive_index *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->n_made; i++)
		free(x->made[i]);
	free(x->made);
	free(x->by_path);
	free(x->texts);
	free(x->names);
	free(x->items);
	buffer_release(&x->arena);
	free(x);
}

/* -- adding --------------------------------------------------------------------------------------- */

static size_t keep(struct archive_index *x, const void *bytes, size_t size)
{
	size_t at = x->arena.size;

	buffer_append(&x->arena, bytes, size);
	buffer_put_u8(&x->arena, '\0');
	return at;
}

static const char *without_dots(const char *name)
{
	while (name[0] == '.' && name[1] == '/') {
		name += 2;
		while (*name == '/')
			name++;
	}
	return name;
}

static bool is_hidden(const char *path)
{
	return path[0] == '.' || strstr(path, "/.") != NULL;
}

static void add_image(struct archive_index *x, const struct unpack_member *m, size_t name)
{
	ARRAY_GROW(x->names, x->n, x->names_capacity);
	ARRAY_GROW(x->items, x->n, x->capacity);
	x->names[x->n] = name;
	x->items[x->n++] = (struct archive_item){.size = m->size,
						 .place = m->place,
						 .offset = m->offset,
						 .end = UNPACK_NOWHERE,
						 .encrypted = m->encrypted};
	x->random = x->random && m->offset != UNPACK_NOWHERE;
}

static void add_text(struct archive_index *x, const struct unpack_member *m, size_t name)
{
	size_t bytes = m->text ? keep(x, m->text, m->text_size) : 0;

	ARRAY_GROW(x->texts, x->n_texts, x->texts_capacity);
	x->texts[x->n_texts++] =
	    (struct text){.name = name, .bytes = bytes, .size = m->text_size, .unread = !m->text};
}

bool archive_index_wants(const struct unpack_member *m)
{
	return source_path_is_image(m->name) || unpack_wants_text(m->name);
}

void archive_index_add(struct archive_index *x, const struct unpack_member *m)
{
	const char *path = without_dots(m->name);
	bool image = source_path_is_image(path), inside = source_path_is_inside(path);
	size_t name = keep(x, m->name, strlen(m->name));

	x->last = name;
	if (x->n > 0 && x->items[x->n - 1].end == UNPACK_NOWHERE)
		x->items[x->n - 1].end = m->offset;
	if (image && (!inside || !m->regular)) {
		x->passed_over++;
		x->last_passed = name;
	} else if (m->regular && inside && !is_hidden(path)) {
		if (image)
			add_image(x, m, name);
		else if (unpack_wants_text(path))
			add_text(x, m, name);
	}
}

/* -- what belongs together ------------------------------------------------------------------------ */

static int compare_texts(const void *a, const void *b)
{
	const struct text *one = a, *other = b;
	int r = strcmp(one->path, other->path);

	return r != 0 ? r : (one->name > other->name) - (one->name < other->name);
}

/* Of equal names the last one. */
static const struct text *find_text(const struct archive_index *x, const char *stem, size_t n,
				    const char *ending)
{
	cleanup_free char *path = xasprintf("%.*s%s", (int)n, stem, ending);
	size_t low = 0, high = x->n_texts;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(x->texts[middle].path, path) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && strcmp(x->texts[low - 1].path, path) == 0 ? &x->texts[low - 1] : NULL;
}

/* Length of @path up to the first dot of its base name, behind what begins it. */
static size_t sample_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	return (size_t)(base - path) + strcspn(base, ".");
}

static char *keep_made(struct archive_index *x, char *made)
{
	ARRAY_GROW(x->made, x->n_made, x->made_capacity);
	return x->made[x->n_made++] = made;
}

/* By its whole name, or by its sample. */
static const struct text *companion(struct archive_index *x, struct archive_item *item,
				    const char *ending)
{
	size_t stem = source_path_stem(item->path), sample = sample_of(item->path);
	const struct text *t = find_text(x, item->path, stem, ending);

	if (t || sample == stem)
		return t;
	t = find_text(x, item->path, sample, ending);
	if (t && item->key == item->path)
		item->key =
		    keep_made(x, xasprintf("%.*s%s", (int)sample, item->path, item->path + stem));
	return t;
}

static const char *bytes_of(const struct archive_index *x, const struct text *t)
{
	return (const char *)x->arena.data + t->bytes;
}

static void take_caption(struct archive_item *item, const char *caption, size_t size)
{
	item->caption = caption;
	item->caption_size = size;
	item->caption_stamp = (hash64_of(caption, size, 0) >> 16) | 1;
}

/* The number in a .cls, or its text. */
static json_t *class_of(const struct archive_index *x, const struct text *t)
{
	const char *text = bytes_of(x, t);
	json_t *value = json_loadb(text, t->size, JSON_DECODE_ANY | JSON_FLAGS, NULL);

	if (value && (json_is_integer(value) || json_is_string(value)))
		return value;
	json_decref(value);
	return json_stringn(text, strcspn(text, "\r\n"));
}

static void take_meta(struct archive_index *x, struct archive_item *item)
{
	const struct text *json = companion(x, item, ".json"), *cls = companion(x, item, ".cls");
	json_t *meta =
	    json && !json->unread ? source_json(bytes_of(x, json), json->size, JSON_FLAGS) : NULL;
	const char *caption;

	if (!json_is_object(meta)) {
		json_decref(meta);
		meta = json_object();
	}
	if (cls && !cls->unread && !json_object_get(meta, "cls"))
		json_object_set_new(meta, "cls", class_of(x, cls));
	caption = json_string_value(json_object_get(meta, "caption"));
	if (caption && !item->caption && !item->caption_unread) {
		caption = keep_made(x, xstrdup(caption));
		take_caption(item, caption, strlen(caption));
	}
	if (json_object_size(meta) > 0)
		item->meta = keep_made(x, json_dumps(meta, JSON_COMPACT));
	json_decref(meta);
}

static void gather(struct archive_index *x, struct archive_item *item)
{
	const struct text *caption = companion(x, item, ".txt");

	if (!caption)
		caption = companion(x, item, ".caption");
	item->caption_unread = caption && caption->unread;
	if (item->caption_unread)
		item->caption_stamp = 1;
	else if (caption)
		take_caption(item, bytes_of(x, caption), caption->size);
	take_meta(x, item);
}

/* -- the end -------------------------------------------------------------------------------------- */

static int compare_paths(const void *a, const void *b)
{
	const struct archive_item *one = *(const struct archive_item *const *)a;
	const struct archive_item *other = *(const struct archive_item *const *)b;
	int r = strcmp(one->path, other->path);

	return r != 0 ? r : (one->place > other->place) - (one->place < other->place);
}

static void sort_items(struct archive_index *x)
{
	for (size_t i = 0; i < x->n; i++)
		x->by_path[i] = &x->items[i];
	qsort(x->by_path, x->n, sizeof(*x->by_path), compare_paths);
}

/* Leaves out what a later member replaces. */
static void drop_replaced(struct archive_index *x)
{
	size_t kept = 0;

	sort_items(x);
	for (size_t i = 0; i + 1 < x->n; i++) {
		if (strcmp(x->by_path[i]->path, x->by_path[i + 1]->path) == 0)
			((struct archive_item *)x->by_path[i])->key = NULL;
	}
	for (size_t i = 0; i < x->n; i++) {
		if (x->items[i].key)
			x->items[kept++] = x->items[i];
	}
	x->n = kept;
	sort_items(x);
}

void archive_index_end(struct archive_index *x)
{
	const char *arena = (const char *)x->arena.data;

	x->by_path = xcalloc(x->n + 1, sizeof(struct archive_item *));
	for (size_t i = 0; i < x->n; i++) {
		x->items[i].name = arena + x->names[i];
		x->items[i].path = x->items[i].key = without_dots(x->items[i].name);
	}
	for (size_t i = 0; i < x->n_texts; i++)
		x->texts[i].path = without_dots(arena + x->texts[i].name);
	if (x->n_texts > 0)
		qsort(x->texts, x->n_texts, sizeof(*x->texts), compare_texts);
	drop_replaced(x);
	for (size_t i = 0; i < x->n; i++)
		gather(x, &x->items[i]);
}

/* -- asking --------------------------------------------------------------------------------------- */

size_t archive_index_count(const struct archive_index *x)
{
	return x->n;
}

const struct archive_item *archive_index_item(const struct archive_index *x, size_t i)
{
	return &x->items[i];
}

const struct archive_item *archive_index_find(const struct archive_index *x, const char *path)
{
	size_t low = 0, high = x->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = strcmp(x->by_path[middle]->path, path);

		if (r == 0)
			return x->by_path[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool archive_index_is_random(const struct archive_index *x)
{
	return x->random;
}

size_t archive_index_passed_over(const struct archive_index *x, const char **last)
{
	if (x->passed_over > 0)
		*last = (const char *)x->arena.data + x->last_passed;
	return x->passed_over;
}

const char *archive_index_last(const struct archive_index *x)
{
	return (const char *)x->arena.data + x->last;
}
