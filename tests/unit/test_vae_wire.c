/*
 * The expected bytes were captured from diffusers' remote_encode over requests 2.34.2, floats made by Python 3.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "net/vae_wire.h"

#include <math.h>
#include <string.h>

static char *format(const struct vae_wire_query *q)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;

	vae_wire_query_format(q, &out);
	return xstrdup(out.size ? (const char *)out.data : "");
}

static void assert_refused(const char *query, const char *part)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	assert_error(vae_wire_query_parse(query, &q, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "query");
	if (!strstr(err.message, part))
		fail_msg("%s: %s", query, err.message);
}

static void floats_are_written_as_python_writes_them(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
	    {0.13025, "0.13025"},
	    {1.0, "1.0"},
	    {0.0, "0.0"},
	    {-0.0, "-0.0"},
	    {1e-07, "1e-07"},
	    {0.1 + 0.2, "0.30000000000000004"},
	    {1e16, "1e+16"},
	    {9999999999999998.0, "9999999999999998.0"},
	    {1234567890123456.7, "1234567890123456.8"},
	    {0.0001, "0.0001"},
	    {0.00012345, "0.00012345"},
	    {0.000099, "9.9e-05"},
	    {-1.5305, "-1.5305"},
	    {100.0, "100.0"},
	    {5e-324, "5e-324"},
	    {1.7976931348623157e308, "1.7976931348623157e+308"},
	    {1.25e22, "1.25e+22"},
	};
	char out[VAE_WIRE_FLOAT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(vae_wire_float(cases[i].value, out), cases[i].text);
}

static void a_query_has_the_bytes_that_diffusers_sends(void **state)
{
	const struct vae_wire_query flux = {.has_scaling_factor = true,
					    .scaling_factor = 0.3611,
					    .has_shift_factor = true,
					    .shift_factor = 0.1159},
				    tensor = {.has_scaling_factor = true,
					      .scaling_factor = 0.18215,
					      .ndim = 4,
					      .shape = {1, 3, 512, 768},
					      .has_dtype = true,
					      .dtype = DTYPE_F16},
				    large = {.has_scaling_factor = true, .scaling_factor = 1e16},
				    nothing = VAE_WIRE_QUERY_INIT;
	cleanup_free char *a = format(&flux), *b = format(&tensor), *c = format(&large),
			  *d = format(&nothing);

	(void)state;
	assert_string_equal(a, "scaling_factor=0.3611&shift_factor=0.1159");
	assert_string_equal(
	    b, "scaling_factor=0.18215&shape=1&shape=3&shape=512&shape=768&dtype=float16");
	assert_string_equal(c, "scaling_factor=1e%2B16");
	assert_string_equal(d, "");
}

static void what_is_written_is_read_again(void **state)
{
	const struct vae_wire_query q = {.ndim = 4,
					 .shape = {2, 3, 64, 40},
					 .has_dtype = true,
					 .dtype = DTYPE_BF16,
					 .posterior = VAE_WIRE_DRAW,
					 .has_seed = true,
					 .seed = UINT64_MAX,
					 .signed_range = true,
					 .has_reply = true,
					 .reply = DTYPE_F32};
	cleanup_free char *text = format(&q);
	struct vae_wire_query back = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_string_equal(text, "shape=2&shape=3&shape=64&shape=40&dtype=bfloat16&posterior=draw&"
				  "seed=18446744073709551615&range=signed&reply=float32");
	assert_ok(vae_wire_query_parse(text, &back, &err), &err);
	assert_int_equal(back.ndim, 4);
	assert_memory_equal(back.shape, q.shape, sizeof(q.shape));
	assert_int_equal(back.dtype, DTYPE_BF16);
	assert_int_equal(back.posterior, VAE_WIRE_DRAW);
	assert_true(back.has_seed && back.seed == UINT64_MAX && back.signed_range);
	assert_true(back.has_reply && back.reply == DTYPE_F32);
	assert_false(back.has_scaling_factor || back.has_shift_factor);
	assert_string_equal(back.unknown, "");
}

static void escapes_are_decoded_and_empty_pairs_skipped(void **state)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(vae_wire_query_parse("&%73caling_factor=1e%2B16&&shift_factor=-1e-07&", &q, &err),
		  &err);
	assert_true(q.has_scaling_factor && q.scaling_factor == 1e16);
	assert_true(q.has_shift_factor && q.shift_factor == -1e-07);
	assert_ok(vae_wire_query_parse("", &q, &err), &err);
	assert_false(q.has_scaling_factor);
}

static void the_first_unknown_key_is_named(void **state)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(vae_wire_query_parse("dtype=float32&posteror=mean&other=1", &q, &err), &err);
	assert_string_equal(q.unknown, "posteror");
	assert_true(q.has_dtype);
}

static void wrong_queries_are_refused_with_what_is_expected(void **state)
{
	(void)state;
	assert_refused("scaling_factor=abc", "a finite number");
	assert_refused("scaling_factor=nan", "a finite number");
	assert_refused("scaling_factor=1e999", "a finite number");
	assert_refused("scaling_factor=0x1p3", "a finite number");
	assert_refused("scaling_factor= 1", "a finite number");
	assert_refused("scaling_factor=", "a finite number");
	assert_refused("scaling_factor=0", "other than 0");
	assert_refused("scaling_factor=1&scaling_factor=2", "twice");
	assert_refused("scaling_factor=%4", "escape");
	assert_refused("scaling_factor=1%00", "escape");
	assert_refused("shape=1,3,64,64&dtype=float16", "shape=1&shape=3");
	assert_refused("shape=0", "positive");
	assert_refused("shape=-1", "positive");
	assert_refused("shape=1&shape=3&shape=99999999999&shape=64&dtype=float16", "positive");
	assert_refused("shape=1&shape=3&shape=64&shape=64", "dtype");
	assert_refused("shape=3&shape=64&shape=64&dtype=float16", "[N,3,height,width]");
	assert_refused("shape=1&shape=4&shape=64&shape=64&dtype=float16", "[N,3,height,width]");
	assert_refused("shape=1&shape=1&shape=1&shape=1&shape=1&shape=1&shape=1", "axes");
	assert_refused("dtype=float64", "float16, bfloat16, float32 or uint8");
	assert_refused("dtype=torch.float16", "float16");
	assert_refused("dtype=uint8", "shape");
	assert_refused("posterior=mode", "mean, moments or draw");
	assert_refused("posterior=mean&seed=1", "draws");
	assert_refused("seed=-1", "64 bits");
	assert_refused("seed=18446744073709551616", "64 bits");
	assert_refused("range=0..1", "signed");
	assert_refused("range=signed", "tensors of floats");
	assert_refused("shape=1&shape=3&shape=8&shape=8&dtype=uint8&range=signed", "floats");
	assert_refused("reply=uint8", "float16, bfloat16 or float32");
}

static void a_failed_parse_leaves_the_query_as_it_was(void **state)
{
	struct vae_wire_query q = {.has_seed = true, .seed = 3};
	struct error err = ERROR_INIT;

	(void)state;
	assert_true(vae_wire_query_parse("dtype=float32&seed=x", &q, &err) < 0);
	assert_true(q.has_seed && q.seed == 3 && !q.has_dtype);
}

static enum dtype reply_of(const char *text)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	assert_ok(vae_wire_query_parse(text, &q, &err), &err);
	return vae_wire_reply_dtype(&q, DTYPE_F16);
}

static void the_dtype_of_a_reply_is_the_one_asked_for(void **state)
{
	(void)state;
	assert_int_equal(reply_of(""), DTYPE_F16);
	assert_int_equal(reply_of("dtype=float32"), DTYPE_F32);
	assert_int_equal(reply_of("shape=1&shape=3&shape=8&shape=8&dtype=bfloat16"), DTYPE_BF16);
	assert_int_equal(reply_of("shape=1&shape=3&shape=8&shape=8&dtype=uint8"), DTYPE_F16);
	assert_int_equal(reply_of("dtype=bfloat16&reply=float32"), DTYPE_F32);
}

static void a_shape_is_read_with_and_without_spaces(void **state)
{
	static const char *const good[] = {"[1,4,64,64]", "[1, 4, 64, 64]", " [ 1 ,4,64,64 ] "};
	static const char *const bad[] = {"",
					  "[]",
					  "[1,4,64,64",
					  "1,4,64,64",
					  "[1,,4]",
					  "[1,4,64,64]x",
					  "[1,-4]",
					  "[0,4]",
					  "[1.0,4]",
					  "[1,4],",
					  "(1,4,64,64)",
					  "[\"1\"]",
					  "[1,2,3,4,5,6,7]",
					  "[99999999999999999999]"};
	size_t shape[NDARRAY_MAX_DIMS] = {0}, n = 0;
	cleanup_buffer struct buffer text = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct error err = ERROR_INIT;

		assert_ok(vae_wire_shape_parse(good[i], &n, shape, &err), &err);
		assert_int_equal(n, 4);
		assert_true(shape[0] == 1 && shape[1] == 4 && shape[2] == 64 && shape[3] == 64);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_error(vae_wire_shape_parse(bad[i], &n, shape, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "reply");
	}
	vae_wire_shape_format(4, shape, &text);
	assert_string_equal((const char *)text.data, "[1,4,64,64]");
}

/* 1.0, -2.5 and 65504 as numpy and torch have them. */
static void values_travel_as_little_endian_bytes(void **state)
{
	static const float values[] = {1.0f, -2.5f, 65504.0f};
	static const uint8_t f16[] = {0x00, 0x3c, 0x00, 0xc1, 0xff, 0x7b};
	static const uint8_t bf16[] = {0x80, 0x3f, 0x20, 0xc0, 0x80, 0x47};
	static const uint8_t f32[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0, 0xe0, 0x7f, 0x47};
	cleanup_buffer struct buffer out = BUFFER_INIT;
	float back[3] = {0};

	(void)state;
	assert_int_equal(vae_wire_write(DTYPE_F16, values, 3, &out), 0);
	assert_memory_equal(out.data, f16, sizeof(f16));
	buffer_reset(&out);
	buffer_put_u8(&out, 0); /* an odd address */
	assert_int_equal(vae_wire_write(DTYPE_BF16, values, 3, &out), 0);
	assert_memory_equal(out.data + 1, bf16, sizeof(bf16));
	vae_wire_read(DTYPE_BF16, out.data + 1, 3, back);
	assert_true(back[0] == 1.0f && back[1] == -2.5f && back[2] == 65536.0f);
	buffer_reset(&out);
	assert_int_equal(vae_wire_write(DTYPE_F32, values, 3, &out), 0);
	assert_memory_equal(out.data, f32, sizeof(f32));
	vae_wire_read(DTYPE_F32, out.data, 3, back);
	assert_memory_equal(back, values, sizeof(values));
	vae_wire_read(DTYPE_U8, (const uint8_t[]){0, 7, 255}, 3, back);
	assert_true(back[0] == 0 && back[1] == 7 && back[2] == 255);
}

static void long_arrays_come_back_and_what_is_not_finite_is_counted(void **state)
{
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};
	float values[1301], back[1301];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		values[i] = (float)((int)i - 650) / 8;
	for (size_t d = 0; d < ARRAY_SIZE(dtypes); d++) {
		cleanup_buffer struct buffer out = BUFFER_INIT;

		values[3] = values[700] = 1;
		assert_int_equal(vae_wire_write(dtypes[d], values, ARRAY_SIZE(values), &out), 0);
		assert_int_equal(out.size, ARRAY_SIZE(values) * dtype_size(dtypes[d]));
		vae_wire_read(dtypes[d], out.data, ARRAY_SIZE(values), back);
		for (size_t i = 0; i < ARRAY_SIZE(values); i++)
			assert_true(fabsf(back[i] - values[i]) <= fabsf(values[i]) / 256);
		values[3] = NAN;
		values[700] = INFINITY;
		assert_int_equal(vae_wire_write(dtypes[d], values, ARRAY_SIZE(values), &out), 2);
	}
}

/* prepare_decode() in diffusers/utils/remote_utils.py, through requests. */
static void a_decode_is_written_as_diffusers_writes_it(void **state)
{
	struct vae_wire_query q = {
	    .decode = {.asked = true, .output = VAE_WIRE_PIL, .format = VAE_WIRE_JPG},
	    .has_scaling_factor = true,
	    .scaling_factor = 0.3611,
	    .has_shift_factor = true,
	    .shift_factor = 0.1159,
	    .ndim = 3,
	    .shape = {1, 1024, 64},
	    .has_dtype = true,
	    .dtype = DTYPE_BF16,
	};
	char *text;

	(void)state;
	q.decode.height = 512;
	q.decode.width = 512;
	text = format(&q);
	assert_string_equal(text, "image_format=jpg&output_type=pil&partial_postprocess=False&"
				  "shape=1&shape=1024&shape=64&dtype=bfloat16&"
				  "scaling_factor=0.3611&shift_factor=0.1159&"
				  "height=512&width=512");
	free(text);
	q = (struct vae_wire_query){.decode = {.asked = true,
					       .output = VAE_WIRE_PT,
					       .has_do_scaling = true,
					       .do_scaling = true,
					       .partial_postprocess = true},
				    .ndim = 4,
				    .shape = {1, 4, 64, 64},
				    .has_dtype = true,
				    .dtype = DTYPE_F16};
	text = format(&q);
	assert_string_equal(text, "output_type=pt&partial_postprocess=True&shape=1&shape=4&"
				  "shape=64&shape=64&dtype=float16&do_scaling=True");
	free(text);
}

static void decodes_are_told_from_encodes_by_their_words(void **state)
{
	static const char *const latent = "shape=1&shape=4&shape=8&shape=8&dtype=float16";
	static const char *const words[] = {
	    "output_type=pil", "image_format=png", "partial_postprocess=False",
	    "do_scaling=true", "height=64",	   "input_tensor_type=binary"};
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_refused(latent, "[N,3,height,width]");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		cleanup_free char *text = xasprintf("%s&%s", latent, words[i]);

		assert_ok(vae_wire_query_parse(text, &q, &err), &err);
		assert_true(q.decode.asked);
	}
	assert_refused("output_type=mp4", "no video");
	assert_refused("output_type=pt&shape=1&shape=4&dtype=float16", "[N,C,h,w]");
	assert_refused("output_type=pt&shape=1&shape=16&shape=16&dtype=float16",
		       "height and width");
	assert_refused("output_type=pt&shape=1&shape=4&shape=8&shape=8", "shape and dtype");
	assert_refused("height=0&shape=1&shape=4&shape=8&shape=8&dtype=float16", "positive");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(floats_are_written_as_python_writes_them),
	    cmocka_unit_test(a_query_has_the_bytes_that_diffusers_sends),
	    cmocka_unit_test(what_is_written_is_read_again),
	    cmocka_unit_test(escapes_are_decoded_and_empty_pairs_skipped),
	    cmocka_unit_test(the_first_unknown_key_is_named),
	    cmocka_unit_test(wrong_queries_are_refused_with_what_is_expected),
	    cmocka_unit_test(a_failed_parse_leaves_the_query_as_it_was),
	    cmocka_unit_test(the_dtype_of_a_reply_is_the_one_asked_for),
	    cmocka_unit_test(a_shape_is_read_with_and_without_spaces),
	    cmocka_unit_test(values_travel_as_little_endian_bytes),
	    cmocka_unit_test(long_arrays_come_back_and_what_is_not_finite_is_counted),
	    cmocka_unit_test(a_decode_is_written_as_diffusers_writes_it),
	    cmocka_unit_test(decodes_are_told_from_encodes_by_their_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
