/*
 * What people see of a status, line for line.
 */
#include "tests/testing.h"

#include "base/checked.h"

#include "daemon/service_status.h"
#include "daemon/status_json.h"
#include "daemon/status_text.h"
#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>

#define NOW INT64_C(1800000000000)
static struct service_status *busy_status(void)
{
	static const struct stage_view stages[STAGES] = {{1.4, 0.1, 1, 3},  {1.4, 0.6, 8, 0},
							 {1.3, 6.7, 8, 24}, {1.3, 0.6, 8, 0},
							 {1.3, 0.4, 1, 8},  {1.2, 0, 1, 1503}};
	struct service_status *s = service_status_new(1, 1);
	struct service_dataset *d = &s->datasets[0];

	s->version = xstrdup("1.0");
	s->pid = 77;
	s->started_at = NOW - 7300 * 1000;
	s->state = SERVICE_RUNNING;
	s->memory_used = 1 << 20;
	s->memory_limit = 2 << 20;
	s->decode_busy = 3;
	s->decode_workers = 4;
	s->encoders[0] = (struct service_encoder){.name = xstrdup("cpu"),
						  .engine = xstrdup("naive"),
						  .state = ENCODER_BUSY,
						  .busy = 0.38,
						  .in_flight = 2,
						  .batch = 7.625,
						  .images_done = 1234,
						  .images_failed = 5,
						  .images_per_second = 1.26};
	memcpy(s->stages, stages, sizeof(stages));
	s->disks = xcalloc(1, sizeof(*s->disks));
	s->n_disks = 1;
	s->disks[0] = (struct service_disk_view){.path = xstrdup("/out"),
						 .free = UINT64_C(3) << 30,
						 .total = UINT64_C(1) << 40,
						 .usable = UINT64_C(5) << 29,
						 .needed = UINT64_C(7) << 29,
						 .full_in_s = 2100};
	s->limit_stage = STAGE_DECODE;
	s->limit = xstrdup("cpu idle 62 %: decode-bound, 8 of 8 decode workers busy, 85 % of that "
			   "with decoding");
	d->name = xstrdup("photos");
	d->output = xstrdup("/out/photos");
	d->recipe_id = xstrdup("0123456789abcdef0123456789abcdef");
	d->state = DATASET_RUNNING;
	d->counts.jobs[JOB_AVAILABLE] = 500;
	d->counts.jobs[JOB_COMPLETED] = 1480;
	d->counts.jobs[JOB_ENCODED] = 10;
	d->counts.jobs[JOB_QUARANTINED] = 10;
	d->counts.shards = 2;
	d->counts.samples = 1480;
	d->counts.shard_bytes = 3 << 20;
	d->images_per_second = 1.26;
	d->eta = (struct eta_range){330, 397, 480};
	d->scan = (struct service_scan){NOW - 60000, 2500, 2000, false, 0};
	d->watch = (struct service_watch){WATCH_INOTIFY, 12, NULL};
	d->last_shard = xstrdup("train/512x512/000001.tar");
	d->last_shard_at = NOW - 5000;
	return s;
}

static void assert_text(json_t *status, const char *reach, const char *wanted)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	status_text(&text, status, reach, NOW, STATUS_ALL);
	json_decref(status);
	assert_string_equal((const char *)text.data, wanted);
}

static void a_busy_daemon_is_told_line_by_line(void **state)
{
	struct service_status *s = busy_status();

	(void)state;
	assert_text(
	    status_json(s), "",
	    "latentd 1.0: running for 2 h 1 min, process 77\n"
	    "  > cpu idle 62 %: decode-bound, 8 of 8 decode workers busy, 85 % of that with\n"
	    "    decoding\n"
	    "  decoding   3 of 4 workers busy, memory 1.0 MiB of 2.0 MiB\n"
	    "  ! the disk will be full before all is done, in about 35 min: 1.0 GiB more are\n"
	    "    needed than there are\n"
	    "\n"
	    "photos: running\n"
	    "  progress   [#####################################.............] 75.0 %\n"
	    "  rate       1.3 images/s, about 7 min left (6 min to 8 min)\n"
	    "  images     1,490 done, 500 to do, 10 failed\n"
	    "  shards     2 with 1,480 samples, 3.0 MiB, 10 more encoded and not sealed yet\n"
	    "  last shard train/512x512/000001.tar, 5 s ago\n"
	    "  folders    12 watched, scanned 1 min ago: 2,000 files in 2 s\n"
	    "  output     /out/photos\n"
	    "  recipe     0123456789abcdef0123456789abcdef\n"
	    "  ! 10 images failed: `latentctl failed --name photos` says why, `latentctl\n"
	    "    retry --name photos` tries again\n"
	    "\n"
	    "  encoder    cpu busy, naive, 2 in flight, batches of 7.6, 1,234 encoded,\n"
	    "             5 failed, 1.3/s, busy 38 %\n"
	    "\n"
	    "  disk       3.0 GiB of 1.0 TiB free, 3.5 GiB for what is left, /out\n"
	    "\n"
	    "  stage        images/s   busy            images\n"
	    "  open              1.4   0.1 of 1             3\n"
	    "  read              1.4   0.6 of 8             0\n"
	    "  decode            1.3   6.7 of 8            24   <- limits\n"
	    "  resize            1.3   0.6 of 8\n"
	    "  encode            1.3   0.4 of 1             8\n"
	    "  write             1.2   0.0 of 1         1,503\n");
	service_status_unref(s);
}

static void endpoints_have_lines_of_their_own(void **state)
{
	struct service_status *s = service_status_new(0, 1);
	struct service_encoder *e = &s->encoders[0];

	(void)state;
	s->version = xstrdup("1.0");
	s->started_at = NOW;
	s->state = SERVICE_RUNNING;
	e->name = xstrdup("remote");
	e->state = ENCODER_WAITING;
	e->engine = xstrdup("remote/latentd");
	e->why = xstrdup("no endpoint can encode: http://b/ is failing: connection refused");
	e->endpoints = xcalloc(2, sizeof(*e->endpoints));
	e->n_endpoints = 2;
	e->endpoints[0] = (struct service_endpoint){.url = xstrdup("http://a/"),
						    .state = "ok",
						    .in_flight = 3,
						    .limit = 8,
						    .latency_ms = 41.6,
						    .busy = 0.375,
						    .images_per_second = 12.34,
						    .requests = 1010,
						    .images = 1000};
	e->endpoints[1] = (struct service_endpoint){.url = xstrdup("http://b/"),
						    .state = "failing",
						    .wait_ms = 2100,
						    .limit = 1,
						    .busy = -1,
						    .images_per_second = -1,
						    .requests = 4,
						    .failures = 4};
	assert_text(
	    status_json(s), "",
	    "latentd 1.0: running, not healthy, for 0 s, process 0\n"
	    "  decoding   0 of 0 workers busy, memory 0 B of 0 B\n"
	    "  encoder    remote waiting, remote/latentd, 0 encoded\n"
	    "  endpoint   http://a/ ok, 3 of 8 in flight, 42 ms, 1,000 encoded, 12.3/s,\n"
	    "             busy 38 %\n"
	    "  endpoint   http://b/ failing, tried again in 3 s, 0 of 1 in flight, 0 encoded,\n"
	    "             4 of 4 requests failed\n"
	    "  ! no endpoint can encode: http://b/ is failing: connection refused\n");
	service_status_unref(s);
}

static void the_server_has_a_line_and_says_what_is_wrong(void **state)
{
	struct service_status *s = service_status_new(0, 0);
	bool healthy = false;
	json_t *health;

	(void)state;
	s->version = xstrdup("1.0");
	s->started_at = NOW;
	s->state = SERVICE_RUNNING;
	s->serve = (struct service_serve){.url = xstrdup("http://[::]:8188"),
					  .model = xstrdup("sdxl-vae"),
					  .state = SERVE_READY,
					  .connections = 9,
					  .in_flight = 4,
					  .requests = 1234,
					  .refused = 12,
					  .images_done = 2000,
					  .images_per_second = 7.04};
	assert_text(status_json(s), "",
		    "latentd 1.0: running for 0 s, process 0\n"
		    "  decoding   0 of 0 workers busy, memory 0 B of 0 B\n"
		    "  serving    http://[::]:8188 ready, sdxl-vae, 1,234 requests, 12 refused,\n"
		    "             4 in flight, 2,000 encoded, 7.0/s\n");
	free(s->serve.model);
	s->serve = (struct service_serve){.url = s->serve.url,
					  .state = SERVE_FAILED,
					  .why = xstrdup("/models/x is not there"),
					  .requests = 1};
	assert_text(status_json(s), "",
		    "latentd 1.0: running for 0 s, process 0\n"
		    "  decoding   0 of 0 workers busy, memory 0 B of 0 B\n"
		    "  serving    http://[::]:8188 failed, 1 request, 0 encoded\n"
		    "  ! /models/x is not there\n");
	health = status_json_health(s, 0, &healthy);
	assert_true(healthy);
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(health, "problems"), 0)),
	    "serve: /models/x is not there");
	json_decref(health);
	service_status_unref(s);
}

static void a_node_says_who_it_is_and_how_fast(void **state)
{
	struct service_status *s = service_status_new(0, 0);

	(void)state;
	s->version = xstrdup("1.0");
	s->started_at = NOW;
	s->state = SERVICE_RUNNING;
	s->node = (struct service_node){
	    .name = xstrdup("gpu1"), .drains = true, .encoded = 2000, .images_per_second = 7.04};
	assert_text(
	    status_json(s), "",
	    "latentd 1.0: running for 0 s, process 0\n"
	    "  decoding   0 of 0 workers busy, memory 0 B of 0 B\n"
	    "\n"
	    "  node       gpu1 drains, 2,000 encoded, 7.0/s, all of them: latentctl nodes\n");
	service_status_unref(s);
}

static void trouble_is_said_before_anything_else(void **state)
{
	struct service_status *s = service_status_new(1, 1);

	(void)state;
	s->version = xstrdup("1.0");
	s->started_at = NOW;
	s->state = SERVICE_DRAINING;
	s->intake_paused = xstrdup("/data has 12 MiB left");
	s->reload_error = xstrdup("latentd.yaml:3:5: no such key");
	s->decode_warning = xstrdup("no seccomp");
	s->encoders[0].name = xstrdup("cuda:0");
	s->encoders[0].state = ENCODER_FAILED;
	s->encoders[0].why = xstrdup("the device is lost");
	s->datasets[0].name = xstrdup("it's");
	s->datasets[0].state = DATASET_BLOCKED;
	s->datasets[0].why = xstrdup("/models/x is not there");
	s->datasets[0].priority = -3;
	s->datasets[0].retry_at = NOW + 12000;
	s->datasets[0].deletions = 1;
	s->datasets[0].watch = (struct service_watch){WATCH_POLLING, 0, xstrdup("NFS")};
	s->datasets[0].scan.running = true;
	s->datasets[0].scan.running_files = 7;
	assert_text(
	    status_json(s), " --socket /s",
	    "latentd 1.0: draining, not healthy, for 0 s, process 0\n"
	    "  ! nothing new is begun until there is room: /data has 12 MiB left\n"
	    "  ! reload failed, the old settings are in force: latentd.yaml:3:5: no such key\n"
	    "  ! no seccomp\n"
	    "  decoding   0 of 0 workers busy, memory 0 B of 0 B\n"
	    "\n"
	    "it's: blocked, priority -3, tried again in 12 s\n"
	    "  ! /models/x is not there\n"
	    "  images     0 done\n"
	    "  shards     0 with 0 samples, 0 B\n"
	    "  folders    looked through every now and then, a scan has met 7 files\n"
	    "  ! NFS\n"
	    "  ! 1 sample is kept although the file is gone: `latentctl deletions --socket\n"
	    "    /s --name 'it'\\''s' --accept` removes it\n"
	    "\n"
	    "  encoder    cuda:0 failed, 0 encoded\n"
	    "  ! the device is lost\n");
	service_status_unref(s);
}

static void a_database_tells_what_it_can(void **state)
{
	struct service_dataset d = {.name = (char *)"photos",
				    .output = (char *)"/out/photos",
				    .recipe_id = (char *)"0123456789abcdef0123456789abcdef",
				    .counts = {.jobs = {[JOB_COMPLETED] = 1,
							[JOB_SKIPPED] = 2,
							[JOB_WAITING] = 3,
							[JOB_CANCELLED] = 4,
							[JOB_GONE] = 5,
							[JOB_QUARANTINED] = 6},
					       .samples = 1,
					       .shards = 1,
					       .shard_bytes = 2048}};

	(void)state;
	assert_text(
	    json_pack("{s:[o]}", "datasets", status_json_dataset(&d, false)), " --state /s",
	    "\n"
	    "photos\n"
	    "  progress   [#####################################.............] 75.0 %\n"
	    "  images     1 done, 3 waiting for a caption, 6 failed, 2 skipped, 4 cancelled,\n"
	    "             5 gone\n"
	    "  shards     1 with 1 sample, 2.0 KiB\n"
	    "  output     /out/photos\n"
	    "  recipe     0123456789abcdef0123456789abcdef\n"
	    "  ! 6 images failed: `latentctl failed --out /out --name photos` says why,\n"
	    "    `latentctl retry --out /out --name photos` tries again\n");
}

static void a_hundred_percent_is_said_only_of_all(void **state)
{
	struct service_dataset d = {
	    .name = (char *)"p",
	    .counts = {.jobs = {[JOB_COMPLETED] = 9999999, [JOB_AVAILABLE] = 1}}};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *status = json_pack("{s:[o]}", "datasets", status_json_dataset(&d, false));

	(void)state;
	status_lines(&text, status);
	json_decref(status);
	assert_string_equal((const char *)text.data,
			    "p, 99.9 %, 9,999,999 done, 1 to do, 0 failed\n");
}

static void no_line_is_wider_than_80_columns(void **state)
{
	struct service_status *s = busy_status();
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *status;
	const char *line;

	(void)state;
	for (int i = 0; i < JOB_STATES; i++)
		s->datasets[0].counts.jobs[i] = UINT64_C(1234567890123);
	s->datasets[0].why = xstrdup("a line of words that is long enough to need a second one, "
				     "because whoever wrote it had much to say");
	status = status_json(s);
	status_text(&text, status, " --out /some/where/far/away", NOW, STATUS_ALL);
	json_decref(status);
	service_status_unref(s);
	for (line = (const char *)text.data; *line; line += strcspn(line, "\n") + 1)
		assert_in_range(strcspn(line, "\n"), 0, TEXT_COLUMNS);
}

static struct service_status *many_endpoints(size_t n, size_t datasets)
{
	struct service_status *s = busy_status(), *all = service_status_new(datasets, 1);
	struct service_encoder *e = &all->encoders[0];

	all->version = xstrdup("1.0");
	all->started_at = NOW;
	all->state = SERVICE_RUNNING;
	all->limit = xstrdup(s->limit);
	memcpy(all->stages, s->stages, sizeof(all->stages));
	service_status_unref(s);
	for (size_t i = 0; i < datasets; i++) {
		struct service_dataset *d = &all->datasets[i];

		d->name = xasprintf("photos%zu", i);
		d->output = xasprintf("/out/photos%zu", i);
		d->recipe_id = xstrdup("0123456789abcdef0123456789abcdef");
		d->counts.jobs[JOB_AVAILABLE] = d->counts.jobs[JOB_COMPLETED] = 500;
		d->images_per_second = 2;
		d->eta = (struct eta_range){200, 250, 300};
	}
	e->name = xstrdup("remote");
	e->endpoints = xcalloc(n, sizeof(*e->endpoints));
	e->n_endpoints = n;
	for (size_t i = 0; i < n; i++)
		e->endpoints[i] = (struct service_endpoint){
		    .url = xasprintf("https://gpu%zu.example/vae", i),
		    .state = i % 4 == 3 ? "failing"
			     : i == 1	? "warming"
					: "ok",
		    .why = i % 4 == 3 ? xasprintf("connect: Connection refused by %zu", i) : NULL};
	return all;
}

static size_t lines_of(const struct buffer *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->size; i++)
		n += text->data[i] == '\n';
	return n;
}

static void screen(struct service_status *s, size_t rows, struct buffer *out)
{
	json_t *status = status_json(s);

	status_screen(out, status, "", NOW, rows);
	buffer_append(out, "", 1);
	json_decref(status);
	service_status_unref(s);
}

static void assert_has(const struct buffer *text, const char *words, bool wanted)
{
	if (!strstr((const char *)text->data, words) == wanted)
		fail_msg("%s \"%s\":\n%s", wanted ? "lacks" : "has", words, text->data);
}

static void endpoints_that_do_not_fit_are_one_line_below_the_datasets(void **state)
{
	cleanup_buffer struct buffer small = BUFFER_INIT, large = BUFFER_INIT;

	(void)state;
	screen(many_endpoints(12, 1), 24, &small);
	assert_in_range(lines_of(&small), 1, 23);
	assert_has(
	    &small,
	    "  endpoints  12: 8 ok, 1 warming, 3 failing: https://gpu3.example/vae: connect: "
	    "Connection refused by 3\n",
	    true);
	assert_has(&small, "about 4 min left", true);
	assert_true(strstr((char *)small.data, "progress") <
		    strstr((char *)small.data, "endpoints"));
	screen(many_endpoints(12, 1), 100, &large);
	assert_has(&large, "  endpoint   https://gpu11.example/vae failing", true);
	assert_has(&large, "endpoints", false);
	assert_has(&large, "  stage ", true);
}

static void a_screen_of_any_size_shows_first_how_far_datasets_are(void **state)
{
	static const struct {
		size_t rows, datasets;
	} cases[] = {{10, 1}, {12, 1}, {16, 2}, {24, 3}, {24, 4}, {24, 15}, {50, 8}, {50, 30}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;

		screen(many_endpoints(40, cases[i].datasets), cases[i].rows, &text);
		assert_in_range(lines_of(&text), 1, cases[i].rows - 1);
		assert_has(&text, "photos0", true);
		assert_has(&text, "50.0 %", true);
		assert_has(&text, " left", true);
		assert_has(&text, "  endpoints  40: 29 ok", true);
	}
}

static void nothing_that_steers_a_terminal_comes_through(void **state)
{
	static const char evil[] = "{\"datasets\": [{\"name\": \"a\\u001b[31m\\u009b\", "
				   "\"why\": \"x\\r\\u0007\\u007f\", \"output\": \"/o%1b%0a\"}]}";
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *status = json_loads(evil, 0, NULL);

	(void)state;
	status_text(&text, status, "", NOW, STATUS_ALL);
	json_decref(status);
	assert_string_equal((const char *)text.data, "\na?[31m?\n"
						     "  ! x???\n"
						     "  images     0 done\n"
						     "  shards     0 with 0 samples, 0 B\n"
						     "  output     \"/o\\x1b\\n\"\n");
}

static void what_is_no_status_is_an_empty_one(void **state)
{
	static const char *const texts[] = {
	    "{}", "{\"datasets\": 1, \"daemon\": [], \"encoders\": {}}",
	    "{\"datasets\": [1, null, {\"jobs\": [], \"scan\": 3, \"eta_s\": -1}]}",
	    "{\"daemon\": {\"pid\": -1, \"version\": {}}}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;
		json_t *status = json_loads(texts[i], 0, NULL);

		status_text(&text, status, "", NOW, STATUS_ALL);
		status_screen(&text, status, "", NOW, 24);
		status_lines(&text, status);
		json_decref(status);
	}
}

static void a_failed_image_is_one_line(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *job = json_loads("{\"source\": \"a%0Ab.jpg\", \"reason\": \"truncated\", "
				 "\"message\": \"ends at 1\"}",
				 0, NULL);

	(void)state;
	status_job_line(&text, job);
	json_decref(job);
	assert_string_equal((const char *)text.data, "truncated      \"a\\nb.jpg\": ends at 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_busy_daemon_is_told_line_by_line),
	    cmocka_unit_test(endpoints_have_lines_of_their_own),
	    cmocka_unit_test(the_server_has_a_line_and_says_what_is_wrong),
	    cmocka_unit_test(a_node_says_who_it_is_and_how_fast),
	    cmocka_unit_test(trouble_is_said_before_anything_else),
	    cmocka_unit_test(a_database_tells_what_it_can),
	    cmocka_unit_test(a_hundred_percent_is_said_only_of_all),
	    cmocka_unit_test(no_line_is_wider_than_80_columns),
	    cmocka_unit_test(endpoints_that_do_not_fit_are_one_line_below_the_datasets),
	    cmocka_unit_test(a_screen_of_any_size_shows_first_how_far_datasets_are),
	    cmocka_unit_test(nothing_that_steers_a_terminal_comes_through),
	    cmocka_unit_test(what_is_no_status_is_an_empty_one),
	    cmocka_unit_test(a_failed_image_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
