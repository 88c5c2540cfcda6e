/*
 * Two configurations side by side, row by row of their tables. Values are compared as the texts that a file would have;
 * what cannot change is put back on the way.
 */
#include "config/config_memory.h"
#include "config/daemon_check.h"
#include "config/daemon_settings.h"
#include "config/setting_value.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <assert.h>
#include <string.h>

struct comparison {
	struct config_changes *changes;
	struct config_memory *memory; /* of the newer one, for what is put back */
};

/* A group of settings, was and now, and what it is called. */
struct pair {
	const struct settings_group *group;
	const char *prefix;  /* "datasets.photos." */
	const char *dataset; /* NULL: none */
	const char *was;
	char *now;
};

/* -- lists --------------------------------------------------------------------------------------- */

static char *list_items(const struct setting *list, const char *options, size_t *n)
{
	char *items = NULL;

	memcpy(&items, options + list->offset, sizeof(items));
	memcpy(n, options + list->count, sizeof(*n));
	return items;
}

/* What tells an item from the others; to be freed. */
static char *item_key(const struct settings_group *group, const char *item)
{
	for (size_t i = 0; i < group->n; i++) {
		if (group->rows[i].name && strcmp(group->rows[i].name, group->key) == 0)
			return setting_text(&group->rows[i], item);
	}
	abort(); /* the table itself is wrong */
}

static char *find_item(const struct setting *list, const char *options, const char *key)
{
	size_t n = 0;
	char *items = list_items(list, options, &n);

	for (size_t i = 0; i < n; i++) {
		char *item = items + i * list->group->size;
		cleanup_free char *other = item_key(list->group, item);

		if (strcmp(other, key) == 0)
			return item;
	}
	return NULL;
}

/* -- putting back -------------------------------------------------------------------------------- */

static void copy_texts(struct config_memory *memory, const struct setting *s, const char *from,
		       char *to)
{
	const struct setting_texts *texts = (const void *)(from + s->offset);
	struct error err = ERROR_INIT;

	setting_clear(s, to);
	for (size_t i = 0; i < texts->n; i++) {
		char *text = config_memory_take(memory, xstrdup(texts->items[i]));

		if (setting_store(s, text, to, &err) < 0)
			abort(); /* it was stored once */
	}
}

static void copy_value(struct config_memory *memory, const struct setting *s, const char *from,
		       char *to)
{
	struct error err = ERROR_INIT;
	char *text;

	if (s->type == SETTING_TEXTS) {
		copy_texts(memory, s, from, to);
		return;
	}
	text = setting_text(s, from);
	if (!text)
		setting_clear(s, to);
	else if (setting_store(s, config_memory_take(memory, text), to, &err) < 0)
		abort(); /* it was stored once */
}

/* -- comparing ----------------------------------------------------------------------------------- */

static void note(const struct comparison *c, const struct pair *p, char *setting, char *was,
		 char *now, bool reloadable)
{
	struct config_changes *changes = c->changes;

	ARRAY_GROW(changes->items, changes->n, changes->capacity);
	changes->items[changes->n++] = (struct config_change){
	    setting, p->dataset ? xstrdup(p->dataset) : NULL, was, now, reloadable};
}

static void compare_value(const struct comparison *c, const struct pair *p, const struct setting *s)
{
	char *was = setting_text(s, p->was), *now = setting_text(s, p->now);
	char key[SETTING_KEY_SIZE];

	if (was == now || (was && now && strcmp(was, now) == 0)) {
		free(was);
		free(now);
		return;
	}
	note(c, p, xasprintf("%s%s", p->prefix, setting_key(s->name, key)), was, now,
	     s->reloadable);
	if (!s->reloadable)
		copy_value(c->memory, s, p->was, p->now);
}

static void compare_group(const struct comparison *c, const struct pair *p);

/* Items that are only in @there, which is the older or the newer of the two. */
static void note_items(const struct comparison *c, const struct pair *p, const struct setting *s,
		       const char *there, const char *other)
{
	bool dataset = strcmp(s->name, "datasets") == 0;
	size_t n = 0;
	const char *items = list_items(s, there, &n);
	char key[SETTING_KEY_SIZE];

	setting_key(s->name, key);
	for (size_t i = 0; i < n; i++) {
		const char *item = items + i * s->group->size;
		cleanup_free char *name = item_key(s->group, item);
		cleanup_free char *prefix = xasprintf("%s%s.%s.", p->prefix, key, name);
		char *match = find_item(s, other, name);
		struct pair inner = {s->group, prefix, dataset ? name : p->dataset, NULL, NULL};

		if (match && there == p->now) {
			inner.was = match;
			inner.now = (char *)item;
			compare_group(c, &inner);
		} else if (!match) {
			note(c, &inner, xasprintf("%s%s.%s", p->prefix, key, name),
			     there == p->was ? xstrdup(name) : NULL,
			     there == p->now ? xstrdup(name) : NULL, true);
		}
	}
}

static void compare_list(const struct comparison *c, const struct pair *p, const struct setting *s)
{
	assert(s->reloadable); /* no list is ever put back */
	note_items(c, p, s, p->was, p->now);
	note_items(c, p, s, p->now, p->was);
}

static void compare_group(const struct comparison *c, const struct pair *p)
{
	for (size_t i = 0; i < p->group->n; i++) {
		const struct setting *s = &p->group->rows[i];
		cleanup_free char *prefix = NULL;
		char key[SETTING_KEY_SIZE];

		if (s->type == SETTING_GROUP) {
			struct pair inner = {s->group, p->prefix, p->dataset, p->was + s->offset,
					     p->now + s->offset};

			if (s->name)
				inner.prefix = prefix =
				    xasprintf("%s%s.", p->prefix, setting_key(s->name, key));
			compare_group(c, &inner);
		} else if (s->type == SETTING_LIST) {
			compare_list(c, p, s);
		} else {
			compare_value(c, p, s);
		}
	}
}

int daemon_config_merge(struct daemon_config *wanted, const struct daemon_config *in_force,
			struct config_changes *changes, struct error *err)
{
	const struct comparison c = {changes, wanted->memory};
	const struct pair all = {&daemon_settings, "", NULL, (const char *)in_force,
				 (char *)wanted};

	compare_group(&c, &all);
	return daemon_check(wanted, NULL, false, err);
}

void config_changes_release(struct config_changes *changes)
{
	for (size_t i = 0; i < changes->n; i++) {
		free(changes->items[i].setting);
		free(changes->items[i].dataset);
		free(changes->items[i].was);
		free(changes->items[i].now);
	}
	free(changes->items);
	*changes = (struct config_changes)CONFIG_CHANGES_INIT;
}

/* -- encoders ------------------------------------------------------------------------------------ */

static bool changes_in_place(const struct setting *s)
{
	static const char *const in_place[] = {"hours", "max-requests-per-hour",
					       "max-bytes-per-day", "endpoints"};

	for (size_t i = 0; i < ARRAY_SIZE(in_place) && s->name; i++) {
		if (strcmp(s->name, in_place[i]) == 0)
			return true;
	}
	return false;
}

static bool same_value(const struct setting *s, const char *a, const char *b)
{
	cleanup_free char *was = setting_text(s, a), *now = setting_text(s, b);

	assert(s->type != SETTING_LIST);
	return was && now ? strcmp(was, now) == 0 : was == now;
}

static bool same_group(const struct settings_group *group, const char *a, const char *b)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		bool same = true;

		if (s->type == SETTING_GROUP)
			same = same_group(s->group, a + s->offset, b + s->offset);
		else if (!changes_in_place(s))
			same = same_value(s, a, b);
		if (!same)
			return false;
	}
	return true;
}

bool encoder_config_same(const struct encoder_config *a, const struct encoder_config *b)
{
	return same_group(&encoder_settings, (const char *)a, (const char *)b);
}

bool encoder_endpoints_same(const struct encoder_config *a, const struct encoder_config *b)
{
	const struct remote_config *was = &a->remote, *now = &b->remote;

	if (was->n_endpoints != now->n_endpoints)
		return false;
	for (size_t i = 0; i < now->n_endpoints; i++) {
		if (!same_group(&remote_endpoint_settings, (const char *)&was->endpoints[i],
				(const char *)&now->endpoints[i]))
			return false;
	}
	return true;
}
