/*
 * Two lists. What was heard of gathers for a moment (batch) and is looked at; what may still be written waits
 * (young), and is enqueued when it has not changed from one look to the next, whatever its clock says.
 */
#include "daemon/intake_parts.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "source/source_path.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH_FILES = 1000 };

/* A file whose time lies further ahead says nothing about when it was written. */
#define FUTURE_MS ((int64_t)60 * 60 * 1000)

/* -- lists ---------------------------------------------------------------------------------------- */

static void list_push(struct file_list *l, struct intake_file file)
{
	if (l->first + l->n == l->capacity && l->first > l->capacity / 2) {
		memmove(l->items, l->items + l->first, l->n * sizeof(*l->items));
		l->first = 0;
	}
	if (l->first + l->n == l->capacity) {
		l->capacity = l->capacity > 0 ? l->capacity * 2 : 64;
		l->items = xrealloc(l->items, l->capacity, sizeof(*l->items));
	}
	l->items[l->first + l->n++] = file;
}

static struct intake_file list_pop(struct file_list *l)
{
	struct intake_file file = l->items[l->first++];

	if (--l->n == 0)
		l->first = 0;
	return file;
}

static void list_clear(struct file_list *l)
{
	while (l->n > 0)
		free(list_pop(l).path);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

void intake_files_clear(struct intake *in)
{
	list_clear(&in->batch);
	list_clear(&in->young);
}

/* "a/b.png" of "a/b-mask.png"; to be freed. */
static char *image_of_mask(const char *path)
{
	int stem = (int)(source_path_stem(path) - strlen("-mask"));

	return xasprintf("%.*s.png", stem, path);
}

void intake_file_heard(struct intake *in, size_t folder, const char *path, bool settled,
		       bool caption)
{
	const char *masks = in->options.masks;
	bool mask = masks && strcmp(masks, SOURCE_MASKS_BESIDE) == 0 && source_path_is_mask(path);

	if ((caption || mask) && !in->options.captions)
		return;
	caption = caption || mask;
	if (in->batch.n == 0)
		in->batch_due = clock_mono_ms() + INTAKE_BATCH_MS;
	list_push(&in->batch,
		  (struct intake_file){.folder = folder,
				       .path = mask ? image_of_mask(path) : xstrdup(path),
				       .settled = settled,
				       .caption = caption,
				       .archive = source_path_is_archive(path)});
	if (in->batch.n >= BATCH_FILES)
		in->batch_due = 0;
}

size_t intake_files_awaited(const struct intake *in)
{
	return in->batch.n + in->young.n - in->restless + in->young_left + in->archive_due;
}

static struct intake_file with_path(struct intake_file file, const char *path)
{
	file.path = xstrdup(path);
	return file;
}

/* Is looked at again in a while. Takes file.path. */
static void look_again(struct intake *in, struct intake_file file, const struct source_entry *entry)
{
	if (!file.seen)
		file.since = clock_mono_ms();
	file.seen = true;
	file.settled = false;
	file.size = entry->size;
	file.mtime_ns = entry->mtime_ns;
	file.due = clock_mono_ms() + INTAKE_YOUNG_MS;
	if (in->young.n < YOUNG_MAX) {
		in->restless += file.restless;
		list_push(&in->young, file);
		return;
	}
	free(file.path);
	in->young_left = true;
	intake_want_scan(in, RESCAN_LATER);
}

static bool is_young(const struct source_entry *entry)
{
	int64_t age = clock_wall_ms() - entry->mtime_ns / 1000000;

	return age < INTAKE_YOUNG_MS && age > -FUTURE_MS;
}

/* A few at most. */
static bool is_restless(const struct intake *in, size_t folder, const char *path)
{
	for (size_t i = 0; i < in->young.n && in->restless > 0; i++) {
		const struct intake_file *f = &in->young.items[in->young.first + i];

		if (f->restless && f->folder == folder && strcmp(f->path, path) == 0)
			return true;
	}
	return false;
}

char *intake_files_restless(const struct intake *in)
{
	for (size_t i = 0; i < in->young.n && in->restless > 0; i++) {
		const struct intake_file *f = &in->young.items[in->young.first + i];

		if (f->restless && f->archive)
			return xstrdup(f->path);
	}
	return NULL;
}

static bool waits(struct intake *in, size_t folder, const struct source_entry *entry, bool archive)
{
	const struct intake_file file = {.folder = folder, .archive = archive};

	if (!is_young(entry))
		return false;
	if (is_restless(in, folder, entry->path))
		return true; /* and it waits already */
	look_again(in, with_path(file, entry->path), entry);
	return true;
}

/* Of an archive's members the archive was asked for. */
bool intake_file_is_young(struct intake *in, size_t folder, const struct source_entry *entry)
{
	return !entry->key && waits(in, folder, entry, false);
}

bool intake_archive_is_young(struct intake *in, size_t folder, const struct source_entry *entry)
{
	return waits(in, folder, entry, true);
}

/* -- looking -------------------------------------------------------------------------------------- */

struct scan_options intake_scan_options(const struct intake *in, size_t folder)
{
	const struct intake_options *o = &in->options;

	return (struct scan_options){.dataset = o->dataset,
				     .root = in->folders[folder].number,
				     .shuffled = o->shuffled,
				     .seed = o->seed,
				     .part = o->part,
				     .parts = o->parts,
				     .captions = o->captions,
				     .need_captions = o->need_captions};
}

/* One round: sources are open only during it, and what was enqueued is known until its end. */
struct round {
	struct intake *in;
	struct source **sources; /* of each folder; opened when needed */
	struct file_list enqueued;
	struct enqueue_counts counts;
	struct error err;
};

static struct source *source_of(struct round *r, size_t folder)
{
	const struct intake_folder *f = &r->in->folders[folder];
	const struct source_folder_options options = {.choice = f->source.choice,
						      .captions = r->in->options.captions,
						      .masks = r->in->options.masks,
						      .need_captions = r->in->options.need_captions,
						      .manifest = f->source.manifest,
						      .remote = f->source.remote,
						      .unpack = unpack_process_open};
	struct error gone = ERROR_INIT; /* is noticed elsewhere */

	if (f->there && !r->sources[folder] &&
	    source_open(f->path, &options, &r->sources[folder], &gone) == 0)
		intake_keep_lists(r->in, f, r->sources[folder]);
	return r->sources[folder];
}

/* Takes file.path. */
static void enqueue(struct round *r, struct intake_file file, const struct source_entry *entry)
{
	struct intake *in = r->in;
	struct scan_options options = intake_scan_options(in, file.folder);

	scan_page_add(in->page, &options, entry, SCAN_LAST);
	file.size = entry->size;
	file.mtime_ns = entry->mtime_ns;
	list_push(&r->enqueued, file);
	if (scan_page_is_full(in->page))
		scan_page_flush(in->page, in->queue, in->options.dataset, &r->counts, &r->err);
}

/* It is another than at the last look. */
static void note_change(struct intake *in, struct intake_file *file)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (file->restless || clock_mono_ms() - file->since < in->options.patience_ms)
		return;
	file->restless = true;
	intake_note(in,
		    "%s keeps changing: it is taken when it does not, and nothing waits for that",
		    text_quote(file->path, quoted));
}

/* Takes file.path. */
static void look_at_image(struct round *r, struct intake_file file)
{
	struct source *source = source_of(r, file.folder);
	struct source_entry entry;
	bool wait, changed;

	if (!source || r->err.code != ERR_NONE ||
	    source_examine(source, file.path, &entry, &r->err) != 0) {
		free(file.path);
		return;
	}
	changed = file.seen && (file.size != entry.size || file.mtime_ns != entry.mtime_ns);
	wait = file.seen ? changed : !file.settled && is_young(&entry);
	if (changed)
		note_change(r->in, &file);
	if (wait)
		look_again(r->in, file, &entry);
	else
		enqueue(r, file, &entry);
}

/*
 * The images that a caption may belong to: one of each format, its extension in small or in large letters. One in
 * mixed letters is left to the next scan.
 */
static void look_at_images_of(struct round *r, const struct intake_file *caption)
{
	int stem = (int)source_path_stem(caption->path);
	const char *extension;

	for (size_t i = 0; (extension = source_path_image_extension(i)); i++) {
		struct intake_file image = {.folder = caption->folder, .settled = true};

		image.path = xasprintf("%.*s%s", stem, caption->path, extension);
		look_at_image(r, image);
		image.path = xasprintf("%.*s%s", stem, caption->path, extension);
		for (char *c = image.path + stem; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		look_at_image(r, image);
	}
}

/* Its members are taken by a scan. Takes file.path. */
static void look_at_archive(struct round *r, struct intake_file file)
{
	const struct intake_folder *f = &r->in->folders[file.folder];
	cleanup_free char *path =
	    f->archive ? xstrdup(f->path) : xasprintf("%s/%s", f->path, file.path);
	struct source_entry entry = {.path = file.path};
	bool wait, changed;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		free(file.path);
		return;
	}
	entry.size = (uint64_t)st.st_size;
	entry.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	changed = file.seen && (file.size != entry.size || file.mtime_ns != entry.mtime_ns);
	wait = file.seen ? changed : !file.settled && is_young(&entry);
	if (changed)
		note_change(r->in, &file);
	if (wait) {
		look_again(r->in, file, &entry);
		return;
	}
	free(file.path);
	r->in->archive_due = true;
	intake_want_scan(r->in, RESCAN_SOON);
}

static void look_at(struct round *r, struct intake_file file)
{
	if (file.archive) {
		look_at_archive(r, file);
		return;
	}
	if (!file.caption) {
		look_at_image(r, file);
		return;
	}
	look_at_images_of(r, &file);
	free(file.path);
}

/* Some of the images are being encoded as they were before: these are enqueued again afterwards. */
static void end_round(struct round *r)
{
	struct intake *in = r->in;

	if (r->err.code == ERR_NONE)
		scan_page_flush(in->page, in->queue, in->options.dataset, &r->counts, &r->err);
	while (r->enqueued.n > 0) {
		struct intake_file file = list_pop(&r->enqueued);
		const struct source_entry entry = {.size = file.size, .mtime_ns = file.mtime_ns};

		if (r->counts.busy > 0)
			look_again(in, file, &entry);
		else
			free(file.path);
	}
	list_clear(&r->enqueued);
	for (size_t i = 0; i < in->n; i++)
		source_close(r->sources[i]);
	free(r->sources);
	if (r->err.code != ERR_NONE) {
		scan_page_clear(in->page);
		intake_failed(in, &r->err);
	}
	intake_found_jobs(in, &r->counts);
}

int64_t intake_files_next(const struct intake *in)
{
	int64_t young = in->young.n > 0 ? in->young.items[in->young.first].due : NEVER;
	int64_t batch = in->batch.n > 0 ? in->batch_due : NEVER;

	return young < batch ? young : batch;
}

void intake_files_due(struct intake *in)
{
	int64_t now = clock_mono_ms();
	struct round r = {.in = in};

	if (intake_files_next(in) > now)
		return;
	r.sources = xcalloc(in->n, sizeof(*r.sources));
	while (in->batch.n > 0 && in->batch_due <= now)
		look_at(&r, list_pop(&in->batch));
	while (in->young.n > 0 && in->young.items[in->young.first].due <= now) {
		struct intake_file file = list_pop(&in->young);

		in->restless -= file.restless;
		look_at(&r, file);
	}
	end_round(&r);
	intake_tell_state(in, in->young.n == in->restless);
}
