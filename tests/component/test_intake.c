/*
 * The queue stays in step with a folder: every test changes one and says what the other must become.
 */
#include "base/checked.h"
#include "base/files.h"
#include "daemon/intake_parts.h"
#include "tests/component/intake_rig.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* -- a seam: the limit of watches ----------------------------------------------------------------- */

static atomic_int watches_left = -1; /* -1: as many as there are */

int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);

int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	if (atomic_load(&watches_left) == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (atomic_load(&watches_left) > 0)
		atomic_fetch_sub(&watches_left, 1);
	return __real_inotify_add_watch(fd, path, mask);
}

static void move(const struct intake_rig *rig, const char *from, const char *to)
{
	cleanup_free char *a = intake_rig_path(rig, from), *b = intake_rig_path(rig, to);

	assert_int_equal(rename(a, b), 0);
}

/* -- what comes ----------------------------------------------------------------------------------- */

static void the_first_scan_finds_what_is_there(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "d/e/b.png", "1", 0);
	intake_rig_make(rig, "d/notes.md", "1", 0);
	intake_rig_scan(rig);
	assert_string_equal(intake_rig_jobs(rig), "a.jpg available|d/e/b.png available|");
	assert_int_equal(rig->state.phase, INTAKE_WATCHING);
	assert_int_equal(rig->state.scan_files, 2);
	assert_int_equal(rig->state.folders_watched, 3);
	assert_true(rig->jobs > 0);
	assert_true(rig->roots[0].known && rig->roots[0].there);
	assert_string_equal(rig->why, "");
}

static void an_empty_folder_is_waited_at(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_scan(rig);
	assert_string_equal(intake_rig_jobs(rig), "");
	assert_string_equal(rig->why, "");
	assert_int_equal(rig->state.phase, INTAKE_WATCHING);
}

static void a_file_that_is_closed_is_available_without_another_scan(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_scan(rig);
	intake_rig_write(rig, "a.jpg", "1");
	wait_until(rig, rig->jobs > 0);
	assert_string_equal(intake_rig_jobs(rig), "a.jpg available|");
	intake_rig_write(rig, "../b.jpg", "1");
	move(rig, "../b.jpg", "b.jpg");
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|b.jpg available|"));
	assert_int_equal(rig->state.scans, 1);
}

static void a_tree_that_is_made_meanwhile_is_found(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_scan(rig);
	intake_rig_make(rig, "x/y/z/old.jpg", "1", 0);
	intake_rig_write(rig, "x/y/z/new.jpg", "1");
	wait_until(rig,
		   intake_rig_jobs_are(rig, "x/y/z/new.jpg available|x/y/z/old.jpg available|"));
	assert_int_equal(rig->state.scans, 1);
}

/* -- what is not finished ------------------------------------------------------------------------- */

static void a_young_file_that_a_scan_finds_waits_until_it_stays_the_same(void **state)
{
	struct intake_rig *rig = *state;
	cleanup_free char *path = intake_rig_path(rig, "grows.jpg");
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int64_t made = clock_mono_ms(), wrote;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "1", 1), 1);
	intake_rig_write(rig, "young.jpg", "1");
	intake_rig_make(rig, "future.jpg", "1", 3600 + 1800);
	intake_rig_make(rig, "far.jpg", "1", 3600 * 24 * 365);
	rig->sources[0].watch = INTAKE_OFF;
	intake_rig_scan(rig);
	if (clock_mono_ms() - made >= INTAKE_YOUNG_MS) {
		print_message("SKIPPED: files are old here before they are looked at\n");
		close(fd);
		skip();
	}
	assert_string_equal(intake_rig_jobs(rig), "far.jpg available|");
	assert_int_equal(rig->state.young, 3);
	assert_int_equal(write(fd, "2", 1), 1);
	wrote = clock_mono_ms();
	wait_until(rig, intake_rig_jobs_are(rig, "far.jpg available|future.jpg available|"
						 "young.jpg available|"));
	wait_until(rig, rig->state.young == 0);
	assert_true(clock_mono_ms() - wrote >= INTAKE_YOUNG_MS);
	assert_non_null(strstr(intake_rig_jobs(rig), "grows.jpg available|"));
	close(fd);
}

/* One that is being written: from the near future, so that it is young whenever a scan comes to it. */
static int open_growing(const struct intake_rig *rig, const char *name)
{
	cleanup_free char *path = intake_rig_path(rig, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	const struct timespec later[2] = {{.tv_sec = time(NULL) + 1800},
					  {.tv_sec = time(NULL) + 1800}};

	assert_true(fd >= 0);
	assert_int_equal(futimens(fd, later), 0);
	return fd;
}

static void nothing_waits_for_a_file_that_keeps_changing(void **state)
{
	struct intake_rig *rig = *state;
	int fd = open_growing(rig, "grows.jpg");

	rig->sources[0].watch = INTAKE_OFF;
	rig->options.patience_ms = 1;
	intake_rig_scan(rig);
	assert_int_equal(rig->state.young, 1);
	wait_until(rig, write(fd, "1", 1) == 1 && rig->state.young == 0);
	assert_string_equal(intake_rig_jobs(rig), "");
	assert_non_null(strstr(intake_rig_notes(rig), "\"grows.jpg\" keeps changing"));
	/* A scan finds it again, and that changes nothing. */
	intake_rescan(rig->intake);
	wait_until(rig, write(fd, "1", 1) == 1 && rig->state.scans == 2);
	assert_int_equal(rig->state.young, 0);
	wait_until(rig, intake_rig_jobs_are(rig, "grows.jpg available|"));
	close(fd);
}

static void an_archive_that_keeps_changing_says_what_it_holds_up(void **state)
{
	struct intake_rig *rig = *state;
	int fd = open_growing(rig, "grows.tar");

	rig->sources[0].watch = INTAKE_OFF;
	rig->options.patience_ms = 1;
	intake_rig_scan(rig);
	wait_until(rig, write(fd, "1", 1) == 1 && rig->why[0]);
	assert_non_null(strstr(rig->why, "\"grows.tar\" keeps changing"));
	close(fd);
	intake_rig_unlink(rig, "grows.tar");
	wait_until(rig, !rig->why[0]);
}

static void a_young_file_is_not_taken_for_gone(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_make(rig, "a.jpg", "1", 0);
	rig->sources[0].watch = INTAKE_OFF;
	intake_rig_scan(rig);
	intake_rig_write(rig, "a.jpg", "22");
	intake_rescan(rig->intake);
	wait_until(rig, rig->state.scans == 2);
	assert_string_equal(intake_rig_jobs(rig), "a.jpg available|");
}

static struct job claim(struct intake_rig *rig)
{
	struct queue_claim what = {.owner = "host:1", .lease_until = INT64_MAX, .limit = 1};
	struct error err = ERROR_INIT;
	struct job job;
	size_t n = 0;

	assert_ok(queue_claim(rig->q, &what, &job, &n, &err), &err);
	return job;
}

static void settle(struct intake_rig *rig, const struct job *job, enum outcome_kind kind)
{
	const struct job_outcome outcome = {.job = job->id, .fence = job->fence, .kind = kind};
	struct error err = ERROR_INIT;

	assert_ok(queue_settle(rig->q, &outcome, 1, 1, NULL, &err), &err);
}

static void a_file_that_changes_while_it_is_encoded_is_available_again_afterwards(void **state)
{
	struct intake_rig *rig = *state;
	struct job job;

	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_scan(rig);
	job = claim(rig);
	rig->jobs = 0;
	intake_rig_write(rig, "a.jpg", "22");
	wait_until(rig, rig->state.young == 1);
	assert_string_equal(intake_rig_jobs(rig), "a.jpg running|");
	settle(rig, &job, OUTCOME_ENCODED);
	job_release(&job);
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|"));
	wait_until(rig, rig->jobs > 0);
	assert_int_equal(rig->state.scans, 1);
}

/* -- captions ------------------------------------------------------------------------------------- */

static void an_image_waits_for_its_caption_and_again_when_that_goes(void **state)
{
	struct intake_rig *rig = *state;

	rig->options.captions = rig->options.need_captions = true;
	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "B.JPG", "1", 0);
	intake_rig_scan(rig);
	assert_string_equal(intake_rig_jobs(rig), "B.JPG waiting|a.jpg waiting|");
	intake_rig_write(rig, "a.txt", "a cat");
	wait_until(rig, intake_rig_jobs_are(rig, "B.JPG waiting|a.jpg available|"));
	intake_rig_write(rig, "B.txt", "a dog");
	wait_until(rig, intake_rig_jobs_are(rig, "B.JPG available|a.jpg available|"));
	intake_rig_unlink(rig, "a.txt");
	wait_until(rig, intake_rig_jobs_are(rig, "B.JPG available|a.jpg waiting|"));
	assert_int_equal(rig->state.scans, 1);
}

static void a_caption_that_changes_after_encoding_is_to_be_mended(void **state)
{
	struct intake_rig *rig = *state;
	struct queue_counts counts;
	struct error err = ERROR_INIT;
	struct job job;

	rig->options.captions = true;
	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "a.txt", "a cat", 0);
	intake_rig_scan(rig);
	job = claim(rig);
	settle(rig, &job, OUTCOME_ENCODED);
	job_release(&job);
	rig->jobs = 0;
	intake_rig_write(rig, "a.txt", "two cats");
	wait_until(rig, rig->jobs > 0);
	assert_ok(queue_counts(rig->q, rig->dataset, &counts, &err), &err);
	assert_int_equal(counts.recaptions, 1);
}

/* -- what goes ------------------------------------------------------------------------------------ */

static void deleted_and_renamed_files_are_gone_after_the_next_scan(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "b.jpg", "1", 0);
	intake_rig_make(rig, "c.jpg", "1", 0);
	intake_rig_scan(rig);
	intake_rig_unlink(rig, "a.jpg");
	move(rig, "b.jpg", "d.jpg");
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg gone|b.jpg gone|c.jpg available|"
						 "d.jpg available|"));
	wait_until(rig, rig->state.scans == 2); /* one for both */
}

/* @n files f0.jpg, f1.jpg, ... */
static void make_files(struct intake_rig *rig, int n)
{
	for (int i = 0; i < n; i++) {
		cleanup_free char *name = xasprintf("f%d.jpg", i);

		intake_rig_make(rig, name, "1", 0);
	}
}

static size_t count_of(struct intake_rig *rig, enum job_state job_state)
{
	struct queue_counts counts;
	struct error err = ERROR_INIT;

	assert_ok(queue_counts(rig->q, rig->dataset, &counts, &err), &err);
	return counts.jobs[job_state];
}

static void when_much_vanishes_people_are_asked(void **state)
{
	struct intake_rig *rig = *state;

	make_files(rig, 30);
	intake_rig_scan(rig);
	for (int i = 0; i < 15; i++) {
		cleanup_free char *name = xasprintf("f%d.jpg", i);

		intake_rig_unlink(rig, name);
	}
	wait_until(rig, rig->state.deletions == 15);
	assert_non_null(rig->state.not_believed);
	assert_int_equal(count_of(rig, JOB_GONE), 0);
	assert_non_null(strstr(intake_rig_notes(rig), "15 files are no longer there"));
	intake_accept_deletions(rig->intake);
	wait_until(rig, rig->state.deletions == 0);
	assert_null(rig->state.not_believed);
	assert_int_equal(count_of(rig, JOB_GONE), 15);
}

static void when_all_vanishes_people_are_asked_too(void **state)
{
	struct intake_rig *rig = *state;

	make_files(rig, 3);
	intake_rig_scan(rig);
	for (int i = 0; i < 3; i++) {
		cleanup_free char *name = xasprintf("f%d.jpg", i);

		intake_rig_unlink(rig, name);
	}
	wait_until(rig, rig->state.deletions == 3);
	assert_int_equal(count_of(rig, JOB_AVAILABLE), 3);
	/* They come back: nobody is asked any more. */
	make_files(rig, 3);
	intake_rescan(rig->intake);
	wait_until(rig, rig->state.deletions == 0);
	assert_null(rig->state.not_believed);
}

static void complete(struct intake_rig *rig, const char *name)
{
	cleanup_free char *path = xasprintf("%s.jpg", name), *tar = xasprintf("%s.tar", name);
	const struct sample_row sample = {.key = name, .path = path};
	const struct shard_row shard = {
	    .dataset = rig->dataset, .path = tar, .format = "wds", .group = "", .samples = 1};
	struct error err = ERROR_INIT;
	int64_t id;

	assert_ok(queue_complete(rig->q, &shard, &sample, 1, 1, &id, &err), &err);
}

static size_t samples_of(struct intake_rig *rig)
{
	struct queue_counts counts;
	struct error err = ERROR_INIT;

	assert_ok(queue_counts(rig->q, rig->dataset, &counts, &err), &err);
	return counts.samples;
}

static void samples_of_vanished_files_are_removed_when_nothing_is_left_to_encode(void **state)
{
	struct intake_rig *rig = *state;
	struct job job;

	rig->options.remove = true;
	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "b.jpg", "1", 0);
	intake_rig_scan(rig);
	for (int i = 0; i < 2; i++) {
		job = claim(rig);
		settle(rig, &job, OUTCOME_ENCODED);
		job_release(&job);
	}
	complete(rig, "a");
	complete(rig, "b");
	intake_rescan(rig->intake); /* which sees the files of the samples */
	wait_until(rig, rig->state.scans == 2);
	intake_rig_unlink(rig, "a.jpg");
	wait_until(rig, rig->state.removal_waits);
	assert_int_equal(samples_of(rig), 2);

	intake_remove(rig->intake);
	wait_until(rig, !rig->state.removal_waits);
	assert_int_equal(samples_of(rig), 1);
	assert_string_equal(intake_rig_jobs(rig), "a.jpg gone|b.jpg completed|");
}

static void samples_are_not_removed_while_something_new_was_found(void **state)
{
	struct intake_rig *rig = *state;
	struct job job;
	uint64_t before;

	rig->options.remove = true;
	rig->sources[0].watch = INTAKE_OFF;
	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_make(rig, "b.jpg", "1", 0);
	intake_rig_scan(rig);
	for (int i = 0; i < 2; i++) {
		job = claim(rig);
		settle(rig, &job, OUTCOME_ENCODED);
		job_release(&job);
	}
	complete(rig, "a");
	complete(rig, "b");
	move(rig, "a.jpg", "moved.jpg");
	before = rig->state.scans;
	intake_remove(rig->intake);
	wait_until(rig, rig->state.scans > before);
	assert_true(rig->state.removal_waits);
	assert_int_equal(samples_of(rig), 2);
	assert_non_null(strstr(intake_rig_jobs(rig), "moved.jpg available|"));
}

static void a_sample_is_not_removed_while_its_file_only_moves(void **state)
{
	struct intake_rig *rig = *state;
	struct job job;
	uint64_t before;

	rig->options.remove = true;
	intake_rig_make(rig, "a.jpg", "1", 0);
	intake_rig_scan(rig);
	job = claim(rig);
	settle(rig, &job, OUTCOME_ENCODED);
	job_release(&job);
	complete(rig, "a");
	move(rig, "a.jpg", "moved.jpg");
	/* It is told, before the scan that removes; so that one finds nothing new. */
	wait_until(rig, strstr(intake_rig_jobs(rig), "moved.jpg available|"));
	before = rig->state.scans;
	intake_remove(rig->intake);
	wait_until(rig, rig->state.scans > before);
	assert_true(rig->state.removal_waits);
	assert_int_equal(samples_of(rig), 1);
}

/* -- the folder itself ---------------------------------------------------------------------------- */

static void a_folder_that_goes_is_awaited_and_nothing_of_it_is_gone(void **state)
{
	struct intake_rig *rig = *state;
	cleanup_free char *elsewhere = testing_path(rig->top, "elsewhere");

	make_files(rig, 3);
	intake_rig_scan(rig);
	assert_int_equal(rename(rig->dir, elsewhere), 0);
	wait_until(rig, rig->state.missing == 1);
	assert_non_null(strstr(rig->why, "source"));
	assert_false(rig->roots[0].there);
	assert_int_equal(count_of(rig, JOB_AVAILABLE), 3);
	intake_rescan(rig->intake);

	assert_int_equal(rename(elsewhere, rig->dir), 0);
	wait_until(rig, rig->state.missing == 0 && rig->state.scans >= 2);
	assert_string_equal(rig->why, "");
	intake_rig_write(rig, "new.jpg", "1");
	wait_until(rig, count_of(rig, JOB_AVAILABLE) == 4);
	assert_int_equal(count_of(rig, JOB_GONE), 0);
}

static void a_folder_that_is_deleted_and_made_again_is_the_same_source(void **state)
{
	struct intake_rig *rig = *state;
	uint32_t number;

	make_files(rig, 1);
	intake_rig_scan(rig);
	number = rig->roots[0].number;
	intake_rig_unlink(rig, "f0.jpg");
	assert_int_equal(rmdir(rig->dir), 0);
	wait_until(rig, rig->state.missing == 1);
	assert_int_equal(mkdir(rig->dir, 0755), 0);
	make_files(rig, 2);
	wait_until(rig, count_of(rig, JOB_AVAILABLE) == 2);
	assert_int_equal(rig->roots[0].number, number);
	assert_int_equal(rig->roots[0].came, 2);
}

static void a_folder_that_was_never_there_is_waited_for(void **state)
{
	struct intake_rig *rig = *state;

	assert_int_equal(rmdir(rig->dir), 0);
	intake_rig_start(rig);
	wait_until(rig, rig->state.missing == 1);
	assert_false(rig->roots[0].known);
	assert_int_equal(rig->state.scans, 0);
	assert_int_equal(mkdir(rig->dir, 0755), 0);
	make_files(rig, 1);
	wait_until(rig, intake_rig_jobs_are(rig, "f0.jpg available|"));
	assert_true(rig->roots[0].known);
}

static void a_missing_folder_does_not_hold_up_the_others(void **state)
{
	struct intake_rig *rig = *state;
	cleanup_free char *other = intake_rig_path(rig, "../other");

	rig->sources[1] = (struct intake_source){.path = other, .recursive = true};
	rig->options.n_sources = 2;
	intake_rig_scan(rig);
	assert_int_equal(rig->state.missing, 1);
	intake_rig_write(rig, "a.jpg", "1");
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|"));
	assert_int_equal(mkdir(other, 0755), 0);
	intake_rig_write(rig, "../other/b.jpg", "1");
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|b.jpg available|"));
	assert_int_equal(rig->state.missing, 0);
	assert_int_not_equal(rig->roots[0].number, rig->roots[1].number);
}

/* -- what is not watched -------------------------------------------------------------------------- */

static void beyond_the_limit_of_watches_folders_are_polled(void **state)
{
	struct intake_rig *rig = *state;

	intake_rig_make(rig, "d/a.jpg", "1", 0);
	atomic_store(&watches_left, 1);
	rig->sources[0].rescan_ms = 100;
	intake_rig_scan(rig);
	assert_int_equal(rig->state.phase, INTAKE_POLLING);
	assert_int_equal(rig->state.folders_polled, 1);
	assert_non_null(strstr(rig->watch_note, "fs.inotify.max_user_watches"));
	assert_non_null(strstr(intake_rig_notes(rig), "fs.inotify.max_user_watches"));
	intake_rig_make(rig, "d/b.jpg", "1", 0);
	wait_until(rig, intake_rig_jobs_are(rig, "d/a.jpg available|d/b.jpg available|"));
	atomic_store(&watches_left, -1);
	wait_until(rig, rig->state.phase == INTAKE_WATCHING);
	assert_string_equal(rig->watch_note, "");
	assert_int_equal(rig->state.folders_watched, 2);
}

static void a_source_may_be_polled_or_left_alone(void **state)
{
	struct intake_rig *rig = *state;

	rig->sources[0].watch = INTAKE_POLL;
	rig->sources[0].rescan_ms = 100;
	intake_rig_scan(rig);
	assert_int_equal(rig->state.phase, INTAKE_POLLING);
	intake_rig_make(rig, "a.jpg", "1", 0);
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|"));
	intake_rig_stop(rig);

	rig->sources[0].watch = INTAKE_OFF;
	intake_rig_scan(rig);
	assert_int_equal(rig->state.phase, INTAKE_IDLE);
	intake_rig_make(rig, "b.jpg", "1", 0);
	intake_rescan(rig->intake);
	wait_until(rig, intake_rig_jobs_are(rig, "a.jpg available|b.jpg available|"));
}

/* -- commands, trouble ---------------------------------------------------------------------------- */

static void paused_it_enqueues_nothing_and_then_catches_up(void **state)
{
	struct intake_rig *rig = *state;

	rig->options.paused = true;
	make_files(rig, 1);
	intake_rig_start(rig);
	wait_until(rig, rig->state.phase == INTAKE_PAUSED);
	intake_rescan(rig->intake);
	assert_string_equal(intake_rig_jobs(rig), "");
	intake_set_paused(rig->intake, false);
	wait_until(rig, intake_rig_jobs_are(rig, "f0.jpg available|"));
	intake_set_paused(rig->intake, true);
	wait_until(rig, rig->state.phase == INTAKE_PAUSED);
	intake_rig_make(rig, "late.jpg", "1", 0);
	intake_set_paused(rig->intake, false);
	wait_until(rig, intake_rig_jobs_are(rig, "f0.jpg available|late.jpg available|"));
}

static void too_few_descriptors_are_named_and_it_goes_on_when_there_are_more(void **state)
{
	struct intake_rig *rig = *state;
	struct rlimit old, low;
	int next;

	intake_rig_make(rig, "1/2/3/4/5/6/7/8/a.jpg", "1", 0);
	rig->sources[0].watch = INTAKE_POLL;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	next = open("/", O_RDONLY | O_CLOEXEC);
	close(next);
	low = old;
	low.rlim_cur = (rlim_t)next + 8;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	intake_rig_start(rig);
	wait_until(rig, rig->why[0]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_non_null(strstr(rig->why, "RLIMIT_NOFILE"));
	intake_rescan(rig->intake);
	wait_until(rig, count_of(rig, JOB_AVAILABLE) == 1);
	wait_until(rig, !rig->why[0]);
}

enum { MANY = 2500 }; /* more than are entered at a time */

static void be_held(struct queue *queue, void *arg)
{
	(void)queue;
	sem_wait(arg);
}

struct hold {
	struct intake *intake;
	sem_t over;
};

static void until_it_is_to_stop(struct queue *queue, void *arg)
{
	struct hold *hold = arg;

	(void)queue;
	while (!intake_scan_stops(hold->intake))
		usleep(1000);
	sem_post(&hold->over);
}

/* Its thread waits for the database until it is to stop, so how fast anybody is does not matter. */
static void it_stops_in_the_middle_of_a_large_folder_and_goes_on_later(void **state)
{
	struct intake_rig *rig = *state;
	struct hold hold;
	sem_t held;

	sem_init(&hold.over, 0, 0);
	for (int i = 0; i < MANY; i++) {
		cleanup_free char *name = xasprintf("%d.jpg", i);

		intake_rig_make(rig, name, "1", 0);
	}
	sem_init(&held, 0, 0);
	db_post(rig->db, be_held, &held);
	intake_rig_start(rig);
	wait_until(rig, rig->state.phase == INTAKE_SCANNING);
	hold.intake = rig->intake;
	db_post(rig->db, until_it_is_to_stop, &hold);
	sem_post(&held);
	intake_stop(rig->intake);
	sem_wait(&hold.over); /* it looks at the intake no more */
	intake_rig_stop(rig);
	assert_true(count_of(rig, JOB_AVAILABLE) < MANY);
	intake_rig_scan(rig);
	assert_int_equal(count_of(rig, JOB_AVAILABLE), MANY);
	sem_destroy(&held);
	sem_destroy(&hold.over);
}

static void what_was_known_before_is_known_after_a_restart(void **state)
{
	struct intake_rig *rig = *state;

	make_files(rig, 3);
	intake_rig_scan(rig);
	intake_rig_stop(rig);
	intake_rig_unlink(rig, "f0.jpg");
	intake_rig_make(rig, "new.jpg", "1", 0);
	rig->jobs = 0;
	intake_rig_scan(rig);
	assert_string_equal(intake_rig_jobs(rig), "f0.jpg gone|f1.jpg available|f2.jpg available|"
						  "new.jpg available|");
}

#define intake_test(f) cmocka_unit_test_setup_teardown(f, intake_rig_setup, intake_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    intake_test(the_first_scan_finds_what_is_there),
	    intake_test(an_empty_folder_is_waited_at),
	    intake_test(a_file_that_is_closed_is_available_without_another_scan),
	    intake_test(a_tree_that_is_made_meanwhile_is_found),
	    intake_test(a_young_file_that_a_scan_finds_waits_until_it_stays_the_same),
	    intake_test(nothing_waits_for_a_file_that_keeps_changing),
	    intake_test(an_archive_that_keeps_changing_says_what_it_holds_up),
	    intake_test(a_young_file_is_not_taken_for_gone),
	    intake_test(a_file_that_changes_while_it_is_encoded_is_available_again_afterwards),
	    intake_test(an_image_waits_for_its_caption_and_again_when_that_goes),
	    intake_test(a_caption_that_changes_after_encoding_is_to_be_mended),
	    intake_test(deleted_and_renamed_files_are_gone_after_the_next_scan),
	    intake_test(when_much_vanishes_people_are_asked),
	    intake_test(when_all_vanishes_people_are_asked_too),
	    intake_test(samples_of_vanished_files_are_removed_when_nothing_is_left_to_encode),
	    intake_test(samples_are_not_removed_while_something_new_was_found),
	    intake_test(a_sample_is_not_removed_while_its_file_only_moves),
	    intake_test(a_folder_that_goes_is_awaited_and_nothing_of_it_is_gone),
	    intake_test(a_folder_that_is_deleted_and_made_again_is_the_same_source),
	    intake_test(a_folder_that_was_never_there_is_waited_for),
	    intake_test(a_missing_folder_does_not_hold_up_the_others),
	    intake_test(beyond_the_limit_of_watches_folders_are_polled),
	    intake_test(a_source_may_be_polled_or_left_alone),
	    intake_test(paused_it_enqueues_nothing_and_then_catches_up),
	    intake_test(too_few_descriptors_are_named_and_it_goes_on_when_there_are_more),
	    intake_test(it_stops_in_the_middle_of_a_large_folder_and_goes_on_later),
	    intake_test(what_was_known_before_is_known_after_a_restart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
