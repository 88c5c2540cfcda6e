/*
 * A scan is what an encode begins with (run_sources.h), a page at a time; between pages, the thread hears what
 * happens meanwhile, so that a file that comes during a scan of ten million does not wait for its end.
 */
#include "daemon/intake_parts.h"

#include "daemon/run_sources.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

/* -- while it runs -------------------------------------------------------------------------------- */

static bool is_stopped(void *arg)
{
	return intake_scan_stops(arg);
}

static bool on_young(void *arg, uint32_t root, const struct source_entry *entry)
{
	struct intake *in = arg;

	for (size_t i = 0; i < in->n; i++) {
		if (in->folders[i].there && in->folders[i].number == root)
			return intake_file_is_young(in, i, entry);
	}
	return false;
}

static bool on_page(void *arg, const struct enqueue_counts *counts)
{
	struct intake *in = arg;
	size_t missing = in->state.missing;

	in->state.running_files = counts->added + counts->known + counts->requeued +
				  counts->superseding + counts->busy + counts->unsettled;
	intake_folders_look(in);
	intake_folders_hear(in);
	intake_files_due(in);
	intake_found_jobs(in, counts);
	intake_tell_state(in, false);
	/* What is no longer there has not vanished file by file. */
	return intake_interrupted(in) || in->state.missing > missing;
}

/* The folder of a scan, as its source asks about archives. */
struct archive_question {
	struct intake *intake;
	struct run_sources *sources;
	size_t folder;
};

static bool on_archive(void *arg, const struct source_entry *entry)
{
	const struct archive_question *q = arg;
	bool young = intake_archive_is_young(q->intake, q->folder, entry);

	q->sources->waiting += young;
	return young;
}

static void on_note(void *arg, const char *line)
{
	struct intake *in = arg;

	if (in->state.scans == 0)
		intake_note(in, "%s", line);
}

/* -- before and after ----------------------------------------------------------------------------- */

/* @questions: one for each folder, as long as the sources. */
static int open_sources(struct intake *in, struct run_sources *s,
			struct archive_question *questions, struct error *err)
{
	memset(s, 0, sizeof(*s));
	s->roots = xcalloc(in->n, sizeof(*s->roots));
	s->paths = xcalloc(in->n, sizeof(*s->paths));
	for (size_t i = 0; i < in->n; i++) {
		const struct intake_folder *f = &in->folders[i];
		const struct source_folder_options options = {.recursive = f->source.recursive,
							      .choice = f->source.choice,
							      .captions = in->options.captions,
							      .masks = in->options.masks,
							      .need_captions =
								  in->options.need_captions,
							      .unpack = unpack_process_open,
							      .manifest = f->source.manifest,
							      .remote = f->source.remote,
							      .archive_waits = on_archive,
							      .archive_arg = &questions[i],
							      .note = on_note,
							      .note_arg = in,
							      .unread = &s->unread,
							      .stop = is_stopped,
							      .stop_arg = in};

		questions[i] = (struct archive_question){in, s, i};
		if (!f->there)
			continue;
		if (source_open(f->path, &options, &s->roots[s->n].source, err) < 0)
			return -1;
		intake_keep_lists(in, f, s->roots[s->n].source);
		s->roots[s->n].root = f->number;
		s->paths[s->n++] = xstrdup(f->path);
		s->moved_device = s->moved_device || f->moved_device;
	}
	return 0;
}

/*
 * Whether everything that is known is encoded. The loop said so before this scan; but a file may have been moved since,
 * and its sample is copied from the one of its old path.
 */
static bool all_encoded(struct intake *in, struct error *err)
{
	struct queue_counts counts;

	if (intake_files_awaited(in) > 0 ||
	    queue_counts(in->queue, in->options.dataset, &counts, err) < 0)
		return false;
	return counts.jobs[JOB_AVAILABLE] + counts.jobs[JOB_RUNNING] == 0;
}

/* Where samples cannot be removed now, only jobs without one are gone. */
static int conclude(struct intake *in, struct sources_scanned *scanned, struct error *err)
{
	struct scan_counts counts;

	in->state.removal_waits = false;
	if (!scanned->open)
		return 0;
	if (in->doing.remove && all_encoded(in, err))
		return run_sources_remove(in->queue, in->options.dataset, scanned, err);
	if (err->code != ERR_NONE)
		return -1;
	in->state.removal_waits = scanned->vanished.missed_done > 0;
	return queue_scan_end(in->queue, in->options.dataset, SCAN_KEEP, clock_wall_ms(), &counts,
			      err);
}

static void take_down(struct intake *in, const struct sources_scanned *scanned)
{
	const struct enqueue_counts *found = &scanned->found;
	struct intake_state *s = &in->state;
	const char *before = s->not_believed;

	s->scan_files = s->running_files;
	s->scans++;
	if (found->busy > 0)
		intake_want_scan(in, RESCAN_LATER);
	if (scanned->waits)
		return; /* it is scanned again when the archive has settled */
	s->not_believed = scanned->not_believed;
	s->deletions =
	    scanned->vanished.missed + (in->options.remove ? scanned->vanished.missed_done : 0);
	if (!s->not_believed) {
		s->deletions = 0;
		for (size_t i = 0; i < in->n; i++)
			in->folders[i].moved_device = false;
	} else if (!before) {
		intake_note(in,
			    "%llu files are no longer there, and %s: nothing is done about that "
			    "before somebody accepts it",
			    (unsigned long long)s->deletions, s->not_believed);
	}
	in->doing.remove = false;
	in->doing.accept = in->doing.accept && s->removal_waits;
}

static int scan(struct intake *in, struct sources_scanned *scanned, struct error *err)
{
	const struct deletion_policy policy = {
	    .remove = in->options.remove, .all = in->doing.accept, .may_be_empty = true};
	struct scan_options options = intake_scan_options(in, 0);
	struct run_sources sources;
	cleanup_free struct archive_question *questions = xcalloc(in->n, sizeof(*questions));
	int r = open_sources(in, &sources, questions, err);

	options.is_young = on_young;
	options.on_page = on_page;
	options.arg = in;
	if (r == 0)
		r = run_sources_scan(&sources, in->queue, &options, &policy, scanned, err);
	run_sources_close(&sources);
	return r;
}

/* What is not told is looked for; like every scan, not for more than a fiftieth of the time. */
static void scan_regularly(struct intake *in)
{
	int64_t period = intake_folders_period(in), least = RESCAN_LATER * in->last_scan_ms;

	if (period == NEVER)
		return;
	period = period > least ? period : least;
	if (in->last_scan_end + period < in->rescan_due)
		in->rescan_due = in->last_scan_end + period;
}

void intake_scan(struct intake *in)
{
	int64_t began = clock_mono_ms();
	struct sources_scanned scanned = {.open = false};
	struct error err = ERROR_INIT;
	bool interrupted;
	int r;

	intake_folders_look(in);
	if (!intake_folders_ready(in))
		return;
	in->rescan_due = NEVER;
	in->scanning = true;
	in->archive_due = false;
	in->young_left = false;
	in->state.running_files = 0;
	in->state.scan_began_at = clock_wall_ms();
	intake_tell_state(in, true);
	intake_folders_retry(in);
	r = scan(in, &scanned, &err);
	if (r == 0)
		r = conclude(in, &scanned, &err);
	interrupted = intake_interrupted(in);
	in->scanning = false;
	in->last_scan_end = clock_mono_ms();
	in->last_scan_ms = in->last_scan_end - began;
	if (r == 0) {
		in->state.scan_ms = in->last_scan_ms;
		intake_works(in);
		take_down(in, &scanned);
		intake_found_jobs(in, &scanned.found);
	} else if (r == SCAN_STOPPED || interrupted) {
		intake_want_scan(in, RESCAN_NOW);
	} else {
		intake_failed(in, &err);
	}
	scan_regularly(in);
	intake_tell_state(in, true);
}
