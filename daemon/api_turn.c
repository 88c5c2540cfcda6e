#include "daemon/api_turn.h"

#include "base/checked.h"
#include "base/clock.h"

#include <pthread.h>
#include <time.h>

struct api_turn {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on the monotonic clock */
	bool taken, closed;
	size_t waiting;
	int64_t over_at; /* of the turn that is taken, monotonic ms */
};

struct api_turn *api_turn_new(void)
{
	struct api_turn *t = xcalloc(1, sizeof(*t));
	pthread_condattr_t attributes;

	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	return t;
}

void api_turn_free(struct api_turn *t)
{
	if (!t)
		return;
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void api_turn_close(struct api_turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->closed = true;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

/* With the lock. */
static void wait_for(struct api_turn *t)
{
	int64_t due = clock_mono_ms() + API_TURN_MS;
	struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};

	t->waiting++;
	while (t->taken && !t->closed && clock_mono_ms() < due)
		pthread_cond_timedwait(&t->changed, &t->lock, &until);
	t->waiting--;
}

int api_turn_take(struct api_turn *t, struct error *err)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (t->taken && !t->closed && t->waiting < API_TURN_WAITING)
		wait_for(t);
	if (t->closed) {
		r = error_set(err, ERR_TRANSIENT, "the daemon is stopping");
	} else if (t->taken) {
		r = error_set(err, ERR_TRANSIENT, "other pictures take their time: ask again");
	} else {
		t->taken = true;
		t->over_at = clock_mono_ms() + API_TURN_MS;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

void api_turn_end(struct api_turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->taken = false;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

bool api_turn_is_taken(struct api_turn *t)
{
	bool taken;

	pthread_mutex_lock(&t->lock);
	taken = t->taken;
	pthread_mutex_unlock(&t->lock);
	return taken;
}

bool api_turn_is_over(void *turn)
{
	struct api_turn *t = turn;
	bool over;

	pthread_mutex_lock(&t->lock);
	over = t->closed || clock_mono_ms() >= t->over_at;
	pthread_mutex_unlock(&t->lock);
	return over;
}
