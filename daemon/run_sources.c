#include "daemon/run_sources.h"

#include "daemon/sources.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <string.h>

enum { DELETED_FEW = 10 }; /* so many may vanish from any dataset */

/* @inner is @outer or below it. */
static bool lies_in(const char *inner, const char *outer)
{
	size_t n = strlen(outer);

	return strncmp(inner, outer, n) == 0 && (inner[n] == '/' || inner[n] == '\0' || n == 1);
}

int run_sources_open(struct run_sources *s, const char *const *paths, size_t n, bool captions,
		     void (*note)(void *arg, const char *line), void *arg, struct error *err)
{
	struct source_folder_options options = {.recursive = true,
						.choice = s->choice,
						.masks = s->masks,
						.captions = captions,
						.unpack = unpack_process_open,
						.manifest = s->manifest,
						.remote = s->remote,
						.note = note,
						.note_arg = arg,
						.unread = &s->unread,
						.stop = s->stop};

	s->roots = xcalloc(n, sizeof(*s->roots));
	s->paths = xcalloc(n, sizeof(*s->paths));
	for (size_t i = 0; i < n; i++) {
		if (source_open(paths[i], &options, &s->roots[i].source, err) < 0)
			return -1;
		s->n++;
		s->paths[i] = sources_real_path(paths[i]);
		if (!s->paths[i])
			return error_sys(err, "%s", paths[i]);
		for (size_t k = 0; k < i; k++) {
			if (lies_in(s->paths[k], s->paths[i]) || lies_in(s->paths[i], s->paths[k]))
				return error_set(err, ERR_CONFIG,
						 "%s and %s overlap: give the outer one only",
						 paths[k], paths[i]);
		}
	}
	return 0;
}

static void keep_lists(struct pipeline_root *root, uint32_t number, const char *state,
		       const char *dataset)
{
	cleanup_free char *lists = sources_lists(state, dataset, number);

	root->root = number;
	source_keep_lists(root->source, lists);
}

int run_sources_number(struct run_sources *s, const char *state, const char *dataset,
		       struct error *err)
{
	cleanup_free uint32_t *numbers = xcalloc(s->n, sizeof(*numbers));
	struct sources_numbers sources = {.numbers = numbers, .root = s->manifest.root};

	if (sources_number(state, dataset, s->paths, s->n, &sources, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n; i++)
		keep_lists(&s->roots[i], numbers[i], state, dataset);
	s->others = sources.others;
	s->moved_device = sources.moved_device;
	return 0;
}

static int scan_each(struct run_sources *s, struct queue *queue, const struct scan_options *options,
		     struct enqueue_counts *counts, struct error *err)
{
	for (size_t i = 0; i < s->n; i++) {
		struct scan_options one = *options;
		int r;

		one.root = s->roots[i].root;
		one.first_rank = (uint64_t)one.root << 40;
		r = scan_source(queue, s->roots[i].source, &one, counts, err);
		if (r < 0)
			return error_wrap(err, "%s", s->paths[i]);
		if (r > 0)
			return r;
	}
	return 0;
}

static bool is_nothing(const struct enqueue_counts *c)
{
	return c->added + c->known + c->requeued + c->superseding + c->busy + c->unsettled == 0;
}

/*
 * Nothing was found where something is known: to count all that is missed would hold the database up for long.
 * Fills out->vanished; false: nothing is known.
 */
static bool all_vanished(struct queue *queue, int64_t dataset, struct sources_scanned *out,
			 struct error *err)
{
	struct queue_counts counts;

	if (queue_counts(queue, dataset, &counts, err) < 0)
		return false;
	for (size_t state = 0; state < JOB_STATES; state++) {
		if (state == JOB_COMPLETED)
			out->vanished.missed_done = counts.jobs[state];
		else if (state != JOB_GONE)
			out->vanished.missed += counts.jobs[state];
	}
	return out->vanished.missed + out->vanished.missed_done > 0;
}

/* NULL: they are gone. */
static const char *not_believed(const struct run_sources *s, const struct deletion_policy *policy,
				const struct scan_counts *c)
{
	size_t vanished = c->missed + (policy->remove ? c->missed_done : 0);
	size_t all = c->met + c->missed + c->missed_done;

	if (vanished == 0 || policy->all)
		return NULL;
	if (s->unread > 0)
		return "a folder, an archive or a manifest cannot be read";
	if (s->moved_device)
		return "a source folder is on another device than before";
	if (vanished > DELETED_FEW && vanished > all / 10)
		return "that is more than a tenth";
	return NULL;
}

static int end_scan(struct run_sources *s, struct queue *queue, int64_t dataset,
		    const struct deletion_policy *policy, struct sources_scanned *out,
		    struct error *err)
{
	struct scan_counts same;

	out->dataset = dataset;
	out->waits = s->waiting > 0;
	if (out->waits)
		return queue_scan_end(queue, dataset, SCAN_ABANDON, clock_wall_ms(), &same, err);
	if (is_nothing(&out->found) && !policy->all && all_vanished(queue, dataset, out, err)) {
		out->not_believed = "that is all of them";
		return queue_scan_end(queue, dataset, SCAN_ABANDON, clock_wall_ms(), &same, err);
	}
	if (err->code != ERR_NONE)
		return -1;
	if (queue_scan_end(queue, dataset, SCAN_COUNT, clock_wall_ms(), &out->vanished, err) < 0)
		return -1;
	out->not_believed = not_believed(s, policy, &out->vanished);
	out->open = policy->remove && !out->not_believed;
	if (out->open)
		return 0;
	return queue_scan_end(queue, dataset, out->not_believed ? SCAN_ABANDON : SCAN_KEEP,
			      clock_wall_ms(), &same, err);
}

int run_sources_remove(struct queue *queue, int64_t dataset, struct sources_scanned *scanned,
		       struct error *err)
{
	if (!scanned->open)
		return 0;
	scanned->open = false;
	return queue_scan_end(queue, dataset, SCAN_REMOVE, clock_wall_ms(), &scanned->vanished,
			      err);
}

int run_sources_scan(struct run_sources *s, struct queue *queue, const struct scan_options *options,
		     const struct deletion_policy *policy, struct sources_scanned *out,
		     struct error *err)
{
	cleanup_free uint32_t *roots = xcalloc(s->n, sizeof(*roots));
	struct error ignored = ERROR_INIT;
	struct scan_counts none;
	int r;

	for (size_t i = 0; i < s->n; i++)
		roots[i] = s->roots[i].root;
	if (queue_scan_begin(queue, options->dataset, roots, s->n, err) < 0)
		return -1;
	r = scan_each(s, queue, options, &out->found, err);
	if (r == 0 && is_nothing(&out->found) && !policy->may_be_empty)
		r = error_set(err, ERR_CONFIG, "no images below %s%s%s", s->paths[0],
			      s->n > 1 ? " and the other folders" : "",
			      s->choice.include.n + s->choice.exclude.n > 0
				  ? " that --include and --exclude leave"
				  : "");
	if (r == 0)
		r = end_scan(s, queue, options->dataset, policy, out, err);
	if (r != 0)
		queue_scan_end(queue, options->dataset, SCAN_ABANDON, clock_wall_ms(), &none,
			       &ignored);
	return r;
}

struct left_out {
	const struct run_sources *sources;
	size_t n;
};

static int on_open_job(void *arg, const struct job_row *row)
{
	struct left_out *l = arg;

	for (size_t i = 0; i < l->sources->n; i++) {
		if (l->sources->roots[i].root == row->root)
			return 0;
	}
	l->n++;
	return 0;
}

int run_sources_left_out(const struct run_sources *s, struct queue *queue, int64_t dataset,
			 size_t *n, struct error *err)
{
	static const enum job_state open[] = {JOB_AVAILABLE, JOB_RETRYABLE};
	struct left_out l = {s, 0};

	for (size_t i = 0; i < ARRAY_SIZE(open) && s->others > 0; i++) {
		const struct job_filter which = {.dataset = dataset, .state = open[i]};

		if (queue_jobs(queue, &which, on_open_job, &l, err) < 0)
			return -1;
	}
	*n = l.n;
	return 0;
}

void run_sources_close(struct run_sources *s)
{
	for (size_t i = 0; i < s->n; i++) {
		source_close(s->roots[i].source);
		free(s->paths[i]);
	}
	free(s->roots);
	free(s->paths);
}
