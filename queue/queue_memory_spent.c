#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

static void forget(struct memory_queue *q, int64_t before)
{
	size_t n = 0;

	for (size_t i = 0; i < q->spent_count; i++) {
		if (q->spent[i].row.minute < before)
			free(q->spent[i].account);
		else
			q->spent[n++] = q->spent[i];
	}
	q->spent_count = n;
}

/* Where its row is, or belongs. */
static size_t place_of(const struct memory_queue *q, const char *account, int64_t minute)
{
	size_t i = 0;

	while (i < q->spent_count &&
	       (strcmp(q->spent[i].account, account) < 0 ||
		(strcmp(q->spent[i].account, account) == 0 && q->spent[i].row.minute < minute)))
		i++;
	return i;
}

int memory_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
		 int64_t now, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	int64_t minute = now / 60000;
	size_t i;

	(void)err;
	forget(q, minute - QUEUE_SPENT_MINUTES);
	i = place_of(q, account, minute);
	if (i == q->spent_count || q->spent[i].row.minute != minute ||
	    strcmp(q->spent[i].account, account) != 0) {
		ARRAY_GROW(q->spent, q->spent_count, q->spent_capacity);
		memmove(&q->spent[i + 1], &q->spent[i], (q->spent_count++ - i) * sizeof(*q->spent));
		q->spent[i] = (struct memory_spent){xstrdup(account), {.minute = minute}};
	}
	q->spent[i].row.requests += requests;
	q->spent[i].row.bytes += bytes;
	return 0;
}

int memory_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
		 struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = place_of(q, account, INT64_MIN); i < q->spent_count; i++) {
		if (strcmp(q->spent[i].account, account) != 0 || fn(arg, &q->spent[i].row) != 0)
			break;
	}
	return 0;
}
