/* The daemon, and what there is room for. */
#include "daemon/status_text_parts.h"

#include "base/checked.h"
#include "base/text.h"

#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>

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

const char *status_ago(const json_t *o, const char *member, int64_t now, char out[32])
{
	int64_t at = json_integer_value(json_object_get(o, member));

	return text_duration(now > at ? (uint64_t)(now - at) / 1000 : 0, out);
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
	buffer_appendf(out, " for %s, process %llu\n", status_ago(daemon, "started_at", now, time),
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

/* How far they are. */
static void datasets_text(struct buffer *out, const json_t *status, const char *reach, int64_t now,
			  enum status_detail detail)
{
	const json_t *item;
	size_t i;

	if (detail == STATUS_LINES) {
		status_lines(out, status);
		return;
	}
	json_array_foreach(json_object_get(status, "datasets"), i, item)
	    status_dataset_text(out, item, reach, now, detail >= STATUS_BRIEF);
}

/* What works on them. */
static void workers_text(struct buffer *out, const json_t *status, enum status_detail detail)
{
	const json_t *encoders = json_object_get(status, "encoders"), *item;
	const json_t *serve = json_object_get(status, "serve");
	size_t i;

	if (json_array_size(json_object_get(status, "datasets")) > 0 &&
	    (json_array_size(encoders) > 0 || json_is_object(serve)))
		buffer_append_string(out, "\n");
	json_array_foreach(encoders, i, item)
	    status_encoder_text(out, item, detail >= STATUS_FOLDED);
	if (json_is_object(serve))
		serve_text(out, serve);
}

/* Where, and what waits in between. */
static void work_text(struct buffer *out, const json_t *status)
{
	const json_t *disks = json_object_get(status, "disks"),
		     *node = json_object_get(status, "node"), *item;
	size_t i;

	if (json_array_size(disks) > 0 || json_is_object(node))
		buffer_append_string(out, "\n");
	if (json_is_object(node))
		node_text(out, node);
	json_array_foreach(disks, i, item) status_disk_text(out, item);
	status_stages_text(out, json_object_get(status, "stages"));
}

void status_text(struct buffer *out, const json_t *status, const char *reach, int64_t now,
		 enum status_detail detail)
{
	const json_t *daemon = json_object_get(status, "daemon"), *item;
	size_t i;

	if (json_is_object(daemon))
		daemon_text(out, daemon, status_text_of(status, "limit"), now);
	json_array_foreach(json_object_get(status, "disks"), i, item)
	    status_disk_warning(out, item);
	webhook_text(out, json_object_get(status, "webhook"));
	datasets_text(out, status, reach, now, detail);
	workers_text(out, status, detail);
	if (detail < STATUS_WORK)
		work_text(out, status);
}

static size_t count_lines(const struct buffer *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->size; i++)
		n += text->data[i] == '\n';
	return n;
}

void status_screen(struct buffer *out, const json_t *status, const char *reach, int64_t now,
		   size_t rows)
{
	size_t before = count_lines(out);

	for (int detail = STATUS_ALL; detail <= STATUS_LINES; detail++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;

		status_text(&text, status, reach, now, (enum status_detail)detail);
		if (before + count_lines(&text) >= rows && detail < STATUS_LINES)
			continue;
		buffer_append(out, text.data, text.size);
		return;
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
