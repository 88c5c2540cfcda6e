#include "daemon/duplicates.h"

#include "daemon/id_table.h"

#include "base/checked.h"

#include <string.h>

struct leader {
	struct hash128 content;
	int64_t job;
	char *key;
	struct work_list parked;
};

struct duplicates {
	struct id_table leaders; /* by the first half of their content's hash */
	size_t parked;
	struct hash128 *distrusted; /* few, if any: each is a damaged record */
	size_t n_distrusted, distrusted_capacity;
};

static uint64_t id_of(const struct hash128 *content)
{
	uint64_t id;

	memcpy(&id, content->bytes, sizeof(id));
	return id;
}

struct duplicates *duplicates_new(void)
{
	return xcalloc(1, sizeof(struct duplicates));
}

static void leader_free(void *arg, void *value)
{
	struct leader *l = value;

	(void)arg;
	free(l->key);
	free(l);
}

void duplicates_free(struct duplicates *d)
{
	if (!d)
		return;
	id_table_each(&d->leaders, leader_free, NULL);
	id_table_release(&d->leaders);
	free(d->distrusted);
	free(d);
}

bool duplicates_enter(struct duplicates *d, struct work *w)
{
	struct leader *l = id_table_get(&d->leaders, id_of(&w->content));

	if (l && hash128_equal(&l->content, &w->content)) {
		free(w->first_key);
		w->first_key = xstrdup(l->key);
		work_list_push(&l->parked, w);
		d->parked++;
		return false;
	}
	w->leads = !l; /* two contents with one half in common: the second goes alone */
	if (!l) {
		l = xcalloc(1, sizeof(*l));
		l->content = w->content;
		l->job = w->job.id;
		l->key = xstrdup(w->job.key);
		id_table_add(&d->leaders, id_of(&w->content), l);
	}
	return true;
}

struct work_list duplicates_leave(struct duplicates *d, const struct hash128 *content, int64_t job)
{
	struct leader *l = id_table_get(&d->leaders, id_of(content));
	struct work_list parked = WORK_LIST_INIT;

	if (!l || l->job != job || !hash128_equal(&l->content, content))
		return parked;
	id_table_remove(&d->leaders, id_of(content));
	work_list_append(&parked, &l->parked);
	d->parked -= parked.n;
	leader_free(NULL, l);
	return parked;
}

static void unpark_one(void *arg, void *value)
{
	work_list_append(arg, &((struct leader *)value)->parked);
}

struct work_list duplicates_unpark(struct duplicates *d)
{
	struct work_list all = WORK_LIST_INIT;

	if (d->parked > 0)
		id_table_each(&d->leaders, unpark_one, &all);
	d->parked = 0;
	return all;
}

size_t duplicates_parked(const struct duplicates *d)
{
	return d->parked;
}

void duplicates_distrust(struct duplicates *d, const struct hash128 *content)
{
	ARRAY_GROW(d->distrusted, d->n_distrusted, d->distrusted_capacity);
	d->distrusted[d->n_distrusted++] = *content;
}

bool duplicates_distrusted(const struct duplicates *d, const struct hash128 *content)
{
	for (size_t i = 0; i < d->n_distrusted; i++) {
		if (hash128_equal(&d->distrusted[i], content))
			return true;
	}
	return false;
}
