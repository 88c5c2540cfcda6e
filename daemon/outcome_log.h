/*
 * Outcomes of jobs that did not become a latent, on their way to the queue: gathered, and settled
 * many in one transaction.
 *
 *	outcome_log_add(log, &outcome)     copies reason and message
 *	outcome_log_flush(log)             at every turn: settles what is there, unless one is under way
 *	outcome_log_idle(log)              everything is settled
 */
#ifndef LATENTD_DAEMON_OUTCOME_LOG_H
#define LATENTD_DAEMON_OUTCOME_LOG_H

#include "daemon/db.h"

struct outcome_log;

/* @on_fatal: the queue failed. */
struct outcome_log *
outcome_log_new(struct db *db, void (*on_fatal)(void *arg, const struct error *why), void *arg);
/* What was not flushed is forgotten. NULL is fine. */
void outcome_log_free(struct outcome_log *log);
void outcome_log_add(struct outcome_log *log, const struct job_outcome *outcome);
void outcome_log_flush(struct outcome_log *log);
bool outcome_log_idle(const struct outcome_log *log);

/*
 * What an error means for a job that has had @attempts: whose fault it is, and whether another try can help.
 * *reason is the word for it.
 */
enum outcome_kind outcome_judge(const struct error *why, uint32_t attempts, const char **reason);
/*
 * How long a retry waits at least, after @attempts; 0: as long as is usual. Of a server without an address a minute, then six times
 * longer each time: with the last of five that is four hours.
 */
int64_t outcome_pause_ms(const struct error *why, uint32_t attempts);
/* An outcome of a job that waits for a server which cannot be reached. */
bool outcome_waits(enum outcome_kind kind, const char *reason);

#endif
