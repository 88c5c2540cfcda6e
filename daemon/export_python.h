/*
 * Exports of which the files are written by Python's own libraries: contrib/latentd_export.py, which lies beside the program
 * (as a link, where it was built) or in ../share/latentd, and is run in the place of this process.
 */
#ifndef LATENTD_DAEMON_EXPORT_PYTHON_H
#define LATENTD_DAEMON_EXPORT_PYTHON_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct export_python_format {
	const char *name, *help;
};

struct export_python_words {
	const char *to, *into;
	const char *dtype, *split, *images, *id; /* NULL: not said */
	size_t resolution;			 /* 0: not said */
	bool raw, dry_run;
};

/* The i-th; NULL behind the last. */
const struct export_python_format *export_python_at(size_t i);
bool export_python_has(const char *name);

/* Exports the dataset in @folder. Returns only where that could not begin: ERR_CONFIG, no Python or no script. */
int export_python_run(const char *folder, const struct export_python_words *words,
		      struct error *err);

#endif
