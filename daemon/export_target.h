/*
 * The folder that an export goes to. A file appears there whole or not at all; one that is there with the same bytes is
 * kept, so an export that was killed is simply begun again; one with other bytes is never replaced.
 *
 *	export_target_open(dir, "kohya", &about, beside, &target, err)
 *	export_target_put(target, "holiday/beach_1024x0768_sdxl.npz", bytes, size, err)
 *	export_target_list(target, "latentd.json", text, size, err)        what the export itself says: may be replaced
 *	export_target_end(target, err)                                    durable when it returns
 *	export_target_close(target)
 *
 * DIR/.latentd-export/ holds what is being written, a lock, and for each format what was exported here: another dataset, or the
 * same one with other options, is refused.
 */
#ifndef LATENTD_DAEMON_EXPORT_TARGET_H
#define LATENTD_DAEMON_EXPORT_TARGET_H

#include "base/buffer.h"

#include <stdbool.h>

struct export_target;

#define EXPORT_TARGET_KEPT 1
#define EXPORT_TARGET_BUSY 2

/*
 * Makes nothing. ERR_CONFIG: @dir holds an export by @format whose @about (text) is another; or no export by @format, and
 * files, unless @beside, or a file named @list (NULL: there is none), which somebody else wrote.
 */
int export_target_check(const char *dir, const char *format, const char *list, const char *about,
			bool beside, struct error *err);
/* Checks again, then makes @dir. EXPORT_TARGET_BUSY: another process exports into it. */
int export_target_open(const char *dir, const char *format, const char *list, const char *about,
		       bool beside, struct export_target **out, struct error *err);
/*
 * @path: relative, without "." and ".." parts; its folders are made. EXPORT_TARGET_KEPT: it is there already. ERR_CONFIG: a file
 * with other bytes is.
 */
int export_target_put(struct export_target *t, const char *path, const void *data, size_t size,
		      struct error *err);
int export_target_list(struct export_target *t, const char *path, const void *data, size_t size,
		       struct error *err);
int export_target_end(struct export_target *t, struct error *err);
/* What is not durable yet is forgotten. NULL is fine. */
void export_target_close(struct export_target *t);

#endif
