/*
 * A folder for an output and one for its state, neither of which is there yet, and below which XDG_STATE_HOME points.
 */
#ifndef LATENTD_TESTS_UNIT_OUTPUT_RIG_H
#define LATENTD_TESTS_UNIT_OUTPUT_RIG_H

#include "daemon/output.h"

struct output_rig {
	char *dir, *out, *state; /* the last two in dir */
	struct output output;	 /* closed at the end */
	struct error err;
};

int output_rig_setup(void **state);
int output_rig_teardown(void **state);
void output_rig_open(struct output_rig *f, const char *state);
/* realpath(); to be freed. */
char *output_rig_real(const char *path);

/* The words, all of which must be in @line. */
void assert_says(const char *line, const char *const *words);
#define SAYS(line, ...) assert_says((line), (const char *[]){__VA_ARGS__, NULL})

#define output_test(f) cmocka_unit_test_setup_teardown(f, output_rig_setup, output_rig_teardown)

#endif
