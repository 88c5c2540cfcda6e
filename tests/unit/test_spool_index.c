#include "daemon/spool_index.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

#define MANY 1000000

static struct spooled entry(const char *group, int64_t job, uint64_t rank, uint64_t bytes)
{
	struct spooled e = {.job = job, .rank = rank, .bytes = bytes, .place = {.offset = rank}};

	snprintf(e.group, sizeof(e.group), "%s", group);
	return e;
}

static void add(struct spool_index *index, const char *group, int64_t job, uint64_t rank,
		uint64_t bytes)
{
	struct spooled e = entry(group, job, rank, bytes);

	spool_index_add(index, &e);
}

/* Takes, and checks that the jobs are exactly @jobs (ended by 0) of @group. */
static void assert_taken(struct spool_index *index, size_t samples, uint64_t bytes, bool any,
			 const char *group, const int64_t *jobs)
{
	size_t n = 0, i;
	cleanup_free struct spooled *taken = spool_index_take(index, samples, bytes, any, &n);

	assert_non_null(taken);
	for (i = 0; i < n && jobs[i] != 0; i++) {
		assert_string_equal(taken[i].group, group);
		assert_int_equal(taken[i].job, jobs[i]);
	}
	assert_int_equal(i, n);
	assert_int_equal(jobs[i], 0);
}

#define JOBS(...)                                                                                  \
	(const int64_t[])                                                                          \
	{                                                                                          \
		__VA_ARGS__, 0                                                                     \
	}

static void assert_nothing(struct spool_index *index, size_t samples, uint64_t bytes, bool any)
{
	size_t n = 77;

	assert_null(spool_index_take(index, samples, bytes, any, &n));
	assert_int_equal(n, 77);
}

static int setup(void **state)
{
	static struct spool_index index;

	index = (struct spool_index)SPOOL_INDEX_INIT;
	*state = &index;
	return 0;
}

static int teardown(void **state)
{
	spool_index_release(*state);
	assert_int_equal(spool_index_count(*state), 0);
	return 0;
}

static void an_empty_index_has_nothing_to_take(void **state)
{
	assert_nothing(*state, 1, 1, true);
	assert_int_equal(spool_index_count(*state), 0);
}

static void a_group_is_taken_once_it_has_the_samples(void **state)
{
	add(*state, "a", 1, 1, 10);
	add(*state, "b", 2, 2, 10);
	assert_nothing(*state, 2, MANY, false);
	add(*state, "b", 3, 3, 10);
	assert_taken(*state, 2, MANY, false, "b", JOBS(2, 3));
	assert_int_equal(spool_index_count(*state), 1);
	assert_nothing(*state, 2, MANY, false);
}

static void a_group_is_taken_once_it_has_the_bytes(void **state)
{
	add(*state, "a", 1, 1, 60);
	assert_nothing(*state, MANY, 100, false);
	add(*state, "a", 2, 2, 40);
	assert_taken(*state, MANY, 100, false, "a", JOBS(1, 2));
	assert_nothing(*state, MANY, 100, true);
}

static void a_shard_ends_with_the_record_that_fills_it(void **state)
{
	add(*state, "a", 1, 1, 60);
	add(*state, "a", 2, 2, 60);
	add(*state, "a", 3, 3, 60);
	assert_taken(*state, MANY, 100, false, "a", JOBS(1, 2));
	/* What is left counts its own bytes only. */
	assert_nothing(*state, MANY, 100, false);
	add(*state, "a", 4, 4, 40);
	assert_taken(*state, MANY, 100, false, "a", JOBS(3, 4));
}

static void a_record_larger_than_a_shard_has_one_to_itself(void **state)
{
	add(*state, "a", 1, 1, 500);
	add(*state, "a", 2, 2, 10);
	assert_taken(*state, MANY, 100, false, "a", JOBS(1));
	assert_int_equal(spool_index_count(*state), 1);
}

static void records_come_in_rising_rank_and_of_equal_rank_by_job(void **state)
{
	add(*state, "a", 1, 30, 1);
	add(*state, "a", 4, 20, 1);
	add(*state, "a", 2, UINT64_MAX, 1);
	add(*state, "a", 3, 20, 1);
	add(*state, "a", 5, 0, 1);
	assert_taken(*state, 5, MANY, false, "a", JOBS(5, 3, 4, 1, 2));
}

static void what_is_left_keeps_its_place_for_the_next_shard(void **state)
{
	for (int64_t job = 1; job <= 5; job++)
		add(*state, "a", job, (uint64_t)(100 - job), 1);
	assert_taken(*state, 2, MANY, false, "a", JOBS(5, 4));
	add(*state, "a", 6, 0, 1);
	assert_taken(*state, 2, MANY, false, "a", JOBS(6, 3));
	assert_taken(*state, 2, MANY, false, "a", JOBS(2, 1));
	assert_int_equal(spool_index_count(*state), 0);
}

static void any_takes_what_there_is_of_a_group_and_no_more_than_a_shard(void **state)
{
	add(*state, "a", 1, 1, 1);
	add(*state, "b", 2, 2, 1);
	add(*state, "b", 3, 3, 1);
	add(*state, "b", 4, 4, 1);
	assert_taken(*state, 2, MANY, true, "a", JOBS(1));
	assert_taken(*state, 2, MANY, true, "b", JOBS(2, 3));
	assert_taken(*state, 2, MANY, true, "b", JOBS(4));
	assert_nothing(*state, 2, MANY, true);
}

static void the_oldest_record_decides_by_segment_and_then_by_offset(void **state)
{
	static const struct {
		const char *group;
		uint64_t segment, offset;
	} places[] = {{"a", 5, 900}, {"b", 4, 950}, {"b", 9, 0}, {"c", 4, 960}};
	size_t n = 0;
	struct spooled *taken;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct spooled e = entry(places[i].group, (int64_t)i + 1, i, 10);

		e.place = (struct spool_place){places[i].segment, places[i].offset, 10};
		spool_index_add(*state, &e);
	}
	taken = spool_index_take_oldest(*state, 5, MANY, &n);
	assert_int_equal(n, 2); /* what else is in its group goes along */
	assert_string_equal(taken[0].group, "b");
	free(taken);
	taken = spool_index_take_oldest(*state, 5, MANY, &n);
	assert_int_equal(n, 1);
	assert_string_equal(taken[0].group, "c");
	free(taken);
	taken = spool_index_take_oldest(*state, 5, MANY, &n);
	assert_string_equal(taken[0].group, "a");
	free(taken);
	assert_null(spool_index_take_oldest(*state, 5, MANY, &n));
}

static void the_number_of_a_shard_is_never_given_twice(void **state)
{
	static const char *const ignored[] = {"train/64x64", "train/64x64/x.tar",
					      "train//000009.tar", ""};

	assert_int_equal(spool_index_take_number(*state, "64x64"), 0);
	spool_index_note_shard(*state, "train/64x64/000000.tar");
	spool_index_note_shard(*state, "train/64x64/000007.tar");
	spool_index_note_shard(*state, "train/64x64/000003.tar");
	spool_index_note_shard(*state, "train/128x64/000001.tar");
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		spool_index_note_shard(*state, ignored[i]);
	assert_int_equal(spool_index_take_number(*state, "64x64"), 8);
	assert_int_equal(spool_index_take_number(*state, "64x64"), 9);
	assert_int_equal(spool_index_take_number(*state, "128x64"), 2);
	/* A group that only has a number has nothing to take. */
	assert_nothing(*state, 1, 1, true);
	assert_int_equal(spool_index_count(*state), 0);
	/* both splits number together */
	spool_index_note_shard(*state, "val/64x64/000011.tar");
	assert_int_equal(spool_index_take_number(*state, "64x64"), 12);
}

static void full_shards_are_counted_by_records_or_bytes_of_each_group(void **state)
{
	const struct spooled a = {.job = 1, .bytes = 100, .group = "a"};
	const struct spooled b = {.job = 2, .bytes = 100, .group = "b"};

	assert_int_equal(spool_index_full(*state, 1, 1), 0);
	spool_index_add(*state, &a);
	spool_index_add(*state, &b);
	assert_int_equal(spool_index_full(*state, 2, 101), 0);
	spool_index_add(*state, &a);
	assert_int_equal(spool_index_full(*state, 2, MANY), 1);
	assert_int_equal(spool_index_full(*state, MANY, 100), 3);
}

static void bytes_are_those_of_what_is_there(void **state)
{
	assert_int_equal(spool_index_bytes(*state), 0);
	add(*state, "a", 1, 1, 60);
	add(*state, "b", 2, 2, 40);
	assert_int_equal(spool_index_bytes(*state), 100);
	assert_taken(*state, 1, MANY, true, "a", JOBS(1));
	assert_int_equal(spool_index_bytes(*state), 40);
}

static void an_entry_keeps_its_place_in_the_spool(void **state)
{
	size_t n = 0;
	struct spooled *taken;

	add(*state, "512x768", 9, 1234, 5);
	taken = spool_index_take(*state, 1, MANY, false, &n);
	assert_int_equal(n, 1);
	assert_int_equal(taken[0].place.offset, 1234);
	assert_int_equal(taken[0].bytes, 5);
	free(taken);
}

static void hundreds_of_groups_and_records_are_all_found_again(void **state)
{
	size_t taken = 0, n = 0;
	struct spooled *entries;

	for (int64_t i = 0; i < 3000; i++) {
		char group[16];

		snprintf(group, sizeof(group), "%dx64", (int)(i % 150));
		add(*state, group, i + 1, (uint64_t)(i * 7919 % 3000), 1);
	}
	assert_int_equal(spool_index_count(*state), 3000);
	while ((entries = spool_index_take(*state, 7, MANY, true, &n))) {
		for (size_t i = 1; i < n; i++) {
			assert_string_equal(entries[i].group, entries[0].group);
			assert_true(entries[i - 1].rank < entries[i].rank);
		}
		taken += n;
		free(entries);
	}
	assert_int_equal(taken, 3000);
}

#define index_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void only_a_group_with_an_old_entry_is_taken_by_age(void **state)
{
	struct spool_index *index = *state;
	struct spooled late = entry("late", 1, 1, 10), early = entry("early", 2, 2, 10);
	struct spooled *taken;
	size_t n = 77;

	late.since = 500;
	early.since = 400;
	spool_index_add(index, &late);
	spool_index_add(index, &early);
	assert_null(spool_index_take_aged(index, 400, MANY, MANY, &n));
	assert_int_equal(n, 77);
	taken = spool_index_take_aged(index, 401, MANY, MANY, &n);
	assert_int_equal(n, 1);
	assert_int_equal(taken[0].job, 2);
	free(taken);
	assert_null(spool_index_take_aged(index, 401, MANY, MANY, &n));
}

static void what_is_left_of_a_group_is_as_old_as_its_oldest_entry(void **state)
{
	struct spool_index *index = *state;
	struct spooled old = entry("g", 1, 1, 10), young = entry("g", 2, 2, 10);
	struct spooled older = entry("g", 3, 3, 10);
	struct spooled *taken;
	size_t n = 0;

	old.since = 400;
	young.since = 500;
	older.since = 300;
	spool_index_add(index, &old);
	spool_index_add(index, &young);
	spool_index_add(index, &older);
	assert_true(spool_index_remove(index, older.job, &older.place));
	assert_null(spool_index_take_aged(index, 400, MANY, MANY, &n));
	taken = spool_index_take_aged(index, 401, 1, MANY, &n);
	assert_int_equal(taken[0].job, old.job);
	free(taken);
	assert_null(spool_index_take_aged(index, 500, MANY, MANY, &n));
	taken = spool_index_take_aged(index, 501, MANY, MANY, &n);
	assert_int_equal(taken[0].job, young.job);
	free(taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    index_test(an_empty_index_has_nothing_to_take),
	    index_test(a_group_is_taken_once_it_has_the_samples),
	    index_test(a_group_is_taken_once_it_has_the_bytes),
	    index_test(a_shard_ends_with_the_record_that_fills_it),
	    index_test(a_record_larger_than_a_shard_has_one_to_itself),
	    index_test(records_come_in_rising_rank_and_of_equal_rank_by_job),
	    index_test(what_is_left_keeps_its_place_for_the_next_shard),
	    index_test(any_takes_what_there_is_of_a_group_and_no_more_than_a_shard),
	    index_test(the_oldest_record_decides_by_segment_and_then_by_offset),
	    index_test(only_a_group_with_an_old_entry_is_taken_by_age),
	    index_test(what_is_left_of_a_group_is_as_old_as_its_oldest_entry),
	    index_test(the_number_of_a_shard_is_never_given_twice),
	    index_test(full_shards_are_counted_by_records_or_bytes_of_each_group),
	    index_test(bytes_are_those_of_what_is_there),
	    index_test(an_entry_keeps_its_place_in_the_spool),
	    index_test(hundreds_of_groups_and_records_are_all_found_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
