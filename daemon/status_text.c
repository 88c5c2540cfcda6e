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

/* -- members -------------------------------------------------------------------------------------- */

const char *status_text_of(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s ? s : "";
}

uint64_t status_count_of(const json_t *o, const char *member)
{
	json_int_t n = json_integer_value(json_object_get(o, member));

	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t jobs_of(const json_t *dataset, const char *state)
{
	return status_count_of(json_object_get(dataset, "jobs"), state);
}

int status_path(struct buffer *out, const json_t *object, const char *member)
{
	const char *s = json_string_value(json_object_get(object, member));

	return s && percent_decode(out, s) ? 0 : -1;
}

void status_append_path(struct buffer *out, const json_t *object, const char *member)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	size_t n;

	if (status_path(&path, object, member) < 0 || path.size == 0)
		return;
	text_quote((const char *)path.data, quoted);
	n = strlen(quoted);
	if (n == path.size + 2)
		buffer_append(out, path.data, path.size);
	else
		buffer_append(out, quoted, n);
}

/* "3 min ago" of a member that is a time. */
static const char *ago(const json_t *o, const char *member, int64_t now, char out[32])
{
	int64_t at = json_integer_value(json_object_get(o, member));

	return text_duration(now > at ? (uint64_t)(now - at) / 1000 : 0, out);
}

/* -- a dataset ------------------------------------------------------------------------------------ */

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
	text_line_item(&line, "%s ago", ago(last, "sealed_at", now, time));
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
			       ago(scan, "began_at", now, time),
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

static void dataset_text(struct buffer *out, const json_t *d, const char *reach, int64_t now)
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
	shards_lines(out, d, now);
	folders_lines(out, d, now);
	places_lines(out, d);
	advice_lines(out, d, &s, reach);
}

/* -- the daemon ----------------------------------------------------------------------------------- */

static void daemon_text(struct buffer *out, const json_t *daemon, const char *limits, int64_t now)
{
	const char *full = status_text_of(daemon, "intake_paused"),
		   *reload = status_text_of(daemon, "reload_error");
	struct text_line line = {out, 0, "decoding"};
	char used[24], limit[24], time[32];

	buffer_append_string(out, "latentd ");
	text_clean(out, status_text_of(daemon, "version"));
	buffer_append_string(out, ": ");
	text_clean(out, status_text_of(daemon, "state"));
	if (json_is_false(json_object_get(daemon, "healthy")))
		buffer_append_string(out, ", not healthy,");
	buffer_appendf(out, " for %s, process %llu\n", ago(daemon, "started_at", now, time),
		       (unsigned long long)status_count_of(daemon, "pid"));
	if (*full) {
		cleanup_free char *text =
		    xasprintf("nothing new is begun until there is room: %s", full);

		text_warning(out, text);
	}
	if (*reload) {
		cleanup_free char *text =
		    xasprintf("reload failed, the old settings are in force: %s", reload);

		text_warning(out, text);
	}
	text_warning(out, status_text_of(daemon, "decode_warning"));
	text_marked(out, '>', limits);
	text_line_item(&line, "%llu of %llu workers busy",
		       (unsigned long long)status_count_of(daemon, "decode_busy"),
		       (unsigned long long)status_count_of(daemon, "decode_workers"));
	text_line_item(&line, "memory %s of %s",
		       text_bytes(status_count_of(daemon, "memory_used"), used),
		       text_bytes(status_count_of(daemon, "memory_limit"), limit));
	text_line_end(&line);
}

static void serve_text(struct buffer *out, const json_t *s)
{
	struct text_line line = {out, 0, "serving"};
	double rate = json_number_value(json_object_get(s, "images_per_second"));
	char count[28];

	text_line_item(&line, "%s %s", status_text_of(s, "url"), status_text_of(s, "state"));
	if (*status_text_of(s, "model"))
		text_line_item(&line, "%s", status_text_of(s, "model"));
	text_line_item(&line, "%s request%s", text_count(status_count_of(s, "requests"), count),
		       status_count_of(s, "requests") == 1 ? "" : "s");
	if (status_count_of(s, "refused") > 0)
		text_line_item(&line, "%s refused",
			       text_count(status_count_of(s, "refused"), count));
	if (status_count_of(s, "in_flight") > 0)
		text_line_item(&line, "%s in flight",
			       text_count(status_count_of(s, "in_flight"), count));
	text_line_item(&line, "%s encoded", text_count(status_count_of(s, "images_done"), count));
	if (rate > 0)
		text_line_item(&line, "%.1f/s", rate);
	text_line_end(&line);
	text_warning(out, status_text_of(s, "why"));
}

static void node_text(struct buffer *out, const json_t *n)
{
	struct text_line line = {out, 0, "node"};
	double rate = json_number_value(json_object_get(n, "images_per_second"));
	char count[28];

	text_line_item(&line, "%s%s", status_text_of(n, "name"),
		       json_is_true(json_object_get(n, "drains")) ? " drains" : "");
	text_line_item(&line, "%s encoded", text_count(status_count_of(n, "encoded"), count));
	if (rate > 0)
		text_line_item(&line, "%.1f/s", rate);
	text_line_item(&line, "all of them: latentctl nodes");
	text_line_end(&line);
	text_warning(out, status_text_of(n, "why"));
}

static void webhook_text(struct buffer *out, const json_t *w)
{
	cleanup_free char *line = NULL;

	if (!*status_text_of(w, "why"))
		return;
	line = xasprintf("messages do not arrive at %s: %s", status_text_of(w, "server"),
			 status_text_of(w, "why"));
	text_warning(out, line);
}

void status_text(struct buffer *out, const json_t *status, const char *reach, int64_t now)
{
	const json_t *daemon = json_object_get(status, "daemon");
	const json_t *datasets = json_object_get(status, "datasets"), *item;
	const json_t *encoders = json_object_get(status, "encoders");
	const json_t *disks = json_object_get(status, "disks"),
		     *node = json_object_get(status, "node");
	size_t i;

	if (json_is_object(daemon))
		daemon_text(out, daemon, status_text_of(status, "limit"), now);
	json_array_foreach(disks, i, item) status_disk_warning(out, item);
	webhook_text(out, json_object_get(status, "webhook"));
	json_array_foreach(encoders, i, item) status_encoder_text(out, item);
	if (json_is_object(json_object_get(status, "serve")))
		serve_text(out, json_object_get(status, "serve"));
	json_array_foreach(datasets, i, item) dataset_text(out, item, reach, now);
	if (json_array_size(disks) > 0 || json_is_object(node))
		buffer_append_string(out, "\n");
	if (json_is_object(node))
		node_text(out, node);
	json_array_foreach(disks, i, item) status_disk_text(out, item);
	status_stages_text(out, json_object_get(status, "stages"));
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

void status_job_line(struct buffer *out, const json_t *job)
{
	cleanup_buffer struct buffer path = BUFFER_INIT, reason = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	text_clean(&reason, status_text_of(job, "reason"));
	if (status_path(&path, job, "source") < 0)
		return;
	buffer_appendf(out, "%-14s %s: ", reason.data ? (const char *)reason.data : "",
		       text_quote(path.data ? (const char *)path.data : "", quoted));
	text_clean(out, status_text_of(job, "message"));
	buffer_append_string(out, "\n");
}
