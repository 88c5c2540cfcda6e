/* An empty folder, and the source that it is: a test makes files in it, lists them and looks at what is said. */
#ifndef LATENTD_TESTS_UNIT_SOURCE_RIG_H
#define LATENTD_TESTS_UNIT_SOURCE_RIG_H

#include "base/buffer.h"
#include "source/source.h"

struct source_rig {
	char *dir;
	int fd; /* of dir: names in deep trees are made from here */
	struct buffer notes, listing;
	struct source *source;
	size_t unread;
};

int source_rig_setup(void **state);
int source_rig_teardown(void **state);
void make_file(struct source_rig *f, const char *name);
void make_folder(struct source_rig *f, const char *name);
/* A note of a source, whose argument is the rig. */
void collect_note(void *arg, const char *line);
/* In the place of the one that is open. list() and assert_reason() open one with its folders, where none is. */
void open_source(struct source_rig *f, bool recursive);
/* All paths, each followed by '|'. */
const char *list(struct source_rig *f);
/* What was noted, each with a newline. */
const char *notes(struct source_rig *f);
/* It does not open, for that reason. */
void assert_reason(struct source_rig *f, const char *path, const char *reason);
void assert_opens(struct source_rig *f, const char *path);

#define source_test(f) cmocka_unit_test_setup_teardown(f, source_rig_setup, source_rig_teardown)

#endif
