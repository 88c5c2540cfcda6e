/*
 * Faults at the system calls that durability hangs on: write, fsync, fdatasync, rename, link,
 * unlink, mkdir, ftruncate. A program linked with --wrap for them (storage.cmake) can count and
 * name them, let the n-th fail, or die at it.
 *
 *	faults_begin();
 *	faults_fail_nth(3, EIO);
 *	... the code under test ...
 *	faults_end();
 *
 * Outside begin and end all calls are the real ones.
 */
#ifndef LATENTD_TESTS_STORAGE_FAULTS_H
#define LATENTD_TESTS_STORAGE_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

#define FAULTS_DIED 77 /* exit status of a process that faults_die_nth ended */

/* Counts from 0, log empty, nothing fails. */
void faults_begin(void);
void faults_end(void);
/* The n-th call does not happen and fails with @error; a write writes half first. */
void faults_fail_nth(size_t n, int error);
/* The n-th call is not made: the process ends, after half of a write. */
void faults_die_nth(size_t n);
/* Every call of that name ("fsync", "rename", ...) fails. */
void faults_fail_all(const char *name, int error);
/*
 * fsync and fdatasync do nothing, for tests that open a thousand files. Lasts until called again.
 */
void faults_skip_syncs(bool skip);
/* Calls since begin. */
size_t faults_calls(void);
/*
 * Their names in order, with a space between; the same name many times in a row is there once.
 * fsync of a folder is "fsync-dir".
 */
const char *faults_log(void);
size_t faults_count(const char *name);

#endif
