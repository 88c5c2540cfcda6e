/*
 * systemd restarts a service whose watchdog is not fed. The loop alone proves little: what hangs is an encoder, a
 * database or a disk. So it is fed only while encoders that have a batch get on, and the database thread answers.
 */
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <systemd/sd-daemon.h>

enum { STATUS_EVERY_MS = 5000, STUCK_MS = 120 * 1000 };

struct service_watchdog {
	struct service *service;
	bool enabled;
	uint64_t encoded; /* engines_progress() when it changed last */
	int64_t encoded_at, answered_at, said_at;
	bool asked; /* the database thread owes an answer */
};

struct service_watchdog *service_watchdog_new(struct service *s)
{
	struct service_watchdog *w = xcalloc(1, sizeof(*w));
	uint64_t usec = 0;

	w->service = s;
	w->enabled = sd_watchdog_enabled(0, &usec) > 0;
	w->encoded_at = w->answered_at = clock_mono_ms();
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
	w->answered_at = clock_mono_ms();
}

static bool gets_on(struct service_watchdog *w, int64_t now)
{
	bool busy = false;
	uint64_t encoded = engines_progress(w->service->engines, &busy);

	if (!busy || encoded != w->encoded) {
		w->encoded = encoded;
		w->encoded_at = now;
	}
	return now - w->encoded_at < STUCK_MS && now - w->answered_at < STUCK_MS;
}

void service_watchdog_tick(struct service_watchdog *w)
{
	int64_t now = clock_mono_ms();

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
	if (gets_on(w, now))
		sd_notify(0, "WATCHDOG=1");
}
