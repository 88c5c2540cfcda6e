/*
 * A thread of its own writes, so that neither the loop nor whoever says something waits for a disk that hangs.
 */
#include "daemon/log_file.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"

#include "daemon/api_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Said and not written yet, while the disk takes nothing; what comes then is lost. */
#define PENDING_MAX ((size_t)1 << 20)

struct log_file {
	struct thread thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct buffer pending;
	bool ending;
	/* The thread's. */
	char *paths[2];
	size_t current; /* of them */
	int fd;
	size_t size;
	bool torn; /* the last line may lack its end */
};

static char *path_of(const char *folder, size_t i)
{
	return xasprintf("%s/log.%zu.jsonl", folder, i);
}

/* Of the first line; -1: there is none. */
static int64_t first_id(const char *path)
{
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_RDONLY, 0, &err);
	char text[64] = "";
	int64_t id = -1;

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return -1;
	return sscanf(text, "{\"id\":%" SCNd64, &id) == 1 ? id : -1;
}

/* -- writing -------------------------------------------------------------------------------------- */

/* What is there may lack the end of its last line. */
static void measure(struct log_file *f)
{
	struct stat st;

	f->size = fstat(f->fd, &st) == 0 ? (size_t)st.st_size : 0;
	f->torn = f->size > 0;
}

static int begin_file(struct log_file *f, int flags, struct error *err)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = file_open(f->paths[f->current], O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | flags,
			  0640, err);
	if (f->fd < 0)
		return -1;
	measure(f);
	return 0;
}

/* What a full disk took of lines is taken back: a file that has nothing is not left for the other one. */
static void take_back(struct log_file *f)
{
	if (ftruncate(f->fd, (off_t)f->size) < 0)
		measure(f);
}

/* A disk that takes nothing costs these lines: neither those that it has, nor those that come when there is room. */
static void write_lines(struct log_file *f, const struct buffer *lines)
{
	struct error err = ERROR_INIT;

	if (f->fd < 0) {
		begin_file(f, 0, &err);
	} else if (f->size + lines->size > LOG_FILE_MAX && f->size > 0) {
		f->current = 1 - f->current;
		begin_file(f, O_TRUNC, &err);
	}
	if (f->fd < 0)
		return;
	if ((f->torn && fd_write_all(f->fd, "\n", 1, &err) < 0) ||
	    fd_write_all(f->fd, lines->data, lines->size, &err) < 0) {
		take_back(f);
		return;
	}
	f->size += lines->size + f->torn;
	f->torn = false;
}

static void *run(void *arg)
{
	struct log_file *f = arg;
	bool ending = false;

	while (!ending) {
		cleanup_buffer struct buffer lines = BUFFER_INIT;

		pthread_mutex_lock(&f->lock);
		while (!f->ending && f->pending.size == 0)
			pthread_cond_wait(&f->changed, &f->lock);
		ending = f->ending;
		lines = f->pending;
		f->pending = (struct buffer)BUFFER_INIT;
		pthread_mutex_unlock(&f->lock);
		if (lines.size > 0)
			write_lines(f, &lines);
	}
	return NULL;
}

int log_file_open(const char *folder, struct log_file **out, struct error *err)
{
	struct log_file *f = xcalloc(1, sizeof(*f));

	f->fd = -1;
	for (size_t i = 0; i < 2; i++)
		f->paths[i] = path_of(folder, i);
	f->current = first_id(f->paths[1]) > first_id(f->paths[0]);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	if (begin_file(f, 0, err) < 0 || thread_start(&f->thread, "log", run, f, err) < 0) {
		log_file_close(f);
		return -1;
	}
	*out = f;
	return 0;
}

void log_file_add(struct log_file *f, const struct event_line *line)
{
	json_t *object = api_log_line(line);
	cleanup_free char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (!text)
		return;
	pthread_mutex_lock(&f->lock);
	if (f->pending.size + strlen(text) < PENDING_MAX)
		buffer_appendf(&f->pending, "%s\n", text);
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void log_file_close(struct log_file *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
	thread_join(&f->thread);
	if (f->fd >= 0)
		close(f->fd);
	for (size_t i = 0; i < 2; i++)
		free(f->paths[i]);
	buffer_release(&f->pending);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* -- reading -------------------------------------------------------------------------------------- */

static bool is_meant(const json_t *line, const struct event_filter *filter)
{
	const char *level = json_string_value(json_object_get(line, "level"));
	const char *dataset = json_string_value(json_object_get(line, "dataset"));

	if (!level || !json_is_string(json_object_get(line, "text")) ||
	    !json_is_integer(json_object_get(line, "at")))
		return false;
	if (filter->dataset && (!dataset || strcmp(dataset, filter->dataset) != 0))
		return false;
	for (size_t i = 0; i <= (size_t)filter->level; i++) {
		if (strcmp(level, log_levels[i]) == 0)
			return true;
	}
	return false;
}

/* What is no line of ours is passed over: of a daemon that was killed the last one may be half. */
static void add_lines(const char *text, size_t size, const struct event_filter *filter,
		      json_t *lines)
{
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t n = end ? (size_t)(end - text) : size;
		json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);

		if (is_meant(line, filter))
			json_array_append(lines, line);
		json_decref(line);
		text += n + (end != NULL);
		size -= n + (end != NULL);
	}
}

int64_t log_file_last_id(const char *folder)
{
	const struct event_filter last = {.level = LOG_LEVEL_DEBUG, .limit = 1};
	struct error ignored = ERROR_INIT;
	json_t *lines = log_file_read(folder, &last, &ignored);
	int64_t id = json_integer_value(json_object_get(json_array_get(lines, 0), "id"));

	json_decref(lines);
	return id;
}

/* 1: it is there; 0; or -1. */
static int is_there(const char *path, struct error *err)
{
	if (access(path, F_OK) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : error_sys(err, "read %s", path);
}

json_t *log_file_read(const char *folder, const struct event_filter *filter, struct error *err)
{
	cleanup_free char *a = path_of(folder, 0), *b = path_of(folder, 1);
	const char *const paths[] = {a, b};
	size_t older = first_id(a) > first_id(b), n, skip;
	json_t *lines, *newest;
	int there[2];

	for (size_t i = 0; i < 2; i++) {
		there[i] = is_there(paths[i], err);
		if (there[i] < 0)
			return NULL;
	}
	if (!there[0] && !there[1]) {
		error_set(err, ERR_CONFIG, "%s keeps no lines of a daemon", folder);
		return NULL;
	}
	lines = json_array();
	for (size_t i = 0; i < 2; i++) {
		size_t at = i == 0 ? older : 1 - older;
		cleanup_buffer struct buffer text = BUFFER_INIT;

		if (!there[at])
			continue;
		if (file_read_all(paths[at], LOG_FILE_MAX + PENDING_MAX, &text, err) < 0) {
			json_decref(lines);
			return NULL;
		}
		if (text.size > 0)
			add_lines((const char *)text.data, text.size, filter, lines);
	}
	n = json_array_size(lines);
	skip = n > filter->limit ? n - filter->limit : 0;
	newest = json_array();
	for (size_t i = skip; i < n; i++)
		json_array_append(newest, json_array_get(lines, i));
	json_decref(lines);
	return newest;
}
