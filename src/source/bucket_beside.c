#include "source/bucket_beside.h"

#include "source/source_path.h"

#include "base/checked.h"

#include <string.h>

/* A name without its ending, of which more may follow. */
struct name {
	char *stem;
	size_t length;
	struct beside beside;
	struct bucket_image *images;
	size_t n, capacity;
};

struct bucket_beside {
	struct name *names; /* each begins the last path */
	size_t n, capacity;
	struct bucket_image *ready;
	size_t first, n_ready, ready_capacity;
};

struct bucket_beside *bucket_beside_new(void)
{
	return xcalloc(1, sizeof(struct bucket_beside));
}

static void name_release(struct name *name)
{
	free(name->stem);
	free(name->images);
}

void bucket_beside_free(struct bucket_beside *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++) {
		for (size_t k = 0; k < b->names[i].n; k++)
			free(b->names[i].images[k].path);
		name_release(&b->names[i]);
	}
	for (size_t i = b->first; i < b->n_ready; i++)
		free(b->ready[i].path);
	free(b->names);
	free(b->ready);
	free(b);
}

/* All of @name has been seen. */
static void complete(struct bucket_beside *b, struct name *name)
{
	if (b->first == b->n_ready)
		b->first = b->n_ready = 0;
	for (size_t i = 0; i < name->n; i++) {
		ARRAY_GROW(b->ready, b->n_ready, b->ready_capacity);
		b->ready[b->n_ready] = name->images[i];
		b->ready[b->n_ready++].beside = name->beside;
	}
	name_release(name);
}

/* '-' and '.' are the bytes before '/': nothing else can stand between the first and the last that belongs to @name. */
static bool may_follow(const struct name *name, const char *path)
{
	return strncmp(path, name->stem, name->length) == 0 &&
	       (path[name->length] == '-' || path[name->length] == '.');
}

static void complete_before(struct bucket_beside *b, const char *path)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (path && may_follow(&b->names[i], path))
			b->names[kept++] = b->names[i];
		else
			complete(b, &b->names[i]);
	}
	b->n = kept;
}

static struct name *name_of(struct bucket_beside *b, const char *stem, size_t length)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->names[i].length == length && memcmp(b->names[i].stem, stem, length) == 0)
			return &b->names[i];
	}
	ARRAY_GROW(b->names, b->n, b->capacity);
	b->names[b->n] =
	    (struct name){.stem = xasprintf("%.*s", (int)length, stem), .length = length};
	return &b->names[b->n++];
}

static void put_image(struct bucket_beside *b, const char *path, uint64_t size, uint64_t stamp)
{
	struct name *name = name_of(b, path, source_path_stem(path));

	ARRAY_GROW(name->images, name->n, name->capacity);
	name->images[name->n++] =
	    (struct bucket_image){.path = xstrdup(path), .size = size, .stamp = stamp};
}

static void put_text(struct bucket_beside *b, const char *path, uint64_t stamp)
{
	size_t stem = source_path_stem(path);
	struct beside *beside = &name_of(b, path, stem)->beside;

	if (strcmp(path + stem, ".txt") == 0)
		beside->text = stamp;
	else if (strcmp(path + stem, ".caption") == 0)
		beside->caption = stamp;
	else
		beside->json = stamp;
}

/* Of several the usual one. */
static void put_mask(struct bucket_beside *b, const char *path, uint64_t stamp)
{
	size_t stem = strlen(path) - strlen(source_path_mask_ending(0)), ending = 0;
	struct beside *beside = &name_of(b, path, stem)->beside;

	while (strcmp(path + stem, source_path_mask_ending(ending)) != 0)
		ending++;
	if (beside->mask == 0 || ending < beside->mask_ending) {
		beside->mask = stamp;
		beside->mask_ending = ending;
	}
}

void bucket_beside_put(struct bucket_beside *b, enum bucket_kind kind, const char *path,
		       uint64_t size, uint64_t stamp)
{
	complete_before(b, path);
	if (kind == BUCKET_IMAGE)
		put_image(b, path, size, stamp);
	else if (kind == BUCKET_TEXT)
		put_text(b, path, stamp);
	else if (kind == BUCKET_MASK)
		put_mask(b, path, stamp);
}

void bucket_beside_end(struct bucket_beside *b)
{
	complete_before(b, NULL);
}

bool bucket_beside_take(struct bucket_beside *b, struct bucket_image *out)
{
	if (b->first == b->n_ready)
		return false;
	*out = b->ready[b->first++];
	return true;
}

/* -- as a word ------------------------------------------------------------------------------------- */

void beside_write(const struct beside *beside, char out[BESIDE_WORD_SIZE])
{
	char *at = out;

	*at++ = '=';
	if (beside->text)
		*at++ = 't';
	if (beside->caption)
		*at++ = 'c';
	if (beside->json)
		*at++ = 'j';
	if (beside->mask)
		*at++ = (char)('0' + beside->mask_ending);
	*at = '\0';
}

bool beside_read(const char *word, struct beside *out)
{
	struct beside found = {.text = 0};

	if (*word++ != '=')
		return false;
	for (; *word; word++) {
		if (*word == 't')
			found.text = 1;
		else if (*word == 'c')
			found.caption = 1;
		else if (*word == 'j')
			found.json = 1;
		else if (*word >= '0' && source_path_mask_ending((size_t)(*word - '0')))
			found.mask = 1, found.mask_ending = (size_t)(*word - '0');
		else
			return false;
	}
	*out = found;
	return true;
}
