#include "base/memory_allowed.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <stdint.h>
#include <string.h>

struct fixture {
	char *dir, *self;
};

static void set_up(struct fixture *f, const char *cgroup)
{
	f->dir = testing_tempdir();
	f->self = testing_path(f->dir, "self");
	testing_write(f->self, cgroup, strlen(cgroup));
}

static void limit(const struct fixture *f, const char *group, const char *bytes)
{
	cleanup_free char *folder = testing_path(f->dir, group);
	cleanup_free char *file = testing_path(folder, "memory.max");
	struct error err = ERROR_INIT;

	assert_ok(dir_make(folder, &err), &err);
	testing_write(file, bytes, strlen(bytes));
}

static void tear_down(struct fixture *f)
{
	free(f->self);
	testing_tempdir_remove(f->dir);
}

static void the_least_limit_of_a_group_and_those_above_it_counts(void **state)
{
	struct fixture f;

	(void)state;
	set_up(&f, "12:pids:/elsewhere\n0::/a.slice/b.service\n");
	assert_true(memory_of_cgroup(f.self, f.dir) == SIZE_MAX);
	limit(&f, "a.slice/b.service", "max\n");
	assert_true(memory_of_cgroup(f.self, f.dir) == SIZE_MAX);
	limit(&f, "a.slice/b.service", "8589934592\n");
	assert_int_equal(memory_of_cgroup(f.self, f.dir), (size_t)8 << 30);
	limit(&f, "a.slice", "4294967296\n");
	assert_int_equal(memory_of_cgroup(f.self, f.dir), (size_t)4 << 30);
	limit(&f, "a.slice", "17179869184\n");
	assert_int_equal(memory_of_cgroup(f.self, f.dir), (size_t)8 << 30);
	tear_down(&f);
}

static void a_container_sees_its_own_group_as_the_root(void **state)
{
	struct fixture f;

	(void)state;
	set_up(&f, "0::/\n");
	limit(&f, ".", "1073741824\n");
	assert_int_equal(memory_of_cgroup(f.self, f.dir), (size_t)1 << 30);
	tear_down(&f);
}

static void what_cannot_be_understood_is_no_limit(void **state)
{
	static const char *const selves[] = {"", "0::", "4:memory:/a\n"};
	static const char *const limits[] = {"", "-1\n", "12 MB\n", "99999999999999999999999\n"};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(selves); i++) {
		set_up(&f, selves[i]);
		limit(&f, ".", "4096\n");
		assert_true(memory_of_cgroup(f.self, f.dir) == SIZE_MAX);
		tear_down(&f);
	}
	set_up(&f, "0::/a\n");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		limit(&f, "a", limits[i]);
		assert_true(memory_of_cgroup(f.self, f.dir) == SIZE_MAX);
	}
	assert_true(memory_of_cgroup("/nowhere", f.dir) == SIZE_MAX);
	tear_down(&f);
}

static void this_process_may_have_some(void **state)
{
	(void)state;
	assert_true(memory_allowed() >= (size_t)64 << 20 && memory_allowed() < SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_least_limit_of_a_group_and_those_above_it_counts),
	    cmocka_unit_test(a_container_sees_its_own_group_as_the_root),
	    cmocka_unit_test(what_cannot_be_understood_is_no_limit),
	    cmocka_unit_test(this_process_may_have_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
