#include "tests/unit/output_rig.h"

#include "tests/testing.h"

#include <string.h>

int output_rig_setup(void **state)
{
	static struct output_rig f;

	f.dir = testing_tempdir();
	f.out = testing_path(f.dir, "out");
	f.state = testing_path(f.dir, "state");
	f.output = (struct output)OUTPUT_INIT;
	f.err = (struct error)ERROR_INIT;
	setenv("XDG_STATE_HOME", f.dir, 1);
	*state = &f;
	return 0;
}

int output_rig_teardown(void **state)
{
	struct output_rig *f = *state;

	output_close(&f->output);
	free(f->out);
	free(f->state);
	testing_tempdir_remove(f->dir);
	return 0;
}

void output_rig_open(struct output_rig *f, const char *state)
{
	assert_ok(output_open(f->out, state, &f->output, &f->err), &f->err);
}

char *output_rig_real(const char *path)
{
	char *full = realpath(path, NULL);

	assert_non_null(full);
	return full;
}

void assert_says(const char *line, const char *const *words)
{
	assert_non_null(line);
	for (; *words; words++) {
		if (!strstr(line, *words))
			fail_msg("\"%s\" does not say \"%s\"", line, *words);
	}
}
