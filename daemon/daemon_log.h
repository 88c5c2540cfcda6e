/*
 * What the daemon says, one line for each event: to the journal, with fields, where its standard error leads there; else to
 * standard error; and into the lines that the API shows (event_log.h).
 *
 *	log = daemon_log_new()
 *	daemon_log_set(log, level, format)                    as configured, also while it runs
 *	daemon_log_keep(log, state_folder, err)
 *	daemon_log_write(log, LOG_PLAIN_INFO, "photos", "paused")
 *	daemon_log_tick(log)                                  once a second
 *
 * More than DAEMON_LOG_BURST lines that come at once, and DAEMON_LOG_PER_SECOND from then on, are left out, and their number
 * is said when there is room again. Any thread may write.
 */
#ifndef LATENTD_DAEMON_DAEMON_LOG_H
#define LATENTD_DAEMON_DAEMON_LOG_H

#include "config/daemon_config.h"
#include "daemon/event_log.h"
#include "daemon/log_event.h"

#include "base/error.h"

#define DAEMON_LOG_BURST      1000
#define DAEMON_LOG_PER_SECOND 50

struct daemon_log;

struct daemon_log *daemon_log_new(void);
/* NULL is fine. */
void daemon_log_free(struct daemon_log *log);
/*
 * From now on what is said is in log_file.h's files in @folder too, until the end. Errors of log_file_open().
 */
int daemon_log_keep(struct daemon_log *log, const char *folder, struct error *err);
/* The folder is left; safe twice. */
void daemon_log_keep_end(struct daemon_log *log);
void daemon_log_set(struct daemon_log *log, enum log_level level, enum log_format format);
/* @dataset: NULL where it is about none. */
void daemon_log_write(struct daemon_log *log, enum log_event event, const char *dataset,
		      const char *line);
/* Why the daemon ends, into the files alone: whoever is told of it says it himself. */
void daemon_log_keep_last(struct daemon_log *log, const char *line);
/* Says how many lines were left out, if there is room for that. */
void daemon_log_tick(struct daemon_log *log);
struct event_log *daemon_log_lines(struct daemon_log *log);

#endif
