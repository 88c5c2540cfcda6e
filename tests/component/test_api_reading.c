/* What the API says of a daemon and its datasets. */
#include "tests/component/api_caller.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

static void health_is_200_while_it_works_and_names_what_is_blocked(void **state)
{
	struct api_caller *f = *state;
	json_t *root = api_get(f, "/healthz", 200);

	assert_string_equal(api_text_of(root, "state", NULL), "running");
	assert_string_equal(json_string_value(json_array_get(json_object_get(root, "problems"), 0)),
			    "dataset old scans: /models/gone is not there");
	json_decref(root);
}

static void health_is_503_with_the_reason_when_the_disk_is_full(void **state)
{
	struct api_caller *f = *state;
	struct service_status *s = api_rig_status(&f->rig);
	json_t *root;

	s->intake_paused = xstrdup("/data has 12 MiB left");
	status_board_publish(f->rig.board, s);
	root = api_get(f, "/healthz", 503);
	assert_string_equal(json_string_value(json_array_get(json_object_get(root, "problems"), 0)),
			    "nothing new is begun until there is room: /data has 12 MiB left");
	json_decref(root);
}

static void health_is_503_while_it_stops(void **state)
{
	struct api_caller *f = *state;
	struct service_status *s = api_rig_status(&f->rig);

	s->state = SERVICE_STOPPING;
	status_board_publish(f->rig.board, s);
	json_decref(api_get(f, "/healthz", 503));
}

static void status_has_every_dataset_and_encoder(void **state)
{
	struct api_caller *f = *state;
	json_t *root = api_get(f, "/api/v1/status", 200);
	json_t *datasets = json_object_get(root, "datasets");
	json_t *photos = json_array_get(datasets, 0), *scans = json_array_get(datasets, 1);

	assert_string_equal(api_text_of(root, "daemon", "state"), "running");
	assert_int_equal(json_array_size(datasets), 2);
	assert_string_equal(api_text_of(photos, "name", NULL), "photos");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(photos, "jobs"), "completed")),
	    1200000);
	assert_string_equal(api_text_of(photos, "last_shard", "path"), "train/512x512/000123.tar");
	assert_string_equal(api_text_of(scans, "why", NULL), "/models/gone is not there");
	assert_true(json_is_null(json_object_get(scans, "eta_s")));
	/* A path that is not UTF-8 loses nothing. */
	assert_string_equal(api_text_of(scans, "output", NULL), "/data/latents/old%FF scans");
	assert_int_equal(json_array_size(json_object_get(root, "encoders")), 1);
	json_decref(root);
}

static void status_reads_no_database(void **state)
{
	struct api_caller *f = *state;
	struct service_status *s = api_rig_status(&f->rig);

	free(s->datasets[0].state_folder);
	s->datasets[0].state_folder = xstrdup("/no/such/state");
	status_board_publish(f->rig.board, s);
	json_decref(api_get(f, "/api/v1/status", 200));
	json_decref(api_get(f, "/api/v1/datasets/photos", 200));
	json_decref(api_get(f, "/api/v1/datasets/photos/jobs?state=gone", 500));
}

static void a_dataset_is_found_by_its_encoded_name(void **state)
{
	struct api_caller *f = *state;
	json_t *root = api_get(f, "/api/v1/datasets/old%20scans", 200);

	assert_string_equal(api_text_of(root, "name", NULL), "old scans");
	json_decref(root);
	json_decref(api_get(f, "/api/v1/datasets/nobody", 404));
	json_decref(api_get(f, "/api/v1/datasets/photos%2Fjobs", 404));
	json_decref(api_get(f, "/api/v1/datasets/photos%00", 404));
}

static void before_the_first_picture_the_answer_is_503(void **state)
{
	struct api_context context = {.board = status_board_new()};
	const char *const paths[] = {"/healthz", "/metrics", "/api/v1/status",
				     "/api/v1/datasets/photos"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct api_call call = {.method = "GET", .uri = paths[i]};
		struct http_answer answer = HTTP_ANSWER_INIT;

		api_handle(&context, &call, &answer);
		assert_int_equal(answer.status, 503);
		buffer_release(&answer.body);
	}
	status_board_free(context.board);
}

static void jobs_come_in_pages(void **state)
{
	struct api_caller *f = *state;
	json_t *first = api_get(f, "/api/v1/datasets/photos/jobs?state=quarantined&limit=3", 200);
	json_t *second, *jobs = json_object_get(first, "jobs");
	cleanup_free char *next =
	    xasprintf("/api/v1/datasets/photos/jobs?state=quarantined&limit=3&after=%lld",
		      (long long)json_integer_value(json_object_get(first, "next")));

	assert_int_equal(json_array_size(jobs), 3);
	assert_string_equal(api_text_of(json_array_get(jobs, 0), "source", NULL), "a.jpg");
	assert_string_equal(api_text_of(json_array_get(jobs, 0), "message", NULL),
			    "ends \xef\xbf\xbd early");
	second = api_get(f, next, 200);
	assert_int_equal(json_array_size(json_object_get(second, "jobs")), 1);
	assert_true(json_is_null(json_object_get(second, "next")));
	json_decref(first);
	json_decref(second);
}

static void jobs_are_filtered_by_reason(void **state)
{
	struct api_caller *f = *state;
	json_t *root =
	    api_get(f, "/api/v1/datasets/photos/jobs?state=quarantined&reason=unsupported", 200);
	json_t *jobs = json_object_get(root, "jobs");

	assert_int_equal(json_array_size(jobs), 1);
	assert_string_equal(api_text_of(json_array_get(jobs, 0), "source", NULL), "deep/d.jpg");
	json_decref(root);
}

static void one_job_is_found_by_its_key_whatever_its_state(void **state)
{
	struct api_caller *f = *state;
	static const struct {
		const char *query, *state;
	} cases[] = {{"key=key-0", "quarantined"},
		     {"key=key-5", "available"},
		     {"key=key-5&state=gone", NULL},
		     {"key=nobody", NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *path =
		    xasprintf("/api/v1/datasets/photos/jobs?%s", cases[i].query);
		json_t *root = api_get(f, path, 200);
		json_t *jobs = json_object_get(root, "jobs");

		assert_int_equal(json_array_size(jobs), cases[i].state ? 1 : 0);
		if (cases[i].state)
			assert_string_equal(api_text_of(json_array_get(jobs, 0), "state", NULL),
					    cases[i].state);
		json_decref(root);
	}
}

static void failures_are_counted_by_state_and_reason(void **state)
{
	static const char *const wanted[] = {"quarantined truncated 3", "quarantined unsupported 1",
					     "skipped too_small 1"};
	json_t *root = api_get(*state, "/api/v1/datasets/photos/failures", 200);
	json_t *reasons = json_object_get(root, "reasons");

	assert_int_equal(json_array_size(reasons), ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const json_t *row = json_array_get(reasons, i);
		cleanup_free char *got =
		    xasprintf("%s %s %lld", json_string_value(json_object_get(row, "state")),
			      json_string_value(json_object_get(row, "reason")),
			      (long long)json_integer_value(json_object_get(row, "jobs")));

		assert_string_equal(got, wanted[i]);
	}
	json_decref(root);
}

static void a_query_that_is_wrong_is_400_and_says_what_is_expected(void **state)
{
	static const char *const queries[] = {"",
					      "state=nothing",
					      "state=gone&state=gone",
					      "state=gone&x=1",
					      "state=gone&limit=0",
					      "state=gone&limit=1001",
					      "state=gone&limit=9999999999999999999999",
					      "state=gone&limit=1x",
					      "state=gone&after=-1",
					      "state=gone&after=x",
					      "state=%zz",
					      "state=gone%00",
					      "state=gone&after=9223372036854775807"};
	struct api_caller *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		cleanup_free char *path = xasprintf("/api/v1/datasets/photos/jobs?%s", queries[i]);
		json_t *root = api_get(f, path, 400);

		assert_string_equal(api_text_of(root, "error", "code"), "bad_request");
		assert_true(strlen(api_text_of(root, "error", "message")) > 10);
		json_decref(root);
	}
}

static void lists_of_a_dataset_that_is_not_open_yet_are_503(void **state)
{
	json_decref(api_get(*state, "/api/v1/datasets/old%20scans/jobs?state=skipped", 503));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(health_is_200_while_it_works_and_names_what_is_blocked),
	    api_test(health_is_503_with_the_reason_when_the_disk_is_full),
	    api_test(health_is_503_while_it_stops),
	    api_test(status_has_every_dataset_and_encoder),
	    api_test(status_reads_no_database),
	    api_test(a_dataset_is_found_by_its_encoded_name),
	    api_test(before_the_first_picture_the_answer_is_503),
	    api_test(jobs_come_in_pages),
	    api_test(jobs_are_filtered_by_reason),
	    api_test(one_job_is_found_by_its_key_whatever_its_state),
	    api_test(failures_are_counted_by_state_and_reason),
	    api_test(a_query_that_is_wrong_is_400_and_says_what_is_expected),
	    api_test(lists_of_a_dataset_that_is_not_open_yet_are_503),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
