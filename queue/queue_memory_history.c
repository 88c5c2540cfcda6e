#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

static bool is_before(const struct history_row *a, const struct history_row *b)
{
	return a->series != b->series ? a->series < b->series : a->place < b->place;
}

int memory_keep_history(struct queue *base, const struct history_row *rows, size_t n,
			struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < q->history_count && is_before(&q->history[at], &rows[i]))
			at++;
		if (at == q->history_count || is_before(&rows[i], &q->history[at])) {
			ARRAY_GROW(q->history, q->history_count, q->history_capacity);
			memmove(&q->history[at + 1], &q->history[at],
				(q->history_count++ - at) * sizeof(*q->history));
		}
		q->history[at] = rows[i];
	}
	return 0;
}

int memory_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < q->history_count; i++) {
		if (fn(arg, &q->history[i]) != 0)
			break;
	}
	return 0;
}
