/*
 * What is remembered of files that were fetched.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "source/remote_known.h"

#include <stdio.h>
#include <string.h>

enum { MANY = 5000 }; /* more than the first levels hold */

struct fixture {
	char *dir;
	struct remote_known *known;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = testing_tempdir();
	f->known = remote_known_open(f->dir);
	assert_non_null(f->known);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	remote_known_close(f->known);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

static void make(size_t i, char url[64], struct remote_fact *fact)
{
	*fact = (struct remote_fact){.version = i + 1, .checked_at = (int64_t)i * 3};
	snprintf(url, 64, "http://a.example/%zu.jpg", i);
	snprintf(fact->etag, sizeof(fact->etag), "\"%zu\"", i);
	memset(fact->modified, 'm', i % sizeof(fact->modified));
}

static void assert_known(struct remote_known *known, size_t i)
{
	struct remote_fact want, got;
	char url[64];

	make(i, url, &want);
	assert_true(remote_known_find(known, url, &got));
	assert_int_equal(got.version, want.version);
	assert_int_equal(got.checked_at, want.checked_at);
	assert_string_equal(got.etag, want.etag);
	assert_string_equal(got.modified, want.modified);
}

static void what_was_put_is_found_by_whoever_opens_it_too(void **state)
{
	struct fixture *f = *state;
	struct remote_known *other = remote_known_open(f->dir);
	struct remote_fact fact;
	char url[64];

	for (size_t i = 0; i < MANY; i++) {
		make(i, url, &fact);
		remote_known_put(i % 2 ? other : f->known, url, &fact);
	}
	for (size_t i = 0; i < MANY; i++)
		assert_known(i % 3 ? other : f->known, i);
	assert_false(remote_known_find(other, "http://a.example/none.jpg", &fact));
	remote_known_close(other);
}

static void the_last_that_was_put_counts(void **state)
{
	struct fixture *f = *state;
	struct remote_fact fact;
	char url[64];

	make(7, url, &fact);
	remote_known_put(f->known, url, &fact);
	fact.version = 99;
	remote_known_put(f->known, url, &fact);
	fact.version = 0;
	assert_true(remote_known_find(f->known, url, &fact));
	assert_int_equal(fact.version, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_put_is_found_by_whoever_opens_it_too, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_last_that_was_put_counts, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
