#include "daemon/event_log.h"

#include "base/checked.h"
#include "base/clock.h"

#include <pthread.h>
#include <string.h>

struct event_log {
	pthread_mutex_t lock;
	struct event_line *lines; /* a ring: the line with an id lies at its rest by `size` */
	size_t size;
	int64_t first, next; /* ids: of the oldest, of the next one */
};

struct event_log *event_log_new(size_t lines)
{
	struct event_log *log = xcalloc(1, sizeof(*log));

	pthread_mutex_init(&log->lock, NULL);
	log->lines = xcalloc(lines, sizeof(*log->lines));
	log->size = lines;
	/* An earlier daemon cannot have said a line each millisecond. */
	log->first = log->next = clock_wall_ms();
	return log;
}

void event_log_free(struct event_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->size; i++) {
		free(log->lines[i].dataset);
		free(log->lines[i].text);
	}
	free(log->lines);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

/* A line stays where it lies. */
void event_log_go_on(struct event_log *log, int64_t last)
{
	int64_t size = (int64_t)log->size, rounds;

	pthread_mutex_lock(&log->lock);
	if (last >= log->first && last < INT64_MAX / 2) {
		rounds = (last - log->first) / size + 1;
		for (size_t i = 0; i < log->size; i++)
			log->lines[i].id += rounds * size;
		log->first += rounds * size;
		log->next += rounds * size;
	}
	pthread_mutex_unlock(&log->lock);
}

static struct event_line *line_of(const struct event_log *log, int64_t id)
{
	return &log->lines[(size_t)id % log->size];
}

struct event_line event_log_add(struct event_log *log, enum log_level level, const char *dataset,
				const char *text)
{
	struct event_line line = {.at = clock_wall_ms(),
				  .level = level,
				  .dataset = (char *)dataset,
				  .text = (char *)text};
	struct event_line kept = {.at = line.at,
				  .level = level,
				  .dataset = dataset ? xstrdup(dataset) : NULL,
				  .text = xstrdup(text)};
	struct event_line *place, old;

	pthread_mutex_lock(&log->lock);
	line.id = kept.id = log->next++;
	place = line_of(log, line.id);
	old = *place;
	*place = kept;
	if (log->next - log->first > (int64_t)log->size)
		log->first++;
	pthread_mutex_unlock(&log->lock);
	free(old.dataset);
	free(old.text);
	return line;
}

static bool is_meant(const struct event_filter *filter, const struct event_line *line)
{
	if (line->level > filter->level)
		return false;
	return !filter->dataset || (line->dataset && strcmp(line->dataset, filter->dataset) == 0);
}

/* Where the last filter->limit lines begin that are meant. */
static int64_t newest(const struct event_log *log, const struct event_filter *filter)
{
	int64_t id = log->next;
	size_t n = 0;

	while (id > log->first && n < filter->limit)
		n += is_meant(filter, line_of(log, --id));
	return id;
}

int64_t event_log_read(struct event_log *log, const struct event_filter *filter, event_line_fn fn,
		       void *arg)
{
	int64_t id, end;
	size_t n = 0;

	pthread_mutex_lock(&log->lock);
	id = filter->after == EVENT_LOG_NEWEST ? newest(log, filter) : filter->after + 1;
	if (id < log->first || id > log->next) /* of another daemon: what there is */
		id = log->first;
	for (end = log->next; id < end && n < filter->limit; id++) {
		const struct event_line *line = line_of(log, id);

		if (!is_meant(filter, line))
			continue;
		n++;
		fn(arg, line);
	}
	pthread_mutex_unlock(&log->lock);
	return id - 1;
}
