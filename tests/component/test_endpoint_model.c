/*
 * What endpoints say of themselves, and how they are asked.
 */
#include "tests/testing.h"

#include "tests/component/loopback_server.h"

#include "base/checked.h"
#include "encoder/endpoint_model.h"
#include "encoder/remote_access.h"

#include <stdio.h>
#include <string.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define VAE                                                                                        \
	"{\"block_out_channels\":[128,256,512,512],\"class\":\"AutoencoderKL\","                   \
	"\"latent_channels\":4,\"layers_per_block\":2,\"mid_block_add_attention\":true,"           \
	"\"norm_num_groups\":32,\"scaling_factor\":0.13025,\"shift_factor\":null,"                 \
	"\"use_quant_conv\":true,\"weights_sha256\":\"" HASH "\"}"
#define MODEL(vae, rest)                                                                           \
	"{\"latentd\":\"0.1.0\",\"name\":\"sdxl\",\"recipe_vae\":" vae                             \
	",\"size_multiple\":8,\"max_pixels\":1000,\"max_body\":2000,\"dtypes\":[\"float16\"]" rest \
	"}"
#define SDXL MODEL(VAE, ",\"latent_channels\":4,\"downscale\":8")

struct rig {
	struct loopback_server *server;
	int status;
	const char *body, *headers;
	char head[2048];
};

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct rig *rig = arg;

	snprintf(rig->head, sizeof(rig->head), "%s", request->head);
	reply->status = rig->status;
	snprintf(reply->headers, sizeof(reply->headers), "%s", rig->headers ? rig->headers : "");
	buffer_append_string(&reply->body, rig->body);
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	const struct loopback_options options = {.answer = answer, .arg = rig};

	rig->body = SDXL;
	rig->server = loopback_start(&options);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	loopback_stop(rig->server);
	free(rig);
	return 0;
}

static int ask(const struct rig *rig, const char *token_file, struct endpoint_model *out,
	       struct error *err)
{
	const struct endpoint_model_ask question = {.url = loopback_url(rig->server),
						    .token_file = token_file,
						    .proxy = "",
						    .timeout_ms = 10000};

	error_clear(err);
	return endpoint_model_ask(&question, out, err);
}

static void a_latentd_tells_its_model(void **state)
{
	struct rig *rig = *state;
	struct endpoint_model m = {.latentd = false};
	struct error err = ERROR_INIT;
	char hex[SHA256_HEX_SIZE];

	assert_ok(ask(rig, NULL, &m, &err), &err);
	assert_true(m.latentd && !m.fake);
	assert_string_equal(m.name, "sdxl");
	assert_string_equal(m.version, "0.1.0");
	sha256_hex(&m.weights, hex);
	assert_string_equal(hex, HASH);
	assert_int_equal(m.vae.class, VAE_CLASS_KL);
	assert_int_equal(m.vae.blocks, 4);
	assert_int_equal(m.vae.block_out_channels[1], 256);
	assert_int_equal(m.vae.layers_per_block, 2);
	assert_int_equal(m.vae.latent_channels, 4);
	assert_true(m.vae.scaling_factor == 0.13025 && !m.vae.has_shift_factor);
	assert_true(m.size_multiple == 8 && m.max_pixels == 1000 && m.max_body == 2000);
	assert_ptr_equal(strstr(rig->head, "GET /v1/model HTTP/1.1\r\n"), rig->head);
	assert_null(strstr(rig->head, "Authorization"));
}

static void a_flux2_has_its_statistics(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct endpoint_model m = {.latentd = false};
	struct error err = ERROR_INIT;

	(void)state;
	buffer_append_string(
	    &text, "{\"latentd\":\"1\",\"name\":\"f\",\"size_multiple\":16,\"downscale\":8,"
		   "\"latent_channels\":32,\"recipe_vae\":{\"class\":\"AutoencoderKLFlux2\","
		   "\"block_out_channels\":[128,256,512,512],\"layers_per_block\":2,"
		   "\"latent_channels\":32,\"patch_size\":2,\"weights_sha256\":\"" HASH "\"");
	for (size_t list = 0; list < 2; list++) {
		buffer_appendf(&text, ",\"%s\":[", list ? "latents_std" : "latents_mean");
		for (size_t i = 0; i < 128; i++)
			buffer_appendf(&text, "%s%.15g", i ? "," : "", (double)i / 7 + 0.5);
		buffer_append_string(&text, "]");
	}
	buffer_append_string(&text, "}}");
	assert_ok(endpoint_model_parse((const char *)text.data, text.size, &m, &err), &err);
	assert_int_equal(m.vae.class, VAE_CLASS_FLUX2);
	assert_true(m.vae.n_statistics == 128 && m.vae.patch_size == 2);
	assert_true(m.vae.latents_std[14] == 2.5 && m.vae.latents_mean[7] == 1.5);
}

static void anything_else_is_foreign(void **state)
{
	static const char *const bodies[] = {
	    "", "Ok", "{}", "[]", "{\"latentd\": 3}", "<html>", "{\"name\": \"x\"}",
	};
	struct rig *rig = *state;
	struct endpoint_model m = {.latentd = true};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		assert_ok(endpoint_model_parse(bodies[i], strlen(bodies[i]), &m, &err), &err);
		assert_false(m.latentd);
	}
	rig->status = 404;
	m.latentd = true;
	assert_ok(ask(rig, NULL, &m, &err), &err);
	assert_false(m.latentd);
}

static void a_latentd_that_makes_no_sense_is_refused(void **state)
{
	static const char *const bodies[] = {
	    "{\"latentd\":\"1\"}",
	    MODEL("{}", ",\"latent_channels\":4,\"downscale\":8"),
	    MODEL(VAE, ",\"latent_channels\":16,\"downscale\":8"),
	    MODEL(VAE, ",\"latent_channels\":4,\"downscale\":16"),
	    MODEL(VAE, ",\"latent_channels\":-4,\"downscale\":8"),
	    MODEL("{\"class\":\"AutoencoderDC\"}", ""),
	    MODEL("{\"class\":\"AutoencoderKL\",\"latent_channels\":4}", ",\"latent_channels\":4"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct endpoint_model m = {.latentd = false};
		struct error err = ERROR_INIT;

		assert_error(endpoint_model_parse(bodies[i], strlen(bodies[i]), &m, &err), &err,
			     ERR_DATA);
		assert_string_equal(err.reason, "model");
		assert_false(m.latentd);
	}
}

static void the_token_is_sent_and_never_shown(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *dir = testing_tempdir(), *file = testing_path(dir, "token");
	struct endpoint_model m = {.latentd = false};
	struct error err = ERROR_INIT;

	testing_write(file, "hf_Secret123\nand more\n", 22);
	assert_ok(ask(rig, file, &m, &err), &err);
	assert_non_null(strstr(rig->head, "Authorization: Bearer hf_Secret123\r\n"));
	rig->status = 401;
	rig->body = "{\"error\": \"token hf_Secret123 is not valid\"}";
	assert_error(ask(rig, file, &m, &err), &err, ERR_CONFIG);
	assert_null(strstr(err.message, "Secret"));
	assert_non_null(strstr(err.message, "token_file"));
	testing_tempdir_remove(TAKE(dir));
}

static void a_token_file_that_is_none_is_an_error_that_names_it(void **state)
{
	static const char *const bad[] = {"", "\n", " x\n", "two words\n", "caf\xc3\xa9\n", "a\0b"};
	cleanup_free char *dir = testing_tempdir(), *file = testing_path(dir, "token");

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		struct remote_access access = {.url = NULL};
		struct error err = ERROR_INIT;

		if (i < ARRAY_SIZE(bad))
			testing_write(file, bad[i], i == 5 ? 3 : strlen(bad[i]));
		else
			remove(file);
		assert_error(remote_access_init(&access, "http://h/", file, &err), &err,
			     ERR_CONFIG);
		assert_non_null(strstr(err.message, file));
	}
	testing_tempdir_remove(TAKE(dir));
}

static void errors_say_what_to_do(void **state)
{
	static const struct {
		int status;
		enum error_code code;
		const char *headers, *part;
	} cases[] = {
	    {401, ERR_CONFIG, "", "set token_file"},
	    {403, ERR_CONFIG, "", "token_file"},
	    {302, ERR_CONFIG, "Location: https://u:p@new.example/x?key=1\r\n",
	     "redirects to https://new.example/x,"},
	    {429, ERR_TRANSIENT, "", "429"},
	    {500, ERR_TRANSIENT, "", "500: out of memory"},
	    {503, ERR_TRANSIENT, "", "503"},
	};
	struct rig *rig = *state;

	rig->body = "{\"error\": \"out of\\nmemory\"}";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct endpoint_model m = {.latentd = false};
		struct error err = ERROR_INIT;

		rig->status = cases[i].status;
		rig->headers = cases[i].headers;
		assert_error(ask(rig, NULL, &m, &err), &err, cases[i].code);
		if (!strstr(err.message, cases[i].part))
			fail_msg("%d: %s", cases[i].status, err.message);
	}
}

static void nobody_there_is_transient(void **state)
{
	cleanup_free char *url = loopback_nobody();
	const struct endpoint_model_ask question = {.url = url, .proxy = ""};
	struct endpoint_model m = {.latentd = false};
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(endpoint_model_ask(&question, &m, &err), &err, ERR_TRANSIENT);
	assert_non_null(strstr(err.message, "cannot be reached"));
}

static void addresses_are_cut_to_what_may_be_shown(void **state)
{
	static const char *const urls[][3] = {
	    {"http://h:8/", "http://h:8/", "http://h:8/v1/model"},
	    {"http://h", "http://h", "http://h/v1/model"},
	    {"https://h/predict/", "https://h/predict/", "https://h/v1/model"},
	    {"https://h/vae//?key=1#x", "https://h/vae//", "https://h/vae/v1/model"},
	    {"https://user:p@ss@h/a?key=1", "https://h/a", "https://user:p@ss@h/a/v1/model"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		cleanup_free char *shown = remote_url_shown(urls[i][0]),
				  *model = endpoint_model_url(urls[i][0]);

		assert_string_equal(shown, urls[i][1]);
		assert_string_equal(model, urls[i][2]);
	}
}

static void a_query_goes_behind_the_urls_own(void **state)
{
	struct remote_access access = {.url = NULL};
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(remote_access_init(&access, "https://h/a?key=1#f", NULL, &err), &err);
	remote_access_target(&access, "dtype=float32", &out);
	assert_string_equal((const char *)out.data, "https://h/a?key=1&dtype=float32");
	remote_access_target(&access, "", &out);
	assert_string_equal((const char *)out.data, "https://h/a?key=1");
	remote_access_release(&access);
	assert_error(remote_access_init(&access, "ftp://u:p@h/", NULL, &err), &err, ERR_CONFIG);
	assert_null(strstr(err.message, "u:p"));
}

int main(void)
{
#define RIGGED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    RIGGED(a_latentd_tells_its_model),
	    cmocka_unit_test(a_flux2_has_its_statistics),
	    RIGGED(anything_else_is_foreign),
	    cmocka_unit_test(a_latentd_that_makes_no_sense_is_refused),
	    RIGGED(the_token_is_sent_and_never_shown),
	    cmocka_unit_test(a_token_file_that_is_none_is_an_error_that_names_it),
	    RIGGED(errors_say_what_to_do),
	    cmocka_unit_test(nobody_there_is_transient),
	    cmocka_unit_test(addresses_are_cut_to_what_may_be_shown),
	    cmocka_unit_test(a_query_goes_behind_the_urls_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
