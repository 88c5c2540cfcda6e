/*
 * One image is under way for each decode process. What a handler is given is the image's slot, which holds all
 * that is known of the file so far; the slot is free again when the file was handed on.
 */
#include "daemon/survey.h"

#include "daemon/decode_pool.h"
#include "daemon/program.h"

#include "base/checked.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>

enum { TIME_LIMIT_MS = 60000 };

struct survey;

struct survey_image {
	struct survey *survey;
	struct survey_image *next_free;
	struct survey_file file;
	struct hash128 content;
	struct buffer path;
};

struct survey {
	struct source *const *sources;
	size_t n, at; /* the source that is being listed */
	uint64_t position;
	const struct survey_options *options;
	struct buffer caption;
	sd_event *event;
	struct decode_pool *pool;
	struct survey_image *images, *free; /* @workers of them */
	size_t workers;
	bool warned;
};

static void hand_on(struct survey_image *image, const struct image_header *header,
		    const struct error *why)
{
	struct survey *s = image->survey;

	image->file.header = header;
	image->file.why = why;
	s->options->on_file(s->options->arg, &image->file);
	image->next_free = s->free;
	s->free = image;
}

/* -- what the workers say ------------------------------------------------------------------------- */

static void on_hashed(void *arg, const struct hash128 *content, uint64_t bytes)
{
	struct survey_image *image = arg;

	image->content = *content;
	image->file.content = &image->content;
	image->file.bytes = bytes;
}

static void on_header(void *arg, const struct image_header *header, struct decode_ticket *ticket)
{
	(void)ticket;
	hand_on(arg, header, NULL);
}

static void on_failed(void *arg, const struct error *why)
{
	hand_on(arg, NULL, why);
}

/* -- what they are given -------------------------------------------------------------------------- */

/* A file that cannot be opened is a bad file, whatever the reason: the others are looked at nonetheless. */
static void bad_file(struct survey_image *image, const struct error *failed)
{
	struct error why = ERROR_INIT;

	if (failed->code == ERR_DATA)
		why = *failed;
	else
		error_data(&why, "unreadable", "%s", failed->message);
	hand_on(image, NULL, &why);
}

static int look_for_caption(struct survey *s, struct survey_image *image, struct error *failed)
{
	int r;

	if (!s->options->captions)
		return 0;
	buffer_reset(&s->caption);
	r = source_caption(s->sources[s->at], image->file.path, &s->caption, failed);
	if (r < 0)
		return error_wrap(failed, "its caption");
	image->file.has_caption = r == 0;
	return 0;
}

static void start_one(struct survey *s, const struct source_entry *entry)
{
	struct survey_image *image = s->free;
	struct error failed = ERROR_INIT;
	cleanup_close int fd = -1;

	s->free = image->next_free;
	buffer_reset(&image->path);
	buffer_append_string(&image->path, entry->path);
	image->file = (struct survey_file){.source = s->at,
					   .position = s->position++,
					   .path = (const char *)image->path.data,
					   .bytes = entry->size};
	fd = source_open_sample(s->sources[s->at], image->file.path, &failed);
	if (fd < 0 || look_for_caption(s, image, &failed) < 0)
		bad_file(image, &failed);
	else
		decode_pool_start(s->pool, fd, image);
}

/* Gives every worker that has none a file, as long as there are files. */
static int start_some(struct survey *s, struct error *err)
{
	struct source_entry entry;

	while (s->at < s->n && decode_pool_room(s->pool) > 0) {
		int r = source_next(s->sources[s->at], &entry, err);

		if (r < 0)
			return -1;
		if (r == SOURCE_END)
			s->at++;
		else if (source_is_remote(s->sources[s->at], entry.path))
			++*s->options->elsewhere;
		else
			start_one(s, &entry);
	}
	return 0;
}

static void warn_once(struct survey *s)
{
	const char *warning = decode_pool_warning(s->pool);

	if (!warning || s->warned || !s->options->on_note)
		return;
	s->warned = true;
	s->options->on_note(s->options->arg, warning);
}

static int turn_loop(struct survey *s, struct error *err)
{
	for (;;) {
		int r;

		if (start_some(s, err) < 0)
			return -1;
		if (s->at == s->n && decode_pool_busy(s->pool) == 0)
			return 0;
		if (decode_pool_dead(s->pool))
			return error_set(err, ERR_IO, "no decode process can be kept running: %s",
					 decode_pool_last_end(s->pool));
		r = sd_event_run(s->event, UINT64_MAX);
		if (r < 0) {
			errno = -r;
			return error_sys(err, "wait for events");
		}
		warn_once(s);
	}
}

/* -- begin and end -------------------------------------------------------------------------------- */

static size_t worker_count(size_t asked)
{
	if (asked > 0)
		return asked;
	/* Two for each core: the next file is looked at while the answer to the last one is on its way. */
	return 2 * thread_cores();
}

static int survey_open(struct survey *s, struct error *err)
{
	struct decode_pool_options pool = {
	    .mode = s->options->hash ? DECODE_MODE_HASHES : DECODE_MODE_HEADERS,
	    .workers = s->workers,
	    .limits = IMAGE_LIMITS_DEFAULT,
	    .time_limit_ms = TIME_LIMIT_MS,
	    .handlers = {on_hashed, on_header, NULL, on_failed, NULL}};
	int r = sd_event_new(&s->event);

	if (r < 0) {
		errno = -r;
		return error_sys(err, "start the event loop");
	}
	s->images = xcalloc(s->workers, sizeof(*s->images));
	for (size_t i = 0; i < s->workers; i++) {
		s->images[i].survey = s;
		s->images[i].next_free = s->free;
		s->free = &s->images[i];
	}
	return decode_pool_open(s->event, &pool, &s->pool, err);
}

static void survey_close(struct survey *s)
{
	decode_pool_close(s->pool);
	sd_event_unref(s->event);
	for (size_t i = 0; s->images && i < s->workers; i++)
		buffer_release(&s->images[i].path);
	free(s->images);
	buffer_release(&s->caption);
}

int survey_run(struct source *const *sources, size_t n, const struct survey_options *options,
	       struct error *err)
{
	struct survey s = {
	    .sources = sources, .n = n, .options = options, .workers = worker_count(options->jobs)};
	int r = survey_open(&s, err);

	if (r == 0)
		r = turn_loop(&s, err);
	survey_close(&s);
	return r;
}
