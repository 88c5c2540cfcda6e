/*
 * Two hash tables of chains over the same folders, which grow together.
 */
#include "source/watch_tree.h"

#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

static size_t bucket_of_wd(const struct watch_tree *t, int wd)
{
	return (unsigned)wd & (t->buckets - 1); /* the kernel counts them up */
}

static size_t bucket_of_name(const struct watch_tree *t, const struct watch_folder *parent,
			     const char *name)
{
	return hash64_of(name, strlen(name), (uintptr_t)parent) & (t->buckets - 1);
}

static void chain_wd(struct watch_tree *t, struct watch_folder *f)
{
	struct watch_folder **bucket = &t->by_wd[bucket_of_wd(t, f->wd)];

	f->next_wd = *bucket;
	*bucket = f;
}

static void chain_name(struct watch_tree *t, struct watch_folder *f)
{
	struct watch_folder **bucket = &t->by_name[bucket_of_name(t, f->parent, f->name)];

	f->next_name = *bucket;
	*bucket = f;
}

static void grow(struct watch_tree *t)
{
	struct watch_tree old = *t;

	if (t->n < t->buckets)
		return;
	t->buckets = t->buckets > 0 ? t->buckets * 2 : 64;
	t->by_wd = xcalloc(t->buckets, sizeof(*t->by_wd));
	t->by_name = xcalloc(t->buckets, sizeof(*t->by_name));
	for (size_t i = 0; i < old.buckets; i++) {
		struct watch_folder *f, *next;

		for (f = old.by_wd[i]; f; f = next) {
			next = f->next_wd;
			chain_wd(t, f);
		}
		for (f = old.by_name[i]; f; f = next) {
			next = f->next_name;
			chain_name(t, f);
		}
	}
	free(old.by_wd);
	free(old.by_name);
}

struct watch_folder *watch_tree_add(struct watch_tree *t, struct watch_folder *parent,
				    const char *name)
{
	size_t size = strlen(name) + 1;
	struct watch_folder *f = xcalloc(1, sizeof(*f) + size);

	grow(t);
	f->wd = -1;
	f->parent = parent;
	f->depth = parent ? parent->depth + 1 : 0;
	memcpy(f->name, name, size);
	f->link = parent ? &parent->children : &t->root;
	f->next = *f->link;
	if (f->next)
		f->next->link = &f->next;
	*f->link = f;
	chain_name(t, f);
	t->n++;
	return f;
}

void watch_tree_set(struct watch_tree *t, struct watch_folder *f, int wd)
{
	if (f->wd >= 0) {
		struct watch_folder **at = &t->by_wd[bucket_of_wd(t, f->wd)];

		while (*at != f)
			at = &(*at)->next_wd;
		*at = f->next_wd;
	}
	f->wd = wd;
	if (wd >= 0)
		chain_wd(t, f);
}

struct watch_folder *watch_tree_find(const struct watch_tree *t, int wd)
{
	struct watch_folder *f = t->buckets > 0 ? t->by_wd[bucket_of_wd(t, wd)] : NULL;

	while (f && f->wd != wd)
		f = f->next_wd;
	return f;
}

struct watch_folder *watch_tree_child(const struct watch_tree *t, const struct watch_folder *parent,
				      const char *name)
{
	struct watch_folder *f =
	    t->buckets > 0 ? t->by_name[bucket_of_name(t, parent, name)] : NULL;

	while (f && (f->parent != parent || strcmp(f->name, name) != 0))
		f = f->next_name;
	return f;
}

void watch_tree_remove(struct watch_tree *t, struct watch_folder *f)
{
	struct watch_folder **at = &t->by_name[bucket_of_name(t, f->parent, f->name)];

	watch_tree_set(t, f, -1);
	while (*at != f)
		at = &(*at)->next_name;
	*at = f->next_name;
	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	t->n--;
	free(f);
}

void watch_tree_path(const struct watch_folder *f, struct buffer *out)
{
	if (!f->parent)
		return;
	watch_tree_path(f->parent, out);
	buffer_append_string(out, f->name);
	buffer_put_u8(out, '/');
}

void watch_tree_release(struct watch_tree *t)
{
	while (t->root) {
		struct watch_folder *leaf = t->root;

		while (leaf->children)
			leaf = leaf->children;
		watch_tree_remove(t, leaf);
	}
	free(t->by_wd);
	free(t->by_name);
	memset(t, 0, sizeof(*t));
}
