#include "tests/testing.h"

#include "net/download_host.h"

#include <stdio.h>

enum { FEW = 20000, MANY = 60000 };

static void wake(void *arg)
{
	(void)arg;
}

static struct download_hosts *new_hosts(void)
{
	const struct host_pass_options each = {.wake = wake};

	return download_hosts_new(&each);
}

static struct download_host *host(struct download_hosts *hosts, size_t i)
{
	char origin[64];

	snprintf(origin, sizeof(origin), "http://host%zu.test:80", i);
	return download_hosts_get(hosts, origin, 2, 0);
}

static void idle_servers_are_forgotten_when_they_are_many(void **state)
{
	struct download_hosts *hosts = new_hosts();
	size_t known = 0;

	(void)state;
	for (size_t i = 0; i < FEW; i++)
		host(hosts, i)->answers = 1;
	for (size_t i = 0; i < FEW; i++)
		known += host(hosts, i)->answers;
	assert_true(known < FEW);
	download_hosts_free(hosts);
}

/* Nearly as quickly as few: where all were looked through for each new one, this took minutes. */
static void servers_without_an_address_are_kept_however_many(void **state)
{
	struct download_hosts *hosts = new_hosts();

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		host(hosts, i)->nameless = true;
	for (size_t i = 0; i < MANY; i++)
		assert_true(host(hosts, i)->nameless);
	download_hosts_free(hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_servers_are_forgotten_when_they_are_many),
	    cmocka_unit_test(servers_without_an_address_are_kept_however_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
