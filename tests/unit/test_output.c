#include "daemon/output.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct fixture {
	char *dir, *out, *state;
	struct output output;
	struct error err;
};

static int setup(void **state)
{
	static struct fixture f;

	f.dir = testing_tempdir();
	f.out = testing_path(f.dir, "out");
	f.state = testing_path(f.dir, "state");
	f.output = (struct output)OUTPUT_INIT;
	f.err = (struct error)ERROR_INIT;
	setenv("XDG_STATE_HOME", f.dir, 1);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	output_close(&f->output);
	free(f->out);
	free(f->state);
	testing_tempdir_remove(f->dir);
	return 0;
}

static void open_output(struct fixture *f, const char *state)
{
	assert_ok(output_open(f->out, state, &f->output, &f->err), &f->err);
}

static char *real(const char *path)
{
	char *full = realpath(path, NULL);

	assert_non_null(full);
	return full;
}

/* The words of @line, all of which must be there. */
static void assert_says(const char *line, const char *const *words)
{
	assert_non_null(line);
	for (; *words; words++) {
		if (!strstr(line, *words))
			fail_msg("\"%s\" does not say \"%s\"", line, *words);
	}
}

#define SAYS(line, ...) assert_says((line), (const char *[]){__VA_ARGS__, NULL})

/* Checks and, where nothing is there, makes, as a run does. */
static int claim_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			 struct error *err)
{
	bool there = false;

	if (output_check_dataset(o, name, recipe, &there, err) < 0)
		return -1;
	return there ? 0 : output_make_dataset(o, name, recipe, err);
}

/* -- locks ------------------------------------------------------------------------------------------ */

static void opening_makes_both_folders_with_their_locks(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *lock = testing_path(f->out, ".latentd/lock");
	cleanup_free char *state_lock = testing_path(f->state, "lock");
	cleanup_free char *root = NULL, *path = NULL;

	open_output(f, f->state);
	root = real(f->out);
	path = real(f->state);
	assert_string_equal(f->output.root, root);
	assert_string_equal(f->output.state, path);
	assert_true(file_exists(lock));
	assert_true(file_exists(state_lock));
}

static void opening_removes_what_a_run_that_died_had_half_written(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *in_root = testing_path(f->out, ".latentd/abcdef.tmp");
	cleanup_free char *in_state = testing_path(f->state, "abcdef.tmp");

	open_output(f, f->state);
	output_close(&f->output);
	testing_write(in_root, "{", 1);
	testing_write(in_state, "{", 1);
	open_output(f, f->state);
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
	struct fixture *f = *state;
	pid_t pid = hold(f->out, f->state, true);
	cleanup_free char *who = xasprintf("process %d on ", pid);
	cleanup_free char *path = real(f->state);

	assert_int_equal(output_open(f->out, f->state, &f->output, &f->err), OUTPUT_BUSY);
	assert_int_equal(f->err.code, ERR_NONE);
	SAYS(f->output.owner, who, path);
	output_close(&f->output);
	end(pid);
	/* The lock ends with its process. */
	open_output(f, f->state);
}

/* As a worker that is being started has the lock of its process: that process is killed, and then the worker lets go. */
static void the_lock_of_a_process_that_was_killed_while_it_forked_is_waited_for(void **state)
{
	struct fixture *f = *state;
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
	open_output(f, f->state);
	close(told[0]);
	close(told[1]);
}

static void a_state_folder_that_another_run_has_just_opened_is_busy_too(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");
	pid_t pid = hold(other, f->state, false);

	assert_int_equal(output_open(f->out, f->state, &f->output, &f->err), OUTPUT_BUSY);
	SAYS(f->output.owner, f->state, "in use");
	output_close(&f->output);
	end(pid);
	open_output(f, f->state);
}

static void a_second_open_in_the_same_process_is_busy(void **state)
{
	struct fixture *f = *state;
	struct output second = OUTPUT_INIT;

	open_output(f, f->state);
	assert_int_equal(output_open(f->out, f->state, &second, &f->err), OUTPUT_BUSY);
	output_close(&second);
}

static void the_owners_text_outlives_it_and_leads_back_to_its_state(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL;

	open_output(f, f->state);
	path = xstrdup(f->output.state);
	output_close(&f->output);
	open_output(f, NULL);
	assert_string_equal(f->output.state, path);
}

static void another_state_folder_than_the_outputs_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");

	open_output(f, f->state);
	output_close(&f->output);
	assert_error(output_open(f->out, other, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->state, "--state");
	/* And the right one still works: nothing is left locked. */
	error_clear(&f->err);
	open_output(f, f->state);
}

static void an_output_whose_state_is_lost_takes_a_new_one(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *moved = testing_path(f->dir, "moved");

	open_output(f, f->state);
	output_close(&f->output);
	assert_int_equal(rename(f->state, moved), 0);
	open_output(f, moved);
}

/* Opens, claims and closes, as a whole run does. */
static void one_run(struct fixture *f, const char *out, const char *state)
{
	struct output o = OUTPUT_INIT;

	assert_ok(output_open(out, state, &o, &f->err), &f->err);
	assert_ok(output_claim(&o, false, &f->err), &f->err);
	output_close(&o);
}

static void an_output_that_was_moved_takes_its_state_along(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *moved = testing_path(f->dir, "moved"), *want = NULL;

	one_run(f, f->out, f->state);
	want = real(f->state);
	assert_int_equal(rename(f->out, moved), 0);
	assert_ok(output_open(moved, NULL, &f->output, &f->err), &f->err);
	assert_string_equal(f->output.state, want);
}

/* As `cp -r` does it with what says whose it is. */
static void copy_owner(struct fixture *f, const char *copy)
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
	struct fixture *f = *state;
	cleanup_free char *copy = testing_path(f->dir, "copy"), *first = NULL;

	one_run(f, f->out, f->state);
	first = real(f->state);
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
	struct fixture *f = *state;
	cleanup_free char *other = testing_path(f->dir, "other");

	one_run(f, f->out, f->state);
	assert_error(output_open(other, f->state, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->state, f->out);
}

static void a_state_folder_inside_the_output_is_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *inside = testing_path(f->out, "state");

	assert_error(output_open(f->out, inside, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "--state", "outside");
}

/* Attaches, claims and closes, as the daemon does with each of its outputs. */
static void one_attached(struct fixture *f, const char *out, const struct state_folder *state)
{
	struct output o = OUTPUT_INIT;

	assert_ok(output_attach(out, state, &o, &f->err), &f->err);
	assert_string_equal(o.state, state->path);
	assert_ok(output_claim(&o, false, &f->err), &f->err);
	output_close(&o);
}

static void one_state_serves_several_outputs(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *second = testing_path(f->dir, "second"), *want = NULL;
	struct state_folder folder = STATE_FOLDER_INIT;

	assert_ok(state_folder_open(f->state, NULL, &folder, &f->err), &f->err);
	want = real(f->state);
	one_attached(f, f->out, &folder);
	one_attached(f, second, &folder);
	one_attached(f, f->out, &folder);
	state_folder_close(&folder);
	/* A command finds it from either. */
	open_output(f, NULL);
	assert_string_equal(f->output.state, want);
	output_close(&f->output);
	assert_ok(output_open(second, NULL, &f->output, &f->err), &f->err);
	assert_string_equal(f->output.state, want);
}

static void a_state_folder_in_use_is_busy_for_a_second_daemon(void **state)
{
	struct fixture *f = *state;
	struct state_folder folder = STATE_FOLDER_INIT;

	open_output(f, f->state);
	assert_ok(output_claim(&f->output, false, &f->err), &f->err);
	assert_int_equal(state_folder_open(f->state, NULL, &folder, &f->err), OUTPUT_BUSY);
	SAYS(folder.owner, f->state, "in use by");
	state_folder_close(&folder);
}

static void a_daemon_without_an_output_yet_is_named_to_a_second_one(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	cleanup_free char *inside = testing_path(f->out, "state");
	struct state_folder folder = STATE_FOLDER_INIT;

	assert_ok(state_folder_open(inside, NULL, &folder, &f->err), &f->err);
	assert_error(output_attach(f->out, &folder, &f->output, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, inside, "one in the other");
	state_folder_close(&folder);
}

/* The state's owner.json then tells of a device that OUT is not on. */
static void change_device(const struct fixture *f)
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
	struct fixture *f = *state;

	one_run(f, f->out, f->state);
	open_output(f, f->state);
	/* Gone, but on the same disk: somebody removed them. */
	assert_ok(output_claim(&f->output, true, &f->err), &f->err);
	output_close(&f->output);
	change_device(f);
	open_output(f, f->state);
	assert_error(output_claim(&f->output, true, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, f->out, "mounted");
	error_clear(&f->err);
	/* Refused means that nothing was noted: it is refused again. */
	output_close(&f->output);
	open_output(f, f->state);
	assert_error(output_claim(&f->output, true, &f->err), &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_ok(output_claim(&f->output, false, &f->err), &f->err);
}

static void an_output_whose_disk_is_away_is_not_forgotten_for_another(void **state)
{
	struct fixture *f = *state;
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

static void without_a_state_folder_it_lies_below_xdg_state_home(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *prefix = xasprintf("%s/latentd/out-", f->dir);

	open_output(f, NULL);
	assert_int_equal(strncmp(f->output.state, prefix, strlen(prefix)), 0);
	assert_int_equal(strlen(f->output.state), strlen(prefix) + 8);
	assert_true(file_exists(f->output.state));
}

static void without_any_place_for_state_it_says_what_to_set(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;

	testing_write(f->out, "x", 1);
	assert_error(output_open(f->out, f->state, &f->output, &f->err), &f->err, ERR_IO);
	SAYS(f->err.message, "out");
}

/* -- peek ------------------------------------------------------------------------------------------- */

static void peek_tells_whether_the_owner_is_at_work(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	struct output seen = OUTPUT_INIT;
	bool running;

	open_output(f, f->state);
	output_close(&f->output);
	assert_ok(output_peek(f->out, &seen, &running, &f->err), &f->err);
	open_output(f, f->state);
	output_close(&seen);
}

static void peek_refuses_a_folder_that_is_no_output(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	open_output(f, f->state);
}

/* -- datasets --------------------------------------------------------------------------------------- */

static struct recipe recipe_of(size_t resolution)
{
	struct recipe r = {.fake = true,
			   .vae = {.latent_channels = 4, .scaling_factor = 0.13025},
			   .buckets = {BUCKET_SQUARE, resolution, 256, 1024, 64},
			   .dtype = DTYPE_F16};

	recipe_finish(&r);
	return r;
}

static void a_dataset_belongs_to_its_recipe(void **state)
{
	struct fixture *f = *state;
	struct recipe a = recipe_of(512), b = recipe_of(256);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");
	cleanup_buffer struct buffer before = BUFFER_INIT, after = BUFFER_INIT;

	open_output(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	before = testing_read(path);
	assert_non_null(strstr((const char *)before.data, a.id));
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_error(claim_dataset(&f->output, "photos", &b, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "photos", "buckets.resolution 512, now 256", "--name");
	after = testing_read(path);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.data, after.data, before.size);
	/* The remedy it names. */
	error_clear(&f->err);
	assert_ok(claim_dataset(&f->output, "photos-256", &b, &f->err), &f->err);
	recipe_release(&a);
	recipe_release(&b);
}

/* Both looked before either wrote. */
static void of_two_that_make_a_dataset_at_once_the_second_keeps_to_the_firsts(void **state)
{
	struct fixture *f = *state;
	struct recipe a = recipe_of(512), b = recipe_of(256);

	open_output(f, f->state);
	assert_ok(output_make_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_ok(output_make_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_error(output_make_dataset(&f->output, "photos", &b, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "photos", "another recipe");
	error_clear(&f->err);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	recipe_release(&a);
	recipe_release(&b);
}

static void a_dataset_json_that_is_damaged_is_not_taken_over(void **state)
{
	struct fixture *f = *state;
	struct recipe a = recipe_of(512);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");

	open_output(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	testing_write(path, "{", 1);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged");
	recipe_release(&a);
}

static void a_dataset_json_whose_recipe_is_not_that_of_its_id_is_damaged(void **state)
{
	struct fixture *f = *state;
	struct recipe a = recipe_of(512);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char *found;

	open_output(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	text = testing_read(path);
	found = strstr((char *)text.data, "512");
	assert_non_null(found);
	*found ^= 1;
	testing_write(path, text.data, text.size);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged", "reindex");
	*found ^= 1;
	found = strstr((char *)text.data, a.id);
	*found = *found == '0' ? '1' : '0';
	testing_write(path, text.data, text.size);
	error_clear(&f->err);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged", "reindex");
	recipe_release(&a);
}

static void a_bad_name_is_refused_and_makes_nothing(void **state)
{
	struct fixture *f = *state;
	struct recipe r = recipe_of(512);
	char over[102];
	const char *const bad[] = {"",	      ".",    "..",   ".latentd", "a/b", "/etc",
				   "../out2", "a\nb", "\x7f", "\xff",	  over};

	memset(over, 'a', 101);
	over[101] = '\0';
	open_output(f, f->state);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_error(claim_dataset(&f->output, bad[i], &r, &err), &err, ERR_CONFIG);
		SAYS(err.message, "--name");
	}
	over[100] = '\0';
	assert_ok(claim_dataset(&f->output, over, &r, &f->err), &f->err);
	assert_ok(claim_dataset(&f->output, "katze \xe7\x8c\xab 2", &r, &f->err), &f->err);
	recipe_release(&r);
}

static void the_default_name_is_model_resolution_and_recipe(void **state)
{
	struct recipe r = recipe_of(512);
	cleanup_free char *want = xasprintf("sd_vae_ft-512-%.8s", r.id);
	cleanup_free char *got = output_default_name("sd vae.ft", &r);

	(void)state;
	assert_string_equal(got, want);
	recipe_release(&r);
}

#define output_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
	    output_test(without_a_state_folder_it_lies_below_xdg_state_home),
	    output_test(without_any_place_for_state_it_says_what_to_set),
	    output_test(a_file_in_the_outputs_place_is_an_error_with_its_name),
	    output_test(peek_tells_whether_the_owner_is_at_work),
	    output_test(peek_takes_no_lock),
	    output_test(peek_refuses_a_folder_that_is_no_output),
	    output_test(peek_refuses_a_lock_that_says_nothing),
	    output_test(a_dataset_belongs_to_its_recipe),
	    output_test(of_two_that_make_a_dataset_at_once_the_second_keeps_to_the_firsts),
	    output_test(a_dataset_json_that_is_damaged_is_not_taken_over),
	    output_test(a_dataset_json_whose_recipe_is_not_that_of_its_id_is_damaged),
	    output_test(a_bad_name_is_refused_and_makes_nothing),
	    output_test(the_default_name_is_model_resolution_and_recipe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
