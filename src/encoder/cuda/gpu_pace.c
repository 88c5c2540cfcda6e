#include "gpu_pace.h"

#include "gpu_clock.h"
#include "plugin_error.h"

enum { BUSY_POLL_US = 200000 };

int gpu_pace_open(struct gpu_pace *p, double share, const char *bus, struct latentd_cuda_error *err)
{
	const char *why = NULL;

	*p = (struct gpu_pace){.share = share > 0 && share < 1 ? share : 1};
	if (!bus)
		return 0;
	p->watch = busy_watch_open(bus, &why);
	if (!p->watch)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED,
					"pause_when_busy: %s; leave pause_when_busy out", why);
	return 0;
}

void gpu_pace_close(struct gpu_pace *p)
{
	busy_watch_close(p->watch);
	p->watch = NULL;
}

int64_t gpu_pace_wait_us(struct gpu_pace *p)
{
	int64_t now = p->share < 1 || p->watch ? gpu_clock_us() : 0;

	if (now < p->not_before)
		return p->not_before - now;
	if (!busy_watch_busy(p->watch))
		return 0;
	p->not_before = now + BUSY_POLL_US;
	return BUSY_POLL_US;
}

void gpu_pace_ran(struct gpu_pace *p, double ms)
{
	if (p->share < 1)
		p->not_before = gpu_clock_us() + (int64_t)(ms * 1000 * (1 / p->share - 1));
}
