#include "config/settings.h"

#include "base/checked.h"
#include "config/encode_options.h"
#include "config/read_options.h"
#include "tests/testing.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct sample_options {
	const char *text;
	size_t count, size;
	uint64_t seed;
	const char *color;
	bool flag;
	const char *hidden;
	double number;
	struct setting_sides sides;
	struct {
		size_t before; /* so that an offset from the wrong struct is noticed */
		size_t depth;
		const char *shape;
	} inner;
};

#define FIELD(f) offsetof(struct sample_options, f)
#define INNER(f) (FIELD(inner.f) - FIELD(inner))

static const char *const colors[] = {"red", "green", "blue", NULL};

static const char *const shapes[] = {
    "round", "long", "a-rather-longer-name", "an-even-longer-name", "one-more-name", NULL};

static const struct setting inner_rows[] = {
    {"depth", SETTING_COUNT, INNER(depth), .fallback = "3", .value_name = "N", .help = "how deep"},
    {"shape", SETTING_CHOICE, INNER(shape), .choices = shapes, .value_name = "NAME",
     .help = "which shape"},
};
static const struct settings_group inner_group = {.rows = inner_rows, .n = ARRAY_SIZE(inner_rows)};

static const struct setting table[] = {
    {"text", SETTING_STRING, FIELD(text), .letter = 't', .value_name = "TEXT", .help = "any words"},
    {"count", SETTING_COUNT, FIELD(count), .fallback = "7", .value_name = "N", .help = "how many"},
    {"size", SETTING_BYTES, FIELD(size), .fallback = "2MiB", .value_name = "SIZE",
     .help = "how large"},
    {"seed", SETTING_U64, FIELD(seed), .value_name = "N", .help = "where chance begins"},
    {"color", SETTING_CHOICE, FIELD(color), .fallback = "red", .choices = colors,
     .help = "which one"},
    {"flag", SETTING_FLAG, FIELD(flag), .help = "yes"},
    {"hidden", SETTING_STRING, FIELD(hidden), .value_name = "X"},
    {.type = SETTING_GROUP, .offset = FIELD(inner), .group = &inner_group},
    {"number", SETTING_NUMBER, FIELD(number), .fallback = "0.5", .min = 0, .max = 3,
     .value_name = "X", .help = "how much"},
    {"sides", SETTING_SIDES, FIELD(sides), .min = 8, .max = 64, .multiple = 8, .value_name = "WxH",
     .help = "how wide and high"},
};

#define WORDS_MAX 20

struct parsed {
	struct sample_options options;
	const char *words[WORDS_MAX];
	size_t n_words;
	struct error err;
};

/* Parses the arguments behind a program's name, over the defaults. */
static int parse(struct parsed *p, const char *const *args)
{
	char *argv[WORDS_MAX] = {(char *)"program"};
	int argc = 1;

	while (args[argc - 1]) {
		argv[argc] = (char *)args[argc - 1];
		argc++;
	}
	*p = (struct parsed){.n_words = 99, .err = ERROR_INIT};
	settings_defaults(table, ARRAY_SIZE(table), &p->options);
	return settings_parse(table, ARRAY_SIZE(table), argc, argv, &p->options, p->words,
			      &p->n_words, &p->err);
}

#define PARSE(p, ...) parse((p), (const char *[]){__VA_ARGS__, NULL})

/* The one option is refused with ERR_CONFIG and a message that has all of @words. */
static void assert_refused(const char *option, const char *value, const char *const *words)
{
	struct parsed p;

	assert_error(PARSE(&p, option, value), &p.err, ERR_CONFIG);
	for (; *words; words++) {
		if (!strstr(p.err.message, *words))
			fail_msg("\"%s\" does not say \"%s\"", p.err.message, *words);
	}
}

#define REFUSED(option, value, ...)                                                                \
	assert_refused((option), (value), (const char *[]){__VA_ARGS__, NULL})

static void every_type_is_read_from_a_word_of_its_own(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--text", "a b", "--count", "12", "--size", "3KiB", "--seed",
			"18446744073709551615", "--color", "blue", "--flag", "--number", "1.25",
			"--sides", "16x24", "--depth", "9"),
		  &p.err);
	assert_string_equal(p.options.text, "a b");
	assert_int_equal(p.options.count, 12);
	assert_int_equal(p.options.size, 3072);
	assert_true(p.options.seed == UINT64_MAX);
	assert_string_equal(p.options.color, "blue");
	assert_true(p.options.flag);
	assert_true(p.options.number == 1.25);
	assert_int_equal(p.options.sides.width, 16);
	assert_int_equal(p.options.sides.height, 24);
	assert_int_equal(p.options.inner.depth, 9);
	assert_int_equal(p.n_words, 0);
}

static void a_value_may_stand_behind_an_equals_sign(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--count=12", "--text=a=b", "--color=green"), &p.err);
	assert_int_equal(p.options.count, 12);
	assert_string_equal(p.options.text, "a=b");
	assert_string_equal(p.options.color, "green");
	assert_ok(PARSE(&p, "--text="), &p.err);
	assert_string_equal(p.options.text, "");
}

static void what_is_not_given_has_the_tables_default_or_is_zero(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--seed", "3"), &p.err);
	assert_null(p.options.text);
	assert_int_equal(p.options.count, 7);
	assert_int_equal(p.options.size, 2 << 20);
	assert_string_equal(p.options.color, "red");
	assert_false(p.options.flag);
}

static void words_stand_anywhere_and_a_lone_dash_is_one(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "one", "--count", "2", "-", "--flag", "two"), &p.err);
	assert_int_equal(p.n_words, 3);
	assert_string_equal(p.words[0], "one");
	assert_string_equal(p.words[1], "-");
	assert_string_equal(p.words[2], "two");
}

static void behind_two_dashes_everything_is_a_word(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--count", "2", "--", "--flag", "--", "-x"), &p.err);
	assert_false(p.options.flag);
	assert_int_equal(p.n_words, 3);
	assert_string_equal(p.words[0], "--flag");
	assert_string_equal(p.words[1], "--");
	assert_string_equal(p.words[2], "-x");
}

static void an_option_takes_the_next_word_whatever_it_looks_like(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--text", "--flag"), &p.err);
	assert_string_equal(p.options.text, "--flag");
	assert_false(p.options.flag);
}

static void a_letter_stands_for_its_option(void **state)
{
	struct parsed p = {.n_words = 0};

	(void)state;
	assert_ok(PARSE(&p, "-t", "a b", "word", "--flag"), &p.err);
	assert_string_equal(p.options.text, "a b");
	assert_true(p.options.flag);
	assert_int_equal(p.n_words, 1);
	REFUSED("-t", NULL, "--text needs a value");
	REFUSED("-tx", "y", "unknown option -tx");
}

static void an_unknown_option_is_named(void **state)
{
	(void)state;
	REFUSED("--colour", "red", "unknown", "--colour");
	REFUSED("--colo", "red", "--colo");
	REFUSED("--colors", "red", "--colors");
	REFUSED("--colour=red", NULL, "--colour");
	REFUSED("-count", "1", "-count");
	REFUSED("-c", NULL, "-c");
	REFUSED("-h", NULL, "unknown option -h"); /* this table has no help */
	REFUSED("--=3", NULL, "--=3");
}

static void a_missing_value_and_a_value_too_many_are_refused(void **state)
{
	(void)state;
	REFUSED("--count", NULL, "--count", "needs a value");
	REFUSED("--flag=yes", NULL, "--flag", "no value");
}

static void a_number_is_digits_and_fits(void **state)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "12x",
					  "x",
					  "1.5",
					  "0x10",
					  "18446744073709551616",
					  "99999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		REFUSED("--count", bad[i], "--count", "whole number");
		REFUSED("--seed", bad[i], "--seed", "whole number");
	}
}

static void a_size_is_digits_and_a_binary_unit(void **state)
{
	static const char *const bad[] = {"",
					  "MiB",
					  "-1MiB",
					  "1kb",
					  "1MB",
					  "1 MiB",
					  "1mib",
					  "1.5GiB",
					  "1MiBx",
					  "18446744073709551616",
					  "17179869184GiB"};
	static const struct {
		const char *text;
		size_t bytes;
	} good[] = {{"0", 0},
		    {"17", 17},
		    {"1KiB", 1024},
		    {"3MiB", (size_t)3 << 20},
		    {"17179869183GiB", (size_t)17179869183u << 30}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED("--size", bad[i], "--size", "512MiB");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct parsed p;

		assert_ok(PARSE(&p, "--size", good[i].text), &p.err);
		assert_true(p.options.size == good[i].bytes);
	}
}

static void a_number_is_digits_with_at_most_one_point(void **state)
{
	static const char *const bad[] = {"",	  "-1",	 "+1",	 ".5",	"1.",  "1.5.",
					  "1..5", "1e0", "inf",	 "nan", "0x1", " 1.5",
					  "1.5x", "1,5", "3.01", "4"};
	static const struct {
		const char *text;
		double value;
	} good[] = {{"0", 0}, {"3", 3}, {"2.0", 2}, {"0.1", 0.1}, {"00.25", 0.25}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED("--number", bad[i], "--number", "a number from 0 to 3");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct parsed p;

		assert_ok(PARSE(&p, "--number", good[i].text), &p.err);
		assert_true(p.options.number == good[i].value);
	}
}

static void sides_are_one_number_or_two_and_each_is_checked(void **state)
{
	static const char *const bad[] = {"",	"x",	 "16x",	  "x16", "16x16x16", "16X16",
					  "12", "16x12", "72x16", "0",	 "16 x 16",  "16x-8"};
	struct parsed p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED("--sides", bad[i], "--sides", "a multiple of 8 from 8 to 64", "768x512");
	assert_ok(PARSE(&p, "--sides", "32"), &p.err);
	assert_int_equal(p.options.sides.width, 32);
	assert_int_equal(p.options.sides.height, 32);
	assert_ok(PARSE(&p, "--sides", "64x8"), &p.err);
	assert_int_equal(p.options.sides.width, 64);
	assert_int_equal(p.options.sides.height, 8);
}

static void a_group_is_read_as_if_its_rows_stood_in_the_table(void **state)
{
	struct parsed p;

	(void)state;
	assert_ok(PARSE(&p, "--shape=long", "--count", "2"), &p.err);
	assert_string_equal(p.options.inner.shape, "long");
	assert_int_equal(p.options.inner.depth, 3);
	assert_int_equal(p.options.inner.before, 0);
	assert_int_equal(p.options.count, 2);
	REFUSED("--shape", "flat", "--shape", "round or long or a-");
	REFUSED("--shap", "long", "unknown");
}

static void a_value_that_is_no_choice_shows_them_all(void **state)
{
	(void)state;
	REFUSED("--color", "yellow", "yellow", "red or green or blue");
	REFUSED("--color", "", "red or green or blue");
	REFUSED("--color", "re", "red or green or blue");
}

/* What settings_help prints; to be freed. */
static char *help_of(const struct setting *settings, size_t n)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	settings_help(out, settings, n);
	fclose(out);
	return text;
}

static void help_is_one_line_an_option_with_its_values_and_default(void **state)
{
	cleanup_free char *help = help_of(table, ARRAY_SIZE(table));

	(void)state;
	assert_string_equal(help,
			    "  -t, --text TEXT                any words\n"
			    "  --count N                      how many (7)\n"
			    "  --size SIZE                    how large (2MiB)\n"
			    "  --seed N                       where chance begins\n"
			    "  --color red|green|blue         which one (red)\n"
			    "  --flag                         yes\n"
			    "  --depth N                      how deep (3)\n"
			    "  --shape NAME                   which shape\n"
			    "                                 round, long, a-rather-longer-name, "
			    "an-even-longer-name,\n"
			    "                                 one-more-name\n"
			    "  --number X                     how much (0.5)\n"
			    "  --sides WxH                    how wide and high\n");
}

static void assert_listed(const char *help, const struct setting *settings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *wanted = NULL;

		if (settings[i].type == SETTING_GROUP) {
			assert_listed(help, settings[i].group->rows, settings[i].group->n);
			continue;
		}
		wanted = xasprintf("  --%s ", settings[i].name);
		if (!strstr(help, wanted))
			fail_msg("the help has no line for --%s", settings[i].name);
	}
}

static void the_help_of_encode_lists_every_option(void **state)
{
	cleanup_free char *help = help_of(encode_settings, n_encode_settings);

	(void)state;
	assert_listed(help, encode_settings, n_encode_settings);
}

static void the_defaults_of_encode_are_what_the_manual_says(void **state)
{
	struct encode_options o = {.out = NULL};

	(void)state;
	settings_defaults(encode_settings, n_encode_settings, &o);
	assert_string_equal(o.recipe.pixels.bucketing, "kohya");
	assert_string_equal(o.recipe.pixels.filter, "lanczos");
	assert_string_equal(o.recipe.pixels.alpha, "white");
	assert_true(o.recipe.pixels.max_upscale == 2.0 && o.recipe.pixels.max_crop_loss == 0);
	assert_int_equal(o.recipe.pixels.min_side, 0);
	assert_false(o.recipe.pixels.jpeg_scaling);
	assert_string_equal(o.recipe.posterior, "mean");
	assert_string_equal(o.recipe.dtype, "float16");
	assert_int_equal(o.output.order, OUTPUT_ORDER_SHUFFLED);
	assert_int_equal(o.memory, (size_t)1 << 30);
	assert_int_equal(o.output.shard_samples, 1000);
	assert_int_equal(o.output.shard_size, (size_t)256 << 20);
	assert_false(o.no_captions || o.quiet || o.help);
}

/* settings_parse of encode's own table: the option alone, over the defaults. */
static int parse_encode(const char *option, const char *value, struct encode_options *options,
			struct error *err)
{
	char *argv[] = {(char *)"encode", (char *)option, (char *)value, NULL};
	const char *words[WORDS_MAX];
	size_t n_words = 0;

	*options = (struct encode_options){.out = NULL};
	*err = (struct error)ERROR_INIT;
	settings_defaults(encode_settings, n_encode_settings, options);
	return settings_parse(encode_settings, n_encode_settings, value ? 3 : 2, argv, options,
			      words, &n_words, err);
}

static void the_limits_of_encode_are_named_when_they_are_passed(void **state)
{
	static const struct {
		const char *option, *lowest, *highest, *low, *high, *said;
	} limits[] = {
	    {"--jobs", "0", "256", NULL, "257", "from 0 to 256"},
	    {"--threads", "0", "1024", NULL, "1025", "from 0 to 1024"},
	    {"--resolution", "64", "8192", "56", "8200", "a multiple of 8 from 64 to 8192"},
	    {"--resolution", "72", "520", "68", "513", "a multiple of 8 from 64 to 8192"},
	    {"--max-upscale", "0", "65536", NULL, "65536.5", "a number from 0 to 65536"},
	    {"--max-crop-loss", "0", "1", NULL, "1.01", "a number from 0 to 1"},
	    {"--shard-samples", "1", "100000", "0", "100001", "from 1 to 100000"},
	    {"--shard-size", "1KiB", "64GiB", "1023", "65GiB", "from 1KiB to 64GiB"},
	    {"--memory", "16MiB", "16TiB", "15MiB", "17TiB", "from 16MiB to 16TiB"},
	    {"--seed", "0", "9223372036854775807", NULL, "9223372036854775808",
	     "from 0 to 9223372036854775807"},
	};
	struct encode_options o;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const char *outside[] = {limits[i].low, limits[i].high};

		assert_ok(parse_encode(limits[i].option, limits[i].lowest, &o, &err), &err);
		assert_ok(parse_encode(limits[i].option, limits[i].highest, &o, &err), &err);
		for (size_t k = 0; k < ARRAY_SIZE(outside); k++) {
			if (!outside[k])
				continue;
			assert_error(parse_encode(limits[i].option, outside[k], &o, &err), &err,
				     ERR_CONFIG);
			if (!strstr(err.message, limits[i].said) ||
			    !strstr(err.message, outside[k]))
				fail_msg("\"%s\" does not say \"%s\"", err.message, limits[i].said);
		}
	}
}

static void an_empty_path_is_refused_where_one_is_needed(void **state)
{
	static const char *const options[] = {"--out", "--vae", "--state"};
	struct encode_options o;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		assert_error(parse_encode(options[i], "", &o, &err), &err, ERR_CONFIG);
		assert_non_null(strstr(err.message, options[i]));
	}
}

static void a_short_h_asks_for_help(void **state)
{
	struct encode_options o;
	struct error err;

	(void)state;
	assert_ok(parse_encode("-h", NULL, &o, &err), &err);
	assert_true(o.help);
}

static void a_dataset_has_a_name_that_a_folder_can_have(void **state)
{
	char longest[102];
	static const char *const good[] = {"a", "set-512", "a b", "b\xc3\xa4r", "a.b"};
	static const char *const bad[] = {"",	".",	"..",	 ".hidden", "a/b",  "/",
					  "a/", "a\nb", "a\x7f", "\xff",    "a\x1b"};

	(void)state;
	memset(longest, 'x', 101);
	longest[101] = '\0';
	assert_false(dataset_name_valid(longest));
	assert_true(dataset_name_valid(longest + 1));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(dataset_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(dataset_name_valid(bad[i]));
}

static void a_part_is_one_of_some(void **state)
{
	static const char *const good[] = {"1/1", "2/3", "65536/65536"};
	static const char *const bad[] = {"",	  "1",	  "0/1",     "3/2",   "1/",
					  "1/0",  "/2",	  "1/65537", "1/2/3", "+1/2",
					  " 1/2", "1/2 ", "1/ 2",    "01/2"};
	uint32_t part = 0, parts = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(dataset_part_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(dataset_part_valid(bad[i]));
	assert_true(dataset_part_parse("2/3", &part, &parts));
	assert_int_equal(part, 1);
	assert_int_equal(parts, 3);
}

static void a_name_or_part_that_is_none_is_refused_where_it_is_given(void **state)
{
	struct encode_options o;
	struct error err;

	(void)state;
	assert_error(parse_encode("--name", "a/b", &o, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, "--name \"a/b\": expected " DATASET_NAME_EXPECTED);
	assert_error(parse_encode("--part", "3/2", &o, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, "--part \"3/2\": expected I/N, as in 2/3");
}

static void a_background_that_is_no_colour_is_refused(void **state)
{
	static const char *const good[] = {"white", "black", "drop", "#10aFFF"};
	static const char *const bad[] = {"",	    "grey",	"#fff",	  "#12345g",
					  "ffffff", "#1234567", "drop it"};
	struct encode_options o;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_ok(parse_encode("--alpha", good[i], &o, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_error(parse_encode("--alpha", bad[i], &o, &err), &err, ERR_CONFIG);
		assert_non_null(strstr(err.message, "#rrggbb"));
	}
}

static void a_choice_that_is_an_enum_is_its_place(void **state)
{
	struct encode_options o;
	struct error err;

	(void)state;
	assert_ok(parse_encode("--on-delete", "remove", &o, &err), &err);
	assert_int_equal(o.on_delete, ON_DELETE_REMOVE);
	assert_int_equal(o.duplicates, ON_DUPLICATE_KEEP);
	assert_ok(parse_encode("--order", "scan", &o, &err), &err);
	assert_int_equal(o.output.order, OUTPUT_ORDER_SCAN);
	assert_error(parse_encode("--on-delete", "drop", &o, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, "--on-delete \"drop\": expected keep or remove");
}

static void an_option_of_texts_may_be_given_several_times(void **state)
{
	const char *argv[] = {"encode", "--endpoint", "http://a", "--endpoint=https://b/c", "x"};
	struct encode_options o = {.out = NULL};
	const char *words[5];
	struct error err = ERROR_INIT;
	size_t n = 0;

	(void)state;
	assert_ok(settings_parse(encode_settings, n_encode_settings, 5, (char **)argv, &o, words,
				 &n, &err),
		  &err);
	assert_int_equal(o.endpoints.n, 2);
	assert_string_equal(o.endpoints.items[0], "http://a");
	assert_string_equal(o.endpoints.items[1], "https://b/c");
	argv[2] = "gpu7";
	assert_error(settings_parse(encode_settings, n_encode_settings, 5, (char **)argv, &o, words,
				    &n, &err),
		     &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "--endpoint \"gpu7\": expected http:// or https://"));
}

static void encode_wants_a_source_a_model_and_an_output(void **state)
{
	static const struct {
		struct encode_options options;
		size_t n_sources;
		const char *said;
	} wrong[] = {
	    {{.recipe.vae = "v", .out = "o"}, 0, "SRC is missing"},
	    {{.out = "o"}, 1, "--vae is missing"},
	    {{.recipe.vae = "v"}, 1, "--out is missing"},
	    {{.recipe.vae = "v", .out = "o", .token_file = "/t"},
	     1,
	     "--endpoint, which is missing"},
	    {{.recipe.vae = "declared:sdxl", .out = "o", .recipe.posterior = "draw"},
	     1,
	     "only endpoints encode it"},
	    {{.recipe.vae = "endpoint:http://a", .out = "o"}, 1, "expected --endpoint http://a"},
	    {{.out = "o", .endpoints = {{"http://a", "http://A/"}, 2}}, 1, "stands there twice"},
	    {{.out = "o", .endpoints = {{"http://a"}, 1}, .device = "cuda:1"}, 1, "here or there"},
	    {{.recipe.vae = "fake", .out = "o", .device = "cuda"}, 1, "the fake encoder"},
	    {{.recipe.vae = "v", .out = "o", .device = "cuda", .cuda.gpu_share = 2},
	     1,
	     "gpu_share 2"},
	    {{.recipe.vae = "v",
	      .out = "o",
	      .recipe.pixels = {.bucketing = "kohya", .resolution = {768, 512}}},
	     1,
	     "resolution 768x512"},
	    {{.recipe.vae = "v", .out = "o", .recipe.pixels = {.bucketing = "fixed"}},
	     1,
	     "resolution is missing"},
	    {{.recipe.vae = "v",
	      .out = "o",
	      .recipe.pixels = {.min_bucket = 768, .max_bucket = 512}},
	     1,
	     "768, is over the longest, 512"},
	};
	const struct encode_options right = {
	    .recipe.vae = "v",
	    .out = "o",
	    .name = "n",
	    .recipe.pixels = {.bucketing = "fixed", .resolution = {768, 512}, .min_bucket = 64}};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(encode_options_check(&right, 1, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		error_clear(&err);
		assert_error(encode_options_check(&wrong[i].options, wrong[i].n_sources, &err),
			     &err, ERR_CONFIG);
		assert_non_null(strstr(err.message, wrong[i].said));
	}
}

static int parse_status(int argc, const char **argv, struct read_options *options)
{
	static const struct read_command command = {"out json", 0, "status --out DIR [--json]"};

	*options = (struct read_options){.out = NULL};
	return read_options_parse(argc, (char **)argv, &command, options);
}

static void a_reading_command_takes_only_its_own_options_and_wants_out(void **state)
{
	const char *good[] = {"status", "--out", "DIR", "--json"};
	const char *foreign[] = {"status", "--out", "DIR", "--reason", "x"};
	const char *without[] = {"status", "--json"};
	const char *empty[] = {"status", "--out", ""};
	const char *help[] = {"status", "--help"};
	struct read_options options;

	(void)state;
	assert_int_equal(parse_status(4, good, &options), 0);
	assert_string_equal(options.out, "DIR");
	assert_true(options.json);
	assert_int_equal(parse_status(5, foreign, &options), READ_OPTIONS_WRONG);
	assert_int_equal(parse_status(2, without, &options), READ_OPTIONS_WRONG);
	assert_int_equal(parse_status(3, empty, &options), READ_OPTIONS_WRONG);
	assert_int_equal(parse_status(2, help, &options), READ_OPTIONS_HELP);
}

static void a_reading_command_takes_exactly_its_words(void **state)
{
	static const struct read_command command = {"to", 2, "extract SHARD KEY [--to DIR]"};
	const char *words[] = {"extract", "a.tar", "key", "more"};

	(void)state;
	for (int argc = 1; argc <= 4; argc++) {
		struct read_options options = {.out = NULL};
		int r = read_options_parse(argc, (char **)words, &command, &options);

		assert_int_equal(r, argc == 3 ? 0 : READ_OPTIONS_WRONG);
		if (r == 0) {
			assert_string_equal(options.words[0], "a.tar");
			assert_string_equal(options.words[1], "key");
			assert_string_equal(options.to, ".");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_is_read_from_a_word_of_its_own),
	    cmocka_unit_test(a_value_may_stand_behind_an_equals_sign),
	    cmocka_unit_test(what_is_not_given_has_the_tables_default_or_is_zero),
	    cmocka_unit_test(words_stand_anywhere_and_a_lone_dash_is_one),
	    cmocka_unit_test(behind_two_dashes_everything_is_a_word),
	    cmocka_unit_test(an_option_takes_the_next_word_whatever_it_looks_like),
	    cmocka_unit_test(a_letter_stands_for_its_option),
	    cmocka_unit_test(an_unknown_option_is_named),
	    cmocka_unit_test(a_missing_value_and_a_value_too_many_are_refused),
	    cmocka_unit_test(a_number_is_digits_and_fits),
	    cmocka_unit_test(a_size_is_digits_and_a_binary_unit),
	    cmocka_unit_test(a_number_is_digits_with_at_most_one_point),
	    cmocka_unit_test(sides_are_one_number_or_two_and_each_is_checked),
	    cmocka_unit_test(a_group_is_read_as_if_its_rows_stood_in_the_table),
	    cmocka_unit_test(a_value_that_is_no_choice_shows_them_all),
	    cmocka_unit_test(help_is_one_line_an_option_with_its_values_and_default),
	    cmocka_unit_test(the_help_of_encode_lists_every_option),
	    cmocka_unit_test(the_defaults_of_encode_are_what_the_manual_says),
	    cmocka_unit_test(the_limits_of_encode_are_named_when_they_are_passed),
	    cmocka_unit_test(an_empty_path_is_refused_where_one_is_needed),
	    cmocka_unit_test(a_short_h_asks_for_help),
	    cmocka_unit_test(a_dataset_has_a_name_that_a_folder_can_have),
	    cmocka_unit_test(a_part_is_one_of_some),
	    cmocka_unit_test(a_name_or_part_that_is_none_is_refused_where_it_is_given),
	    cmocka_unit_test(a_background_that_is_no_colour_is_refused),
	    cmocka_unit_test(a_choice_that_is_an_enum_is_its_place),
	    cmocka_unit_test(an_option_of_texts_may_be_given_several_times),
	    cmocka_unit_test(encode_wants_a_source_a_model_and_an_output),
	    cmocka_unit_test(a_reading_command_takes_only_its_own_options_and_wants_out),
	    cmocka_unit_test(a_reading_command_takes_exactly_its_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
