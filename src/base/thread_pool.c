#include "base/thread_pool.h"

#include "base/checked.h"
#include "base/thread.h"

#include <stdatomic.h>

struct pool_thread {
	struct thread_pool *pool;
	size_t index; /* 0 is the caller of run */
	struct thread thread;
};

struct thread_pool {
	size_t size;
	struct pool_thread *threads; /* [size], the first of them never started */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	/* Under the lock: */
	size_t runs;	/* so far */
	bool running;	/* the last of them has parts to hand out */
	size_t working; /* threads that are in it, the caller aside */
	bool closing;
	/* Of the last run; constant while any thread is in it. */
	size_t parts;
	void (*do_part)(void *arg, size_t part, size_t thread);
	void *arg;
	atomic_size_t next;
};

static void do_parts(struct thread_pool *pool, size_t thread)
{
	size_t part;

	while ((part = atomic_fetch_add(&pool->next, 1)) < pool->parts)
		pool->do_part(pool->arg, part, thread);
}

static void *pool_thread_run(void *arg)
{
	struct pool_thread *self = arg;
	struct thread_pool *pool = self->pool;
	size_t seen = 0;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while ((pool->runs == seen || !pool->running) && !pool->closing)
			pthread_cond_wait(&pool->work, &pool->lock);
		if (pool->closing)
			break;
		seen = pool->runs;
		pool->working++;
		pthread_mutex_unlock(&pool->lock);
		do_parts(pool, self->index);
		pthread_mutex_lock(&pool->lock);
		if (--pool->working == 0)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int thread_pool_open(size_t threads, const char *name, struct thread_pool **out, struct error *err)
{
	struct thread_pool *pool = xcalloc(1, sizeof(*pool));

	pool->threads = xcalloc(threads, sizeof(*pool->threads));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->done, NULL);
	atomic_init(&pool->next, 0);
	for (pool->size = 1; pool->size < threads; pool->size++) {
		struct pool_thread *t = &pool->threads[pool->size];

		t->pool = pool;
		t->index = pool->size;
		if (thread_start(&t->thread, name, pool_thread_run, t, err) < 0) {
			thread_pool_close(pool);
			return -1;
		}
	}
	*out = pool;
	return 0;
}

void thread_pool_close(struct thread_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 1; i < pool->size; i++)
		thread_join(&pool->threads[i].thread);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->done);
	free(pool->threads);
	free(pool);
}

size_t thread_pool_size(const struct thread_pool *pool)
{
	return pool->size;
}

void thread_pool_run(struct thread_pool *pool, size_t parts,
		     void (*do_part)(void *arg, size_t part, size_t thread), void *arg)
{
	pthread_mutex_lock(&pool->lock);
	pool->parts = parts;
	pool->do_part = do_part;
	pool->arg = arg;
	atomic_store(&pool->next, 0);
	pool->running = true;
	pool->runs++;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	do_parts(pool, 0);
	/* whoever has not woken up by now is not waited for */
	pthread_mutex_lock(&pool->lock);
	pool->running = false;
	while (pool->working > 0)
		pthread_cond_wait(&pool->done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}
