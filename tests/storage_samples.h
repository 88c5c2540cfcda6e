/*
 * Records for the tests of storage/: the three of tests/golden/storage_make.py, and as many small
 * ones as a test wants.
 */
#ifndef LATENTD_TESTS_STORAGE_SAMPLES_H
#define LATENTD_TESTS_STORAGE_SAMPLES_H

#include "storage/record.h"

#include <stdbool.h>

#define GOLDEN_RECORDS 3

/* Record @index of storage_make.py. */
void sample_golden(size_t index, struct record *out);
/* Key "sample-%05zu", two members of some hundred bytes that depend on @index. */
void sample_small(size_t index, struct record *out);
/* Same key and members. Numbers and group too where @numbers. */
bool sample_equal(const struct record *a, const struct record *b, bool numbers);
/* How many files are in folder @dir, hidden ones counted; 0 if there is no such folder. */
size_t sample_count_files(const char *dir);

#endif
