/*
 * The list is read line by line, and once more for whoever looks for one of its lines: no URL is kept in memory.
 */
#include "source/remote_fetch.h"
#include "source/remote_window.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "source/folder_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct source_urls {
	struct source base;
	struct source_folder_options options;
	struct remote_files *files;
	struct remote_window *window;
	char *path;
	FILE *list;
	uint64_t line;
	uint64_t stamp; /* of the list as it was when the listing began; 0: it has not */
	bool at_end;
	char *text; /* of the last line */
};

/* -- lines ----------------------------------------------------------------------------------------- */

static void note_unread(struct source_urls *u, const char *what)
{
	char quoted[TEXT_QUOTE_SIZE], note[512];

	if (u->options.unread)
		++*u->options.unread;
	if (!u->options.note)
		return;
	snprintf(note, sizeof(note), "%s: %s", text_quote(u->path, quoted), what);
	u->options.note(u->options.note_arg, note);
}

static void pass_over(struct source_urls *u, const char *why)
{
	char what[128];

	snprintf(what, sizeof(what), "line %llu is passed over: %s", (unsigned long long)u->line,
		 why);
	note_unread(u, what);
}

/* The next line without spaces around it and line break; NULL: the end, or *err. */
static char *next_line(struct source_urls *u, struct error *err)
{
	char *start = u->text;
	size_t n = 0;
	int c;

	while ((c = getc_unlocked(u->list)) != EOF && c != '\n') {
		if (n < REMOTE_URL_MAX)
			start[n] = (char)c;
		n++;
	}
	if (ferror(u->list)) {
		error_sys(err, "%s", u->path);
		return NULL;
	}
	if (c == EOF && n == 0)
		return NULL;
	u->line++;
	if (n > REMOTE_URL_MAX) {
		strcpy(start, "(too long)"); /* which is no URL */
		return start;
	}
	if (u->line == 1 && n >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) {
		start += 3;
		n -= 3;
	}
	while (n > 0 && memchr(" \t\r", start[n - 1], 3))
		n--;
	start[n] = '\0';
	if (strlen(start) != n)
		*start = '\1'; /* which is no URL either */
	return start + strspn(start, " \t");
}

static bool is_stopped(const struct source_urls *u)
{
	return u->options.stop && u->options.stop(u->options.stop_arg);
}

/* The next URL; NULL: the end, or *err. */
static const char *next_url(struct source_urls *u, bool notes, struct error *err)
{
	const char *why;
	char *line;

	while ((line = next_line(u, err))) {
		if (is_stopped(u)) {
			error_set(err, ERR_TRANSIENT, "%s: stopped", u->path);
			return NULL;
		}
		if (line[0] == '\0' || line[0] == '#')
			continue;
		why = remote_url_wrong(line);
		if (!why)
			return line;
		if (notes)
			pass_over(u, why);
	}
	return NULL;
}

/* A list that may still be written is empty. */
static bool waits(const struct source_urls *u)
{
	const char *slash = strrchr(u->path, '/');
	struct source_entry entry = {.path = slash ? slash + 1 : u->path};
	struct stat st;

	if (!u->options.archive_waits || fstat(fileno(u->list), &st) < 0)
		return false;
	entry.size = (uint64_t)st.st_size;
	entry.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	entry.inode = st.st_ino;
	return u->options.archive_waits(u->options.archive_arg, &entry);
}

/* -- the source ------------------------------------------------------------------------------------ */

/* 0: it cannot be looked at. */
static uint64_t stamp_of(const struct source_urls *u)
{
	struct stat st;

	return fstat(fileno(u->list), &st) == 0 ? folder_stamp(&st) : 0;
}

static int next_entry(void *arg, struct source_entry *entry, struct error *err)
{
	struct source_urls *u = arg;
	const char *url;

	if (u->list && u->stamp == 0) {
		u->stamp = stamp_of(u);
		u->at_end = waits(u);
	}
	if (u->at_end)
		return SOURCE_END;
	url = next_url(u, true, err);
	if (url) {
		remote_files_describe(u->files, url, entry);
		return 0;
	}
	if (err->code != ERR_NONE)
		return -1;
	u->at_end = true;
	if (stamp_of(u) != u->stamp)
		note_unread(u, "it has changed while it was read");
	return SOURCE_END;
}

static int source_urls_next(struct source *s, struct source_entry *entry, struct error *err)
{
	struct source_urls *u = (struct source_urls *)s;

	return remote_window_next(u->window, next_entry, u, entry, err);
}

static void source_urls_keep_lists(struct source *s, const char *folder)
{
	remote_files_keep(((struct source_urls *)s)->files, folder);
}

/* As if it were opened anew, for as long as it takes. */
static int source_urls_examine(struct source *s, const char *path, struct source_entry *entry,
			       struct error *err)
{
	struct source_urls *u = (struct source_urls *)s;
	uint64_t line = u->line;
	const char *url;
	long at;

	if (!u->list)
		return SOURCE_GONE;
	at = ftell(u->list);
	rewind(u->list);
	u->line = 0;
	while ((url = next_url(u, false, err)) && strcmp(url, path) != 0)
		continue;
	fseek(u->list, at, SEEK_SET);
	u->line = line;
	if (!url)
		return err->code == ERR_NONE ? SOURCE_GONE : -1;
	remote_files_describe(u->files, path, entry);
	return 0;
}

static int source_urls_open_sample(struct source *s, const char *path, struct error *err)
{
	return remote_files_open(((struct source_urls *)s)->files, path, err);
}

static int source_urls_prepare(struct source *s, struct source_order *order, struct error *err)
{
	const struct remote_want image = {.url = order->path};

	(void)err;
	order->fetch = remote_fetch_new(((struct source_urls *)s)->files);
	remote_fetch_add(order->fetch, REMOTE_IMAGE, &image);
	return 0;
}

static int source_urls_finish(struct source *s, struct source_order *order, struct error *err)
{
	(void)s;
	return remote_fetch_image(order, err);
}

static void source_urls_drop_at_hand(struct source *s, const char *path)
{
	remote_files_drop(((struct source_urls *)s)->files, path);
}

static int source_urls_caption(struct source *s, const char *path, struct buffer *out,
			       struct error *err)
{
	(void)s;
	(void)path;
	(void)out;
	(void)err;
	return SOURCE_NO_CAPTION;
}

static void source_urls_close(struct source *s)
{
	struct source_urls *u = (struct source_urls *)s;

	remote_files_close(u->files);
	remote_window_close(u->window);
	if (u->list)
		fclose(u->list);
	free(u->text);
	free(u->path);
	free(u);
}

static const struct source_ops source_urls_ops = {
    .name = "urls",
    .next = source_urls_next,
    .examine = source_urls_examine,
    .open_sample = source_urls_open_sample,
    .prepare = source_urls_prepare,
    .finish = source_urls_finish,
    .drop_at_hand = source_urls_drop_at_hand,
    .caption = source_urls_caption,
    .keep_lists = source_urls_keep_lists,
    .close = source_urls_close,
};

int source_urls_open(const char *path, const struct source_folder_options *options,
		     struct source **out, struct error *err)
{
	struct source_urls *u = xcalloc(1, sizeof(*u));
	char quoted[TEXT_QUOTE_SIZE];

	u->base.ops = &source_urls_ops;
	u->base.urls = true;
	u->options = *options;
	u->path = path ? xstrdup(path) : NULL;
	u->text = xmalloc(REMOTE_URL_MAX + 1);
	u->files = remote_files_new(options);
	u->window = remote_window_new(u->files);
	u->base.ahead = remote_files_ahead(u->files);
	u->at_end = !path;
	u->list = path ? fopen(path, "re") : NULL;
	if (path && !u->list) {
		error_set(err, ERR_CONFIG, "source %s: %s", text_quote(path, quoted),
			  strerror(errno));
		source_urls_close(&u->base);
		return -1;
	}
	if (remote_files_begin(u->files, err) < 0) {
		source_urls_close(&u->base);
		return -1;
	}
	*out = &u->base;
	return 0;
}
