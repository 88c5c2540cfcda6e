/*
 * latentctl log: what the daemon said last, or the one that ran last.
 */
#include "daemon/commands.h"

#include "base/buffer.h"
#include "base/checked.h"

#include "daemon/ctl_api.h"
#include "daemon/ctl_source.h"
#include "daemon/event_log.h"
#include "daemon/log_file.h"
#include "daemon/text_lines.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *text_of(const json_t *line, const char *member)
{
	return json_string_value(json_object_get(line, member));
}

/* "2026-11-26 21:04:05 warning photos: what happened", by the local clock. */
static void print_line(const json_t *line)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_int_t at = json_integer_value(json_object_get(line, "at"));
	const char *level = text_of(line, "level"), *dataset = text_of(line, "dataset");
	const char *said = text_of(line, "text");
	time_t second = (time_t)(at / 1000);
	struct tm local = {.tm_year = 70};
	char stamp[32];

	localtime_r(&second, &local);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
	buffer_appendf(&text, "%s %-7s ", stamp, level ? level : "");
	if (dataset) {
		text_clean(&text, dataset);
		buffer_append_string(&text, ": ");
	}
	text_clean(&text, said ? said : "");
	puts((const char *)text.data);
}

static void print_one(const struct read_options *options, const json_t *line)
{
	char *text = options->json ? json_dumps(line, JSON_COMPACT) : NULL;

	if (text)
		puts(text);
	else
		print_line(line);
	free(text);
}

static void print_lines(const struct read_options *options, const json_t *page)
{
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(page, "lines"), i, line) print_one(options, line);
}

/* "log?limit=50&level=warning&dataset=photos&after=17". To be freed. */
static char *page_of(const struct read_options *options, const char *after)
{
	cleanup_free char *name = options->name ? ctl_api_word(options->name) : NULL;

	return xasprintf("log?limit=%zu%s%s%s%s%s%s", after ? (size_t)1000 : options->lines,
			 options->level ? "&level=" : "", options->level ? options->level : "",
			 name ? "&dataset=" : "", name ? name : "", after ? "&after=" : "",
			 after ? after : "");
}

/* 0, CTL_NO_DAEMON or -1. *next is where the next one goes on. */
static int show(const struct read_options *options, char **next, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	cleanup_free char *what = page_of(options, *next);
	json_t *page = NULL;
	const char *after;
	int r = ctl_source_open_daemon(options, &source, err);

	if (r == 0)
		r = ctl_source_get(source, what, &page, err);
	if (r != 0)
		return r;
	print_lines(options, page);
	after = text_of(page, "next");
	if (after) {
		free(*next);
		*next = xstrdup(after);
	}
	json_decref(page);
	return 0;
}

/* "warning" as options have it; NULL: all. */
static enum log_level level_of(const char *name)
{
	size_t level = LOG_LEVEL_ERROR;

	while (name && level < LOG_LEVEL_DEBUG && strcmp(log_levels[level], name) != 0)
		level++;
	return name ? (enum log_level)level : LOG_LEVEL_DEBUG;
}

/* -- following ------------------------------------------------------------------------------------ */

struct follower {
	const struct read_options *options;
	char **next;
};

static bool is_meant(const struct read_options *options, const json_t *line)
{
	const char *dataset = text_of(line, "dataset"), *level = text_of(line, "level");

	if (options->name && (!dataset || strcmp(dataset, options->name) != 0))
		return false;
	return level_of(level ? level : "debug") <= level_of(options->level);
}

/* False: nobody reads it any more, or lines are missing in between, which are to be asked for. */
static bool on_event(void *arg, const json_t *event)
{
	struct follower *f = arg;
	const json_t *lines = json_object_get(event, "log"), *line;
	json_int_t last = *f->next ? strtoll(*f->next, NULL, 10) : 0;
	size_t i;

	if (json_integer_value(json_object_get(json_array_get(lines, 0), "id")) > last + 1)
		return false;
	json_array_foreach(lines, i, line)
	{
		json_int_t id = json_integer_value(json_object_get(line, "id"));

		if (id <= last)
			continue;
		if (is_meant(f->options, line))
			print_one(f->options, line);
		free(*f->next);
		*f->next = xasprintf("%lld", (long long)id);
	}
	return fflush(stdout) == 0;
}

/*
 * What came since *next, then what comes. The stream begins with lines that were said already, so nothing is missed between the
 * two; ids tell them apart. -1: there is no daemon, or no more.
 */
static int follow_daemon(const struct read_options *options, char **next, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct follower follower = {options, next};
	int r = show(options, next, err);

	if (r == 0 && fflush(stdout) == 0)
		r = ctl_source_open_daemon(options, &source, err);
	return r == 0 ? ctl_source_follow(source, on_event, &follower, err) : -1;
}

/* Until it is interrupted; over restarts of the daemon. */
static int follow(const struct read_options *options, char **next, struct error *err)
{
	bool told = false;

	while (fflush(stdout) == 0) {
		int r = follow_daemon(options, next, err);

		if (r != 0 && !told && err->code != ERR_NONE)
			fprintf(stderr, "latentctl log: %s; asked again every second\n",
				err->message);
		told = r != 0;
		error_clear(err);
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	}
	return EXIT_OK; /* main() says what is wrong with stdout */
}

/* Whether nothing says where a daemon kept something: nobody named a place, and there is no configuration at the usual one. */
static bool is_nowhere(const struct read_options *o)
{
	return !o->out && !o->state && !o->config && access(DAEMON_CONFIG_DEFAULT, F_OK) < 0 &&
	       errno == ENOENT;
}

/* Neither a daemon nor what an earlier one said; @why that cannot be read, if it should; @known: where it would be. */
static int nothing_to_show(const struct error *why, bool known, struct error *err)
{
	struct error none = *err;

	error_clear(err);
	if (why->code != ERR_NONE)
		error_set(err, none.code, "%s; and what an earlier one said cannot be read: %s",
			  none.message, why->message);
	else if (known)
		error_set(err, none.code,
			  "%s; nothing that an earlier one said is kept there: look in the journal "
			  "(journalctl -u latentd) or where its standard error went",
			  none.message);
	else
		error_set(err, none.code,
			  "%s; what an earlier one said is in its state folder (--config FILE or "
			  "--state DIR), in the journal (journalctl -u latentd) or where its "
			  "standard error went",
			  none.message);
	return CTL_NO_DAEMON;
}

/* What the daemon said that ended last, from its state folder; *next as of show(). The same outcomes. */
static int show_kept(const struct read_options *options, char **next, struct error *err)
{
	const struct event_filter filter = {
	    .level = level_of(options->level), .dataset = options->name, .limit = options->lines};
	struct error why = ERROR_INIT;
	cleanup_free char *state = options->socket ? NULL : ctl_source_state(options, &why);
	json_t *lines = state ? log_file_read(state, &filter, &why) : NULL;
	size_t n = json_array_size(lines);
	json_t *page;

	if (!lines) {
		if (state ? why.code == ERR_CONFIG : options->socket || is_nowhere(options))
			error_clear(&why);
		return nothing_to_show(&why, state != NULL, err);
	}
	error_clear(err);
	fprintf(stderr, "latentctl log: no daemon runs; this is what the last one said\n");
	if (n > 0)
		*next = xasprintf("%lld", (long long)json_integer_value(
					      json_object_get(json_array_get(lines, n - 1), "id")));
	page = json_pack("{s:o}", "lines", lines);
	print_lines(options, page);
	json_decref(page);
	return 0;
}

int cmd_log(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name level lines follow json", 0,
	    "log [--socket PATH | --out DIR | --state DIR | --config FILE] [--name NAME] [--level "
	    "L] [-n N] [--follow] [--json]"};
	struct read_options options = {.out = NULL};
	cleanup_free char *next = NULL;
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = show(&options, &next, err);
	if (r == CTL_NO_DAEMON)
		r = show_kept(&options, &next, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	return options.follow ? follow(&options, &next, err) : EXIT_OK;
}
