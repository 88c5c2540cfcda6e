/*
 * What encoders can compute: the table that config/encoder_scope.h decides by, line by line.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "config/encoder_scope.h"

#include <string.h>

static void every_source_has_its_encoders(void **state)
{
	static const struct {
		const char *vae;
		enum encoder_type type;
		const char *model; /* of a remote one */
		bool has;
	} cases[] = {
	    {"/models/x", ENCODER_TYPE_CPU, NULL, true},
	    {"/models/x", ENCODER_TYPE_CUDA, NULL, true},
	    {"/models/x", ENCODER_TYPE_REMOTE, NULL, true},
	    {"/models/x", ENCODER_TYPE_FAKE, NULL, false},
	    {"fake", ENCODER_TYPE_FAKE, NULL, true},
	    {"fake", ENCODER_TYPE_CPU, NULL, false},
	    {"fake", ENCODER_TYPE_CUDA, NULL, false},
	    {"fake", ENCODER_TYPE_REMOTE, "fake", false},
	    {"endpoint:http://a/", ENCODER_TYPE_REMOTE, NULL, true},
	    {"endpoint:http://a/", ENCODER_TYPE_CPU, NULL, false},
	    {"endpoint:http://a/", ENCODER_TYPE_CUDA, NULL, false},
	    {"endpoint:http://a/", ENCODER_TYPE_FAKE, NULL, false},
	    {"declared:sdxl", ENCODER_TYPE_REMOTE, "sdxl", true},
	    {"declared:sdxl", ENCODER_TYPE_REMOTE, "sdxl-vae", true},
	    {"declared:sdxl-vae-fp16-fix", ENCODER_TYPE_REMOTE, "sdxl-fp16-fix", true},
	    {"declared:sdxl-fp16-fix", ENCODER_TYPE_REMOTE, "sdxl-vae-fp16-fix", true},
	    {"declared:sdxl-fp16-fix", ENCODER_TYPE_REMOTE, "sdxl", false},
	    {"declared:sdxl", ENCODER_TYPE_REMOTE, NULL, false},
	    {"declared:sdxl", ENCODER_TYPE_CPU, NULL, false},
	    {"declared:mine", ENCODER_TYPE_REMOTE, "mine", true},
	    {"declared:mine", ENCODER_TYPE_REMOTE, "Mine", false},
	    {"declared:mine", ENCODER_TYPE_REMOTE, "sdxl", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct encoder_config e = {.type = cases[i].type,
						 .remote.model.name = cases[i].model};

		if (encoder_scope_has(&e, cases[i].vae) != cases[i].has)
			fail_msg("%s on type %d with %s", cases[i].vae, (int)cases[i].type,
				 cases[i].model ? cases[i].model : "none");
	}
}

static void endpoints_give_what_they_can(void **state)
{
	static const struct {
		struct encoder_scope_wish wish;
		const char *said; /* "": can be had */
	} cases[] = {
	    {{.declared = false}, ""},
	    {{.declared = true}, ""},
	    {{false, "mean", "f32", "none", "uint8"}, ""},
	    {{false, "moments", "f32", "none", "png"}, ""},
	    {{false, "draw", "f32", "none", "float16"}, ""},
	    {{true, "draw", "f32", "none", "png"}, ""},
	    {{true, "draw", "f32", "none", "tensor"}, ""},
	    {{true, "draw", "f32", "none", "float32"}, ""},
	    {{true, "draw", "auto", "none", "png"}, ""},
	    {{true, "mean", "f32", "none", "png"},
	     "posterior mean: an endpoint that does not tell"},
	    {{true, "moments", "f32", "none", "png"}, "posterior moments: "},
	    {{true, .send = "uint8"}, "send uint8: only latentd endpoints"},
	    {{true, .tiling = "diffusers"}, "tiling diffusers: endpoints encode images whole"},
	    {{false, .tiling = "diffusers"}, "tiling diffusers: endpoints encode images whole"},
	    {{false, .precision = "bf16"}, "precision bf16: endpoints are asked for f32 only"},
	    {{true, .precision = "f16"}, "precision f16: endpoints are asked for f32 only"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		int r = encoder_scope_endpoint(&cases[i].wish, &err);

		if ((r == 0) != (cases[i].said[0] == '\0') || !strstr(err.message, cases[i].said))
			fail_msg("case %zu: %s", i, err.message);
		assert_int_equal(err.code, r < 0 ? ERR_CONFIG : ERR_NONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_source_has_its_encoders),
	    cmocka_unit_test(endpoints_give_what_they_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
