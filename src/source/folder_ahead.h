/*
 * Private to src/source: threads that look at what a walk will look at next.
 *
 * Far away, or on a disk that has to seek, each name costs a round trip, and a walk makes one after the other. These threads ask
 * for many at once and keep nothing: what they are told stays in the kernel, where the walk, which asks again, finds it. So
 * neither its order nor what it says depends on them.
 *
 *	ahead = folder_ahead_new(links);
 *	folder_ahead_took(ahead, ns);                   what a call of the walk took: many that are slow start the threads
 *	if (folder_ahead_is_on(ahead))
 *		at = folder_ahead_post(ahead, fd, names, at, end);
 *	folder_ahead_close(ahead);
 *
 * Of one thread.
 */
#ifndef LATENTD_SOURCE_FOLDER_AHEAD_H
#define LATENTD_SOURCE_FOLDER_AHEAD_H

#include "source/source_choice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct folder_ahead;

struct folder_ahead *folder_ahead_new(enum source_links links);
/* Of opening a folder, or of a look at a file. When they are on it means nothing any more. */
void folder_ahead_took(struct folder_ahead *a, int64_t ns);
/* Once on, it stays so. */
bool folder_ahead_is_on(const struct folder_ahead *a);
/*
 * Has names[from .. end) of the folder @dir looked at: files, or folders, which end with '/', with what is in them; as many of
 * one kind as there is room for. Returns where it stopped. The names are copied, and so is the descriptor.
 */
size_t folder_ahead_post(struct folder_ahead *a, int dir, const char *const *names, size_t from,
			 size_t end);
/* Waits for what is under way; what has not begun is dropped. */
void folder_ahead_close(struct folder_ahead *a);

#endif
