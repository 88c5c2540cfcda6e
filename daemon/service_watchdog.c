/*
 * systemd restarts a service whose watchdog is not fed. The loop alone proves little: what hangs is an encoder, a
 * database or a disk. So it is fed only while encoders that have a batch get on, packers that have records do, and the database
 * thread answers.
 */
#include "daemon/service_watchdog.h"
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <systemd/sd-daemon.h>

enum { STATUS_EVERY_MS = 5000 };

/*
 * The service ends by itself, and leaves behind what hangs, but clients of `serve:` may have an hour for that. systemd ends
 * only one that has not said this for so long.
 */
#define STOPPING_LONGER "EXTEND_TIMEOUT_USEC=60000000"

struct service_watchdog {
	struct service *service;
	bool enabled;
	struct watchdog_mark encoders, database;
	int64_t said_at;
	bool asked; /* the database thread owes an answer */
	struct db_ping ping;
	uint64_t answers;
};

struct service_watchdog *service_watchdog_new(struct service *s)
{
	struct service_watchdog *w = xcalloc(1, sizeof(*w));
	uint64_t usec = 0;

	w->service = s;
	w->enabled = sd_watchdog_enabled(0, &usec) > 0;
	w->encoders.at = w->database.at = clock_mono_ms();
	return w;
}

void service_watchdog_free(struct service_watchdog *w)
{
	free(w);
}

static void on_answer(void *arg)
{
	struct service_watchdog *w = arg;

	w->asked = false;
	w->answers++;
}

bool watchdog_gets_on(struct watchdog_mark *m, uint64_t steps, bool busy, int64_t stuck_ms,
		      int64_t now)
{
	if (!busy || steps != m->steps) {
		m->steps = steps;
		m->at = now;
	}
	return now - m->at < stuck_ms;
}

/* Each by itself: one that hangs is not hidden by another that works. */
static bool packers_get_on(struct service *s, int64_t now)
{
	bool all = true;

	for (size_t i = 0; i < s->n_lanes; i++)
		all = lane_stores(s->lanes[i], now) && all;
	for (size_t i = 0; i < s->n_leaving; i++)
		all = lane_stores(s->leaving[i], now) && all;
	return all;
}

static bool all_get_on(struct service_watchdog *w, int64_t now)
{
	bool busy = false;
	uint64_t encoded = engines_progress(w->service->engines, &busy);
	bool encoders = watchdog_gets_on(&w->encoders, encoded, busy, WATCHDOG_STUCK_MS, now);
	bool database = watchdog_gets_on(&w->database, w->answers, true, WATCHDOG_STUCK_MS, now);

	return packers_get_on(w->service, now) && encoders && database;
}

void service_watchdog_tick(struct service_watchdog *w)
{
	int64_t now = clock_mono_ms();

	if (now - w->said_at >= STATUS_EVERY_MS && w->service->state != SERVICE_STOPPING) {
		w->said_at = now;
		service_say_status(w->service);
	}
	if (w->service->state == SERVICE_STOPPING)
		sd_notify(0, STOPPING_LONGER);
	if (!w->enabled)
		return;
	if (!w->asked) {
		w->asked = true;
		w->ping.fn = on_answer;
		w->ping.arg = w;
		db_ping(w->service->db, &w->ping);
	}
	if (all_get_on(w, now))
		sd_notify(0, "WATCHDOG=1");
}
