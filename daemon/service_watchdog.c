/*
 * systemd restarts a service whose watchdog is not fed. The loop alone proves little: what hangs is an encoder, a
 * database or a disk. So it is fed only while encoders that have a batch get on, and the database thread answers.
 */
#include "daemon/service_watchdog.h"
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <systemd/sd-daemon.h>

enum { STATUS_EVERY_MS = 5000 };

struct service_watchdog {
	struct service *service;
	bool enabled;
	struct watchdog_marks marks;
	int64_t said_at;
	bool asked; /* the database thread owes an answer */
};

struct service_watchdog *service_watchdog_new(struct service *s)
{
	struct service_watchdog *w = xcalloc(1, sizeof(*w));
	uint64_t usec = 0;

	w->service = s;
	w->enabled = sd_watchdog_enabled(0, &usec) > 0;
	w->marks.encoded_at = w->marks.answered_at = clock_mono_ms();
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
	w->marks.answered_at = clock_mono_ms();
}

bool watchdog_gets_on(struct watchdog_marks *m, uint64_t encoded, bool busy, int64_t now)
{
	if (!busy || encoded != m->encoded) {
		m->encoded = encoded;
		m->encoded_at = now;
	}
	return now - m->encoded_at < WATCHDOG_STUCK_MS && now - m->answered_at < WATCHDOG_STUCK_MS;
}

void service_watchdog_tick(struct service_watchdog *w)
{
	int64_t now = clock_mono_ms();
	bool busy = false;
	uint64_t encoded;

	if (now - w->said_at >= STATUS_EVERY_MS && w->service->state != SERVICE_STOPPING) {
		w->said_at = now;
		service_say_status(w->service);
	}
	if (!w->enabled)
		return;
	if (!w->asked) {
		w->asked = true;
		db_ping(w->service->db, on_answer, w);
	}
	encoded = engines_progress(w->service->engines, &busy);
	if (watchdog_gets_on(&w->marks, encoded, busy, now))
		sd_notify(0, "WATCHDOG=1");
}
