/*
 * What a decode worker may do wrong, by lying_worker.c: each lie costs the one image it was told with, and the
 * next image is decoded by a new process.
 */
#include "decode_rig.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "hostile_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/*
 * A program in @dir that is the liar going wrong by @how before its first image: what our environment says does
 * not reach it. To be freed.
 */
static char *liar_that(const char *dir, const char *how)
{
	cleanup_free char *program = rig_program("tests/lying_worker");
	cleanup_free char *real = realpath(program, NULL);
	cleanup_free char *text =
	    xasprintf("#!/bin/sh\nLYING_WORKER='%s' exec '%s'\n", how, real ? real : "");
	char *path = testing_path(dir, "liar");
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0777, &err);

	assert_true(fd >= 0);
	assert_ok(fd_write_all(fd, text, strlen(text), &err), &err);
	return path;
}

static unsigned starts_to_refuse;

int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]);

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
	if (starts_to_refuse > 0) {
		starts_to_refuse--;
		return EAGAIN;
	}
	return __real_posix_spawn(pid, path, actions, attributes, argv, env);
}

static void assert_costs_one(struct rig *rig, const char *lie, const char *reason,
			     const char *words)
{
	cleanup_shot struct shot shot = {.hold = strcmp(lie, "done_without_geometry") == 0 ||
						 strcmp(lie, "header_twice") == 0 ||
						 strcmp(lie, "exit_after_header") == 0};

	rig_shoot(rig, &shot, lie, strlen(lie));
	if (shot.end != SHOT_FAILED || strcmp(shot.why.reason, reason) != 0 ||
	    !strstr(shot.why.message, words))
		fail_msg("%s ended with %d %s: %s", lie, shot.end, shot.why.reason,
			 shot.why.message);
	assert_int_equal(shot.why.code, ERR_DATA);
	rig_works(rig, lie[0]);
	assert_int_equal(decode_pool_busy(rig->pool), 0);
}

static void a_worker_that_lies_costs_one_image_and_is_replaced(void **state)
{
	static const struct {
		const char *lie, *words;
	} table[] = {
	    {"done_first", "broke the protocol"},
	    {"header_first", "broke the protocol"},
	    {"ready_again", "broke the protocol"},
	    {"order", "broke the protocol"},
	    {"hashed_huge", "broke the protocol"},
	    {"hashed_twice", "broke the protocol"},
	    {"hashed_drawing", "broke the protocol"},
	    {"done_for_header", "broke the protocol"},
	    {"done_without_geometry", "broke the protocol"},
	    {"header_side", "broke the protocol"},
	    {"header_overflow", "broke the protocol"},
	    {"header_pixels", "broke the protocol"},
	    {"header_memory", "broke the protocol"},
	    {"header_zero", "broke the protocol"},
	    {"header_twice", "broke the protocol"},
	    {"garbage", "broke the protocol"},
	    {"long", "broke the protocol"},
	    {"failed_nothing", "broke the protocol"},
	    {"empty", "killed by signal 9"},
	    {"close", "killed by signal 9"},
	    {"exit", "exit status 3"},
	    {"exit_after_header", "exit status 4"},
	    {"exit_drawing", "exit status 5"},
	    {"segv", "killed by signal 11"},
	};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	rig_works(&rig, 'a');
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_costs_one(&rig, table[i].lie, "worker_died", table[i].words);
	rig_close(&rig);
}

/* Where the real confinement ends a process: by SIGSYS. A sanitizer's build lets it see EPERM. */
static void a_hostile_system_call_costs_one_image(void **state)
{
	const char *words = CONFINE_SANITIZED ? "exit status 99" : "killed by signal 31";
	int64_t slowest = 0;
	size_t tried = 0;
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	rig_works(&rig, 'a');
	if (strncmp(decode_pool_confinement(rig.pool), "seccomp", 7) != 0) {
		print_message("SKIPPED: seccomp filters are forbidden here\n");
		rig_close(&rig);
		skip();
	}
	for (size_t i = 0; i < hostile_calls_count; i++) {
		cleanup_free char *lie = xasprintf("call %s", hostile_calls[i].name);
		int64_t began = clock_mono_ms(), took;

		if (CONFINE_SANITIZED && hostile_calls[i].sanitizers_need)
			continue;
		assert_costs_one(&rig, lie, "worker_died", words);
		took = clock_mono_ms() - began;
		slowest = took > slowest ? took : slowest;
		tried++;
	}
	print_message("%zu hostile calls; the next image was there after %lld ms at most\n", tried,
		      (long long)slowest);
	rig_close(&rig);
}

/* The limit follows what the worker is at: a file of any size may be read, but a small picture takes little. */
static void memory_without_end_costs_one_image_long_before_the_machines(void **state)
{
	static const struct {
		const char *lie;
		size_t most; /* MiB */
	} table[] = {{"hog", 512 + 2 * 256 + 16}, {"hog_drawing", 512 + 16}};
	struct rig rig;

	(void)state;
	if (CONFINE_SANITIZED) {
		print_message("SKIPPED: memory is not limited under sanitizers\n");
		skip();
	}
	rig_open_liar(&rig, 1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		cleanup_shot struct shot shot = {.skip = false};
		size_t got = 0;

		rig_shoot(&rig, &shot, table[i].lie, strlen(table[i].lie));
		assert_int_equal(shot.end, SHOT_FAILED);
		assert_int_equal(shot.why.code, ERR_NOMEM);
		assert_int_equal(sscanf(shot.why.message, "no memory after %zu MiB", &got), 1);
		if (got == 0 || got > table[i].most)
			fail_msg("%s: %zu MiB", table[i].lie, got);
		/* It keeps what it has, and is of no more use. */
		assert_int_equal(decode_pool_room(rig.pool), 0);
		rig_works(&rig, 'a');
		rig_works(&rig, 'b');
	}
	rig_close(&rig);
}

static void a_worker_that_hangs_costs_one_image_after_its_time(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 1000);
	assert_costs_one(&rig, "hang", "timeout", "not decoded after");
	assert_costs_one(&rig, "hang_drawing", "timeout", "not decoded after");
	rig_close(&rig);
}

static void the_wait_for_a_place_does_not_count_as_time(void **state)
{
	cleanup_shot struct shot held = {.hold = true}, hang = {.hold = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 1000);
	rig_start_held(&rig, &held, "held", 4);
	/* A whole time limit goes by for the other one. */
	rig_shoot(&rig, &hang, "hang", 4);
	assert_string_equal(hang.why.reason, "timeout");
	assert_int_equal(held.end, SHOT_RUNNING);
	rig_place(&held);
	rig_wait(&rig, &held);
	assert_int_equal(held.end, SHOT_DONE);
	rig_close(&rig);
}

/* Waits for an end that is @shot's own: one that stood behind a liar is started again. */
static void insist(struct rig *rig, struct shot *shot, const char *text)
{
	rig_wait(rig, shot);
	while (shot->end == SHOT_RETURNED) {
		*shot = (struct shot){.skip = false};
		rig_shoot(rig, shot, text, strlen(text));
	}
}

static void the_neighbours_of_a_liar_are_not_disturbed(void **state)
{
	static const char *const lies[] = {"garbage", "exit_drawing"};
	static const char *const texts[] = {"A", "B", "C", "D", "E", "F"};
	struct shot liars[6] = {{.skip = false}}, honest[6] = {{.skip = false}};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 3, 0);
	for (size_t i = 0; i < 6; i++) {
		rig_start(&rig, &liars[i], lies[i % 2], strlen(lies[i % 2]));
		rig_start(&rig, &honest[i], texts[i], 1);
	}
	for (size_t i = 0; i < 6; i++) {
		insist(&rig, &liars[i], lies[i % 2]);
		insist(&rig, &honest[i], texts[i]);
		assert_int_equal(liars[i].end, SHOT_FAILED);
		assert_int_equal(honest[i].end, SHOT_DONE);
		assert_int_equal(honest[i].pixels[0], texts[i][0]);
		shot_release(&honest[i]);
	}
	rig_close(&rig);
}

/* The liar says of everything that it resized it for centuries. */
static void nobody_resizes_for_longer_than_it_was_asked(void **state)
{
	int64_t began = clock_mono_ns();
	struct stage_sums decode, resize;
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	rig_works(&rig, 'a');
	stage_meter_sums(rig.stages, STAGE_DECODE, &decode);
	stage_meter_sums(rig.stages, STAGE_RESIZE, &resize);
	assert_int_equal(resize.images, 1);
	assert_true((int64_t)(decode.busy_ns + resize.busy_ns) <= clock_mono_ns() - began);
	rig_close(&rig);
}

static void a_message_behind_the_last_one_costs_no_image(void **state)
{
	static const char *const lies[] = {"done_twice", "done_failed"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		cleanup_shot struct shot shot = {.skip = false};
		struct rig rig;

		rig_open_liar(&rig, 1, 0);
		rig_shoot(&rig, &shot, lies[i], strlen(lies[i]));
		assert_int_equal(shot.end, SHOT_DONE);
		/* Until the lie is heard: from then on the worker is a new one, not ready yet. */
		while (decode_pool_room(rig.pool) > 0)
			rig_turn(&rig);
		rig_works(&rig, 'b');
		assert_int_equal(shot.ends, 1);
		rig_close(&rig);
	}
}

static void descriptors_from_a_worker_are_closed(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	for (size_t i = 0; i < 3; i++)
		rig_works(&rig, '+'); /* and rig_close counts */
	rig_close(&rig);
}

static void closing_in_the_middle_forgets_images_without_a_call(void **state)
{
	struct shot hanging = {.skip = false}, held = {.hold = true};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start(&rig, &hanging, "hang_drawing", 12);
	rig_start_held(&rig, &held, "held", 4);
	rig_close(&rig);
	assert_int_equal(hanging.ends + held.ends, 0);
}

static bool is_image(const void *image, const void *arg)
{
	return image == arg;
}

static void some_images_are_cancelled_and_the_others_go_on(void **state)
{
	struct shot hanging = {.skip = false}, held = {.hold = true}, later = {.skip = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start(&rig, &hanging, "hang", 4);
	rig_start_held(&rig, &held, "held", 4);
	decode_pool_cancel_some(rig.pool, is_image, &hanging);
	assert_int_equal(hanging.end, SHOT_RETURNED);
	assert_int_equal(held.ends, 0);
	rig_shoot(&rig, &later, "fine", 4); /* by the process that took the cancelled one's place */
	assert_int_equal(later.end, SHOT_DONE);
	rig_place(&held);
	rig_wait(&rig, &held);
	assert_int_equal(held.end, SHOT_DONE);
	assert_int_equal(hanging.ends, 1);
	shot_release(&held);
	shot_release(&later);
	rig_close(&rig);
}

static void a_larger_slot_replaces_workers_before_their_next_image(void **state)
{
	struct shot held = {.hold = true}, first = {.skip = false}, second = {.skip = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start_held(&rig, &held, "held", 4);
	decode_pool_reserve(rig.pool, 3 * bucket_table_max_pixels(rig.buckets) * 4);
	assert_int_equal(decode_pool_room(rig.pool), 0); /* the idle one is being replaced */
	rig_place(&held);				 /* still with the small slot that it has */
	rig_wait(&rig, &held);
	assert_int_equal(held.end, SHOT_DONE);
	rig_shoot(&rig, &first, "fine", 4);
	rig_shoot(&rig, &second, "fine", 4);
	assert_int_equal(first.end, SHOT_DONE);
	assert_int_equal(second.end, SHOT_DONE);
	shot_release(&held);
	shot_release(&first);
	shot_release(&second);
	rig_close(&rig);
}

static void cancel_gives_every_image_back_and_starts_no_process(void **state)
{
	struct shot hanging = {.skip = false}, held = {.hold = true};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start(&rig, &hanging, "hang", 4);
	rig_start_held(&rig, &held, "held", 4);
	decode_pool_cancel(rig.pool);
	assert_int_equal(hanging.ends, 1);
	assert_int_equal(held.ends, 1);
	assert_int_equal(hanging.end, SHOT_RETURNED); /* no image is to blame */
	assert_int_equal(held.end, SHOT_RETURNED);
	assert_int_equal(decode_pool_room(rig.pool) + decode_pool_busy(rig.pool), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no process at all */
	assert_false(decode_pool_dead(rig.pool));	  /* stopped, not broken */
	decode_pool_cancel(rig.pool);
	assert_int_equal(hanging.ends + held.ends, 2);
	rig_close(&rig);
}

/* -- modes, renewal, confinement -------------------------------------------------------------------- */

static void open_liar_in_mode(struct rig *rig, enum decode_mode mode, size_t images_per_process)
{
	cleanup_free char *program = rig_program("tests/lying_worker");
	struct rig_options options = {.program = program,
				      .workers = 1,
				      .mode = mode,
				      .images_per_process = images_per_process,
				      .rule = BUCKET_SQUARE};
	struct error err = ERROR_INIT;

	assert_ok(rig_open(rig, &options, &err), &err);
}

/* An honest header, by a process that had @images images then. */
static void assert_seen_by(struct rig *rig, size_t images)
{
	struct shot shot = {.skip = false};

	rig_shoot(rig, &shot, "honest", 6);
	assert_int_equal(shot.end, SHOT_SEEN);
	assert_int_equal(shot.header.width, images);
}

static void where_headers_are_asked_for_other_messages_are_lies(void **state)
{
	static const char *const lies[] = {"done_first", "hashed_twice", "hashed_huge",
					   "ready_again"};
	struct rig rig;

	(void)state;
	open_liar_in_mode(&rig, DECODE_MODE_HEADERS, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct shot shot = {.skip = false};

		rig_shoot(&rig, &shot, lies[i], strlen(lies[i]));
		assert_int_equal(shot.end, SHOT_FAILED);
		assert_string_equal(shot.why.reason, "worker_died");
		assert_seen_by(&rig, 1);
	}
	rig_close(&rig);
}

static void where_hashes_are_asked_for_the_header_comes_behind_the_hash(void **state)
{
	static const char *const lies[] = {"done_first", "header_first", "hashed_twice"};
	struct rig rig;

	(void)state;
	open_liar_in_mode(&rig, DECODE_MODE_HASHES, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct shot shot = {.skip = false};

		rig_shoot(&rig, &shot, lies[i], strlen(lies[i]));
		assert_int_equal(shot.end, SHOT_FAILED);
		assert_string_equal(shot.why.reason, "worker_died");
		assert_seen_by(&rig, 1);
	}
	rig_close(&rig);
}

static void a_process_is_replaced_after_its_number_of_images(void **state)
{
	struct rig rig;

	(void)state;
	open_liar_in_mode(&rig, DECODE_MODE_HEADERS, 3);
	for (size_t i = 0; i < 10; i++)
		assert_seen_by(&rig, i % 3 + 1);
	rig_close(&rig);
}

static void a_process_is_replaced_when_its_last_image_is_skipped_late(void **state)
{
	struct shot held = {.hold = true};
	struct rig rig;

	(void)state;
	open_liar_in_mode(&rig, DECODE_MODE_PIXELS, 1);
	rig_start_held(&rig, &held, "held", 4);
	decode_pool_skip(TAKE(held.ticket));
	assert_int_equal(held.ends, 0);
	rig_works(&rig, 'a');
	rig_close(&rig);
}

static void a_worker_that_is_not_confined_is_used_unless_that_is_required(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *program = liar_that(dir, "unconfined");
	struct rig_options options = {.program = program, .workers = 1, .rule = BUCKET_SQUARE};
	struct error err = ERROR_INIT;
	struct rig rig;

	(void)state;
	assert_ok(rig_open(&rig, &options, &err), &err);
	assert_null(decode_pool_warning(rig.pool));
	rig_works(&rig, 'a');
	assert_non_null(strstr(decode_pool_warning(rig.pool), "not confined here (no seccomp"));
	assert_string_equal(decode_pool_confinement(rig.pool),
			    "no seccomp, no landlock, no rlimits");
	rig_close(&rig);
	options.require_confinement = true;
	assert_ok(rig_open(&rig, &options, &err), &err);
	while (!decode_pool_dead(rig.pool))
		rig_turn(&rig);
	assert_non_null(strstr(decode_pool_last_end(rig.pool), "cannot be confined"));
	rig_close(&rig);
	testing_tempdir_remove(dir);
}

/* -- programs that do not even start ---------------------------------------------------------------- */

static void a_missing_program_is_an_error_that_names_it(void **state)
{
	struct rig_options options = {
	    .program = "/nonexistent/latentd-decode", .workers = 2, .rule = BUCKET_SQUARE};
	struct error err = ERROR_INIT;
	struct rig rig;

	(void)state;
	assert_error(rig_open(&rig, &options, &err), &err, ERR_IO);
	assert_non_null(strstr(err.message, "/nonexistent/latentd-decode"));
	assert_null(rig.pool);
	rig_close(&rig);
}

static void a_program_that_ends_before_its_first_image_is_not_tried_for_ever(void **state)
{
	static const char *const ways[] = {"exit before ready", "garbage before ready",
					   "exit when ready"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		char *dir = testing_tempdir();
		cleanup_free char *program = liar_that(dir, ways[i]);
		struct rig_options options = {
		    .program = program, .workers = 3, .rule = BUCKET_SQUARE};
		struct error err = ERROR_INIT;
		struct rig rig;

		assert_ok(rig_open(&rig, &options, &err), &err);
		while (!decode_pool_dead(rig.pool))
			rig_turn(&rig);
		assert_int_equal(decode_pool_room(rig.pool) + decode_pool_busy(rig.pool), 0);
		rig_close(&rig);
		testing_tempdir_remove(dir);
	}
}

static void a_program_that_goes_away_leaves_a_dead_pool(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *link = testing_path(dir, "worker");
	cleanup_free char *program = rig_program("tests/lying_worker");
	cleanup_free char *real = realpath(program, NULL);
	struct rig_options options = {.program = link, .workers = 1, .rule = BUCKET_SQUARE};
	cleanup_shot struct shot shot = {.skip = false};
	struct error err = ERROR_INIT;
	struct rig rig;

	(void)state;
	assert_non_null(real);
	assert_int_equal(symlink(real, link), 0);
	assert_ok(rig_open(&rig, &options, &err), &err);
	rig_works(&rig, 'a');
	assert_int_equal(unlink(link), 0);
	rig_shoot(&rig, &shot, "exit", 4);
	assert_string_equal(shot.why.reason, "worker_died");
	while (!decode_pool_dead(rig.pool))
		rig_turn(&rig);
	assert_non_null(strstr(decode_pool_last_end(rig.pool), link));
	rig_close(&rig);
	testing_tempdir_remove(dir);
}

static void what_cannot_be_started_now_is_tried_again_later(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	for (size_t i = 0; i < 3; i++) {
		cleanup_shot struct shot shot = {.skip = false};

		rig_works(&rig, 'a');
		starts_to_refuse = 4;
		rig_shoot(&rig, &shot, "exit", 4);
		assert_string_equal(shot.why.reason, "worker_died");
		assert_false(decode_pool_dead(rig.pool));
		rig_works(&rig, 'b');
		assert_int_equal(starts_to_refuse, 0);
	}
	rig_close(&rig);
}

static void what_can_never_be_started_is_not_tried_for_ever(void **state)
{
	cleanup_shot struct shot shot = {.skip = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	rig_works(&rig, 'a');
	starts_to_refuse = 1000;
	rig_shoot(&rig, &shot, "exit", 4);
	while (!decode_pool_dead(rig.pool))
		rig_turn(&rig);
	assert_in_range(starts_to_refuse, 980, 999);
	starts_to_refuse = 0;
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_worker_that_lies_costs_one_image_and_is_replaced),
	    cmocka_unit_test(a_hostile_system_call_costs_one_image),
	    cmocka_unit_test(memory_without_end_costs_one_image_long_before_the_machines),
	    cmocka_unit_test(a_worker_that_hangs_costs_one_image_after_its_time),
	    cmocka_unit_test(the_wait_for_a_place_does_not_count_as_time),
	    cmocka_unit_test(the_neighbours_of_a_liar_are_not_disturbed),
	    cmocka_unit_test(nobody_resizes_for_longer_than_it_was_asked),
	    cmocka_unit_test(a_message_behind_the_last_one_costs_no_image),
	    cmocka_unit_test(descriptors_from_a_worker_are_closed),
	    cmocka_unit_test(closing_in_the_middle_forgets_images_without_a_call),
	    cmocka_unit_test(some_images_are_cancelled_and_the_others_go_on),
	    cmocka_unit_test(a_larger_slot_replaces_workers_before_their_next_image),
	    cmocka_unit_test(cancel_gives_every_image_back_and_starts_no_process),
	    cmocka_unit_test(where_headers_are_asked_for_other_messages_are_lies),
	    cmocka_unit_test(where_hashes_are_asked_for_the_header_comes_behind_the_hash),
	    cmocka_unit_test(a_process_is_replaced_after_its_number_of_images),
	    cmocka_unit_test(a_process_is_replaced_when_its_last_image_is_skipped_late),
	    cmocka_unit_test(what_cannot_be_started_now_is_tried_again_later),
	    cmocka_unit_test(what_can_never_be_started_is_not_tried_for_ever),
	    cmocka_unit_test(a_worker_that_is_not_confined_is_used_unless_that_is_required),
	    cmocka_unit_test(a_missing_program_is_an_error_that_names_it),
	    cmocka_unit_test(a_program_that_ends_before_its_first_image_is_not_tried_for_ever),
	    cmocka_unit_test(a_program_that_goes_away_leaves_a_dead_pool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
