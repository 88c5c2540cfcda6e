#define SD_JOURNAL_SUPPRESS_LOCATION

#include "daemon/daemon_log.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"

#include "daemon/json_text.h"
#include "daemon/log_file.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

struct daemon_log {
	struct event_log *lines;
	atomic_int level, format;
	bool journal;	       /* standard error leads there */
	pthread_mutex_t lock;  /* of what follows */
	int64_t room, room_at; /* thousandths of a line; monotonic ms */
	uint64_t left_out;     /* since that was said */
	struct log_file *file; /* NULL: none */
};

static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

/* The service manager says so, and it still does (sd-daemon(3), JOURNAL_STREAM). */
static bool leads_to_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return text && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)device &&
	       st.st_ino == (ino_t)inode;
}

struct daemon_log *daemon_log_new(void)
{
	struct daemon_log *log = xcalloc(1, sizeof(*log));

	log->lines = event_log_new(EVENT_LOG_LINES);
	log->journal = leads_to_journal();
	log->room = (int64_t)DAEMON_LOG_BURST * 1000;
	log->room_at = clock_mono_ms();
	pthread_mutex_init(&log->lock, NULL);
	atomic_init(&log->level, LOG_LEVEL_INFO);
	atomic_init(&log->format, LOG_FORMAT_AUTO);
	return log;
}

void daemon_log_free(struct daemon_log *log)
{
	if (!log)
		return;
	daemon_log_keep_end(log);
	event_log_free(log->lines);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

void daemon_log_set(struct daemon_log *log, enum log_level level, enum log_format format)
{
	atomic_store(&log->level, (int)level);
	atomic_store(&log->format, (int)format);
}

int daemon_log_keep(struct daemon_log *log, const char *folder, struct error *err)
{
	struct log_file *file = NULL;

	if (log_file_open(folder, &file, err) < 0)
		return -1;
	event_log_go_on(log->lines, log_file_last_id(folder));
	pthread_mutex_lock(&log->lock);
	log->file = file;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

void daemon_log_keep_end(struct daemon_log *log)
{
	struct log_file *file;

	pthread_mutex_lock(&log->lock);
	file = log->file;
	log->file = NULL;
	pthread_mutex_unlock(&log->lock);
	log_file_close(file);
}

struct event_log *daemon_log_lines(struct daemon_log *log)
{
	return log->lines;
}

/* -- forms ------------------------------------------------------------------------------------------ */

/* What is said, about what, and how it is told apart. */
struct said {
	enum log_event event;
	const char *dataset; /* NULL: none */
	const char *line;
};

static enum log_level level_of(const struct said *s)
{
	return log_event_kind(s->event)->level;
}

/* False: the journal does not take it. */
static bool to_journal(const struct said *s)
{
	const struct log_event_kind *kind = log_event_kind(s->event);
	const char *dataset = s->dataset ? s->dataset : "", *colon = s->dataset ? ": " : "";
	char *fields[] = {
	    xasprintf("MESSAGE=%s%s%s", dataset, colon, s->line),
	    xasprintf("LATENTD_TEXT=%s", s->line),
	    xasprintf("PRIORITY=%d", priorities[level_of(s)]),
	    xstrdup("SYSLOG_IDENTIFIER=latentd"),
	    s->dataset ? xasprintf("LATENTD_DATASET=%s", dataset) : NULL,
	    kind->name ? xasprintf("LATENTD_EVENT=%s", kind->name) : NULL,
	    kind->id ? xasprintf("MESSAGE_ID=%s", kind->id) : NULL,
	};
	struct iovec sent[ARRAY_SIZE(fields)];
	int n = 0, r;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i])
			sent[n++] = (struct iovec){fields[i], strlen(fields[i])};
	}
	r = sd_journal_sendv(sent, n);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		free(fields[i]);
	return r >= 0;
}

/* " NAME="VALUE"", quoted as JSON does it. */
static void append_field(struct buffer *out, const char *name, const char *value)
{
	json_t *clean = json_clean(value);
	cleanup_free char *quoted = json_dumps(clean, JSON_ENCODE_ANY);

	buffer_appendf(out, " %s=%s", name, quoted ? quoted : "\"\"");
	json_decref(clean);
}

static void to_fields(const struct said *s)
{
	const char *event = log_event_kind(s->event)->name;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int64_t now = clock_wall_ms();
	time_t second = (time_t)(now / 1000);
	struct tm utc = {.tm_year = 70};
	char stamp[32];

	gmtime_r(&second, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	buffer_appendf(&text, "time=%s.%03dZ level=%s", stamp, (int)(now % 1000),
		       log_levels[level_of(s)]);
	if (event)
		buffer_appendf(&text, " event=%s", event);
	if (s->dataset)
		append_field(&text, "dataset", s->dataset);
	append_field(&text, "message", s->line);
	fprintf(stderr, "%s\n", (const char *)text.data);
}

/* The journal takes the level from a number in front, a person does not need it. */
static void to_text(bool journal, const struct said *s)
{
	char number[8] = "";

	if (journal)
		snprintf(number, sizeof(number), "<%d>", priorities[level_of(s)]);
	fprintf(stderr, "%slatentd: %s%s%s\n", number, s->dataset ? s->dataset : "",
		s->dataset ? ": " : "", s->line);
}

static void say(struct daemon_log *log, const struct said *s)
{
	enum log_format format = (enum log_format)atomic_load(&log->format);
	const struct event_line added = event_log_add(log->lines, level_of(s), s->dataset, s->line);

	if (log->file)
		log_file_add(log->file, &added);
	if (format == LOG_FORMAT_AUTO && log->journal && to_journal(s))
		return;
	if (format == LOG_FORMAT_FIELDS)
		to_fields(s);
	else
		to_text(log->journal, s);
}

/* -- how many ----------------------------------------------------------------------------------------- */

/* With the lock. Takes the room of a line. */
static bool has_room(struct daemon_log *log)
{
	int64_t now = clock_mono_ms(), most = (int64_t)DAEMON_LOG_BURST * 1000;

	log->room += (now - log->room_at) * DAEMON_LOG_PER_SECOND;
	log->room = log->room < most ? log->room : most;
	log->room_at = now;
	if (log->room < 1000)
		return false;
	log->room -= 1000;
	return true;
}

/* With the lock. */
static void say_left_out(struct daemon_log *log)
{
	char line[64];

	if (log->left_out == 0 || !has_room(log))
		return;
	snprintf(line, sizeof(line), "%llu lines were left out: too many came at once",
		 (unsigned long long)log->left_out);
	log->left_out = 0;
	say(log, &(const struct said){LOG_PLAIN_WARNING, NULL, line});
}

void daemon_log_write(struct daemon_log *log, enum log_event event, const char *dataset,
		      const char *line)
{
	const struct said said = {event, dataset, line};

	if ((int)level_of(&said) > atomic_load(&log->level))
		return;
	pthread_mutex_lock(&log->lock);
	say_left_out(log);
	if (has_room(log))
		say(log, &said);
	else
		log->left_out++;
	pthread_mutex_unlock(&log->lock);
}

void daemon_log_keep_last(struct daemon_log *log, const char *line)
{
	struct event_line added;

	pthread_mutex_lock(&log->lock);
	added = event_log_add(log->lines, LOG_LEVEL_ERROR, NULL, line);
	if (log->file)
		log_file_add(log->file, &added);
	pthread_mutex_unlock(&log->lock);
}

void daemon_log_tick(struct daemon_log *log)
{
	pthread_mutex_lock(&log->lock);
	say_left_out(log);
	pthread_mutex_unlock(&log->lock);
}
