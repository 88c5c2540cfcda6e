#include "base/thread.h"

#include "base/checked.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT_SLICE_NS 100000 /* the shortest that Linux grants */

/* As sched_setattr(2) has it; glibc before 2.41 has neither the structure nor the calls. */
struct scheduling {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* ns; of SCHED_OTHER: the slice */
	uint64_t deadline, period;
};

#define RESET_ON_FORK 1

struct start {
	void *(*run)(void *arg);
	void *arg;
	char *name;
};

/* A thread that is named by another costs a look into /proc, and the kernel's tidying of that at its end. */
static void *start(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	prctl(PR_SET_NAME, s.name);
	free(s.name);
	return s.run(s.arg);
}

int thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg,
		 struct error *err)
{
	struct start *s = xmalloc(sizeof(*s));
	sigset_t all, old;
	int r;

	*s = (struct start){run, arg, xstrdup(name)};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t->id, NULL, start, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		free(s->name);
		free(s);
		errno = r;
		return error_sys(err, "start thread %s", name);
	}
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

/* The kernel wants room for all cores that the machine could have. */
size_t thread_cores(void)
{
	for (int most = 1024; most <= 1 << 16; most *= 2) {
		cpu_set_t *set = CPU_ALLOC(most);
		size_t size = CPU_ALLOC_SIZE(most);
		int r = set ? sched_getaffinity(0, size, set) : -1;
		int n = r == 0 ? CPU_COUNT_S(size, set) : 0;

		CPU_FREE(set);
		if (r == 0)
			return n > 0 ? (size_t)n : 1;
		if (errno != EINVAL)
			break;
	}
	return 1;
}

void thread_short_slices(void)
{
	struct scheduling s = {.size = sizeof(s)};

	if (syscall(SYS_sched_getattr, 0, &s, sizeof(s), 0) < 0 || s.policy != SCHED_OTHER)
		return;
	s.flags |= RESET_ON_FORK;
	s.runtime = SHORT_SLICE_NS;
	syscall(SYS_sched_setattr, 0, &s, 0);
}
