/*
 * The pool with the real latentd-decode: what comes through it is what image_decode and resample give in this
 * process, and what they refuse arrives with its reason.
 */
#include "decode_rig.h"

#include "base/checked.h"
#include "base/files.h"
#include "daemon/decode_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void open_real(struct rig *rig, size_t workers, enum bucket_rule rule, size_t resolution)
{
	cleanup_free char *program = rig_program("daemon/latentd-decode");
	struct rig_options options = {
	    .program = program, .workers = workers, .rule = rule, .resolution = resolution};
	struct error err = ERROR_INIT;

	assert_ok(rig_open(rig, &options, &err), &err);
}

static struct buffer golden_image(const char *name)
{
	cleanup_free char *relative = xasprintf("images/%s", name);
	cleanup_free char *path = testing_golden(relative);

	return testing_read(path);
}

/* Fails unless @shot has the pixels, hash and header that @file has in this process. */
static void assert_same_as_here(const struct rig *rig, const struct shot *shot,
				const struct buffer *file, const char *name)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	const struct bucket_placement *p = &shot->placement;
	cleanup_image struct image image = IMAGE_INIT;
	cleanup_free uint8_t *want = xmalloc(p->target_width * p->target_height * 3);
	struct hash128 content = hash128_of(file->data, file->size);
	struct image_header header;
	struct resample_plan plan;
	struct error err = ERROR_INIT;

	if (shot->end != SHOT_DONE)
		fail_msg("%s: %s", name, shot->why.message);
	assert_ok(image_read_header(file->data, file->size, &limits, &header, &err), &err);
	assert_int_equal(shot->header.width, header.width);
	assert_int_equal(shot->header.height, header.height);
	assert_int_equal(shot->header.orientation, header.orientation);
	assert_int_equal(shot->header.format, header.format);
	assert_int_equal(shot->bytes, file->size);
	assert_true(hash128_equal(&shot->content, &content));
	assert_ok(image_decode(file->data, file->size, &limits, &rig->policy, &image, &err), &err);
	plan = resample_whole(&image, p->resized_width, p->resized_height, FILTER_LANCZOS);
	plan.left = p->crop_left;
	plan.top = p->crop_top;
	plan.width = p->target_width;
	plan.height = p->target_height;
	assert_ok(resample(&image, &plan, want, &err), &err);
	if (memcmp(want, shot->pixels, p->target_width * p->target_height * 3) != 0)
		fail_msg("%s: other pixels than in this process", name);
}

static const char *const images[] = {"q16.jpg",		 "orientation_6.jpg", "progressive.jpg",
				     "ycck_adobe.jpg",	 "palette.png",	      "rgba_adobergb.png",
				     "grey16_alpha.png", "rgb_interlaced.png"};

static void pixels_are_those_of_decoding_in_this_process(void **state)
{
	struct rig rig;

	(void)state;
	open_real(&rig, 1, BUCKET_KOHYA, 128);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		cleanup_buffer struct buffer file = golden_image(images[i]);
		cleanup_shot struct shot shot = {.skip = false};

		rig_shoot(&rig, &shot, file.data, file.size);
		assert_same_as_here(&rig, &shot, &file, images[i]);
	}
	rig_close(&rig);
}

static void what_workers_do_is_counted_by_stage(void **state)
{
	cleanup_buffer struct buffer file = golden_image("q16.jpg");
	cleanup_shot struct shot drawn = {.skip = false}, seen = {.skip = true};
	struct stage_sums read, decode, resize;
	struct rig rig;

	(void)state;
	open_real(&rig, 1, BUCKET_KOHYA, 128);
	rig_shoot(&rig, &drawn, file.data, file.size);
	rig_shoot(&rig, &seen, file.data, file.size);
	stage_meter_sums(rig.stages, STAGE_READ, &read);
	stage_meter_sums(rig.stages, STAGE_DECODE, &decode);
	stage_meter_sums(rig.stages, STAGE_RESIZE, &resize);
	assert_int_equal(read.images, 2);
	assert_int_equal(decode.images, 1);
	assert_int_equal(resize.images, 1);
	assert_true(read.took_ns > 0 && decode.took_ns > 0 && resize.took_ns > 0);
	assert_true(resize.busy_ns == resize.took_ns);
	rig_close(&rig);
}

static void many_images_in_several_workers_do_not_mix(void **state)
{
	struct buffer files[ARRAY_SIZE(images)];
	struct shot shots[3 * ARRAY_SIZE(images)] = {{.skip = false}};
	struct rig rig;

	(void)state;
	open_real(&rig, 3, BUCKET_SQUARE, 64);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		files[i] = golden_image(images[i]);
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++) {
		const struct buffer *file = &files[i % ARRAY_SIZE(images)];

		rig_start(&rig, &shots[i], file->data, file->size);
	}
	for (size_t i = 0; i < ARRAY_SIZE(shots); i++) {
		size_t k = i % ARRAY_SIZE(images);

		rig_wait(&rig, &shots[i]);
		assert_same_as_here(&rig, &shots[i], &files[k], images[k]);
		shot_release(&shots[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		buffer_release(&files[i]);
	rig_close(&rig);
}

static void a_skipped_image_is_hashed_and_never_decoded(void **state)
{
	cleanup_buffer struct buffer good = golden_image("q16.jpg");
	cleanup_shot struct shot skipped = {.skip = true}, next = {.skip = false};
	const size_t half = good.size / 2; /* its header is whole, its pixels are not */
	struct hash128 content = hash128_of(good.data, half);
	struct rig rig;

	(void)state;
	open_real(&rig, 1, BUCKET_SQUARE, 64);
	rig_shoot(&rig, &skipped, good.data, half);
	assert_int_equal(skipped.end, SHOT_SKIPPED);
	assert_true(skipped.header.width > 0);
	assert_true(hash128_equal(&skipped.content, &content));
	assert_int_equal(decode_pool_room(rig.pool), 1);
	rig_shoot(&rig, &next, good.data, good.size);
	assert_same_as_here(&rig, &next, &good, "q16.jpg");
	assert_int_equal(skipped.ends, 1);
	rig_close(&rig);
}

static void what_the_decoder_refuses_arrives_with_its_reason(void **state)
{
	cleanup_buffer struct buffer truncated = golden_image("broken_truncated.jpg");
	cleanup_buffer struct buffer good = golden_image("q16.jpg");
	const struct {
		const void *data;
		size_t size;
		const char *reason;
	} table[] = {{truncated.data, truncated.size, "truncated"},
		     {"no image at all", 15, "unsupported"},
		     {"", 0, "empty"},
		     {good.data, good.size / 2, "truncated"}};
	struct rig rig;

	(void)state;
	open_real(&rig, 1, BUCKET_SQUARE, 64);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		cleanup_shot struct shot shot = {.skip = false}, next = {.skip = false};

		rig_shoot(&rig, &shot, table[i].data, table[i].size);
		assert_int_equal(shot.end, SHOT_FAILED);
		assert_int_equal(shot.why.code, ERR_DATA);
		assert_string_equal(shot.why.reason, table[i].reason);
		assert_true(shot.why.message[0] != '\0');
		/* The same worker goes on: nobody died. */
		assert_int_equal(decode_pool_room(rig.pool), 1);
		rig_shoot(&rig, &next, good.data, good.size);
		assert_int_equal(next.end, SHOT_DONE);
	}
	rig_close(&rig);
}

static void a_file_over_the_limit_is_too_large(void **state)
{
	cleanup_free char *program = rig_program("daemon/latentd-decode");
	cleanup_buffer struct buffer good = golden_image("q16.jpg");
	struct rig_options options = {
	    .program = program, .workers = 1, .max_file = good.size - 1, .rule = BUCKET_SQUARE};
	cleanup_shot struct shot shot = {.skip = false};
	struct error err = ERROR_INIT;
	struct rig rig;

	(void)state;
	assert_ok(rig_open(&rig, &options, &err), &err);
	rig_shoot(&rig, &shot, good.data, good.size);
	assert_int_equal(shot.end, SHOT_FAILED);
	assert_string_equal(shot.why.reason, "too_large");
	rig_close(&rig);
}

static void a_descriptor_that_cannot_be_read_is_no_fault_of_the_image(void **state)
{
	struct error err = ERROR_INIT;
	struct shot shot = {.skip = false};
	struct rig rig;
	int folder = file_open("/", O_RDONLY | O_DIRECTORY, 0, &err);

	(void)state;
	assert_true(folder >= 0);
	open_real(&rig, 1, BUCKET_SQUARE, 64);
	while (decode_pool_room(rig.pool) == 0)
		rig_turn(&rig);
	shot.rig = &rig;
	decode_pool_start(rig.pool, folder, &shot);
	close(folder);
	rig.descriptors--;
	rig_wait(&rig, &shot);
	assert_int_equal(shot.end, SHOT_FAILED);
	assert_int_equal(shot.why.code, ERR_IO);
	rig_close(&rig);
}

static void an_image_waits_for_its_place_as_long_as_it_takes(void **state)
{
	cleanup_buffer struct buffer a = golden_image("q16.jpg"), b = golden_image("palette.png");
	cleanup_shot struct shot held = {.hold = true}, other = {.skip = false};
	struct rig rig;

	(void)state;
	open_real(&rig, 2, BUCKET_SQUARE, 64);
	rig_start_held(&rig, &held, a.data, a.size);
	assert_int_equal(decode_pool_busy(rig.pool), 1);
	rig_shoot(&rig, &other, b.data, b.size);
	assert_int_equal(held.end, SHOT_RUNNING);
	rig_place(&held);
	rig_wait(&rig, &held);
	assert_same_as_here(&rig, &held, &a, "q16.jpg");
	assert_same_as_here(&rig, &other, &b, "palette.png");
	rig_close(&rig);
}

static void one_worker_looks_at_images_before_it_draws_those_it_has(void **state)
{
	struct buffer files[DECODE_BERTHS];
	struct shot shots[DECODE_BERTHS] = {{.skip = false}};
	struct rig rig;

	(void)state;
	open_real(&rig, 1, BUCKET_SQUARE, 64);
	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		files[i] = golden_image(images[i]);
		shots[i].hold = true;
		rig_start_held(&rig, &shots[i], files[i].data, files[i].size);
	}
	assert_int_equal(decode_pool_room(rig.pool), 0);
	/* In another order than they came. */
	for (size_t i = DECODE_BERTHS; i-- > 0;) {
		assert_int_equal(decode_pool_would_wait(shots[i].ticket), i + 1 < DECODE_BERTHS);
		rig_place(&shots[i]);
	}
	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		rig_wait(&rig, &shots[i]);
		assert_same_as_here(&rig, &shots[i], &files[i], images[i]);
		shot_release(&shots[i]);
		buffer_release(&files[i]);
	}
	assert_int_equal(decode_pool_room(rig.pool), 1);
	rig_close(&rig);
}

static void behind_large_files_none_is_held(void **state)
{
	cleanup_buffer struct buffer file = golden_image("q16.jpg");
	cleanup_shot struct shot held = {.hold = true};
	struct rig rig;

	(void)state;
	buffer_append_zeros(&file, (size_t)16 << 20);
	open_real(&rig, 1, BUCKET_SQUARE, 64);
	rig_start_held(&rig, &held, file.data, file.size);
	assert_int_equal(decode_pool_room(rig.pool), 0);
	rig_place(&held);
	rig_wait(&rig, &held);
	assert_int_equal(held.end, SHOT_DONE);
	assert_int_equal(decode_pool_room(rig.pool), 1);
	rig_close(&rig);
}

/* -- only headers, only hashes ---------------------------------------------------------------------- */

static void open_real_in_mode(struct rig *rig, enum decode_mode mode)
{
	cleanup_free char *program = rig_program("daemon/latentd-decode");
	struct rig_options options = {
	    .program = program, .mode = mode, .workers = 1, .rule = BUCKET_SQUARE};
	struct error err = ERROR_INIT;

	assert_ok(rig_open(rig, &options, &err), &err);
}

static void assert_header_same_as_here(const struct shot *shot, const struct buffer *file,
				       const char *name)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	struct image_header header;
	struct error err = ERROR_INIT;

	if (image_read_header(file->data, file->size, &limits, &header, &err) < 0) {
		if (shot->end != SHOT_FAILED || strcmp(shot->why.reason, err.reason) != 0 ||
		    strcmp(shot->why.message, err.message) != 0)
			fail_msg("%s: '%s' instead of '%s'", name, shot->why.message, err.message);
		return;
	}
	if (shot->end != SHOT_SEEN)
		fail_msg("%s: %s", name, shot->why.message);
	assert_int_equal(shot->header.format, header.format);
	assert_int_equal(shot->header.width, header.width);
	assert_int_equal(shot->header.height, header.height);
	assert_int_equal(shot->header.orientation, header.orientation);
	assert_int_equal(shot->header.decode_bytes, header.decode_bytes);
}

static void headers_and_hashes_are_those_of_the_whole_file(void **state)
{
	static const enum decode_mode modes[] = {DECODE_MODE_HEADERS, DECODE_MODE_HASHES};
	cleanup_free char *folder = testing_golden("images");
	size_t seen = 0;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
		struct dirent *entry;
		struct rig rig;
		DIR *dir;

		open_real_in_mode(&rig, modes[k]);
		dir = opendir(folder);
		assert_non_null(dir);
		while ((entry = readdir(dir))) {
			cleanup_buffer struct buffer file = BUFFER_INIT;
			struct shot shot = {.skip = false};
			struct hash128 content;

			if (entry->d_name[0] == '.')
				continue;
			file = golden_image(entry->d_name);
			content = hash128_of(file.data, file.size);
			rig_shoot(&rig, &shot, file.data, file.size);
			assert_header_same_as_here(&shot, &file, entry->d_name);
			if (modes[k] == DECODE_MODE_HASHES)
				assert_true(hash128_equal(&shot.content, &content));
			seen += shot.end == SHOT_SEEN;
		}
		closedir(dir);
		rig_close(&rig);
	}
	assert_true(seen > 80);
}

/* A strip of pixels takes libjpeg 512 bytes a column. */
static void a_strip_of_pixels_is_no_lie_about_memory(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rgb_adobe.jpg");
	struct shot shot = {.skip = false};
	struct rig rig;
	uint8_t *sof = memmem(file.data, file.size, "\xff\xc0\x00\x11\x08", 5);

	(void)state;
	assert_non_null(sof);
	memcpy(sof + 5, "\x00\x01\xff\xdc", 4);
	open_real_in_mode(&rig, DECODE_MODE_HEADERS);
	rig_shoot(&rig, &shot, file.data, file.size);
	assert_header_same_as_here(&shot, &file, "a strip");
	assert_int_equal(shot.header.width, 65500);
	rig_close(&rig);
}

/* Everything of @name in the folder of the process in /proc. */
static struct buffer proc_file(pid_t pid, const char *name)
{
	cleanup_free char *path = xasprintf("/proc/%d/%s", (int)pid, name);
	struct buffer text = BUFFER_INIT;
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_RDONLY, 0, &err);

	assert_true(fd >= 0);
	assert_ok(fd_read_all(fd, 1 << 20, &text, &err), &err);
	return text;
}

static bool has_entry(const struct buffer *environment, const char *entry)
{
	return memmem(environment->data, environment->size, entry, strlen(entry) + 1) != NULL;
}

/* A decoder that was taken over finds no secret, and nobody who reads what it writes. */
static void a_worker_has_neither_our_environment_nor_our_terminal(void **state)
{
	cleanup_free char *program = rig_program("daemon/latentd-decode");
	struct decode_process p = DECODE_PROCESS_NONE;
	cleanup_buffer struct buffer environment = BUFFER_INIT;
	struct error err = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];

	(void)state;
	setenv("SOME_TOKEN", "secret", 1);
	setenv("NOT_LATENTD_ISA", "secret", 1);
	setenv("LATENTD_ISA", "portable", 1);
	setenv("TESTSAN_OPTIONS", "seen", 1);
	assert_ok(decode_process_start(&p, program, 0, &err), &err);
	/* It is empty at first: posix_spawn() returns in the middle of execve(). */
	do {
		buffer_release(&environment);
		environment = proc_file(p.pid, "environ");
	} while (environment.size == 0);
	assert_null(memmem(environment.data, environment.size, "secret", 6));
	assert_true(has_entry(&environment, "LATENTD_ISA=portable"));
	assert_true(has_entry(&environment, "TESTSAN_OPTIONS=seen"));
	for (int fd = 0; fd < (CONFINE_SANITIZED ? 2 : 3); fd++) {
		cleanup_free char *link = xasprintf("/proc/%d/fd/%d", (int)p.pid, fd);
		char target[32] = "";

		assert_true(readlink(link, target, sizeof(target) - 1) > 0);
		assert_string_equal(target, "/dev/null");
	}
	decode_process_end(&p, how);
	unsetenv("SOME_TOKEN");
	unsetenv("NOT_LATENTD_ISA");
	unsetenv("LATENTD_ISA");
	unsetenv("TESTSAN_OPTIONS");
}

/* Under AddressSanitizer also: and has leaked nothing until then. */
static void a_worker_whose_daemon_is_gone_ends_in_order(void **state)
{
	cleanup_free char *program = rig_program("daemon/latentd-decode");
	struct decode_process p = DECODE_PROCESS_NONE;
	struct decode_message m = {.type = DECODE_START,
				   .start = {DECODE_MODE_HASHES, IMAGE_LIMITS_DEFAULT, 0}};
	struct error err = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];
	int status = -1;

	(void)state;
	assert_ok(decode_process_start(&p, program, 0, &err), &err);
	assert_ok(decode_message_send(p.socket, &m, -1, &err), &err);
	m.type = DECODE_OPEN;
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		cleanup_free char *relative = xasprintf("images/%s", images[i]);
		cleanup_free char *path = testing_golden(relative);
		cleanup_close int fd = file_open(path, O_RDONLY, 0, &err);

		assert_true(fd >= 0);
		assert_ok(decode_message_send(p.socket, &m, fd, &err), &err);
	}
	assert_int_equal(shutdown(p.socket, SHUT_WR), 0);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	p.pid = 0;
	decode_process_end(&p, how);
}

static void closing_with_images_in_work_leaves_nothing(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rocket.jpg");
	struct shot shots[2] = {{.skip = false}};
	struct rig rig;

	(void)state;
	open_real(&rig, 2, BUCKET_SQUARE, 64);
	rig_start(&rig, &shots[0], file.data, file.size);
	rig_start(&rig, &shots[1], file.data, file.size);
	/* The second start may have waited for its worker while the first shot ended. */
	rig_close(&rig);
	shot_release(&shots[0]);
	shot_release(&shots[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pixels_are_those_of_decoding_in_this_process),
	    cmocka_unit_test(what_workers_do_is_counted_by_stage),
	    cmocka_unit_test(many_images_in_several_workers_do_not_mix),
	    cmocka_unit_test(a_skipped_image_is_hashed_and_never_decoded),
	    cmocka_unit_test(what_the_decoder_refuses_arrives_with_its_reason),
	    cmocka_unit_test(a_file_over_the_limit_is_too_large),
	    cmocka_unit_test(a_descriptor_that_cannot_be_read_is_no_fault_of_the_image),
	    cmocka_unit_test(an_image_waits_for_its_place_as_long_as_it_takes),
	    cmocka_unit_test(one_worker_looks_at_images_before_it_draws_those_it_has),
	    cmocka_unit_test(behind_large_files_none_is_held),
	    cmocka_unit_test(headers_and_hashes_are_those_of_the_whole_file),
	    cmocka_unit_test(a_strip_of_pixels_is_no_lie_about_memory),
	    cmocka_unit_test(a_worker_has_neither_our_environment_nor_our_terminal),
	    cmocka_unit_test(a_worker_whose_daemon_is_gone_ends_in_order),
	    cmocka_unit_test(closing_with_images_in_work_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
