/* An output and the state folder that belongs to it: which is taken, which is refused. */
#include "tests/unit/output_rig.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

/* Opens, claims and closes, as a whole run does. */
static void one_run(struct output_rig *f, const char *out, const char *state)
{
	struct output o = OUTPUT_INIT;

	assert_ok(output_open(out, state, &o, &f->err), &f->err);
	assert_ok(output_claim(&o, false, &f->err), &f->err);
	output_close(&o);
}

static void an_output_that_was_moved_takes_its_state_along(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *moved = testing_path(f->dir, "moved"), *want = NULL;

	one_run(f, f->out, f->state);
	want = output_rig_real(f->state);
	assert_int_equal(rename(f->out, moved), 0);
	assert_ok(output_open(moved, NULL, &f->output, &f->err), &f->err);
	assert_string_equal(f->output.state, want);
}

/* As `cp -r` does it with what says whose it is. */
static void copy_owner(struct output_rig *f, const char *copy)
{
	cleanup_free char *folder = testing_path(copy, ".latentd");
	cleanup_free char *from = testing_path(f->out, ".latentd/owner.json");
	cleanup_free char *to = testing_path(folder, "owner.json");
	cleanup_buffer struct buffer text = testing_read(from);

	assert_ok(dir_make(folder, &f->err), &f->err);
	testing_write(to, text.data, text.size);
}

static void a_copy_of_an_output_gets_a_state_of_its_own(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *copy = testing_path(f->dir, "copy"), *first = NULL;

	one_run(f, f->out, f->state);
	first = output_rig_real(f->state);
	copy_owner(f, copy);
	assert_ok(output_open(copy, NULL, &f->output, &f->err), &f->err);
	assert_string_not_equal(f->output.state, first);
	output_close(&f->output);
	/* And the original keeps its own. */
	assert_ok(output_open(f->out, NULL, &f->output, &f->err), &f->err);
	assert_string_equal(f->output.state, first);
}

static void a_state_folder_of_another_output_is_refused(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");

	one_run(f, f->out, f->state);
	assert_error(output_open(other, f->state, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->state, f->out);
}

static void a_state_folder_inside_the_output_is_refused(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *inside = testing_path(f->out, "state");

	assert_error(output_open(f->out, inside, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "--state", "outside");
}

/* Attaches, claims and closes, as the daemon does with each of its outputs. */
static void one_attached(struct output_rig *f, const char *out, const struct state_folder *state)
{
	struct output o = OUTPUT_INIT;

	assert_ok(output_attach(out, state, &o, &f->err), &f->err);
	assert_string_equal(o.state, state->path);
	assert_ok(output_claim(&o, false, &f->err), &f->err);
	output_close(&o);
}

static void one_state_serves_several_outputs(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *second = testing_path(f->dir, "second"), *want = NULL;
	struct state_folder folder = STATE_FOLDER_INIT;

	assert_ok(state_folder_open(f->state, NULL, &folder, &f->err), &f->err);
	want = output_rig_real(f->state);
	one_attached(f, f->out, &folder);
	one_attached(f, second, &folder);
	one_attached(f, f->out, &folder);
	state_folder_close(&folder);
	/* A command finds it from either. */
	output_rig_open(f, NULL);
	assert_string_equal(f->output.state, want);
	output_close(&f->output);
	assert_ok(output_open(second, NULL, &f->output, &f->err), &f->err);
	assert_string_equal(f->output.state, want);
}

static void a_state_folder_in_use_is_busy_for_a_second_daemon(void **state)
{
	struct output_rig *f = *state;
	struct state_folder folder = STATE_FOLDER_INIT;

	output_rig_open(f, f->state);
	assert_ok(output_claim(&f->output, false, &f->err), &f->err);
	assert_int_equal(state_folder_open(f->state, NULL, &folder, &f->err), OUTPUT_BUSY);
	SAYS(folder.owner, f->state, "in use by");
	state_folder_close(&folder);
}

static void a_daemon_without_an_output_yet_is_named_to_a_second_one(void **state)
{
	struct output_rig *f = *state;
	struct state_folder first = STATE_FOLDER_INIT, second = STATE_FOLDER_INIT;
	cleanup_free char *process = xasprintf("process %ld on", (long)getpid());

	assert_ok(state_folder_open(f->state, "socket", &first, &f->err), &f->err);
	assert_int_equal(state_folder_open(f->state, NULL, &second, &f->err), OUTPUT_BUSY);
	SAYS(second.owner, f->state, process);
	state_folder_close(&second);
	state_folder_close(&first);
}

static void an_output_with_a_state_elsewhere_is_not_attached(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");
	struct state_folder folder = STATE_FOLDER_INIT;

	one_run(f, f->out, f->state);
	assert_ok(state_folder_open(other, NULL, &folder, &f->err), &f->err);
	assert_error(output_attach(f->out, &folder, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->out, f->state);
	state_folder_close(&folder);
}

static void a_state_folder_inside_an_output_is_not_attached(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *inside = testing_path(f->out, "state");
	struct state_folder folder = STATE_FOLDER_INIT;

	assert_ok(state_folder_open(inside, NULL, &folder, &f->err), &f->err);
	assert_error(output_attach(f->out, &folder, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, inside, "one in the other");
	state_folder_close(&folder);
}

/* The state's owner.json then tells of a device that OUT is not on. */
static void change_device(const struct output_rig *f)
{
	cleanup_free char *path = testing_path(f->state, "owner.json");
	cleanup_buffer struct buffer text = testing_read(path);
	const char *field = strstr((const char *)text.data, "\"device\": ");
	cleanup_free char *changed = NULL;

	assert_non_null(field);
	field += strlen("\"device\": ");
	changed = xasprintf("%.*s9%s", (int)(field - (const char *)text.data),
			    (const char *)text.data, field);
	testing_write(path, changed, strlen(changed));
}

static void shards_that_are_gone_with_their_disk_are_not_encoded_again(void **state)
{
	struct output_rig *f = *state;

	one_run(f, f->out, f->state);
	output_rig_open(f, f->state);
	/* Gone, but on the same disk: somebody removed them. */
	assert_ok(output_claim(&f->output, true, &f->err), &f->err);
	output_close(&f->output);
	change_device(f);
	output_rig_open(f, f->state);
	assert_error(output_claim(&f->output, true, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->out, "mounted");
	error_clear(&f->err);
	/* Refused means that nothing was noted: it is refused again. */
	output_close(&f->output);
	output_rig_open(f, f->state);
	assert_error(output_claim(&f->output, true, &f->err), &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_ok(output_claim(&f->output, false, &f->err), &f->err);
}

static void an_output_whose_disk_is_away_is_not_forgotten_for_another(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *second = testing_path(f->dir, "second"),
			  *away = testing_path(f->dir, "away");
	struct state_folder folder = STATE_FOLDER_INIT;

	assert_ok(state_folder_open(f->state, NULL, &folder, &f->err), &f->err);
	one_attached(f, f->out, &folder);
	state_folder_close(&folder);
	change_device(f);
	assert_int_equal(rename(f->out, away), 0);
	assert_ok(state_folder_open(f->state, NULL, &folder, &f->err), &f->err);
	one_attached(f, second, &folder);
	assert_ok(output_attach(f->out, &folder, &f->output, &f->err), &f->err);
	assert_error(output_claim(&f->output, true, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->out, "mounted");
	state_folder_close(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    output_test(an_output_that_was_moved_takes_its_state_along),
	    output_test(a_copy_of_an_output_gets_a_state_of_its_own),
	    output_test(a_state_folder_of_another_output_is_refused),
	    output_test(a_state_folder_inside_the_output_is_refused),
	    output_test(one_state_serves_several_outputs),
	    output_test(a_state_folder_in_use_is_busy_for_a_second_daemon),
	    output_test(a_daemon_without_an_output_yet_is_named_to_a_second_one),
	    output_test(an_output_with_a_state_elsewhere_is_not_attached),
	    output_test(a_state_folder_inside_an_output_is_not_attached),
	    output_test(shards_that_are_gone_with_their_disk_are_not_encoded_again),
	    output_test(an_output_whose_disk_is_away_is_not_forgotten_for_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
