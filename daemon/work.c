#include "daemon/work.h"

#include "daemon/packer.h"

#include "base/checked.h"

#include <unistd.h>

void work_release(struct work *w)
{
	job_release(&w->job);
	free(w->caption);
	free(w->meta);
	buffer_release(&w->mask);
	free(w->first_key);
	free(w->pixels);
	free(w->failure);
	free(w->unencoded);
	if (w->finished)
		finished_release(w->finished);
	free(w->finished);
	if (w->fd >= 0)
		close(w->fd);
	if (w->keeps_file)
		close(w->kept_file);
}

void work_forget(struct work *w)
{
	free(w->failure);
	w->failure = NULL;
	w->has_content = w->has_header = w->returned = w->asked_again = false;
}

void work_list_push(struct work_list *l, struct work *w)
{
	w->next = NULL;
	if (l->last)
		l->last->next = w;
	else
		l->first = w;
	l->last = w;
	l->n++;
}

struct work *work_list_pop(struct work_list *l)
{
	struct work *w = l->first;

	if (!w)
		return NULL;
	l->first = w->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	w->next = NULL;
	return w;
}

void work_list_remove(struct work_list *l, struct work *w)
{
	struct work_list rest = WORK_LIST_INIT;
	struct work *at;

	while ((at = work_list_pop(l))) {
		if (at != w)
			work_list_push(&rest, at);
	}
	*l = rest;
}

void work_list_append(struct work_list *l, struct work_list *from)
{
	struct work *w;

	while ((w = work_list_pop(from)))
		work_list_push(l, w);
}
