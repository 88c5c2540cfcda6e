/* Locks of an output, where its state lies, and looking at it without them. */
#include "tests/unit/output_rig.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* -- locks ------------------------------------------------------------------------------------------ */

static void opening_makes_both_folders_with_their_locks(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *lock = testing_path(f->out, ".latentd/lock");
	cleanup_free char *state_lock = testing_path(f->state, "lock");
	cleanup_free char *root = NULL, *path = NULL;

	output_rig_open(f, f->state);
	root = output_rig_real(f->out);
	path = output_rig_real(f->state);
	assert_string_equal(f->output.root, root);
	assert_string_equal(f->output.state, path);
	assert_true(file_exists(lock));
	assert_true(file_exists(state_lock));
}

static void opening_removes_what_a_run_that_died_had_half_written(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *in_root = testing_path(f->out, ".latentd/abcdef.tmp");
	cleanup_free char *in_state = testing_path(f->state, "abcdef.tmp");

	output_rig_open(f, f->state);
	output_close(&f->output);
	testing_write(in_root, "{", 1);
	testing_write(in_state, "{", 1);
	output_rig_open(f, f->state);
	assert_false(file_exists(in_root));
	assert_false(file_exists(in_state));
}

/* A process that has @out open, and claimed where @claim, until it is killed; its id. */
static pid_t hold(const char *out, const char *state, bool claim)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct output o = OUTPUT_INIT;
		struct error err = ERROR_INIT;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		if (output_open(out, state, &o, &err) != 0 ||
		    (claim && output_claim(&o, false, &err) < 0) || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void an_output_in_use_is_busy_and_names_process_and_state(void **state)
{
	struct output_rig *f = *state;
	pid_t pid = hold(f->out, f->state, true);
	cleanup_free char *who = xasprintf("process %d on ", pid);
	cleanup_free char *path = output_rig_real(f->state);

	assert_int_equal(output_open(f->out, f->state, &f->output, &f->err), OUTPUT_BUSY);
	assert_int_equal(f->err.code, ERR_NONE);
	SAYS(f->output.owner, who, path);
	output_close(&f->output);
	end(pid);
	/* The lock ends with its process. */
	output_rig_open(f, f->state);
}

/* As a worker that is being started has the lock of its process: that process is killed, and then the worker lets go. */
static void the_lock_of_a_process_that_was_killed_while_it_forked_is_waited_for(void **state)
{
	struct output_rig *f = *state;
	struct output seen = OUTPUT_INIT;
	bool running = true;
	int told[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct output o = OUTPUT_INIT;
		struct error err = ERROR_INIT;

		if (output_open(f->out, f->state, &o, &err) != 0 ||
		    output_claim(&o, false, &err) < 0)
			_exit(1);
		if (fork() == 0) {
			/* When the output is asked for is not known: some time later than that, probably. */
			usleep(200000);
			_exit(0);
		}
		if (write(told[1], "r", 1) != 1)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(read(told[0], &byte, 1), 1);
	end(pid);
	assert_ok(output_peek(f->out, &seen, &running, &f->err), &f->err);
	assert_false(running);
	output_close(&seen);
	output_rig_open(f, f->state);
	close(told[0]);
	close(told[1]);
}

static void a_state_folder_that_another_run_has_just_opened_is_busy_too(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");
	pid_t pid = hold(other, f->state, false);

	assert_int_equal(output_open(f->out, f->state, &f->output, &f->err), OUTPUT_BUSY);
	SAYS(f->output.owner, f->state, "in use");
	output_close(&f->output);
	end(pid);
	output_rig_open(f, f->state);
}

static void a_second_open_in_the_same_process_is_busy(void **state)
{
	struct output_rig *f = *state;
	struct output second = OUTPUT_INIT;

	output_rig_open(f, f->state);
	assert_int_equal(output_open(f->out, f->state, &second, &f->err), OUTPUT_BUSY);
	output_close(&second);
}

static void the_owners_text_outlives_it_and_leads_back_to_its_state(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *path = NULL;

	output_rig_open(f, f->state);
	path = xstrdup(f->output.state);
	output_close(&f->output);
	output_rig_open(f, NULL);
	assert_string_equal(f->output.state, path);
}

static void another_state_folder_than_the_outputs_is_refused_by_name(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");

	output_rig_open(f, f->state);
	output_close(&f->output);
	assert_error(output_open(f->out, other, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->state, "--state");
	/* And the right one still works: nothing is left locked. */
	error_clear(&f->err);
	output_rig_open(f, f->state);
}

static void an_output_whose_state_is_lost_takes_a_new_one(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *moved = testing_path(f->dir, "moved");

	output_rig_open(f, f->state);
	output_close(&f->output);
	assert_int_equal(rename(f->state, moved), 0);
	output_rig_open(f, moved);
}

static void without_a_state_folder_it_lies_below_xdg_state_home(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *prefix = xasprintf("%s/latentd/out-", f->dir);

	output_rig_open(f, NULL);
	assert_int_equal(strncmp(f->output.state, prefix, strlen(prefix)), 0);
	assert_int_equal(strlen(f->output.state), strlen(prefix) + 8);
	assert_true(file_exists(f->output.state));
}

static void without_any_place_for_state_it_says_what_to_set(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *home = getenv("HOME") ? xstrdup(getenv("HOME")) : NULL;

	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	assert_error(output_open(f->out, NULL, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "XDG_STATE_HOME", "--state");
	if (home)
		setenv("HOME", home, 1);
}

static void a_file_in_the_outputs_place_is_an_error_with_its_name(void **state)
{
	struct output_rig *f = *state;

	testing_write(f->out, "x", 1);
	assert_error(output_open(f->out, f->state, &f->output, &f->err), &f->err, ERR_IO);
	SAYS(f->err.message, "out");
}

/* -- peek ------------------------------------------------------------------------------------------- */

static void peek_tells_whether_the_owner_is_at_work(void **state)
{
	struct output_rig *f = *state;
	struct output seen = OUTPUT_INIT;
	bool running = true;
	pid_t pid = hold(f->out, f->state, true);
	cleanup_free char *who = xasprintf("process %d ", pid);

	assert_ok(output_peek(f->out, &seen, &running, &f->err), &f->err);
	assert_true(running);
	SAYS(seen.owner, who);
	output_close(&seen);
	end(pid);
	assert_ok(output_peek(f->out, &seen, &running, &f->err), &f->err);
	assert_false(running);
	SAYS(seen.state, f->state);
	output_close(&seen);
}

static void peek_takes_no_lock(void **state)
{
	struct output_rig *f = *state;
	struct output seen = OUTPUT_INIT;
	bool running;

	output_rig_open(f, f->state);
	output_close(&f->output);
	assert_ok(output_peek(f->out, &seen, &running, &f->err), &f->err);
	output_rig_open(f, f->state);
	output_close(&seen);
}

static void peek_refuses_a_folder_that_is_no_output(void **state)
{
	struct output_rig *f = *state;
	struct output seen = OUTPUT_INIT;
	struct error missing = ERROR_INIT;
	bool running;

	assert_error(output_peek(f->dir, &seen, &running, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "not an output");
	assert_true(output_peek(f->out, &seen, &running, &missing) < 0);
	assert_null(seen.root);
}

static void peek_refuses_a_lock_that_says_nothing(void **state)
{
	struct output_rig *f = *state;
	cleanup_free char *folder = testing_path(f->out, ".latentd");
	cleanup_free char *lock = testing_path(folder, "lock");
	cleanup_free char *owner = testing_path(folder, "owner.json");
	static const char *const texts[] = {"", "{", "[]", "{\"state\":7}"};
	struct output seen = OUTPUT_INIT;
	bool running;

	assert_ok(dir_make(folder, &f->err), &f->err);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct error err = ERROR_INIT;

		testing_write(lock, "", 0);
		testing_write(owner, texts[i], strlen(texts[i]));
		assert_error(output_peek(f->out, &seen, &running, &err), &err, ERR_CONFIG);
	}
	/* For a new owner such a lock is as good as none. */
	output_rig_open(f, f->state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    output_test(opening_makes_both_folders_with_their_locks),
	    output_test(opening_removes_what_a_run_that_died_had_half_written),
	    output_test(an_output_in_use_is_busy_and_names_process_and_state),
	    output_test(the_lock_of_a_process_that_was_killed_while_it_forked_is_waited_for),
	    output_test(a_state_folder_that_another_run_has_just_opened_is_busy_too),
	    output_test(a_second_open_in_the_same_process_is_busy),
	    output_test(the_owners_text_outlives_it_and_leads_back_to_its_state),
	    output_test(another_state_folder_than_the_outputs_is_refused_by_name),
	    output_test(an_output_whose_state_is_lost_takes_a_new_one),
	    output_test(without_a_state_folder_it_lies_below_xdg_state_home),
	    output_test(without_any_place_for_state_it_says_what_to_set),
	    output_test(a_file_in_the_outputs_place_is_an_error_with_its_name),
	    output_test(peek_tells_whether_the_owner_is_at_work),
	    output_test(peek_takes_no_lock),
	    output_test(peek_refuses_a_folder_that_is_no_output),
	    output_test(peek_refuses_a_lock_that_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
