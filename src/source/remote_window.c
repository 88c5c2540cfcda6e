/*
 * A ring of entries: the listing fills it, answers come for any of them, and the oldest is given out when it has its own.
 */
#include "source/remote_window.h"

#include "base/checked.h"
#include "source/source_path.h"

#include <pthread.h>
#include <string.h>

struct waiting {
	struct remote_window *window;
	struct source_entry entry;
	char *path, *key;
	bool asked; /* under the lock */
	struct remote_check check;
};

struct remote_window {
	struct remote_files *files;
	struct waiting *ring;
	size_t size, head, n;
	char *path, *key; /* of the entry that was given out last */
	pthread_mutex_t lock;
	pthread_cond_t answered;
};

struct remote_window *remote_window_new(struct remote_files *files)
{
	struct remote_window *w = xcalloc(1, sizeof(*w));

	w->files = files;
	w->size = remote_files_recheck(files) ? remote_files_ahead(files) : 0;
	w->ring = xcalloc(w->size + 1, sizeof(*w->ring));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->answered, NULL);
	return w;
}

static void on_answer(struct remote_check *c)
{
	struct waiting *e = c->owner;

	pthread_mutex_lock(&e->window->lock);
	e->asked = false;
	pthread_cond_signal(&e->window->answered);
	pthread_mutex_unlock(&e->window->lock);
}

static void wait_for(struct remote_window *w, struct waiting *e)
{
	pthread_mutex_lock(&w->lock);
	while (e->asked)
		pthread_cond_wait(&w->answered, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void add(struct remote_window *w, const struct source_entry *entry)
{
	struct waiting *e = &w->ring[(w->head + w->n++) % w->size];

	*e = (struct waiting){.window = w, .entry = *entry, .path = xstrdup(entry->path)};
	e->entry.path = e->path;
	e->key = entry->key ? xstrdup(entry->key) : NULL;
	e->entry.key = e->key;
	e->check = (struct remote_check){.done = on_answer, .owner = e};
	e->asked = true;
	if (!source_path_is_url(e->path) || !remote_files_check(w->files, e->path, &e->check))
		e->asked = false;
}

static void forget_last(struct remote_window *w)
{
	free(TAKE(w->path));
	free(TAKE(w->key));
}

/* The oldest, out of the ring. */
static void take(struct remote_window *w, struct source_entry *entry)
{
	struct waiting *e = &w->ring[w->head];
	struct source_entry now;

	wait_for(w, e);
	if (e->check.changed) {
		remote_files_describe(w->files, e->path, &now);
		e->entry.inode = now.inode;
	}
	forget_last(w);
	w->path = e->path;
	w->key = e->key;
	*entry = e->entry;
	w->head = (w->head + 1) % w->size;
	w->n--;
}

int remote_window_next(struct remote_window *w,
		       int (*next)(void *arg, struct source_entry *entry, struct error *err),
		       void *arg, struct source_entry *entry, struct error *err)
{
	struct error failed = ERROR_INIT;
	struct source_entry one;
	int r = 0;

	if (w->size == 0)
		return next(arg, entry, err);
	while (w->n < w->size && (r = next(arg, &one, &failed)) == 0)
		add(w, &one);
	if (w->n > 0) {
		take(w, entry); /* what ended it is met again when nothing is left */
		return 0;
	}
	if (r < 0)
		*err = failed;
	return r;
}

void remote_window_close(struct remote_window *w)
{
	if (!w)
		return;
	for (; w->n > 0; w->n--, w->head = (w->head + 1) % w->size) {
		free(w->ring[w->head].path);
		free(w->ring[w->head].key);
	}
	forget_last(w);
	pthread_cond_destroy(&w->answered);
	pthread_mutex_destroy(&w->lock);
	free(w->ring);
	free(w);
}
