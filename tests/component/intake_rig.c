#include "tests/component/intake_rig.h"

#include "base/checked.h"
#include "queue/queue_open.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void on_state(void *arg, const struct intake_state *state)
{
	struct intake_rig *rig = arg;

	rig->state = *state;
	memcpy(rig->roots, state->roots, rig->options.n_sources * sizeof(*rig->roots));
	snprintf(rig->why, sizeof(rig->why), "%s", state->why ? state->why : "");
	snprintf(rig->watch_note, sizeof(rig->watch_note), "%s",
		 state->watch_note ? state->watch_note : "");
	rig->states++;
}

static void on_jobs(void *arg)
{
	((struct intake_rig *)arg)->jobs++;
}

static void on_note(void *arg, const char *line)
{
	buffer_appendf(&((struct intake_rig *)arg)->notes, "%s\n", line);
}

int intake_rig_setup(void **state)
{
	struct intake_rig *rig = xcalloc(1, sizeof(*rig));
	struct queue_dataset_spec spec = {"photos", "/out", "0123456789abcdef0123456789abcdef",
					  "{}"};
	struct error err = ERROR_INIT;

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	rig->top = testing_tempdir();
	rig->dir = testing_path(rig->top, "source");
	assert_int_equal(mkdir(rig->dir, 0755), 0);
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(inbox_open(rig->event, &rig->inbox, &err), &err);
	assert_ok(queue_memory_open(&rig->behind, &err), &err);
	assert_ok(db_open(rig->inbox, rig->behind, "host:1", &rig->db, &err), &err);
	rig->q = db_queue_new(rig->db, NULL);
	assert_ok(queue_open_dataset(rig->q, &spec, &rig->dataset, &err), &err);
	rig->sources[0] = (struct intake_source){.path = rig->dir, .recursive = true};
	rig->options = (struct intake_options){.db = rig->db,
					       .dataset = rig->dataset,
					       .name = "photos",
					       .state = rig->top,
					       .sources = rig->sources,
					       .n_sources = 1,
					       .handlers = {on_state, on_jobs, on_note},
					       .arg = rig};
	*state = rig;
	return 0;
}

void intake_rig_stop(struct intake_rig *rig)
{
	intake_close(rig->intake);
	rig->intake = NULL;
}

int intake_rig_teardown(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_stop(rig);
	queue_close(rig->q);
	db_close(rig->db);
	queue_close(rig->behind);
	inbox_close(rig->inbox);
	sd_event_unref(rig->event);
	buffer_release(&rig->notes);
	buffer_release(&rig->text);
	testing_tempdir_remove(rig->top);
	free(rig->dir);
	free(rig);
	return 0;
}

void intake_rig_start(struct intake_rig *rig)
{
	struct error err = ERROR_INIT;

	memset(&rig->state, 0, sizeof(rig->state));
	assert_ok(intake_open(&rig->options, rig->inbox, &rig->intake, &err), &err);
}

void intake_rig_scan(struct intake_rig *rig)
{
	intake_rig_start(rig);
	wait_until(rig, rig->state.scans > 0 && rig->state.phase != INTAKE_SCANNING);
}

void intake_rig_turn(struct intake_rig *rig, int64_t deadline)
{
	int r = sd_event_run(rig->event, 20 * 1000);

	assert_true(r >= 0);
	if (clock_mono_ms() > deadline)
		fail_msg("waited for nothing; jobs: %s; why: %s; notes: %s", intake_rig_jobs(rig),
			 rig->why, intake_rig_notes(rig));
}

/* -- jobs ----------------------------------------------------------------------------------------- */

struct listing {
	char *lines[64];
	size_t n;
};

static int on_job(void *arg, const struct job_row *row)
{
	struct listing *l = arg;

	assert_true(l->n < ARRAY_SIZE(l->lines));
	l->lines[l->n++] = xasprintf("%s %s", row->path, job_state_name(row->state));
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *intake_rig_jobs(struct intake_rig *rig)
{
	struct listing l = {.n = 0};
	struct error err = ERROR_INIT;

	for (int state = 0; state < JOB_STATES; state++) {
		const struct job_filter which = {.dataset = rig->dataset,
						 .state = (enum job_state)state};

		assert_ok(queue_jobs(rig->q, &which, on_job, &l, &err), &err);
	}
	qsort(l.lines, l.n, sizeof(*l.lines), compare_lines);
	buffer_reset(&rig->text);
	for (size_t i = 0; i < l.n; i++) {
		buffer_appendf(&rig->text, "%s|", l.lines[i]);
		free(l.lines[i]);
	}
	buffer_append_string(&rig->text, "");
	return (const char *)rig->text.data;
}

bool intake_rig_jobs_are(struct intake_rig *rig, const char *text)
{
	return strcmp(intake_rig_jobs(rig), text) == 0;
}

const char *intake_rig_notes(struct intake_rig *rig)
{
	buffer_append_string(&rig->notes, "");
	return (const char *)rig->notes.data;
}

/* -- files ---------------------------------------------------------------------------------------- */

char *intake_rig_path(const struct intake_rig *rig, const char *name)
{
	return xasprintf("%s/%s", rig->dir, name);
}

void intake_rig_write(const struct intake_rig *rig, const char *name, const char *bytes)
{
	cleanup_free char *path = intake_rig_path(rig, name);

	testing_write(path, bytes, strlen(bytes));
}

void intake_rig_make(const struct intake_rig *rig, const char *name, const char *bytes,
		     int64_t seconds)
{
	cleanup_free char *path = intake_rig_path(rig, name);
	struct timespec times[2];

	for (char *slash = path + strlen(rig->dir) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	intake_rig_write(rig, name, bytes);
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec += seconds - 3600;
	times[1] = times[0];
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

void intake_rig_unlink(const struct intake_rig *rig, const char *name)
{
	cleanup_free char *path = intake_rig_path(rig, name);

	assert_int_equal(unlink(path), 0);
}
