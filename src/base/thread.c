#include "base/thread.h"

#include <errno.h>
#include <signal.h>

int thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg,
		 struct error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t->id, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		errno = r;
		return error_sys(err, "start thread %s", name);
	}
	pthread_setname_np(t->id, name);
	t->running = true;
	return 0;
}

void thread_join(struct thread *t)
{
	if (!t->running)
		return;
	pthread_join(t->id, NULL);
	t->running = false;
}
