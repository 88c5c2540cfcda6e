/*
 * Every format and every odd kind of it against what Pillow gave (tests/golden/images/README.md):
 * every byte must be the same; of a lossy AVIF or JPEG XL, whose decoders differ between versions,
 * no sample may be further away than the row says.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/hash.h"
#include "image/decode.h"

#include <jansson.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

struct tally {
	size_t checked, wrong;
	size_t not_built;
};

/* Pillow's name. */
static bool is_built(const char *format)
{
	if (strcmp(format, "AVIF") == 0)
		return image_format_built(IMAGE_AVIF);
	if (strcmp(format, "JXL") == 0)
		return image_format_built(IMAGE_JXL);
	return true;
}

static struct image decode(const char *path, const struct image_policy *policy)
{
	cleanup_buffer struct buffer bytes = testing_read(path);
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	if (image_decode(bytes.data, bytes.size, &limits, policy, &image, &err) < 0)
		fail_msg("%s: %s", path, err.message);
	return image;
}

static void check_hash(struct tally *tally, const json_t *row, const char *key, const char *path,
		       const struct image_policy *policy)
{
	const char *want = json_string_value(json_object_get(row, key));
	cleanup_image struct image image = IMAGE_INIT;
	char hex[SHA256_HEX_SIZE];
	struct sha256 got;

	if (!want)
		return;
	image = decode(path, policy);
	got = sha256_of(image.pixels, image.width * image.height * 3);
	sha256_hex(&got, hex);
	tally->checked++;
	if (strcmp(hex, want) == 0)
		return;
	tally->wrong++;
	print_error("%s: %s is %s, expected %s\n", path, key, hex, want);
}

static void check_near(struct tally *tally, const json_t *row, const char *folder, const char *path,
		       const struct image_policy *policy)
{
	const char *near = json_string_value(json_object_get(row, "near"));
	int tolerance = (int)json_integer_value(json_object_get(row, "tolerance")), worst = 0;
	cleanup_free char *near_path = near ? testing_path(folder, near) : NULL;
	cleanup_image struct image image = IMAGE_INIT, want = IMAGE_INIT;

	if (!near)
		return;
	image = decode(path, policy);
	want = decode(near_path, policy);
	assert_int_equal(image.width, want.width);
	assert_int_equal(image.height, want.height);
	for (size_t i = 0; i < image.width * image.height * 3; i++) {
		int off = abs(image.pixels[i] - want.pixels[i]);

		worst = off > worst ? off : worst;
	}
	tally->checked++;
	if (worst <= tolerance)
		return;
	tally->wrong++;
	print_error("%s: %d away, %d allowed\n", path, worst, tolerance);
}

/* The header says what the pixels turn out to be. */
static void check_size(const json_t *row, const char *path)
{
	const json_t *want = json_object_get(row, "oriented_size");
	cleanup_buffer struct buffer bytes = testing_read(path);
	struct image_header header;
	struct error err = ERROR_INIT;
	size_t width, height;

	assert_ok(image_read_header(bytes.data, bytes.size, &limits, &header, &err), &err);
	image_oriented_size(&header, &width, &height);
	if (width != (size_t)json_integer_value(json_array_get(want, 0)) ||
	    height != (size_t)json_integer_value(json_array_get(want, 1)))
		fail_msg("%s: header says %zu x %zu", path, width, height);
	assert_true(header.decode_bytes > 0);
}

static void check_row(struct tally *tally, const char *folder, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "file"));
	cleanup_free char *path = testing_path(folder, name);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	if (!is_built(json_string_value(json_object_get(row, "format")))) {
		tally->not_built++;
		return;
	}
	check_size(row, path);
	check_hash(tally, row, "srgb_sha256", path, &policy);
	policy.color = COLOR_IGNORE;
	check_hash(tally, row, "rgb_sha256", path, &policy);
	check_near(tally, row, folder, path, &policy);
	memcpy(policy.background, (uint8_t[]){10, 200, 60}, 3);
	check_hash(tally, row, "over_green_sha256", path, &policy);
	policy.alpha = ALPHA_DROP;
	check_hash(tally, row, "drop_sha256", path, &policy);
}

static void every_odd_file_has_the_bytes_that_pillow_gives(void **state)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *list = testing_path(folder, "formats.json");
	json_t *root = json_load_file(list, 0, NULL), *row;
	struct tally tally = {0, 0, 0};
	size_t i;

	(void)state;
	assert_non_null(root);
	json_array_foreach(json_object_get(root, "rows"), i, row) check_row(&tally, folder, row);
	json_decref(root);
	print_message("%zu pictures compared\n", tally.checked);
	if (tally.not_built > 0)
		print_message("SKIPPED %zu AVIF or JPEG XL files: not in this build\n",
			      tally.not_built);
	assert_int_equal(tally.wrong, 0);
	assert_true(tally.checked >= 100);
}

/* -- alone ----------------------------------------------------------------------------------------- */

/* From here on the process may ask for memory, and end. */
static void confine(void)
{
	static const int allowed[] = {SCMP_SYS(brk),	SCMP_SYS(mmap),	     SCMP_SYS(munmap),
				      SCMP_SYS(mremap), SCMP_SYS(madvise),   SCMP_SYS(futex),
				      SCMP_SYS(write),	SCMP_SYS(exit_group)};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (!filter || seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) < 0)
			_exit(2);
	if (seccomp_load(filter) < 0)
		_exit(2);
}

/* 0 in a child that decoded @bytes to pixels with nothing but memory. */
static int decode_confined(const struct buffer *bytes)
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct image_policy policy = IMAGE_POLICY_DEFAULT;
		struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;

		tzset();
		confine();
		_exit(image_decode(bytes->data, bytes->size, &limits, &policy, &image, &err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void no_format_needs_files_or_threads(void **state)
{
	static const char *const names[] = {
	    "progressive.jpg", "rgba_adobergb.png", "icc_alpha_exif8.webp", "lossless.webp",
	    "animated.gif",    "v5_icc.bmp",	    "lossy_420.avif",	    "icc.avif",
	    "lossy.jxl",       "icc_alpha.jxl"};
	cleanup_free char *folder = NULL;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	print_message("SKIPPED: a sanitizer needs more than memory\n");
	skip();
#endif
	folder = testing_golden("images");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *path = testing_path(folder, names[i]);
		cleanup_buffer struct buffer bytes = testing_read(path);
		int status = 0;

		if (is_built(strstr(names[i], ".avif")	? "AVIF"
			     : strstr(names[i], ".jxl") ? "JXL"
							: "PNG"))
			status = decode_confined(&bytes);
		if (status != 0)
			fail_msg("%s: %s %d", names[i], WIFSIGNALED(status) ? "signal" : "exit",
				 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    /* first, while this process has decoded nothing */
	    cmocka_unit_test(no_format_needs_files_or_threads),
	    cmocka_unit_test(every_odd_file_has_the_bytes_that_pillow_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
