/*
 * What tests share: cmocka, a temporary folder, files by name, golden data, loud skips.
 */
#ifndef LATENTD_TESTS_TESTING_H
#define LATENTD_TESTS_TESTING_H

/* cmocka wants these first, in this order */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/buffer.h"

/* Fails the test with the error's message if r is not 0. */
#define assert_ok(r, err)                                                                          \
	do {                                                                                       \
		int assert_ok_r_ = (r);                                                            \
		if (assert_ok_r_ != 0)                                                             \
			fail_msg("returned %d: %s", assert_ok_r_, (err)->message);                 \
	} while (0)

/* Fails unless @r is negative with @code set. */
#define assert_error(r, err, want)                                                                 \
	do {                                                                                       \
		assert_true((r) < 0);                                                              \
		assert_int_equal((err)->code, (want));                                             \
	} while (0)

/* A fresh folder, removed with everything in it by testing_tempdir_remove (which frees the name). */
char *testing_tempdir(void);
void testing_tempdir_remove(char *dir);

/* "DIR/NAME", to be freed. */
char *testing_path(const char *dir, const char *name);
void testing_write(const char *path, const void *data, size_t size);
/* The whole file; fails the test if it cannot be read. */
struct buffer testing_read(const char *path);

/* tests/golden/NAME of the source tree, to be freed. */
char *testing_golden(const char *name);
/*
 * ../shared/NAME beside the source tree, to be freed; NULL, after printing a loud line, where it is
 * not there: the caller then calls skip().
 */
char *testing_shared(const char *name);

#endif
