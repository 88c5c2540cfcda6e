#include "daemon/foreign_keys.h"

#include "daemon/commands.h"

#include "base/checked.h"
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

int foreign_keys_leave(struct queue *queue, int64_t dataset, json_t *list,
		       struct foreign_keys *foreign, struct error *err)
{
	const char *key;
	json_t *unused;
	void *next;

	json_object_foreach_safe(list, next, key, unused)
	{
		const struct job_filter which = {.dataset = dataset, .key = key};
		char quoted[TEXT_QUOTE_SIZE];
		bool known = false;

		if (queue_jobs(queue, &which, on_job, &known, err) < 0)
			return -1;
		if (known)
			continue;
		if (foreign->n++ < NAMED)
			buffer_appendf(&foreign->names, " %s", text_quote(key, quoted));
		json_object_del(list, key);
	}
	return 0;
}

char *foreign_keys_line(const struct foreign_keys *foreign, const char *dataset)
{
	if (foreign->n == 0)
		return NULL;
	return xasprintf("%zu key%s that %s does not have:%s%s", foreign->n, plural(foreign->n),
			 dataset, (const char *)foreign->names.data,
			 foreign->n > NAMED ? " ..." : "");
}

void foreign_keys_say(const struct foreign_keys *foreign, const char *command, const char *dataset)
{
	cleanup_free char *line = foreign_keys_line(foreign, dataset);

	if (line)
		fprintf(stderr, "latentctl %s: %s\n", command, line);
}

void foreign_keys_release(struct foreign_keys *foreign)
{
	buffer_release(&foreign->names);
}
