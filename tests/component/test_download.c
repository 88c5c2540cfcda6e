/*
 * Downloads from a server that answers as each URL asks: ?how=...
 */
#include "tests/testing.h"

#include "tests/component/loopback_server.h"

#include "base/checked.h"
#include "base/files.h"
#include "net/download.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT = 100000, MANY = 40 };

struct rig {
	struct loopback_server *server, *other;
	struct download_pool *pool;
	char *elsewhere; /* the other server's URL */
	atomic_size_t asked_for_later, failures;
	atomic_bool stop;
	pthread_mutex_t lock; /* of last_head, which both servers write */
	char last_head[2048];
};

/* Bytes 3 to 6 of "0123456789", which somebody may have replaced. */
static void answer_part(const struct loopback_request *request, const char *how,
			struct loopback_reply *reply)
{
	if (!strstr(request->head, "\r\nRange: bytes=3-6\r\n") ||
	    !strstr(request->head, "\r\nIf-Match: \"v1\"\r\n")) {
		reply->status = 400;
		return;
	}
	reply->status = 206;
	buffer_reset(&reply->body);
	buffer_append_string(&reply->body, strcmp(how, "part-short") == 0   ? "345"
					   : strcmp(how, "part-whole") == 0 ? "0123456789"
									    : "3456");
	sprintf(reply->headers, "ETag: \"%s\"\r\nContent-Range: bytes %s/10\r\n",
		strcmp(how, "part-another") == 0 ? "v2" : "v1",
		strcmp(how, "part-elsewhere") == 0 ? "4-7" : "3-6");
	if (strcmp(how, "part-unsaid") == 0)
		reply->headers[0] = '\0';
	else if (strcmp(how, "part-changed") == 0)
		reply->status = 412;
	else if (strcmp(how, "part-behind") == 0)
		reply->status = 416;
	else if (strcmp(how, "part-whole") == 0)
		reply->status = 200;
}

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct rig *rig = arg;
	char how[32];

	pthread_mutex_lock(&rig->lock);
	snprintf(rig->last_head, sizeof(rig->last_head), "%s", request->head);
	pthread_mutex_unlock(&rig->lock);
	loopback_query(request->target, "how", how, sizeof(how));
	buffer_append_string(&reply->body, "0123456789");
	if (strcmp(how, "slowly") == 0) {
		reply->delay_ms = 10;
	} else if (strncmp(how, "part", 4) == 0) {
		answer_part(request, how, reply);
	} else if (strcmp(how, "gone") == 0) {
		reply->status = 410;
	} else if (strcmp(how, "endless") == 0) {
		reply->how = LOOPBACK_RAW;
		buffer_reset(&reply->body);
		buffer_append_string(&reply->body,
				     "HTTP/1.1 404 Gone\r\nContent-Length: 100000000\r\n\r\n");
		buffer_append_zeros(&reply->body, 2 << 20);
	} else if (strcmp(how, "missing") == 0) {
		reply->status = 404;
	} else if (strcmp(how, "closed") == 0) {
		reply->status = 403;
	} else if (strcmp(how, "teapot") == 0) {
		reply->status = 418;
	} else if (strcmp(how, "cut") == 0) {
		reply->how = LOOPBACK_CUT;
	} else if (strcmp(how, "never") == 0) {
		reply->how = LOOPBACK_NEVER;
	} else if (strcmp(how, "huge") == 0) {
		buffer_append_zeros(&reply->body, LIMIT);
	} else if (strcmp(how, "chunked") == 0) {
		reply->how = LOOPBACK_RAW;
		buffer_reset(&reply->body);
		buffer_append_string(&reply->body, "HTTP/1.1 200 OK\r\n\r\n");
		buffer_append_zeros(&reply->body, LIMIT + 1);
	} else if (strcmp(how, "loop") == 0) {
		reply->status = 302;
		strcpy(reply->headers, "Location: /?how=loop\r\n");
	} else if (strcmp(how, "away") == 0) {
		reply->status = 302;
		snprintf(reply->headers, sizeof(reply->headers), "Location: %s\r\n",
			 rig->elsewhere);
	} else if (strcmp(how, "file") == 0) {
		reply->status = 301;
		strcpy(reply->headers, "Location: file:///etc/passwd\r\n");
	} else if (strcmp(how, "later") == 0 && atomic_fetch_add(&rig->asked_for_later, 1) == 0) {
		reply->status = 503;
		strcpy(reply->headers, "Retry-After: 1\r\n");
	} else if (strcmp(how, "pause") == 0) {
		reply->status = 429;
		strcpy(reply->headers, "Retry-After: 3600\r\n");
	} else if (strcmp(how, "once") == 0 && atomic_fetch_add(&rig->failures, 1) == 0) {
		reply->status = 500;
	} else if (strcmp(how, "broken") == 0) {
		reply->status = 500;
	} else if (strcmp(how, "tagged") == 0) {
		strcpy(reply->headers, "ETag: \"v1\"\r\nContent-Type: image/png\r\n");
		if (strstr(request->head, "If-None-Match: \"v1\"")) {
			reply->status = 304;
			buffer_reset(&reply->body);
		}
	}
}

static bool is_stopped(void *arg)
{
	return atomic_load(&((struct rig *)arg)->stop);
}

static void open_pool(struct rig *rig, bool only_public)
{
	const struct download_options options = {.connections = 8,
						 .per_host = 4,
						 .bytes_max = LIMIT,
						 .patience_ms = 60000,
						 .only_public = only_public,
						 .stop = is_stopped,
						 .stop_arg = rig};
	struct error err = ERROR_INIT;

	assert_ok(download_pool_open(&options, &rig->pool, &err), &err);
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	const struct loopback_options server = {.answer = answer, .arg = rig};

	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	pthread_mutex_init(&rig->lock, NULL);
	rig->server = loopback_start(&server);
	rig->other = loopback_start(&server);
	rig->elsewhere = xstrdup(loopback_url(rig->other));
	open_pool(rig, false);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	download_pool_close(rig->pool);
	loopback_stop(rig->server);
	loopback_stop(rig->other);
	pthread_mutex_destroy(&rig->lock);
	free(rig->elsewhere);
	free(rig);
	return 0;
}

/* Fetches ?how=@how; the caller releases *d. */
static int fetch(struct rig *rig, const char *how, struct download *d, struct error *err)
{
	cleanup_free char *url = xasprintf("%s?how=%s", loopback_url(rig->server), how);
	int r;

	*d = (struct download){.url = url};
	error_clear(err);
	r = download_wait(rig->pool, d, err);
	d->url = NULL;
	return r;
}

static void assert_bytes(const struct download *d, const char *want)
{
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_true(d->fd >= 0);
	assert_int_equal(lseek(d->fd, 0, SEEK_SET), 0);
	assert_ok(fd_read_all(d->fd, LIMIT, &got, &err), &err);
	assert_string_equal((const char *)got.data, want);
}

static void assert_data(struct rig *rig, const char *how, const char *reason)
{
	struct error err = ERROR_INIT;
	struct download d;

	assert_error(fetch(rig, how, &d, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, reason);
	assert_int_equal(d.fd, -1);
	download_release(&d);
}

static void a_file_comes_with_its_bytes_and_what_the_server_calls_it(void **state)
{
	struct error err = ERROR_INIT;
	struct rig *rig = *state;
	struct download d;

	assert_ok(fetch(rig, "tagged", &d, &err), &err);
	assert_bytes(&d, "0123456789");
	assert_string_equal(d.etag_now, "\"v1\"");
	assert_string_equal(d.type, "image/png");
	pthread_mutex_lock(&rig->lock);
	assert_non_null(strstr(rig->last_head, "User-Agent: latentd/"));
	pthread_mutex_unlock(&rig->lock);
	download_release(&d);
}

static void a_file_that_is_the_same_is_not_sent_again(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *url = xasprintf("%s?how=tagged", loopback_url(rig->server));
	struct download d = {.url = url, .etag = "\"v1\""};
	struct error err = ERROR_INIT;

	assert_ok(download_wait(rig->pool, &d, &err), &err);
	assert_true(d.unchanged);
	assert_int_equal(d.fd, -1);
	download_release(&d);
}

static int fetch_part(struct rig *rig, const char *how, struct download *d, struct error *err)
{
	cleanup_free char *url = xasprintf("%s?how=%s", loopback_url(rig->server), how);
	int r;

	*d = (struct download){.url = url, .fd = -1, .offset = 3, .size = 4, .match = "\"v1\""};
	r = download_wait(rig->pool, d, err);
	d->url = NULL;
	return r;
}

static void a_part_of_a_file_comes_alone_or_it_is_said_why_not(void **state)
{
	static const char *const wrong[][2] = {
	    {"part-another", "changed"},     {"part-changed", "changed"},
	    {"part-elsewhere", "bad_range"}, {"part-unsaid", "bad_range"},
	    {"part-short", "truncated"},     {"part-behind", "truncated"},
	    {"part-whole", "no_ranges"},     {"missing", "not_found"}};
	struct rig *rig = *state;
	struct download d;

	for (size_t i = 0; i <= ARRAY_SIZE(wrong); i++) {
		struct error err = ERROR_INIT;

		if (i == ARRAY_SIZE(wrong)) {
			assert_ok(fetch_part(rig, "part", &d, &err), &err);
			assert_bytes(&d, "3456");
		} else {
			assert_error(fetch_part(rig, wrong[i][0], &d, &err), &err, ERR_DATA);
			assert_string_equal(err.reason, wrong[i][1]);
			assert_int_equal(d.fd, -1);
		}
		download_release(&d);
	}
}

static void what_the_server_refuses_is_about_the_file(void **state)
{
	assert_data(*state, "missing", "not_found");
	assert_data(*state, "gone&name=a b\xc3\xa4", "not_found");
	assert_data(*state, "endless", "not_found");
	assert_data(*state, "closed", "forbidden");
	assert_data(*state, "teapot", "bad_status");
	assert_int_equal(loopback_requests(((struct rig *)*state)->server), 5);
}

static void a_file_is_read_to_its_limit_whatever_its_length_says(void **state)
{
	assert_data(*state, "huge", "too_large");
	assert_data(*state, "chunked", "too_large");
}

static void redirects_are_followed_to_other_servers_but_not_for_ever(void **state)
{
	struct error err = ERROR_INIT;
	struct rig *rig = *state;
	struct download d;

	assert_ok(fetch(rig, "away", &d, &err), &err);
	assert_bytes(&d, "0123456789");
	download_release(&d);
	assert_int_equal(loopback_requests(rig->other), 1);
	assert_data(rig, "loop", "redirect");
	assert_int_equal(loopback_requests(rig->server), 1 + DOWNLOAD_REDIRECTS + 1);
	assert_data(rig, "file", "redirect");
}

static void retry_after_is_obeyed(void **state)
{
	struct error err = ERROR_INIT;
	struct download d;

	assert_ok(fetch(*state, "later", &d, &err), &err);
	assert_bytes(&d, "0123456789");
	download_release(&d);
}

static void a_server_that_asks_for_a_long_pause_is_put_off(void **state)
{
	struct error err = ERROR_INIT;
	struct download d;

	assert_error(fetch(*state, "pause", &d, &err), &err, ERR_TRANSIENT);
	assert_true(d.retry_ms >= 3600 * 1000);
	download_release(&d);
	/* nothing is asked of it meanwhile */
	assert_error(fetch(*state, "tagged", &d, &err), &err, ERR_TRANSIENT);
	download_release(&d);
	assert_int_equal(loopback_requests(((struct rig *)*state)->server), 1);
}

static void a_failure_is_tried_again(void **state)
{
	struct error err = ERROR_INIT;
	struct download d;

	assert_ok(fetch(*state, "once", &d, &err), &err);
	assert_bytes(&d, "0123456789");
	download_release(&d);
}

static void nobody_is_charged_for_a_server_that_fails(void **state)
{
	static const char *const hows[] = {"broken", "cut"};
	struct error err = ERROR_INIT;
	struct download d;

	for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
		assert_error(fetch(*state, hows[i], &d, &err), &err, ERR_TRANSIENT);
		assert_true(d.retry_ms > 0);
		assert_int_equal(d.fd, -1);
		download_release(&d);
	}
}

static void a_server_that_nobody_runs_is_put_off(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *url = loopback_nobody();
	struct download d = {.url = url};
	struct error err = ERROR_INIT;

	assert_error(download_wait(rig->pool, &d, &err), &err, ERR_TRANSIENT);
	download_release(&d);
}

/* A label of 64 bytes: no name server is asked. */
#define NO_NAME "http://" LABEL16 LABEL16 LABEL16 LABEL16 ".test/a.jpg"
#define LABEL16 "aaaaaaaaaaaaaaaa"

static void a_name_without_an_address_is_its_files_fault_once_other_names_answered(void **state)
{
	struct rig *rig = *state;
	const char *port = strrchr(loopback_url(rig->server), ':');
	cleanup_free char *named = xasprintf("http://localhost%s", port);
	struct download d = {.url = NO_NAME};
	struct error err = ERROR_INIT;

	assert_error(download_wait(rig->pool, &d, &err), &err, ERR_TRANSIENT);
	download_release(&d);
	/* An address proves nothing. */
	assert_ok(fetch(rig, "", &d, &err), &err);
	download_release(&d);
	d = (struct download){.url = NO_NAME};
	assert_error(download_wait(rig->pool, &d, &err), &err, ERR_TRANSIENT);
	download_release(&d);
	d = (struct download){.url = named};
	error_clear(&err);
	assert_ok(download_wait(rig->pool, &d, &err), &err);
	download_release(&d);
	d = (struct download){.url = NO_NAME};
	assert_error(download_wait(rig->pool, &d, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "no_such_host");
	download_release(&d);
}

static void a_private_address_is_not_connected_to_where_only_public_ones_are_wanted(void **state)
{
	struct rig *rig = *state;

	download_pool_close(rig->pool);
	open_pool(rig, true);
	assert_data(rig, "tagged", "not_public");
	assert_int_equal(loopback_connections(rig->server), 0);
}

/* -- many at once ---------------------------------------------------------------------------------- */

struct many {
	struct download downloads[MANY];
	char *urls[MANY];
	bool sign;
	sem_t over;
	atomic_size_t good;
};

static void one_of_many_done(struct download *d)
{
	struct many *many = d->owner;

	if (d->err.code == ERR_NONE)
		atomic_fetch_add(&many->good, 1);
	sem_post(&many->over);
}

static int sign(struct download *d, char **url, struct buffer *lines, struct error *err)
{
	(void)lines;
	(void)err;
	*url = xstrdup(d->url);
	return 0;
}

static enum download_next judge(struct download *d, const struct http_exchange *x,
				struct error *err)
{
	(void)d;
	(void)x;
	error_data(err, "not_found", "what is asked for here never comes");
	return DOWNLOAD_OVER;
}

static void start_many(struct rig *rig, struct many *many, const char *how)
{
	sem_init(&many->over, 0, 0);
	for (size_t i = 0; i < MANY; i++) {
		many->urls[i] = xasprintf("%s%zu?how=%s", loopback_url(rig->server), i, how);
		many->downloads[i] = (struct download){
		    .url = many->urls[i], .done = one_of_many_done, .owner = many};
		if (many->sign) {
			many->downloads[i].sign = sign;
			many->downloads[i].judge = judge;
		}
		download_start(rig->pool, &many->downloads[i]);
	}
}

static void end_many(struct many *many)
{
	for (size_t i = 0; i < MANY; i++) {
		while (sem_wait(&many->over) < 0)
			;
	}
	for (size_t i = 0; i < MANY; i++) {
		download_release(&many->downloads[i]);
		free(many->urls[i]);
	}
	sem_destroy(&many->over);
}

static void many_come_over_a_few_connections(void **state)
{
	struct rig *rig = *state;
	struct many many = {.good = 0};
	struct download_counts counts;

	start_many(rig, &many, "tagged");
	end_many(&many);
	assert_int_equal(atomic_load(&many.good), MANY);
	assert_true(loopback_connections(rig->server) <= 4);
	download_pool_counts(rig->pool, &counts);
	assert_int_equal(counts.files, MANY);
	assert_int_equal(counts.bytes, MANY * 10);
}

/* Each by itself would have two under way. */
static void two_pools_share_the_limits_of_a_server(void **state)
{
	struct rig *rig = *state;
	const struct download_options options = {
	    .connections = 8, .per_host = 2, .bytes_max = LIMIT, .patience_ms = 60000};
	struct download_pool *usual = rig->pool, *pools[2] = {NULL, NULL};
	struct many many[2] = {{.good = 0}, {.good = 0}};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
		assert_ok(download_pool_open(&options, &pools[i], &err), &err);
		rig->pool = pools[i];
		start_many(rig, &many[i], "slowly");
	}
	rig->pool = usual;
	for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
		end_many(&many[i]);
		download_pool_close(pools[i]);
		assert_int_equal(atomic_load(&many[i].good), MANY);
	}
	assert_true(loopback_most_at_once(rig->server) <= 2);
}

/* The limit of a server that is new is 2. */
static void what_is_signed_may_use_every_connection_of_a_pool(void **state)
{
	struct rig *rig = *state;
	const struct download_options options = {.connections = 8,
						 .per_host = 1,
						 .bytes_max = LIMIT,
						 .patience_ms = 60000,
						 .stop = is_stopped,
						 .stop_arg = rig};
	struct many many = {.sign = true};
	struct error err = ERROR_INIT;

	download_pool_close(rig->pool);
	assert_ok(download_pool_open(&options, &rig->pool, &err), &err);
	start_many(rig, &many, "never");
	while (loopback_most_at_once(rig->server) < 2)
		usleep(1000);
	atomic_store(&rig->stop, true);
	end_many(&many);
}

static void a_server_that_stalls_does_not_hold_up_another(void **state)
{
	struct rig *rig = *state;
	struct many many = {.good = 0};
	struct download d = {.url = rig->elsewhere};
	struct error err = ERROR_INIT;

	start_many(rig, &many, "never");
	assert_ok(download_wait(rig->pool, &d, &err), &err);
	assert_bytes(&d, "0123456789");
	download_release(&d);
	atomic_store(&rig->stop, true);
	end_many(&many);
	assert_int_equal(atomic_load(&many.good), 0);
}

static void closing_ends_what_is_under_way(void **state)
{
	struct rig *rig = *state;
	struct many many = {.good = 0};

	start_many(rig, &many, "never");
	download_pool_close(rig->pool);
	rig->pool = NULL;
	end_many(&many);
}

#define download_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    download_test(a_file_comes_with_its_bytes_and_what_the_server_calls_it),
	    download_test(a_file_that_is_the_same_is_not_sent_again),
	    download_test(what_the_server_refuses_is_about_the_file),
	    download_test(a_part_of_a_file_comes_alone_or_it_is_said_why_not),
	    download_test(a_file_is_read_to_its_limit_whatever_its_length_says),
	    download_test(redirects_are_followed_to_other_servers_but_not_for_ever),
	    download_test(retry_after_is_obeyed),
	    download_test(a_server_that_asks_for_a_long_pause_is_put_off),
	    download_test(a_failure_is_tried_again),
	    download_test(nobody_is_charged_for_a_server_that_fails),
	    download_test(a_server_that_nobody_runs_is_put_off),
	    download_test(a_name_without_an_address_is_its_files_fault_once_other_names_answered),
	    download_test(a_private_address_is_not_connected_to_where_only_public_ones_are_wanted),
	    download_test(many_come_over_a_few_connections),
	    download_test(two_pools_share_the_limits_of_a_server),
	    download_test(what_is_signed_may_use_every_connection_of_a_pool),
	    download_test(a_server_that_stalls_does_not_hold_up_another),
	    download_test(closing_ends_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
