/* Endpoints and the models that they compute, in a configuration: what is read, and what is refused where. */
#include "config/daemon_config.h"
#include "config/secret_file.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>
#include <sys/stat.h>

#define DATASET_OF(vae)                                                                            \
	"datasets:\n"                                                                              \
	"  - name: photos\n"                                                                       \
	"    source: {path: /data/photos}\n"                                                       \
	"    output: {path: /data/latents}\n"                                                      \
	"    recipe: {" vae "}\n"
#define ONE "encoders: {type: remote, endpoints: {url: \"http://gpu7:8188/\"}}\n"

static struct daemon_config *parse(const char *text)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_ok(daemon_config_parse("/etc/f.yaml", text, strlen(text), &config, &err), &err);
	return config;
}

/* Refused with exactly this message. */
static void assert_refused(const char *text, const char *message)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_error(daemon_config_parse("/f", text, strlen(text), &config, &err), &err,
		     ERR_CONFIG);
	assert_string_equal(err.message, message);
	assert_null(config);
}

static void every_setting_of_endpoints_is_read(void **state)
{
	struct daemon_config *c = parse(
	    DATASET_OF("vae: /m") "encoders:\n"
				  "  - type: remote\n"
				  "    endpoints:\n"
				  "      - {url: \"https://xxxx.endpoints.huggingface.cloud/\", "
				  "token_file: tokens/hf, "
				  "max_in_flight: 4}\n"
				  "      - http://gpu7:8188/\n"
				  "    model: sdxl-vae-fp16-fix\n"
				  "    wire: exact\n"
				  "    send: tensor\n"
				  "    connect_timeout: 3s\n"
				  "    timeout: 60s\n"
				  "    retries: 5\n"
				  "    scale_up_timeout: 300s\n"
				  "    ca_file: /etc/ca.pem\n"
				  "    proxy: http://proxy:3128\n"
				  "    proxy_auth_file: proxy.auth\n"
				  "    max_requests_per_hour: 1000\n"
				  "    max_bytes_per_day: 10GiB\n");
	const struct encoder_config *e = &c->encoders[0];

	(void)state;
	assert_int_equal(e->type, ENCODER_TYPE_REMOTE);
	assert_string_equal(e->name, "remote");
	assert_int_equal(e->remote.n_endpoints, 2);
	assert_string_equal(e->remote.endpoints[0].token_file, "/etc/tokens/hf");
	assert_int_equal(e->remote.endpoints[0].max_in_flight, 4);
	assert_string_equal(e->remote.options.proxy_auth_file, "/etc/proxy.auth");
	assert_string_equal(e->remote.endpoints[1].url, "http://gpu7:8188/");
	assert_null(e->remote.endpoints[1].token_file);
	assert_int_equal(e->remote.endpoints[1].max_in_flight, 64);
	assert_string_equal(e->remote.model.name, "sdxl-vae-fp16-fix");
	assert_int_equal(e->remote.options.wire, REMOTE_WIRE_EXACT);
	assert_int_equal(e->remote.options.send, REMOTE_SEND_TENSOR);
	assert_int_equal(e->remote.options.connect_timeout, 3000);
	assert_int_equal(e->remote.options.timeout, 60000);
	assert_int_equal(e->remote.options.retries, 5);
	assert_int_equal(e->remote.options.scale_up_timeout, 300000);
	assert_string_equal(e->remote.options.ca_file, "/etc/ca.pem");
	assert_string_equal(e->remote.options.proxy, "http://proxy:3128");
	assert_int_equal(e->remote.options.max_requests_per_hour, 1000);
	assert_int_equal(e->remote.options.max_bytes_per_day, (size_t)10 << 30);
	daemon_config_free(c);
}

static void a_vae_is_a_text_or_a_mapping(void **state)
{
	static const struct {
		const char *text, *vae, *config;
	} cases[] = {
	    {DATASET_OF("vae: {path: ./m/ae.safetensors, config: m/c.json}") ONE,
	     "/etc/./m/ae.safetensors", "/etc/m/c.json"},
	    {DATASET_OF("vae: {path: sdxl}") ONE, "sdxl", NULL},
	    {DATASET_OF("vae: {endpoint: \"http://gpu7:8188\"}") ONE, "endpoint:http://gpu7:8188",
	     NULL},
	    {DATASET_OF("vae: endpoint:http://gpu7:8188") ONE, "endpoint:http://gpu7:8188", NULL},
	    {DATASET_OF(
		 "vae: {declared: sdxl}, posterior: draw") "encoders: {type: remote, model: sdxl, "
							   "endpoints: {url: http://a/}}\n",
	     "declared:sdxl", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct daemon_config *c = parse(cases[i].text);
		const struct recipe_options *o = &c->datasets[0].recipe;

		assert_string_equal(o->vae, cases[i].vae);
		if (cases[i].config)
			assert_string_equal(o->vae_options.config, cases[i].config);
		else
			assert_null(o->vae_options.config);
		daemon_config_free(c);
	}
}

static void a_url_alone_is_an_endpoint(void **state)
{
	struct daemon_config *c = parse(DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: "
							      "\"http://gpu7/predict\"}\n");
	const struct remote_config *remote = &c->encoders[0].remote;

	(void)state;
	assert_int_equal(remote->n_endpoints, 1);
	assert_string_equal(remote->endpoints[0].url, "http://gpu7/predict");
	assert_int_equal(remote->endpoints[0].max_in_flight, 64);
	assert_int_equal(remote->endpoints[0].place.line, 6);
	daemon_config_free(c);
}

static void no_proxy_at_all_can_be_said(void **state)
{
	static const struct remote_options unsaid = {.proxy = NULL}, none = {.proxy = "none"},
					   some = {.proxy = "http://proxy:3128"};

	(void)state;
	assert_null(remote_proxy_of(&unsaid));
	assert_string_equal(remote_proxy_of(&none), "");
	assert_string_equal(remote_proxy_of(&some), "http://proxy:3128");
	assert_true(remote_proxy_valid("none") && remote_proxy_valid("http://proxy:3128"));
	assert_false(remote_proxy_valid("None") || remote_proxy_valid("http://u:p@proxy"));
}

static void what_is_wrong_is_said_where_it_stands(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
	    {DATASET_OF("vae: /m") "encoders: {type: remote}\n",
	     "/f:6:11: endpoints: none: expected one like {url: \"https://gpu7/\"}"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: []}\n",
	     "/f:6:26: endpoints: none: expected one like {url: \"https://gpu7/\"}"},
	    {DATASET_OF("vae: /m") "encoders: {type: cpu, endpoints: {url: http://a}}\n",
	     "/f:6:23: endpoints: only type remote has it"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: [\"http://a\", gpu7]}\n",
	     "/f:6:50: url: \"gpu7\": expected http:// or https:// and a host, without user, "
	     "password, query or fragment"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: [[http://a]]}\n",
	     "/f:6:38: endpoints: a list: expected a list of settings, or one"},
	    {DATASET_OF("vae: /m") "encoders: fake\n",
	     "/f:6:11: encoders: \"fake\": expected a list of settings, or one"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: \"http://a\", proxy: "
				   "\"http://u:p@proxy\"}\n",
	     "/f:6:56: proxy: a URL with a user: expected none, or http:// or https:// and a "
	     "host, without user, password, query or fragment"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: {url: gpu7}}\n",
	     "/f:6:43: url: \"gpu7\": expected http:// or https:// and a host, without user, "
	     "password, query or fragment"},
	    {DATASET_OF("vae: /m") "encoders:\n  - type: remote\n    endpoints:\n"
				   "      - {url: http://gpu7/, token_file: /t}\n",
	     "/f:9:9: url: a token would travel to http://gpu7/ unencrypted: expected https, or "
	     "allow_http"},
	    {DATASET_OF("vae: /m") "encoders:\n  - type: remote\n    endpoints:\n"
				   "      - {url: http://gpu7}\n      - {url: HTTP://GPU7/}\n",
	     "/f:10:9: url: HTTP://GPU7/ stands there twice: expected each endpoint once, with a "
	     "larger max_in_flight"},
	    {DATASET_OF(
		 "vae: /m") "encoders: {type: remote, endpoints: {url: http://a}, model: mine}\n",
	     "/f:6:61: model: mine is none that `latentctl model list` names: expected one of "
	     "those, or latent_channels and scaling_factor beside it"},
	    {DATASET_OF("vae: /m") "encoders: {type: remote, endpoints: {url: http://a}, model: "
				   "sdxl, scaling_factor: 1.5}\n",
	     "/f:6:61: model: sdxl is a known model, whose numbers are known: expected its name "
	     "alone, or another name"},
	    {DATASET_OF("vae: {path: /m, declared: sdxl}, posterior: draw") ONE,
	     "/f:5:19: vae: expected path or declared or endpoint, not both"},
	    {DATASET_OF("vae: {config: /c}") ONE,
	     "/f:5:19: vae: expected path or declared or endpoint in it"},
	    {DATASET_OF("vae: {declared: sdxl}") ONE,
	     "/f:5:5: recipe: posterior mean: an endpoint that does not tell its weights only "
	     "gives draws, expected posterior draw"},
	    {DATASET_OF("vae: {endpoint: \"http://gpu7\"}, tiling: diffusers") ONE,
	     "/f:5:5: recipe: tiling diffusers: endpoints encode images whole, expected none, or "
	     "vae with a path"},
	    {DATASET_OF("vae: {endpoint: \"http://gpu7\"}, precision: bf16") ONE,
	     "/f:5:5: recipe: precision bf16: endpoints are asked for f32 only, expected f32, or "
	     "an encoder on this machine"},
	    {DATASET_OF("vae: {declared: sdxl}, posterior: draw") "encoders: {type: remote, send: "
								  "uint8, model: sdxl-vae, "
								  "endpoints: {url: http://a}}\n",
	     "/f:5:14: vae declared:sdxl: send uint8: only latentd endpoints take tensors of "
	     "uint8, "
	     "expected png, float16 or float32"},
	    {DATASET_OF("vae: {declared: sdxl}, posterior: draw") ONE,
	     "/f:5:14: vae declared:sdxl: no encoder can encode it: expected one of type remote "
	     "with this model"},
	    {DATASET_OF("vae: {endpoint: \"http://a\"}") "encoders: {type: cpu}\n",
	     "/f:5:14: vae endpoint:http://a: no encoder can encode it: expected one of type "
	     "remote"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i].text, cases[i].message);
}

static void urls_that_no_endpoint_has_are_refused(void **state)
{
	static const char *const good[] = {"http://a",		 "https://a.b/c/d",
					   "http://127.0.0.1:1", "https://[::1]:443/x",
					   "HTTPS://A:65535/",	 "http://a_b-c/"};
	static const char *const bad[] = {"",
					  "a",
					  "ftp://a",
					  "http://",
					  "http:///x",
					  "http://u:p@a",
					  "http://a?x=1",
					  "http://a#x",
					  "http://a b",
					  "http://a:",
					  "http://a:0",
					  "http://a:99999",
					  "http://a:8x",
					  "http://[::1/",
					  "http://a\n/"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(remote_url_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(remote_url_valid(bad[i]));
}

static void a_token_may_travel_encrypted_or_stay_at_home(void **state)
{
	static const char *const fine[] = {"https://a/", "http://localhost:1/", "http://127.0.0.9/",
					   "http://[::1]:80/"};
	static const char *const open[] = {"http://a/", "http://127.0.0.1.evil.org/",
					   "http://localhost.evil.org/"};
	struct error err = ERROR_INIT;
	size_t which = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		struct remote_endpoint e = {.url = fine[i], .token_file = "/t"};
		const struct remote_config c = {.endpoints = &e, .n_endpoints = 1};

		assert_ok(remote_config_check(&c, &which, &err), &err);
	}
	for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
		struct remote_endpoint e = {.url = open[i], .token_file = "/t"};
		struct remote_config c = {.endpoints = &e, .n_endpoints = 1};
		struct error refused = ERROR_INIT;

		assert_error(remote_config_check(&c, &which, &refused), &refused, ERR_CONFIG);
		c.options.allow_http = true;
		assert_ok(remote_config_check(&c, &which, &err), &err);
	}
}

static void a_token_file_is_there_and_not_everybodys(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *path = testing_path(dir, "token");
	struct error missing = ERROR_INIT, open = ERROR_INIT, folder = ERROR_INIT, err = ERROR_INIT;

	(void)state;
	assert_error(secret_file_check("token_file", path, &missing), &missing, ERR_CONFIG);
	testing_write(path, "secret\n", 7);
	assert_int_equal(chmod(path, 0644), 0);
	assert_error(secret_file_check("token_file", path, &open), &open, ERR_CONFIG);
	assert_non_null(strstr(open.message, "chmod 600"));
	assert_int_equal(chmod(path, 0640), 0);
	assert_ok(secret_file_check("token_file", path, &err), &err);
	assert_error(secret_file_check("token_file", dir, &folder), &folder, ERR_CONFIG);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_setting_of_endpoints_is_read),
	    cmocka_unit_test(a_vae_is_a_text_or_a_mapping),
	    cmocka_unit_test(a_url_alone_is_an_endpoint),
	    cmocka_unit_test(no_proxy_at_all_can_be_said),
	    cmocka_unit_test(what_is_wrong_is_said_where_it_stands),
	    cmocka_unit_test(urls_that_no_endpoint_has_are_refused),
	    cmocka_unit_test(a_token_may_travel_encrypted_or_stay_at_home),
	    cmocka_unit_test(a_token_file_is_there_and_not_everybodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
