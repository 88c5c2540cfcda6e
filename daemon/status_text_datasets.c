/*
 * A dataset is its name, its state and lines of a label and items; what is wrong has a line of its own.
 */
#include "daemon/status_text_parts.h"

#include "base/checked.h"
#include "base/text.h"

#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>

#define BAR_CELLS 50

static uint64_t jobs_of(const json_t *dataset, const char *state)
{
	return status_count_of(json_object_get(dataset, "jobs"), state);
}

struct sums {
	uint64_t done, todo, waiting, failed, skipped, cancelled, gone;
	uint64_t ended, all; /* of those that are to be encoded or looked at */
	unsigned permille;   /* of all; 1000 only when all have ended */
};

static struct sums sums_of(const json_t *d)
{
	struct sums s = {.done = jobs_of(d, "encoded") + jobs_of(d, "completed"),
			 .todo = jobs_of(d, "available") + jobs_of(d, "running") +
				 jobs_of(d, "retryable"),
			 .waiting = jobs_of(d, "waiting"),
			 .failed = jobs_of(d, "quarantined"),
			 .skipped = jobs_of(d, "skipped"),
			 .cancelled = jobs_of(d, "cancelled"),
			 .gone = jobs_of(d, "gone")};

	s.ended = s.done + s.failed + s.skipped;
	s.all = s.ended + s.todo + s.waiting;
	s.permille = s.all ? (unsigned)((double)s.ended / (double)s.all * 1000) : 0;
	if (s.permille >= 1000 && s.ended < s.all)
		s.permille = 999;
	return s;
}

static void progress_line(struct buffer *out, const struct sums *s)
{
	char bar[BAR_CELLS + 1];
	size_t full = (size_t)s->permille * BAR_CELLS / 1000;

	if (s->all == 0)
		return;
	memset(bar, '#', full);
	memset(bar + full, '.', BAR_CELLS - full);
	bar[BAR_CELLS] = '\0';
	buffer_appendf(out, "  %-*s[%s] %u.%u %%\n", TEXT_LABEL_COLUMNS - 2, "progress", bar,
		       s->permille / 10, s->permille % 10);
}

static void rate_line(struct buffer *out, const json_t *d, const struct sums *s)
{
	struct text_line line = {out, 0, "rate"};
	double rate = json_number_value(json_object_get(d, "images_per_second"));
	const json_t *eta = json_object_get(d, "eta_s");
	char text[32], low[32], high[32];

	if (rate > 0)
		text_line_item(&line, "%.1f images/s", rate);
	if (rate > 0 && s->todo > 0 && json_is_integer(eta))
		text_line_item(&line, "about %s left (%s to %s)",
			       text_duration(status_count_of(d, "eta_s"), text),
			       text_duration(status_count_of(d, "eta_low_s"), low),
			       text_duration(status_count_of(d, "eta_high_s"), high));
	else if (rate > 0 && s->todo > 0)
		text_line_item(&line, "time left not known yet");
	text_line_end(&line);
}

static void images_line(struct buffer *out, const struct sums *s)
{
	const struct {
		uint64_t n;
		const char *what;
	} items[] = {{s->todo, "to do"},	  {s->waiting, "waiting for a caption"},
		     {s->failed, "failed"},	  {s->skipped, "skipped"},
		     {s->cancelled, "cancelled"}, {s->gone, "gone"}};
	struct text_line line = {out, 0, "images"};
	char text[28];

	text_line_item(&line, "%s done", text_count(s->done, text));
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		if (items[i].n > 0)
			text_line_item(&line, "%s %s", text_count(items[i].n, text), items[i].what);
	}
	text_line_end(&line);
}

static void shards_lines(struct buffer *out, const json_t *d, int64_t now)
{
	const json_t *last = json_object_get(d, "last_shard");
	cleanup_buffer struct buffer path = BUFFER_INIT;
	struct text_line line = {out, 0, "shards"};
	char shards[28], samples[28], size[24], time[32];

	text_line_item(&line, "%s with %s sample%s",
		       text_count(status_count_of(d, "shards"), shards),
		       text_count(status_count_of(d, "samples"), samples),
		       status_count_of(d, "samples") == 1 ? "" : "s");
	text_line_item(&line, "%s", text_bytes(status_count_of(d, "shard_bytes"), size));
	if (jobs_of(d, "encoded") > 0)
		text_line_item(&line, "%s more encoded and not sealed yet",
			       text_count(jobs_of(d, "encoded"), samples));
	text_line_end(&line);
	status_append_path(&path, last, "path");
	if (path.size == 0)
		return;
	line.label = "last shard";
	text_line_item(&line, "%s", (const char *)path.data);
	text_line_item(&line, "%s ago", status_ago(last, "sealed_at", now, time));
	text_line_end(&line);
}

static void folders_lines(struct buffer *out, const json_t *d, int64_t now)
{
	const json_t *watch = json_object_get(d, "watch"), *scan = json_object_get(d, "scan");
	const char *mode = status_text_of(watch, "mode");
	struct text_line line = {out, 0, "folders"};
	uint64_t ms = status_count_of(scan, "duration_ms");
	char count[28], time[32], took[32];

	if (strcmp(mode, "inotify") == 0)
		text_line_item(&line, "%s watched",
			       text_count(status_count_of(watch, "folders"), count));
	else if (strcmp(mode, "polling") == 0)
		text_line_item(&line, "looked through every now and then");
	else if (strcmp(mode, "off") == 0)
		text_line_item(&line, "not watched");
	if (json_is_true(json_object_get(scan, "running")))
		text_line_item(&line, "a scan has met %s files",
			       text_count(status_count_of(scan, "running_files"), count));
	if (status_count_of(scan, "began_at") > 0)
		text_line_item(&line, "scanned %s ago: %s files in %s",
			       status_ago(scan, "began_at", now, time),
			       text_count(status_count_of(scan, "files"), count),
			       ms < 1000 ? "less than 1 s" : text_duration(ms / 1000, took));
	text_line_end(&line);
	text_warning(out, status_text_of(watch, "note"));
}

static void places_lines(struct buffer *out, const json_t *d)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	struct text_line line = {out, 0, "output"};

	status_append_path(&path, d, "output");
	if (path.size > 0)
		text_line_item(&line, "%s", (const char *)path.data);
	text_line_end(&line);
	line.label = "recipe";
	text_line_item(&line, "%s", status_text_of(d, "recipe_id"));
	text_line_end(&line);
}

/*
 * How a command that is named reaches a dataset. Where no daemon tells of it, that is by its output: what works on it
 * without a daemon needs that. To be freed.
 */
static char *reach_of(const json_t *d, const char *reach)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	cleanup_free char *word = NULL;
	char *slash;

	if (json_object_get(d, "state") || status_path(&path, d, "output") < 0 || path.size == 0)
		return xstrdup(reach);
	slash = strrchr((char *)path.data, '/');
	if (slash && slash > (char *)path.data)
		*slash = '\0';
	word = text_shell_word((const char *)path.data);
	return xasprintf(" --out %s", word);
}

/* What people can do about it. */
static void advice_lines(struct buffer *out, const json_t *d, const struct sums *s,
			 const char *reach)
{
	cleanup_free char *name = text_shell_word(status_text_of(d, "name"));
	cleanup_free char *where = reach_of(d, reach);
	uint64_t deletions = status_count_of(d, "deletions");
	cleanup_free char *failed = NULL, *deleted = NULL;
	char count[28];

	if (s->failed > 0) {
		failed = xasprintf("%s image%s failed: `latentctl failed%s --name %s` says why, "
				   "`latentctl retry%s --name %s` tries again",
				   text_count(s->failed, count), s->failed == 1 ? "" : "s", where,
				   name, where, name);
		text_warning(out, failed);
	}
	if (deletions > 0) {
		deleted = xasprintf("%s sample%s kept although the file is gone: `latentctl "
				    "deletions%s --name %s --accept` removes %s",
				    text_count(deletions, count), deletions == 1 ? " is" : "s are",
				    where, name, deletions == 1 ? "it" : "them");
		text_warning(out, deleted);
	}
}

void status_dataset_text(struct buffer *out, const json_t *d, const char *reach, int64_t now,
			 bool brief)
{
	struct sums s = sums_of(d);
	const char *state = status_text_of(d, "state");
	json_int_t priority = json_integer_value(json_object_get(d, "priority"));
	int64_t retry_at = json_integer_value(json_object_get(d, "retry_at"));
	char wait[32];

	buffer_append_string(out, "\n");
	text_clean(out, status_text_of(d, "name"));
	if (*state)
		buffer_append_string(out, ": ");
	text_clean(out, state);
	if (priority != 0)
		buffer_appendf(out, ", priority %lld", (long long)priority);
	if (retry_at > 0)
		buffer_appendf(
		    out, ", %s in %s", strcmp(state, "paused") == 0 ? "goes on" : "tried again",
		    text_duration(retry_at > now ? (uint64_t)(retry_at - now) / 1000 : 0, wait));
	buffer_append_string(out, "\n");
	text_warning(out, status_text_of(d, "why"));
	progress_line(out, &s);
	rate_line(out, d, &s);
	images_line(out, &s);
	if (brief)
		return;
	shards_lines(out, d, now);
	folders_lines(out, d, now);
	places_lines(out, d);
	advice_lines(out, d, &s, reach);
}

void status_lines(struct buffer *out, const json_t *status)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(status, "datasets"), i, d)
	{
		struct sums s = sums_of(d);
		double rate = json_number_value(json_object_get(d, "images_per_second"));
		char done[28], todo[28], failed[28], time[32];

		text_clean(out, status_text_of(d, "name"));
		if (*status_text_of(d, "state"))
			buffer_append_string(out, ": ");
		text_clean(out, status_text_of(d, "state"));
		buffer_appendf(out, ", %u.%u %%, %s done, %s to do, %s failed", s.permille / 10,
			       s.permille % 10, text_count(s.done, done),
			       text_count(s.todo + s.waiting, todo), text_count(s.failed, failed));
		if (rate > 0)
			buffer_appendf(out, ", %.1f/s", rate);
		if (rate > 0 && s.todo > 0 && json_is_integer(json_object_get(d, "eta_s")))
			buffer_appendf(out, ", %s left",
				       text_duration(status_count_of(d, "eta_s"), time));
		buffer_append_string(out, "\n");
	}
}
