/*
 * The last lines that a daemon said, in its state folder: for whoever asks when it has ended, however it did.
 *
 *	log_file_open(folder, &file, err)
 *	log_file_add(file, &line)                     any thread; never waits for the disk
 *	log_file_close(file)                          what was added is there now
 *
 * They are lines of JSON as GET /api/v1/log has them, in two files that take turns: when one has LOG_FILE_MAX bytes, the
 * other begins anew. What the disk does not take is lost; the daemon has said it on standard error, too.
 */
#ifndef LATENTD_DAEMON_LOG_FILE_H
#define LATENTD_DAEMON_LOG_FILE_H

#include "daemon/event_log.h"

#include "base/error.h"

#define LOG_FILE_MAX ((size_t)256 << 10)

struct json_t;
struct log_file;

/* Goes on behind what is there. */
int log_file_open(const char *folder, struct log_file **out, struct error *err);
void log_file_add(struct log_file *f, const struct event_line *line);
/* NULL is fine. */
void log_file_close(struct log_file *f);

/* Of the last line that is kept; 0: none is, or it cannot be read. */
int64_t log_file_last_id(const char *folder);
/*
 * The newest lines that @filter means (filter->after is not looked at), oldest first, as an array for the caller. NULL
 * with *err: none are kept there (ERR_CONFIG), or they cannot be read.
 */
struct json_t *log_file_read(const char *folder, const struct event_filter *filter,
			     struct error *err);

#endif
