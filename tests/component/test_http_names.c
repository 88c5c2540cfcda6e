/*
 * A resolver that does not answer holds up nobody: getaddrinfo() here is one.
 */
#include "tests/testing.h"

#include "net/http_multi.h"

#include <curl/curl.h>
#include <netdb.h>
#include <pthread.h>
#include <time.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t asked, under_way;
	bool answers;
} resolver = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, false};

/* In place of the C library's, for libcurl too. It gives up after a minute, so that who waits for it fails, and does not hang. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	struct timespec until;

	(void)name;
	(void)service;
	(void)hints;
	(void)out;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&resolver.lock);
	resolver.asked++;
	resolver.under_way++;
	pthread_cond_broadcast(&resolver.changed);
	while (!resolver.answers &&
	       pthread_cond_timedwait(&resolver.changed, &resolver.lock, &until) == 0)
		continue;
	resolver.under_way--;
	pthread_cond_broadcast(&resolver.changed);
	pthread_mutex_unlock(&resolver.lock);
	return EAI_AGAIN;
}

static size_t look(const size_t *count)
{
	size_t n;

	pthread_mutex_lock(&resolver.lock);
	n = *count;
	pthread_mutex_unlock(&resolver.lock);
	return n;
}

/* Until a thread waits for the resolver. */
static void start(struct http_multi *multi, struct http_exchange *x)
{
	size_t before = look(&resolver.asked);
	struct error err = ERROR_INIT;

	assert_ok(http_multi_start(multi, x, &err), &err);
	while (look(&resolver.asked) == before)
		http_multi_wait(multi, 10);
}

static void what_is_cancelled_does_not_wait_for_its_name(void **state)
{
	const struct http_multi_options options = {.proxy = ""};
	struct http_exchange x = {
	    .method = "GET", .url = "http://nobody.example/", .timeout_ms = 60000};
	struct http_exchange late = {
	    .method = "GET", .url = "http://nobody.example/", .timeout_ms = 1000};
	struct http_multi *multi = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	/* before 7.87 it cannot be told to; with c-ares it asks no getaddrinfo() */
	if (LIBCURL_VERSION_NUM < 0x075700 || curl_version_info(CURLVERSION_NOW)->ares)
		skip();
	assert_ok(http_multi_open(&options, &multi, &err), &err);
	start(multi, &x);
	http_multi_cancel(multi, &x);
	assert_int_equal(look(&resolver.under_way), 1);
	start(multi, &late);
	while (http_multi_finished(multi) != &late)
		http_multi_wait(multi, 1000);
	assert_int_equal(late.result, HTTP_TIMEOUT);
	assert_int_equal(look(&resolver.under_way), 2);
	http_exchange_release(&late);
	start(multi, &x);
	http_multi_close(multi);
	assert_int_equal(look(&resolver.under_way), 3);
	/* whoever waits for it ends before the program does */
	pthread_mutex_lock(&resolver.lock);
	resolver.answers = true;
	pthread_cond_broadcast(&resolver.changed);
	while (resolver.under_way > 0)
		pthread_cond_wait(&resolver.changed, &resolver.lock);
	pthread_mutex_unlock(&resolver.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_cancelled_does_not_wait_for_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
