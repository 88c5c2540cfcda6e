/*
 * A pool that gets more or fewer workers while they are at images: none is lost, none is blamed.
 */
#include "decode_rig.h"

#include "daemon/decode_pool_parts.h"

#include "base/checked.h"

#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <string.h>

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

static void turn_until_workers(struct rig *rig, size_t n)
{
	while (decode_pool_workers(rig->pool) != n)
		rig_turn(rig);
}

static void turn_until_room(struct rig *rig, size_t n)
{
	while (decode_pool_room(rig->pool) != n)
		rig_turn(rig);
}

/* A held image in each of @n further workers. */
static void occupy(struct rig *rig, struct shot *shots, size_t n)
{
	size_t busy = decode_pool_busy(rig->pool);

	for (size_t i = 0; i < n; i++) {
		shots[i] = (struct shot){.hold = true};
		rig_start_held(rig, &shots[i], "held", 4);
	}
	assert_int_equal(decode_pool_busy(rig->pool), busy + n);
}

static void end_held(struct rig *rig, struct shot *shot)
{
	rig_place(shot);
	rig_wait(rig, shot);
	assert_int_equal(shot->end, SHOT_DONE);
	shot_release(shot);
}

static void further_workers_take_images_beside_those_that_are_busy(void **state)
{
	struct shot shots[3];
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	occupy(&rig, shots, 1);
	decode_pool_resize(rig.pool, 3);
	assert_int_equal(decode_pool_workers(rig.pool), 3);
	turn_until_room(&rig, 3);
	occupy(&rig, shots + 1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++)
		end_held(&rig, &shots[i]);
	rig_close(&rig);
}

static void idle_workers_leave_before_busy_ones(void **state)
{
	struct shot shot;
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 3, 0);
	occupy(&rig, &shot, 1);
	decode_pool_resize(rig.pool, 1);
	turn_until_workers(&rig, 1);
	assert_int_equal(decode_pool_busy(rig.pool), 1);
	end_held(&rig, &shot);
	rig_works(&rig, 'x');
	rig_close(&rig);
}

/* What it says then is no lie, and its end no early death. */
static void a_worker_that_starts_may_leave(void **state)
{
	cleanup_free char *program = rig_program("tests/lying_worker");
	const struct rig_options options = {
	    .program = program, .workers = 9, .rule = BUCKET_SQUARE};
	struct rig rig;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(rig_open(&rig, &options, &err), &err);
	for (size_t i = 0; i < options.workers; i++) {
		struct pollfd ready = {.fd = rig.pool->workers[i]->process.socket,
				       .events = POLLIN};

		assert_int_equal(poll(&ready, 1, -1), 1);
	}
	decode_pool_resize(rig.pool, 1);
	turn_until_workers(&rig, 1);
	assert_string_equal(decode_pool_last_end(rig.pool), "");
	rig_works(&rig, 'x');
	rig_close(&rig);
}

static void a_busy_worker_leaves_when_its_last_image_has_ended(void **state)
{
	struct shot shots[3], second = {.hold = true};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 3, 0);
	occupy(&rig, shots, 3);
	rig_start_held(&rig, &second, "too", 3); /* in the first of them */
	decode_pool_resize(rig.pool, 1);
	assert_int_equal(decode_pool_workers(rig.pool), 3);
	assert_int_equal(decode_pool_room(rig.pool), 1);
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++)
		end_held(&rig, &shots[i]);
	end_held(&rig, &second);
	turn_until_workers(&rig, 1);
	rig_works(&rig, 'x');
	rig_close(&rig);
}

static void workers_that_were_to_leave_stay_where_more_are_wanted_again(void **state)
{
	struct shot shots[2];
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	occupy(&rig, shots, 2);
	decode_pool_resize(rig.pool, 1);
	assert_int_equal(decode_pool_room(rig.pool), 1);
	decode_pool_resize(rig.pool, 2);
	assert_int_equal(decode_pool_workers(rig.pool), 2);
	assert_int_equal(decode_pool_room(rig.pool), 2);
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++)
		end_held(&rig, &shots[i]);
	/* Idle ones too, whose end has begun. */
	decode_pool_resize(rig.pool, 1);
	decode_pool_resize(rig.pool, 2);
	turn_until_room(&rig, 2);
	assert_int_equal(decode_pool_workers(rig.pool), 2);
	rig_close(&rig);
}

/* The one that has it is to blame, the one behind it is not, and nobody takes the worker's place. */
static void a_leaving_worker_that_dies_costs_its_image_and_is_not_replaced(void **state)
{
	cleanup_shot struct shot bad = {.hold = true}, behind = {.hold = true};
	struct shot others[2] = {{.hold = true}, {.hold = true}};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start_held(&rig, &bad, "exit_drawing", 12);
	occupy(&rig, others, 1);
	rig_start_held(&rig, &behind, "behind", 6);
	rig_start_held(&rig, &others[1], "held", 4); /* two in each */
	assert_int_equal(decode_pool_busy(rig.pool), 2);
	decode_pool_resize(rig.pool, 1);
	rig_place(&bad);
	rig_place(&behind);
	rig_wait(&rig, &bad);
	assert_int_equal(bad.end, SHOT_FAILED);
	assert_string_equal(bad.why.reason, "worker_died");
	rig_wait(&rig, &behind);
	assert_int_equal(behind.end, SHOT_RETURNED);
	turn_until_workers(&rig, 1);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		end_held(&rig, &others[i]);
	rig_works(&rig, 'x');
	rig_close(&rig);
}

static void every_image_of_a_pool_resized_under_load_is_decoded_once(void **state)
{
	static const size_t sizes[] = {1, 4, 2, 5, 1, 3};
	struct shot shots[240];
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 3, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++) {
		char text[] = {(char)('a' + i % 26), '!', '\0'};

		shots[i] = (struct shot){.skip = i % 7 == 0};
		rig_start(&rig, &shots[i], text, 2);
		if (i % 10 == 9)
			decode_pool_resize(rig.pool, sizes[i / 10 % ARRAY_SIZE(sizes)]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++) {
		rig_wait(&rig, &shots[i]);
		assert_int_equal(shots[i].end, shots[i].skip ? SHOT_SKIPPED : SHOT_DONE);
		if (!shots[i].skip)
			assert_int_equal(shots[i].pixels[0], 'a' + i % 26);
		shot_release(&shots[i]);
	}
	turn_until_workers(&rig, sizes[ARRAY_SIZE(sizes) - 1]);
	rig_close(&rig);
}

static void a_further_process_that_cannot_be_had_is_tried_again(void **state)
{
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	starts_to_refuse = 3;
	decode_pool_resize(rig.pool, 2);
	rig_works(&rig, 'x');
	turn_until_room(&rig, 2);
	assert_int_equal(starts_to_refuse, 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(further_workers_take_images_beside_those_that_are_busy),
	    cmocka_unit_test(idle_workers_leave_before_busy_ones),
	    cmocka_unit_test(a_worker_that_starts_may_leave),
	    cmocka_unit_test(a_busy_worker_leaves_when_its_last_image_has_ended),
	    cmocka_unit_test(workers_that_were_to_leave_stay_where_more_are_wanted_again),
	    cmocka_unit_test(a_leaving_worker_that_dies_costs_its_image_and_is_not_replaced),
	    cmocka_unit_test(every_image_of_a_pool_resized_under_load_is_decoded_once),
	    cmocka_unit_test(a_further_process_that_cannot_be_had_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
