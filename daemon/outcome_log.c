#include "daemon/outcome_log.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <string.h>

enum {
	MAX_ATTEMPTS_IMAGE = 2,	   /* a decoder that died or hung on it */
	MAX_ATTEMPTS_PASSING = 10, /* no descriptors, stale handle, short of memory */
	MAX_ATTEMPTS_NAME = 5,	   /* its server has no address */
	NAME_PAUSE_MS = 60000,
};

struct outcome_log {
	struct db *db;
	void (*on_fatal)(void *arg, const struct error *why);
	void *arg;
	struct job_outcome *items;
	size_t n, capacity;
	bool settling;
};

struct outcome_log *outcome_log_new(struct db *db,
				    void (*on_fatal)(void *arg, const struct error *why), void *arg)
{
	struct outcome_log *log = xcalloc(1, sizeof(*log));

	log->db = db;
	log->on_fatal = on_fatal;
	log->arg = arg;
	return log;
}

void outcome_log_free(struct outcome_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->n; i++) {
		free((char *)log->items[i].reason);
		free((char *)log->items[i].message);
	}
	free(log->items);
	free(log);
}

static char *copy_or_null(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

void outcome_log_add(struct outcome_log *log, const struct job_outcome *outcome)
{
	struct job_outcome *o;

	ARRAY_GROW(log->items, log->n, log->capacity);
	o = &log->items[log->n++];
	*o = *outcome;
	o->reason = copy_or_null(outcome->reason);
	o->message = copy_or_null(outcome->message);
}

static void on_settled(void *arg, size_t lost, const struct error *err)
{
	struct outcome_log *log = arg;

	(void)lost; /* a job that another owner has by now is that owner's business */
	log->settling = false;
	if (err->code != ERR_NONE)
		log->on_fatal(log->arg, err);
}

void outcome_log_flush(struct outcome_log *log)
{
	if (log->settling || log->n == 0)
		return;
	log->settling = true;
	db_settle(log->db, TAKE(log->items), log->n, on_settled, log);
	log->n = log->capacity = 0;
}

bool outcome_log_idle(const struct outcome_log *log)
{
	return log->n == 0 && !log->settling;
}

static const char no_such_host[] = "no_such_host";

static bool lacks_host(const struct error *why)
{
	return why->code == ERR_DATA && strcmp(why->reason, no_such_host) == 0;
}

int64_t outcome_pause_ms(const struct error *why, uint32_t attempts)
{
	int64_t ms = NAME_PAUSE_MS;

	if (!lacks_host(why))
		return 0;
	for (uint32_t i = 1; i < attempts && i < MAX_ATTEMPTS_NAME; i++)
		ms *= 6;
	return ms;
}

bool outcome_waits(enum outcome_kind kind, const char *reason)
{
	return kind == OUTCOME_POSTPONE ||
	       (kind == OUTCOME_RETRY && strcmp(reason, no_such_host) == 0);
}

enum outcome_kind outcome_judge(const struct error *why, uint32_t attempts, const char **reason)
{
	bool decoder = why->code == ERR_DATA && (strcmp(why->reason, "worker_died") == 0 ||
						 strcmp(why->reason, "timeout") == 0);

	*reason = why->reason;
	if (decoder)
		return attempts < MAX_ATTEMPTS_IMAGE ? OUTCOME_RETRY : OUTCOME_QUARANTINE;
	if (lacks_host(why))
		return attempts < MAX_ATTEMPTS_NAME ? OUTCOME_RETRY : OUTCOME_QUARANTINE;
	if (why->code == ERR_DATA)
		return strcmp(why->reason, "gone") == 0 ? OUTCOME_GONE : OUTCOME_QUARANTINE;
	if (why->code == ERR_BUG) {
		*reason = "internal";
		return OUTCOME_QUARANTINE;
	}
	*reason = why->code == ERR_NOMEM ? "too_large" : "unreadable";
	return attempts < MAX_ATTEMPTS_PASSING ? OUTCOME_RETRY : OUTCOME_QUARANTINE;
}
