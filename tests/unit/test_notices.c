/*
 * What is worth a message, by pictures of moments that a test makes.
 */
#include "daemon/notices.h"

#include "tests/testing.h"

#include "base/checked.h"

#include <jansson.h>
#include <string.h>

#define MINUTE INT64_C(60000)

struct fixture {
	struct notices *notices;
	struct webhook_options options;
	struct service_status *status;
	struct service_dataset *dataset;
	int64_t now;
	json_t *told; /* array */
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->notices = notices_new();
	f->options = (struct webhook_options){.url = "https://example.org/",
					      .interval = 10 * MINUTE,
					      .stalled_after = 5 * MINUTE,
					      .disk_low = 1000};
	f->status = service_status_new(1, 0);
	f->status->state = SERVICE_RUNNING;
	f->dataset = &f->status->datasets[0];
	f->dataset->name = xstrdup("photos");
	f->dataset->state = DATASET_RUNNING;
	f->told = json_array();
	f->now = 1000;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	notices_free(f->notices);
	service_status_unref(f->status);
	json_decref(f->told);
	free(f);
	return 0;
}

static void on_notice(void *arg, char *body)
{
	struct fixture *f = arg;

	json_array_append_new(f->told, json_loads(body, 0, NULL));
	free(body);
}

static void look_after(struct fixture *f, int64_t ms)
{
	f->now += ms;
	notices_look(f->notices, &f->options, f->status, f->now, on_notice, f);
}

/* Exactly these were told since the last time, "failed stalled"; the message of the last. */
static const char *assert_told(struct fixture *f, const char *events)
{
	static char message[512];
	cleanup_buffer struct buffer names = BUFFER_INIT;
	json_t *item;
	size_t i;

	buffer_append_string(&names, "");
	json_array_foreach(f->told, i, item)
	{
		buffer_appendf(&names, "%s%s", i > 0 ? " " : "",
			       json_string_value(json_object_get(item, "event")));
		snprintf(message, sizeof(message), "%s",
			 json_string_value(json_object_get(item, "message")));
	}
	assert_string_equal(names.data ? (const char *)names.data : "", events);
	json_array_clear(f->told);
	return message;
}

static void what_failed_is_told_at_once_and_then_together(void **state)
{
	struct fixture *f = *state;

	f->dataset->counts.jobs[JOB_AVAILABLE] = 100;
	look_after(f, 0);
	assert_told(f, "");
	f->dataset->failed = 2;
	look_after(f, 1000);
	assert_non_null(strstr(assert_told(f, "failed"), "photos: 2 images failed"));
	for (int i = 0; i < 100; i++) {
		f->dataset->failed++;
		look_after(f, 1000);
	}
	assert_told(f, "");
	f->options.stalled_after = 60 * MINUTE;
	look_after(f, 9 * MINUTE);
	assert_non_null(strstr(assert_told(f, "failed"), "photos: 100 images failed"));
	look_after(f, 20 * MINUTE);
	assert_told(f, "");
}

static void the_end_of_work_is_told_and_a_dataset_that_had_none_is_not(void **state)
{
	struct fixture *f = *state;

	f->dataset->state = DATASET_IDLE;
	look_after(f, 0);
	assert_told(f, "");
	f->dataset->state = DATASET_RUNNING;
	f->dataset->counts.jobs[JOB_RUNNING] = 1;
	f->dataset->encoded = 1234;
	look_after(f, 1000);
	assert_told(f, "");
	f->dataset->state = DATASET_IDLE;
	f->dataset->counts.jobs[JOB_RUNNING] = 0;
	f->dataset->counting = true; /* what is left is not known yet */
	look_after(f, 1000);
	assert_told(f, "");
	f->dataset->counting = false;
	look_after(f, 1000);
	assert_non_null(strstr(assert_told(f, "drained"), "1,234 encoded"));
	look_after(f, 20 * MINUTE);
	assert_told(f, "");
	/* one more file a minute is one message in ten minutes */
	for (int i = 0; i < 30; i++) {
		f->dataset->encoded++;
		look_after(f, MINUTE);
	}
	assert_told(f, "drained drained drained");
}

static void a_dataset_that_stands_still_is_told_once_until_it_goes_on(void **state)
{
	struct fixture *f = *state;

	f->dataset->counts.jobs[JOB_RETRYABLE] = 3;
	look_after(f, 0);
	look_after(f, 5 * MINUTE - 1);
	assert_told(f, "");
	f->dataset->why = xstrdup("no endpoint can encode it now");
	look_after(f, 1);
	assert_non_null(strstr(assert_told(f, "stalled"), "no endpoint can encode it now"));
	look_after(f, 60 * MINUTE);
	assert_told(f, "");
	f->dataset->encoded++;
	look_after(f, 1000);
	assert_told(f, "");
	look_after(f, 5 * MINUTE);
	assert_told(f, "stalled");
}

static void looking_through_folders_again_is_no_progress_and_the_first_time_is(void **state)
{
	struct fixture *f = *state;

	f->dataset->counts.jobs[JOB_AVAILABLE] = 3;
	f->dataset->state = DATASET_SCANNING;
	for (int i = 0; i < 20; i++) {
		f->dataset->scan.running_files += 1000;
		look_after(f, MINUTE);
	}
	assert_told(f, "");
	f->dataset->state = DATASET_RUNNING;
	for (int i = 0; i < 7; i++) {
		f->dataset->scan.running_files = i % 2 == 0 ? 0 : 5000;
		look_after(f, MINUTE);
	}
	assert_non_null(strstr(assert_told(f, "stalled"), "3 images to do"));
}

static void what_rests_is_not_stalled_and_what_is_blocked_is(void **state)
{
	struct fixture *f = *state;

	f->dataset->counts.jobs[JOB_AVAILABLE] = 3;
	f->dataset->state = DATASET_PAUSED;
	look_after(f, 0);
	look_after(f, 60 * MINUTE);
	assert_told(f, "");
	/* its time begins when the pause ends */
	f->dataset->state = DATASET_RUNNING;
	look_after(f, 1000);
	assert_told(f, "");
	f->dataset->counts.jobs[JOB_AVAILABLE] = 0;
	f->dataset->state = DATASET_BLOCKED;
	look_after(f, 5 * MINUTE);
	assert_told(f, "stalled");
}

static void a_disk_that_fills_is_told_until_there_is_room_again(void **state)
{
	struct fixture *f = *state;
	struct service_disk_view *disk = xcalloc(1, sizeof(*disk));

	f->dataset->state = DATASET_IDLE;
	*disk = (struct service_disk_view){.path = xstrdup("/data"), .usable = 1000};
	f->status->disks = disk;
	f->status->n_disks = 1;
	look_after(f, 0);
	assert_told(f, "");
	disk->usable = 999;
	look_after(f, 1000);
	assert_non_null(strstr(assert_told(f, "disk_low"), "/data"));
	/* to and fro around the bound is nothing new, and neither is a full one */
	disk->usable = 1001;
	look_after(f, 20 * MINUTE);
	disk->usable = 0;
	look_after(f, 20 * MINUTE);
	assert_told(f, "");
	disk->usable = 1250;
	look_after(f, MINUTE);
	disk->usable = 0;
	look_after(f, MINUTE);
	assert_non_null(strstr(assert_told(f, "disk_low"), "full"));
}

static void only_what_is_wanted_is_told(void **state)
{
	struct fixture *f = *state;

	f->options.events = (struct setting_texts){{"stalled"}, 1};
	f->dataset->failed = 2;
	f->dataset->counts.jobs[JOB_AVAILABLE] = 1;
	look_after(f, 0);
	look_after(f, 5 * MINUTE);
	assert_told(f, "stalled");
	f->options.url = NULL;
	f->dataset->encoded++;
	look_after(f, 1000);
	look_after(f, 60 * MINUTE);
	assert_told(f, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(what_failed_is_told_at_once_and_then_together),
	    TEST(the_end_of_work_is_told_and_a_dataset_that_had_none_is_not),
	    TEST(a_dataset_that_stands_still_is_told_once_until_it_goes_on),
	    TEST(looking_through_folders_again_is_no_progress_and_the_first_time_is),
	    TEST(what_rests_is_not_stalled_and_what_is_blocked_is),
	    TEST(a_disk_that_fills_is_told_until_there_is_room_again),
	    TEST(only_what_is_wanted_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
