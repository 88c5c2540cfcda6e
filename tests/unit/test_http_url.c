#include "tests/testing.h"

#include "base/checked.h"
#include "net/http_address.h"
#include "net/http_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void only_whole_urls_of_http_are_valid(void **state)
{
	static const char *const wrong[] = {"",
					    "a.jpg",
					    "//example.org/a.jpg",
					    "ftp://example.org/a.jpg",
					    "file:///etc/passwd",
					    "http://",
					    "https://user:pw@example.org/a.jpg",
					    "https://user@example.org/a.jpg",
					    "https://a b/"};

	(void)state;
	assert_true(http_url_is_valid("http://example.org/a.jpg"));
	assert_true(http_url_is_valid("HTTPS://Example.org:8443/a b.jpg?x=1#y"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (http_url_is_valid(wrong[i]))
			fail_msg("%s", wrong[i]);
	}
}

static void a_server_is_scheme_host_and_port(void **state)
{
	cleanup_free char *plain = http_url_origin("http://Example.ORG/a.jpg");
	cleanup_free char *tls = http_url_origin("https://example.org/b");
	cleanup_free char *port = http_url_origin("http://[::1]:81/");

	(void)state;
	assert_string_equal(plain, "http://example.org:80");
	assert_string_equal(tls, "https://example.org:443");
	assert_string_equal(port, "http://[::1]:81");
	assert_null(http_url_origin("gopher://example.org/"));
}

static void a_redirect_leads_from_where_it_was_given(void **state)
{
	static const struct {
		const char *location, *leads;
	} examples[] = {
	    {"/c.jpg", "http://example.org/c.jpg"},
	    {"c.jpg?x=1", "http://example.org/a/c.jpg?x=1"},
	    {"../c.jpg", "http://example.org/c.jpg"},
	    {"//cdn.example.org/c.jpg", "http://cdn.example.org/c.jpg"},
	    {"https://cdn.example.org/c.jpg", "https://cdn.example.org/c.jpg"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		cleanup_free char *joined =
		    http_url_join("http://example.org/a/b.jpg", examples[i].location);

		assert_string_equal(joined, examples[i].leads);
	}
	assert_null(http_url_join("http://example.org/a", "file:///etc/passwd"));
	assert_null(http_url_join("http://example.org/a", "ftp://example.org/c.jpg"));
	assert_null(http_url_join("http://example.org/a", "http://user:pw@example.org/c.jpg"));
}

static bool is_public(const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return http_address_is_public((const struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return http_address_is_public((const struct sockaddr *)&v6);
}

static void addresses_of_this_machine_and_its_networks_are_not_public(void **state)
{
	static const char *const ours[] = {
	    "0.0.0.0",	     "10.1.2.3",	 "100.64.0.1",
	    "127.0.0.1",     "127.255.255.254",	 "169.254.169.254",
	    "172.16.0.1",    "172.31.255.255",	 "192.168.0.1",
	    "224.0.0.1",     "255.255.255.255",	 "::",
	    "::1",	     "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe",
	    "2002:7f00:1::", "fe80::1",		 "fc00::1",
	    "fd12:3456::1",  "ff02::1"};
	static const char *const others[] = {
	    "1.1.1.1",	      "9.255.255.255",	 "11.0.0.0",	    "100.128.0.0",
	    "172.32.0.1",     "192.167.255.255", "223.255.255.255", "2606:4700::1111",
	    "::ffff:8.8.8.8", "64:ff9b::808:808"};
	struct sockaddr local = {.sa_family = AF_UNIX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (is_public(ours[i]))
			fail_msg("%s", ours[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (!is_public(others[i]))
			fail_msg("%s", others[i]);
	}
	assert_false(http_address_is_public(&local));
}

/* What goes past a proxy is looked at like everything. */
static void a_proxy_is_that_of_its_scheme(void **state)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
					    "ALL_PROXY",  "no_proxy",	 "NO_PROXY"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	assert_false(http_address_has_proxy("http://a.example/"));
	setenv("HTTPS_PROXY", "http://proxy:3128", 1);
	assert_false(http_address_has_proxy("http://a.example/"));
	assert_true(http_address_has_proxy("https://a.example/"));
	setenv("no_proxy", "a.example", 1);
	assert_true(http_address_has_proxy("https://a.example/"));
	setenv("no_proxy", "*", 1);
	assert_false(http_address_has_proxy("https://a.example/"));
	unsetenv("no_proxy");
	unsetenv("HTTPS_PROXY");
	setenv("all_proxy", "http://proxy:3128", 1);
	assert_true(http_address_has_proxy("http://a.example/"));
	unsetenv("all_proxy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_whole_urls_of_http_are_valid),
	    cmocka_unit_test(a_server_is_scheme_host_and_port),
	    cmocka_unit_test(a_redirect_leads_from_where_it_was_given),
	    cmocka_unit_test(addresses_of_this_machine_and_its_networks_are_not_public),
	    cmocka_unit_test(a_proxy_is_that_of_its_scheme),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
