/*
 * Files a second from a server on this machine, and from one that misbehaves: what else there is comes meanwhile.
 *
 *	bench_download [FILES]      of 100 KB each, 2000
 */
#include "bench.h"

#include "tests/component/loopback_server.h"

#include "base/checked.h"
#include "net/download.h"

#include <pthread.h>
#include <string.h>

enum { FILES = 2000, BYTES = 100000, CONNECTIONS = 32, STALL_MS = 1000 };

struct kind {
	const char *name, *how;
	size_t every; /* one of so many files is answered so */
};

struct round {
	pthread_mutex_t lock;
	pthread_cond_t progress;
	size_t came, failed, put_off, under_way;
};

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	char how[16];

	(void)arg;
	loopback_query(request->target, "how", how, sizeof(how));
	buffer_append_zeros(&reply->body, BYTES);
	if (strcmp(how, "moved") == 0) {
		reply->status = 302;
		strcpy(reply->headers, "Location: /\r\n");
		buffer_reset(&reply->body);
	} else if (strcmp(how, "cut") == 0) {
		reply->how = LOOPBACK_CUT;
	} else if (strcmp(how, "close") == 0) {
		reply->how = LOOPBACK_CLOSE;
	} else if (strcmp(how, "never") == 0) {
		reply->how = LOOPBACK_NEVER;
	}
}

static void on_done(struct download *d)
{
	struct round *round = d->owner;

	pthread_mutex_lock(&round->lock);
	round->came += d->err.code == ERR_NONE;
	round->failed += d->err.code == ERR_DATA;
	round->put_off += d->err.code == ERR_TRANSIENT;
	round->under_way--;
	pthread_cond_signal(&round->progress);
	pthread_mutex_unlock(&round->lock);
	download_release(d);
	free((char *)d->url);
	free(d);
}

static void start(struct download_pool *pool, struct round *round, char *url)
{
	struct download *d = xcalloc(1, sizeof(*d));

	*d = (struct download){.url = url, .done = on_done, .owner = round, .fd = -1};
	pthread_mutex_lock(&round->lock);
	while (round->under_way == CONNECTIONS)
		pthread_cond_wait(&round->progress, &round->lock);
	round->under_way++;
	pthread_mutex_unlock(&round->lock);
	download_start(pool, d);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void measure(const struct kind *kind, size_t files)
{
	const struct loopback_options server_options = {.answer = answer};
	const struct download_options options = {.connections = CONNECTIONS,
						 .per_host = CONNECTIONS,
						 .bytes_max = 1 << 20,
						 .stall_ms = STALL_MS};
	struct loopback_server *server = loopback_start(&server_options);
	struct download_pool *pool = NULL;
	struct download_counts counts;
	struct error err = ERROR_INIT;
	struct round round = {.came = 0};
	double began = bench_seconds(), cpu = cpu_seconds();

	pthread_mutex_init(&round.lock, NULL);
	pthread_cond_init(&round.progress, NULL);
	bench_must(download_pool_open(&options, &pool, &err), &err);
	for (size_t i = 0; i < files; i++)
		start(pool, &round,
		      xasprintf("%s%zu?how=%s", loopback_url(server), i,
				i % kind->every == 0 ? kind->how : "whole"));
	pthread_mutex_lock(&round.lock);
	while (round.under_way > 0)
		pthread_cond_wait(&round.progress, &round.lock);
	pthread_mutex_unlock(&round.lock);
	cpu = cpu_seconds() - cpu - (double)loopback_cpu_ns(server) * 1e-9;
	download_pool_counts(pool, &counts);
	began = bench_seconds() - began;
	printf("%-28s %6.0f files/s, %5.1f us of CPU each; %zu came, %zu failed, %zu put off, %llu "
	       "retries\n",
	       kind->name, (double)files / began, cpu / (double)files * 1e6, round.came,
	       round.failed, round.put_off, (unsigned long long)counts.retries);
	download_pool_close(pool);
	loopback_stop(server);
	pthread_cond_destroy(&round.progress);
	pthread_mutex_destroy(&round.lock);
}

int main(int argc, char **argv)
{
	static const struct kind kinds[] = {
	    {"whole", "whole", 1},
	    {"every file redirected", "moved", 1},
	    {"one in 100 ends early", "cut", 100},
	    {"one in 100 reset", "close", 100},
	    {"one in 100 stalls for ever", "never", 100},
	};
	size_t files = argc > 1 ? strtoul(argv[1], NULL, 10) : FILES;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		measure(&kinds[i], files);
	return 0;
}
