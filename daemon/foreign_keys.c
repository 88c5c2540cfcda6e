#include "daemon/foreign_keys.h"

#include "daemon/commands.h"

#include "base/buffer.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>

enum { NAMED = 3 };

static int on_job(void *arg, const struct job_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 0;
}

int foreign_keys_leave(const char *command, struct queue *queue,
		       const struct queue_dataset *dataset, json_t *list, size_t *foreign,
		       struct error *err)
{
	cleanup_buffer struct buffer names = BUFFER_INIT;
	const char *key;
	json_t *unused;
	void *next;

	*foreign = 0;
	json_object_foreach_safe(list, next, key, unused)
	{
		const struct job_filter which = {.dataset = dataset->id, .key = key};
		char quoted[TEXT_QUOTE_SIZE];
		bool known = false;

		if (queue_jobs(queue, &which, on_job, &known, err) < 0)
			return -1;
		if (known)
			continue;
		if ((*foreign)++ < NAMED)
			buffer_appendf(&names, " %s", text_quote(key, quoted));
		json_object_del(list, key);
	}
	if (*foreign > 0)
		fprintf(stderr, "latentctl %s: %zu key%s that %s does not have:%s%s\n", command,
			*foreign, plural(*foreign), dataset->name, (const char *)names.data,
			*foreign > NAMED ? " ..." : "");
	return 0;
}
