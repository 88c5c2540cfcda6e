/* The CUDA plugin's door and memory: handshake, errors, cache of algorithms, numbers. */
#include "base/checked.h"
#include "base/half.h"
#include "encoder/cuda/algo_cache.h"
#include "encoder/cuda/gpu_model.h"
#include "encoder/cuda/handshake.h"
#include "encoder/cuda/plugin_error.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_host_of_the_same_header_is_let_in(void **state)
{
	const struct latentd_cuda_handshake host = LATENTD_CUDA_HANDSHAKE;
	struct latentd_cuda_error err = {0};

	(void)state;
	assert_int_equal(handshake_check(&host, &err), 0);
}

static void another_version_is_refused_with_both_numbers(void **state)
{
	struct latentd_cuda_handshake host = LATENTD_CUDA_HANDSHAKE;
	struct latentd_cuda_error err = {0};

	(void)state;
	host.abi = 77;
	assert_int_equal(handshake_check(&host, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_ABI_MISMATCH);
	assert_non_null(strstr(err.message, "version 77"));
	assert_non_null(strstr(err.message, "of the same version"));
}

static void a_struct_of_another_size_is_named(void **state)
{
	struct latentd_cuda_handshake host = LATENTD_CUDA_HANDSHAKE;
	struct latentd_cuda_error err = {0};

	(void)state;
	host.options += 8;
	assert_int_equal(handshake_check(&host, &err), -1);
	assert_non_null(strstr(err.message, "options"));
}

static void errors_name_cause_and_remedy(void **state)
{
	static const struct {
		int number;
		enum latentd_cuda_code code;
		const char *words;
	} cases[] = {
	    {2, LATENTD_CUDA_NO_MEMORY, "lower gpu_memory"},
	    {36, LATENTD_CUDA_OLD_DRIVER, "update the NVIDIA driver"},
	    {100, LATENTD_CUDA_NO_DEVICE, "nvidia-smi -L"},
	    {209, LATENTD_CUDA_WRONG_DEVICE, "8.0 or newer"},
	    {214, LATENTD_CUDA_ECC, "ECC"},
	    {700, LATENTD_CUDA_DEVICE_LOST, "Xid"},
	    {802, LATENTD_CUDA_NO_DRIVER, "nv-fabricmanager"},
	    {12345, LATENTD_CUDA_BUG, "12345"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct latentd_cuda_error err = {0};

		assert_int_equal(plugin_error_cuda(&err, cases[i].number, "a test"), -1);
		assert_int_equal(err.code, cases[i].code);
		assert_non_null(strstr(err.message, cases[i].words));
	}
}

/* CUDA has one number for both. */
static void no_driver_is_told_from_an_old_one(void **state)
{
	bool there =
	    access("/dev/nvidiactl", F_OK) == 0 || access("/proc/driver/nvidia", F_OK) == 0;
	struct latentd_cuda_error err = {0};

	(void)state;
	plugin_error_cuda(&err, 35, "a test");
	assert_int_equal(err.code, there ? LATENTD_CUDA_OLD_DRIVER : LATENTD_CUDA_NO_DRIVER);
	assert_non_null(strstr(err.message, there ? "update the NVIDIA driver" : "--gpus all"));
}

static void an_error_that_is_passed_on_says_once_what_helps(void **state)
{
	struct latentd_cuda_error from = {0}, err = {0};

	(void)state;
	plugin_error_cuda(&from, 700, "a test");
	assert_int_equal(plugin_error_pass(&err, &from), -1);
	assert_int_equal(err.code, LATENTD_CUDA_DEVICE_LOST);
	assert_string_equal(err.message, from.message);
	assert_int_equal(plugin_error_pass(NULL, &from), -1);
}

static void the_first_error_is_kept(void **state)
{
	struct latentd_cuda_error err = {0};

	(void)state;
	plugin_error_cuda(&err, 2, "first");
	plugin_error_cuda(&err, 700, "second");
	assert_int_equal(err.code, LATENTD_CUDA_NO_MEMORY);
	assert_int_equal(plugin_error_cudnn(NULL, 4001, "nobody listens"), -1);
	err.code = LATENTD_CUDA_OK;
	plugin_error_cublas(&err, 15, "a product");
	assert_int_equal(err.code, LATENTD_CUDA_UNSUPPORTED);
}

static void cudnn_says_what_is_short_of_memory_and_what_is_not(void **state)
{
	static const struct {
		int status;
		enum latentd_cuda_code code;
	} expected[] = {
	    {1008, LATENTD_CUDA_WRONG_LIBRARY}, {2000, LATENTD_CUDA_BUG},
	    {3000, LATENTD_CUDA_UNSUPPORTED},	{4001, LATENTD_CUDA_BUG}, /* compiling failed */
	    {4003, LATENTD_CUDA_NO_MEMORY},	{4004, LATENTD_CUDA_NO_MEMORY},
	    {5000, LATENTD_CUDA_DEVICE_LOST},	{5004, LATENTD_CUDA_DEVICE_LOST},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct latentd_cuda_error err = {0};

		plugin_error_cudnn(&err, expected[i].status, "a convolution");
		assert_int_equal(err.code, expected[i].code);
	}
}

static void algorithms_are_remembered_in_a_file(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "algorithms");
	struct algo_cache *a = algo_cache_new("GPU one"), *b = algo_cache_new("GPU one");
	struct algo_cache *other = algo_cache_new("GPU two");
	const struct algo_choice choice = {2, 5, 41.25f};
	struct algo_choice found = {0, 0, 0};

	(void)state;
	algo_cache_add(a, "n8 64x64x512 float16 e2", &choice);
	algo_cache_save(a, path);
	algo_cache_load(b, path);
	assert_int_equal(algo_cache_find(b, "n8 64x64x512 float16 e2", &found), 0);
	assert_int_equal(found.variant, 2);
	assert_int_equal(found.place, 5);
	assert_true(found.microseconds == 41.25f);
	assert_int_equal(algo_cache_find(b, "n8", &found), -1);
	algo_cache_load(other, path);
	assert_int_equal(algo_cache_find(other, "n8 64x64x512 float16 e2", &found), -1);
	algo_cache_free(a);
	algo_cache_free(b);
	algo_cache_free(other);
	free(path);
	testing_tempdir_remove(dir);
}

static void two_engines_that_share_a_file_keep_what_both_have_found(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "algorithms");
	struct algo_cache *a = algo_cache_new("GPU"), *b = algo_cache_new("GPU");
	struct algo_cache *third = algo_cache_new("GPU");
	const struct algo_choice first = {1, 2, 10}, second = {0, 3, 20}, better = {2, 0, 5};
	struct algo_choice found = {0, 0, 0};

	(void)state;
	algo_cache_add(a, "n1", &first);
	algo_cache_add(b, "n2", &second);
	algo_cache_save(a, path);
	algo_cache_save(b, path);
	assert_int_equal(algo_cache_find(b, "n1", &found), 0); /* it need not time that any more */
	algo_cache_add(a, "n1", &better);
	algo_cache_save(a, path);
	algo_cache_load(third, path);
	assert_int_equal(algo_cache_find(third, "n1", &found), 0);
	assert_int_equal(found.variant, 2);
	assert_int_equal(algo_cache_find(third, "n2", &found), 0);
	assert_int_equal(found.place, 3);
	algo_cache_free(a);
	algo_cache_free(b);
	algo_cache_free(third);
	free(path);
	testing_tempdir_remove(dir);
}

static void what_a_killed_process_of_the_same_number_left_is_no_obstacle(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "algorithms");
	struct algo_cache *a = algo_cache_new("GPU"), *b = algo_cache_new("GPU");
	const struct algo_choice choice = {1, 2, 10};
	struct algo_choice found = {0, 0, 0};
	char left[4096];

	(void)state;
	snprintf(left, sizeof(left), "%s.%ld", path, (long)getpid());
	testing_write(left, "half", 4);
	algo_cache_add(a, "n1", &choice);
	algo_cache_save(a, path);
	algo_cache_load(b, path);
	assert_int_equal(algo_cache_find(b, "n1", &found), 0);
	assert_int_not_equal(access(left, F_OK), 0);
	algo_cache_free(a);
	algo_cache_free(b);
	free(path);
	testing_tempdir_remove(dir);
}

static bool has(const char *path, const char *key)
{
	struct algo_cache *cache = algo_cache_new("GPU");
	struct algo_choice found = {0, 0, 0};
	bool there;

	algo_cache_load(cache, path);
	there = algo_cache_find(cache, key, &found) == 0;
	algo_cache_free(cache);
	return there;
}

/* A batch must not wait for a file again and again. */
static void what_could_not_be_saved_goes_with_the_next_and_at_the_end(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "folder/algorithms");
	char *folder = testing_path(dir, "folder");
	struct algo_cache *a = algo_cache_new("GPU");
	const struct algo_choice choice = {1, 2, 10};

	(void)state;
	algo_cache_add(a, "n1", &choice);
	algo_cache_save(a, path);
	assert_int_equal(mkdir(folder, 0755), 0);
	algo_cache_save(a, path);
	assert_int_not_equal(access(path, F_OK), 0);
	algo_cache_add(a, "n2", &choice);
	algo_cache_save(a, path);
	assert_true(has(path, "n1") && has(path, "n2"));
	assert_int_equal(unlink(path), 0);
	algo_cache_save_rest(a, path);
	assert_int_not_equal(access(path, F_OK), 0);
	algo_cache_add(a, "n3", &choice);
	algo_cache_save_rest(a, path);
	assert_true(has(path, "n3"));
	algo_cache_free(a);
	free(path);
	free(folder);
	testing_tempdir_remove(dir);
}

/* Its holder has been stopped; it comes back where another waited without end. */
static void a_lock_that_is_never_given_back_is_not_waited_for(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "algorithms");
	char *lock = testing_path(dir, "algorithms.lock");
	struct algo_cache *a = algo_cache_new("GPU");
	const struct algo_choice choice = {1, 2, 10};
	int holder = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	(void)state;
	assert_true(holder >= 0);
	assert_int_equal(flock(holder, LOCK_EX), 0);
	algo_cache_add(a, "n1", &choice);
	algo_cache_save(a, path);
	assert_int_not_equal(access(path, F_OK), 0);
	close(holder);
	algo_cache_save_rest(a, path);
	assert_true(has(path, "n1"));
	algo_cache_free(a);
	free(path);
	free(lock);
	testing_tempdir_remove(dir);
}

static void damaged_lines_are_passed_over(void **state)
{
	static const char text[] =
	    "latentd-cuda algorithms 1\ndevice D\nx = 1 2\n = 1 2 3\nx = 1 2 nan\n"
	    "x = 1 2 3 4\ngood = 1 2 3.5\nx = 99999999999 2 3\nunfinished = 1 2 3";
	struct algo_cache *cache = algo_cache_new("D");
	struct algo_choice found = {0, 0, 0};

	(void)state;
	assert_int_equal(algo_cache_parse(cache, text, strlen(text)), 1);
	assert_int_equal(algo_cache_find(cache, "good", &found), 0);
	assert_int_equal(algo_cache_find(cache, "x", &found), -1);
	algo_cache_free(cache);
}

static void float16_is_what_the_daemon_takes_it_for(void **state)
{
	static const float values[] = {0,	-0.0f, 1,	65504,	   65519.9f, 65520, 1e-8f,
				       2.9e-8f, 3e-8f, 6.1e-5f, 6.097e-5f, -1.0009f, 1e30f, 0.1f};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		uint16_t half = 0;

		gpu_convert(&half, LATENTD_CUDA_F16, &values[i], 1);
		assert_int_equal(half, half_from_float(values[i]));
		if (isfinite(half_to_float(half)))
			assert_true(gpu_half_to_float(half) == half_to_float(half));
	}
}

static void a_missing_tensor_is_named(void **state)
{
	const struct latentd_cuda_config c = {
	    .blocks = 1, .channels = {8}, .layers_per_block = 1, .groups = 4, .latent_channels = 4};
	struct latentd_cuda_model *model = NULL;
	struct latentd_cuda_error err = {0};

	(void)state;
	assert_int_equal(gpu_model_open(&c, NULL, 0, &model, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_MODEL);
	assert_non_null(strstr(err.message, "encoder.conv_in.weight"));
	assert_null(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_host_of_the_same_header_is_let_in),
	    cmocka_unit_test(another_version_is_refused_with_both_numbers),
	    cmocka_unit_test(a_struct_of_another_size_is_named),
	    cmocka_unit_test(errors_name_cause_and_remedy),
	    cmocka_unit_test(no_driver_is_told_from_an_old_one),
	    cmocka_unit_test(an_error_that_is_passed_on_says_once_what_helps),
	    cmocka_unit_test(the_first_error_is_kept),
	    cmocka_unit_test(cudnn_says_what_is_short_of_memory_and_what_is_not),
	    cmocka_unit_test(algorithms_are_remembered_in_a_file),
	    cmocka_unit_test(two_engines_that_share_a_file_keep_what_both_have_found),
	    cmocka_unit_test(what_a_killed_process_of_the_same_number_left_is_no_obstacle),
	    cmocka_unit_test(what_could_not_be_saved_goes_with_the_next_and_at_the_end),
	    cmocka_unit_test(a_lock_that_is_never_given_back_is_not_waited_for),
	    cmocka_unit_test(damaged_lines_are_passed_over),
	    cmocka_unit_test(float16_is_what_the_daemon_takes_it_for),
	    cmocka_unit_test(a_missing_tensor_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
