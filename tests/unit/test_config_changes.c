/* From one configuration to the next, while it runs. */
#include "tests/unit/config_rig.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

#define AND_ENCODER "encoders: {type: cpu, threads: 2}\n"

static void assert_change(const struct config_changes *changes, const char *setting,
			  const char *was, const char *now, bool reloadable)
{
	for (size_t i = 0; i < changes->n; i++) {
		const struct config_change *c = &changes->items[i];

		if (strcmp(c->setting, setting) != 0)
			continue;
		assert_int_equal(!c->was, !was);
		assert_int_equal(!c->now, !now);
		if (was)
			assert_string_equal(c->was, was);
		if (now)
			assert_string_equal(c->now, now);
		assert_int_equal(c->reloadable, reloadable);
		return;
	}
	fail_msg("%s is not among the changes", setting);
}

static const char before[] =
    "state_dir: /s1\nmodel_idle: 10min\n" DATASET "    priority: 1\n" AND_ENCODER;
static const char after[] =
    "state_dir: /s2\nmodel_idle: 5min\nlog_level: debug\n"
    "encoders: {type: cpu, threads: 3}\n"
    "datasets:\n" OTHER("new", "{path: /n}", "/data/new", "{vae: /v}")
	OTHER("photos", "[{path: /data/photos, watch: poll, exclude: ['a\"b', c]}, {path: /p2}]",
	      "/data/elsewhere", "{vae: /models/vae, resolution: 768}") "    priority: 2\n";

static void every_change_is_named_with_what_it_was_and_is(void **state)
{
	struct daemon_config *a = config_rig_parse(before), *b = config_rig_parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	assert_int_equal(changes.n, 11);
	assert_change(&changes, "datasets.photos.source./data/photos.exclude", NULL,
		      "[\"a\\\"b\", \"c\"]", true);
	assert_change(&changes, "state_dir", "/s1", "/s2", false);
	assert_change(&changes, "log_level", "info", "debug", true);
	assert_change(&changes, "model_idle", "10min", "5min", false);
	assert_change(&changes, "datasets.new", NULL, "new", true);
	assert_change(&changes, "datasets.photos.source./data/photos.watch", "auto", "poll", true);
	assert_change(&changes, "datasets.photos.source./p2", NULL, "/p2", true);
	assert_change(&changes, "datasets.photos.output.path", "/data/latents", "/data/elsewhere",
		      false);
	assert_change(&changes, "datasets.photos.recipe.resolution", NULL, "768", false);
	assert_change(&changes, "datasets.photos.priority", "1", "2", true);
	assert_change(&changes, "encoders.cpu.threads", "2", "3", true);
	for (size_t i = 0; i < changes.n; i++)
		assert_int_equal(!changes.items[i].dataset,
				 strncmp(changes.items[i].setting, "datasets.", 9) != 0);
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
}

static void a_dataset_that_is_gone_is_named_and_what_is_the_same_is_not(void **state)
{
	struct daemon_config *a = config_rig_parse(before), *b = config_rig_parse(after),
			     *same = config_rig_parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(same, b, &changes, &err), &err);
	assert_int_equal(changes.n, 0);
	assert_ok(daemon_config_merge(a, b, &changes, &err), &err);
	assert_change(&changes, "datasets.new", "new", NULL, true);
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
	daemon_config_free(same);
}

static void what_cannot_change_is_put_back(void **state)
{
	struct daemon_config *a = config_rig_parse(before), *b = config_rig_parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;
	const struct dataset_config *d;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	daemon_config_free(a);
	d = &b->datasets[1];
	assert_string_equal(b->state_dir, "/s1");
	assert_int_equal(b->model_idle, 600 * 1000);
	assert_int_equal(b->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(b->n_datasets, 2);
	assert_string_equal(d->name, "photos");
	assert_string_equal(d->output.path, "/data/latents");
	assert_int_equal(d->recipe.pixels.resolution.width, 0);
	assert_int_equal(d->n_sources, 2);
	assert_string_equal(d->sources[0].path, "/data/photos");
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_POLL);
	assert_int_equal(d->priority, 2);
	assert_int_equal(b->n_encoders, 1);
	assert_string_equal(b->encoders[0].name, "cpu");
	assert_int_equal(b->encoders[0].cpu.threads, 3);
	assert_int_equal(d->sources[0].options.exclude.n, 2);
	assert_string_equal(d->sources[0].options.exclude.items[1], "c");
	assert_int_equal(changes.n, 11);
	config_changes_release(&changes);
	daemon_config_free(b);
}

/* The file says it in another order, with one encoder more and one less, and one that is of another type. */
static void encoders_come_go_and_change(void **state)
{
	struct daemon_config *a = config_rig_parse(
	    "state_dir: /s1\n" DATASET "encoders: [{type: cpu, threads: 2}, {type: fake}, "
	    "{type: cpu, name: x, threads: 5}]\n");
	struct daemon_config *b = config_rig_parse(
	    "state_dir: /s1\n" DATASET
	    "encoders: [{type: cuda}, {type: remote, name: x, endpoints: [http://a/]}, "
	    "{type: cpu, threads: 3, hours: 01:00-02:00}]\n");
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	daemon_config_free(a);
	assert_change(&changes, "encoders.fake", "fake", NULL, true);
	assert_change(&changes, "encoders.cuda", NULL, "cuda", true);
	assert_change(&changes, "encoders.cpu.threads", "2", "3", true);
	assert_change(&changes, "encoders.cpu.hours", NULL, "01:00-02:00", true);
	assert_change(&changes, "encoders.x.type", "cpu", "remote", true);
	assert_change(&changes, "encoders.x.threads", "5", "0", true);
	assert_change(&changes, "encoders.x.endpoints.http://a/", NULL, "http://a/", true);
	assert_int_equal(changes.n, 7);
	assert_int_equal(b->n_encoders, 3);
	assert_string_equal(b->encoders[0].name, "cuda");
	assert_string_equal(b->encoders[1].remote.endpoints[0].url, "http://a/");
	assert_int_equal(b->encoders[2].cpu.threads, 3);
	config_changes_release(&changes);
	daemon_config_free(b);
}

static void settings_of_an_encoder_that_change_in_place_are_told_from_others(void **state)
{
	static const struct {
		const char *a, *b;
		bool same, endpoints;
	} table[] = {
	    {"{type: cpu}", "{type: cpu, threads: 0, hours: 01:00-02:00}", true, true},
	    {"{type: cpu}", "{type: cpu, threads: 1}", false, true},
	    {"{type: cpu}", "{type: cpu, memory: 1GiB}", false, true},
	    {"{type: cuda, name: cpu}", "{type: cuda, name: cpu, device: 1}", false, true},
	    {"{type: cuda}", "{type: cuda, gpu_share: 0.5}", false, true},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/}], max_requests_per_hour: 5, "
	     "max_bytes_per_day: 1KiB}",
	     true, true},
	    {"{type: remote, endpoints: http://a/}", "{type: remote, endpoints: http://b/}", true,
	     false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [http://a/, http://b/]}", true, false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/, token_file: /t}], allow_http: true}",
	     false, false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/, max_in_flight: 3}]}", true, false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: http://a/, retries: 1}", false, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		cleanup_free char *text_a =
		    xasprintf("state_dir: /s\n" DATASET "encoders: %s\n", table[i].a);
		cleanup_free char *text_b =
		    xasprintf("state_dir: /s\n" DATASET "encoders: %s\n", table[i].b);
		struct daemon_config *a = config_rig_parse(text_a), *b = config_rig_parse(text_b);

		if (encoder_config_same(&a->encoders[0], &b->encoders[0]) != table[i].same ||
		    encoder_endpoints_same(&a->encoders[0], &b->encoders[0]) != table[i].endpoints)
			fail_msg("%s and %s", table[i].a, table[i].b);
		daemon_config_free(a);
		daemon_config_free(b);
	}
}

static void what_is_put_back_must_go_with_what_is_new(void **state)
{
	struct daemon_config *a = config_rig_parse(before);
	struct daemon_config *b =
	    config_rig_parse("state_dir: /s1\n" AND_ENCODER "datasets:\n" OTHER(
		"photos", "{path: /data/photos}", "/data/moved", "{vae: /models/vae}")
				 OTHER("b", "{path: /data/latents/x}", "/b", "{vae: /models/vae}"));
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(daemon_config_merge(b, a, &changes, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message,
			    "/etc/latentd.yaml:9:13: source /data/latents/x and the output "
			    "/data/latents of dataset photos: one lies in the other, expected "
			    "folders apart");
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_change_is_named_with_what_it_was_and_is),
	    cmocka_unit_test(a_dataset_that_is_gone_is_named_and_what_is_the_same_is_not),
	    cmocka_unit_test(what_cannot_change_is_put_back),
	    cmocka_unit_test(encoders_come_go_and_change),
	    cmocka_unit_test(settings_of_an_encoder_that_change_in_place_are_told_from_others),
	    cmocka_unit_test(what_is_put_back_must_go_with_what_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
