#include "storage/store.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

/*
 * Names become paths and object keys: nothing may lead out of the store, or into its hidden folder.
 */
static int check_name(const char *name, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	const char *part = name;

	for (;;) {
		size_t length = strcspn(part, "/");

		if (length == 0 || part[0] == '.')
			return error_set(err, ERR_CONFIG, "%s is no name for a stored object",
					 text_quote(name, quoted));
		if (part[length] == '\0')
			return 0;
		part += length + 1;
	}
}

int store_begin(struct store *s, struct store_writer **out, struct error *err)
{
	return s->ops->begin(s, out, err);
}

struct sink *store_writer_sink(struct store_writer *w)
{
	return &w->sink;
}

int store_flush(struct store_writer *w, struct error *err)
{
	return w->store->ops->flush(w, err);
}

int store_writer_read(struct store_writer *w, void *data, size_t size, uint64_t offset,
		      struct error *err)
{
	return w->store->ops->writer_read(w, data, size, offset, err);
}

static int publish_into(struct store_writer *w, enum store_area area, const char *name,
			struct error *err)
{
	int r = check_name(name, err);

	if (r == 0)
		r = w->store->ops->publish(w, area, name, err);
	assert(r <= 0 || r == STORE_EXISTS);
	return r;
}

int store_publish(struct store_writer *w, const char *name, struct error *err)
{
	return publish_into(w, STORE_VISIBLE, name, err);
}

int store_stage(struct store_writer *w, const char *name, struct error *err)
{
	return publish_into(w, STORE_STAGED, name, err);
}

void store_discard(struct store_writer *w)
{
	if (w)
		w->store->ops->discard(w);
}

int store_read(struct store *s, const char *name, void *data, size_t size, uint64_t offset,
	       struct error *err)
{
	if (check_name(name, err) < 0)
		return -1;
	return s->ops->read(s, name, data, size, offset, err);
}

int store_size(struct store *s, const char *name, uint64_t *bytes, struct error *err)
{
	if (check_name(name, err) < 0)
		return -1;
	return s->ops->size(s, name, bytes, err);
}

int store_list(struct store *s, const char *prefix, store_object_fn fn, void *arg,
	       struct error *err)
{
	if (prefix[0] != '\0' && check_name(prefix, err) < 0)
		return -1;
	return s->ops->list(s, STORE_VISIBLE, prefix, fn, arg, err);
}

int store_list_area(struct store *s, enum store_area area, store_object_fn fn, void *arg,
		    struct error *err)
{
	return s->ops->list(s, area, "", fn, arg, err);
}

int store_move(struct store *s, const char *name, enum store_area from, enum store_area to,
	       struct error *err)
{
	int r;

	assert(from != to);
	if (check_name(name, err) < 0)
		return -1;
	r = s->ops->move(s, name, from, to, err);
	assert(r <= 0 || r == STORE_EXISTS);
	return r;
}

int store_remove(struct store *s, enum store_area area, const char *name, struct error *err)
{
	assert(area != STORE_VISIBLE);
	if (check_name(name, err) < 0)
		return -1;
	return s->ops->remove(s, area, name, err);
}

int store_quarantine(struct store *s, const char *name, struct error *err)
{
	if (check_name(name, err) < 0)
		return -1;
	return s->ops->quarantine(s, name, err);
}

bool store_is_elsewhere(const struct store *s)
{
	return s->ops->mirror != NULL;
}

int store_mirror(struct store *s, const char *name, const void *data, size_t size,
		 struct error *err)
{
	return s->ops->mirror ? s->ops->mirror(s, name, data, size, err) : 0;
}

int store_leftovers(struct store *s, store_leftover_fn fn, void *arg, struct error *err)
{
	return s->ops->leftovers ? s->ops->leftovers(s, fn, arg, err) : 0;
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}
