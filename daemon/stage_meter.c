#include "daemon/stage_meter.h"

#include "base/checked.h"
#include "base/clock.h"

#include <pthread.h>

const double stage_bounds[STAGE_BUCKETS - 1] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1,
						0.25,  0.5,   1,    2.5,   10,	 60};

struct stage_meter {
	pthread_mutex_t mutex;
	struct {
		struct stage_sums sums;
		int64_t since;	 /* sums.busy_ns is up to then; monotonic ns */
		int64_t shifted; /* to others, and not yet taken from busy_ns */
	} stages[STAGES];
};

const char *stage_name(enum work_stage stage)
{
	static const char *const names[] = {"open", "read", "decode", "resize", "encode", "write"};

	return stage >= 0 && stage < STAGES ? names[stage] : "none";
}

struct stage_meter *stage_meter_new(void)
{
	struct stage_meter *m = xcalloc(1, sizeof(*m));

	pthread_mutex_init(&m->mutex, NULL);
	return m;
}

void stage_meter_free(struct stage_meter *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->mutex);
	free(m);
}

/* Busy time never goes back: what was shifted away before it was counted is taken from what comes. */
static void settle(struct stage_meter *m, enum work_stage stage)
{
	struct stage_sums *sums = &m->stages[stage].sums;
	int64_t now = clock_mono_ns(), *shifted = &m->stages[stage].shifted;
	int64_t busy = (now - m->stages[stage].since) * (int64_t)sums->active, less;

	less = *shifted < busy ? *shifted : busy;
	sums->busy_ns += (uint64_t)(busy - less);
	*shifted -= less;
	m->stages[stage].since = now;
}

void stage_meter_enter(struct stage_meter *m, enum work_stage stage)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->mutex);
	settle(m, stage);
	m->stages[stage].sums.active++;
	pthread_mutex_unlock(&m->mutex);
}

void stage_meter_leave(struct stage_meter *m, enum work_stage stage)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->mutex);
	settle(m, stage);
	m->stages[stage].sums.active--;
	pthread_mutex_unlock(&m->mutex);
}

void stage_meter_did(struct stage_meter *m, enum work_stage stage, uint64_t images, uint64_t ns)
{
	struct stage_sums *sums;
	size_t i = 0;

	if (!m)
		return;
	while (i < STAGE_BUCKETS - 1 && (double)ns > stage_bounds[i] * 1e9)
		i++;
	pthread_mutex_lock(&m->mutex);
	sums = &m->stages[stage].sums;
	sums->images += images;
	sums->buckets[i]++;
	sums->took_ns += ns;
	pthread_mutex_unlock(&m->mutex);
}

void stage_meter_shift(struct stage_meter *m, enum work_stage from, enum work_stage to, uint64_t ns)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->mutex);
	m->stages[to].sums.busy_ns += ns;
	m->stages[from].shifted += (int64_t)ns;
	settle(m, from);
	pthread_mutex_unlock(&m->mutex);
}

void stage_meter_sums(struct stage_meter *m, enum work_stage stage, struct stage_sums *out)
{
	*out = (struct stage_sums){.images = 0};
	if (!m)
		return;
	pthread_mutex_lock(&m->mutex);
	settle(m, stage);
	*out = m->stages[stage].sums;
	pthread_mutex_unlock(&m->mutex);
}
