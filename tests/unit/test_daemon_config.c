#include "config/daemon_config.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <string.h>
#include <sys/stat.h>

/* A dataset and an encoder: what every other file here begins or ends with. */
#define DATASET                                                                                    \
	"datasets:\n"                                                                              \
	"  - name: photos\n"                                                                       \
	"    source: {path: /data/photos}\n"                                                       \
	"    output: {path: /data/latents}\n"                                                      \
	"    recipe: {vae: /models/vae}\n"
#define ENCODER "encoders: {type: cpu}\n"

static struct daemon_config *parse(const char *text)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_ok(daemon_config_parse("/etc/latentd.yaml", text, strlen(text), &config, &err),
		  &err);
	return config;
}

/* The file is refused with exactly this message. */
static void assert_refused(const char *text, const char *message)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_error(daemon_config_parse("/f", text, strlen(text), &config, &err), &err,
		     ERR_CONFIG);
	assert_string_equal(err.message, message);
	assert_null(config);
}

/* -- what is read -------------------------------------------------------------------------------- */

static const char full[] =
    "state_dir: /var/lib/latentd\n"
    "memory_limit: 2GiB            # pixels and latents in flight\n"
    "decode: {workers: 0}          # 0 = all cores less what the encoders use\n"
    "api: {socket: /run/latentd/latentd.sock}\n"
    "datasets:\n"
    "  - name: photos\n"
    "    source: {path: /data/photos, recursive: true}     # one or a list\n"
    "    output: {path: /data/latents, format: wds, shard_samples: 1000, shard_size: 256MiB, "
    "codec: zstd, order: shuffled}\n"
    "    captions: true\n"
    "    require_caption: false      # true: jobs wait until the .txt is there\n"
    "    recipe:\n"
    "      vae: /models/sd-vae-ft-mse\n"
    "      resolution: 512\n"
    "      bucketing: kohya\n"
    "      filter: lanczos\n"
    "      crop: center\n"
    "      exif: apply\n"
    "      alpha: white\n"
    "      color: srgb\n"
    "      posterior: mean\n"
    "      scaled: false\n"
    "      dtype: float16\n"
    "      seed: 0\n"
    "encoders:\n"
    "  - {type: cpu, threads: 0}\n";

static void assert_dataset(const struct dataset_config *d)
{
	assert_string_equal(d->name, "photos");
	assert_int_equal(d->n_sources, 1);
	assert_string_equal(d->sources[0].path, "/data/photos");
	assert_true(d->sources[0].recursive);
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_AUTO);
	assert_int_equal(d->sources[0].rescan, 0);
	assert_string_equal(d->output.path, "/data/latents");
	assert_string_equal(d->output.options.format, "wds");
	assert_int_equal(d->output.options.shard_samples, 1000);
	assert_int_equal(d->output.options.shard_size, 256 << 20);
	assert_int_equal(d->output.options.codec, OUTPUT_CODEC_ZSTD);
	assert_int_equal(d->output.options.order, OUTPUT_ORDER_SHUFFLED);
	assert_true(d->captions);
	assert_false(d->require_caption);
	assert_int_equal(d->duplicates, ON_DUPLICATE_KEEP);
	assert_int_equal(d->on_delete, ON_DELETE_KEEP);
	assert_int_equal(d->priority, 0);
	assert_false(d->paused);
	assert_null(d->part);
	assert_int_equal(d->seal_age, 24 * 3600 * 1000);
	assert_int_equal(d->place.line, 6);
	assert_int_equal(d->place.column, 5);
}

static void assert_recipe(const struct recipe_options *r)
{
	assert_string_equal(r->vae, "/models/sd-vae-ft-mse");
	assert_int_equal(r->pixels.resolution.width, 512);
	assert_string_equal(r->pixels.bucketing, "kohya");
	assert_string_equal(r->pixels.filter, "lanczos");
	assert_string_equal(r->pixels.crop, "center");
	assert_string_equal(r->pixels.exif, "apply");
	assert_string_equal(r->pixels.alpha, "white");
	assert_string_equal(r->pixels.color, "srgb");
	assert_string_equal(r->posterior, "mean");
	assert_false(r->scaled);
	assert_string_equal(r->dtype, "float16");
	assert_int_equal(r->seed, 0);
	assert_true(r->pixels.max_upscale == 2);
}

static void the_settings_that_were_promised_load_as_they_stand(void **state)
{
	struct daemon_config *c = parse(full);

	(void)state;
	assert_string_equal(c->file, "/etc/latentd.yaml");
	assert_string_equal(c->state_dir, "/var/lib/latentd");
	assert_int_equal(c->memory_limit, (size_t)2 << 30);
	assert_int_equal(c->model_idle, 600 * 1000);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->decode.workers, 0);
	assert_string_equal(c->api.socket, "/run/latentd/latentd.sock");
	assert_int_equal(c->api.mode, 0660);
	assert_null(c->api.group);
	assert_int_equal(c->n_datasets, 1);
	assert_dataset(&c->datasets[0]);
	assert_recipe(&c->datasets[0].recipe);
	assert_int_equal(c->n_encoders, 1);
	assert_int_equal(c->encoders[0].type, ENCODER_TYPE_CPU);
	assert_int_equal(c->encoders[0].cpu.threads, 0);
	assert_string_equal(c->encoders[0].name, "cpu");
	daemon_config_free(c);
}

static void the_example_loads(void **state)
{
	cleanup_free char *path =
	    xasprintf("%s/config/latentd.example.yaml", getenv("LATENTD_SOURCE_DIR"));
	cleanup_buffer struct buffer text = testing_read(path);
	struct daemon_config *config = parse((const char *)text.data);

	(void)state;
	assert_int_equal(config->n_datasets, 1);
	assert_int_equal(config->n_encoders, 1);
	daemon_config_free(config);
}

static void a_source_may_be_its_path_alone(void **state)
{
#define REST "output: {path: /o}, recipe: {vae: fake}}\n"
	struct daemon_config *c = parse("datasets:\n"
					"- {name: one, source: photos/, " REST
					"- {name: two, source: [/a, {path: /b, watch: poll}], " REST
					"encoders: {type: fake}\n");
	const struct dataset_config *one = &c->datasets[0], *two = &c->datasets[1];

	(void)state;
	assert_int_equal(one->n_sources, 1);
	assert_string_equal(one->sources[0].path, "/etc/photos");
	assert_true(one->sources[0].recursive);
	assert_int_equal(one->sources[0].place.line, 2);
	assert_int_equal(one->sources[0].place.column, 23);
	assert_int_equal(two->n_sources, 2);
	assert_string_equal(two->sources[0].path, "/a");
	assert_int_equal(two->sources[0].watch, SOURCE_WATCH_AUTO);
	assert_string_equal(two->sources[1].path, "/b");
	assert_int_equal(two->sources[1].watch, SOURCE_WATCH_POLL);
	daemon_config_free(c);
	assert_refused("datasets: {name: a, source: ~/photos, " REST ENCODER,
		       "/f:1:29: path: a path that begins with ~: expected it written out");
#undef REST
}

static void every_kind_of_value_is_read(void **state)
{
	struct daemon_config *c =
	    parse("memory_limit: 512MiB\nmodel_idle: 90s\nlog_level: debug\n"
		  "api: {mode: \"0600\", group: \"artists\"}\n"
		  "datasets:\n"
		  "- name: \"2024\"\n"
		  "  source:\n"
		  "  - path: /a\n    watch: off\n    recursive: false\n    hidden: take\n"
		  "    include: ['*.jpg', a/**]\n    exclude: raw/\n"
		  "  - {path: /b, watch: poll, rescan: 10s}\n"
		  "  output:\n    path: /o\n    codec: none\n    order: scan\n"
		  "  duplicates: drop\n  on_delete: drop\n  priority: -5\n  paused: true\n"
		  "  part: 2/3\n  seal_age: 0\n  captions: false\n"
		  "  recipe: {vae: fake, bucketing: fixed, resolution: 768x512, alpha: '#102030', "
		  "max_crop_loss: 0.25, min_side: 300, jpeg_scaling: true}\n"
		  "encoders: [{type: fake}, {type: cpu, threads: 3}, {type: fake}, {type: cpu, "
		  "name: big}]\n");
	const struct dataset_config *d = &c->datasets[0];

	(void)state;
	assert_int_equal(c->memory_limit, 512 << 20);
	assert_int_equal(c->model_idle, 90 * 1000);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->api.mode, 0600);
	assert_string_equal(c->api.group, "artists");
	assert_string_equal(d->name, "2024");
	assert_int_equal(d->n_sources, 2);
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_OFF);
	assert_false(d->sources[0].recursive);
	assert_int_equal(d->sources[0].options.hidden, HIDDEN_TAKE);
	assert_int_equal(d->sources[0].options.include.n, 2);
	assert_string_equal(d->sources[0].options.include.items[1], "a/**");
	assert_int_equal(d->sources[0].options.exclude.n, 1);
	assert_string_equal(d->sources[0].options.exclude.items[0], "raw/");
	assert_int_equal(d->sources[1].options.include.n, 0);
	assert_true(d->sources[1].recursive);
	assert_int_equal(d->sources[1].watch, SOURCE_WATCH_POLL);
	assert_int_equal(d->sources[1].rescan, 10 * 1000);
	assert_int_equal(d->sources[1].place.line, 14);
	assert_int_equal(d->output.options.codec, OUTPUT_CODEC_NONE);
	assert_int_equal(d->output.options.order, OUTPUT_ORDER_SCAN);
	assert_int_equal(d->duplicates, ON_DUPLICATE_DROP);
	assert_int_equal(d->on_delete, ON_DELETE_DROP);
	assert_int_equal(d->priority, -5);
	assert_true(d->paused);
	assert_string_equal(d->part, "2/3");
	assert_int_equal(d->seal_age, 0);
	assert_string_equal(d->recipe.vae, RECIPE_VAE_FAKE);
	assert_int_equal(d->recipe.pixels.resolution.width, 768);
	assert_int_equal(d->recipe.pixels.resolution.height, 512);
	assert_string_equal(d->recipe.pixels.alpha, "#102030");
	assert_true(d->recipe.pixels.max_crop_loss == 0.25);
	assert_int_equal(d->recipe.pixels.min_side, 300);
	assert_true(d->recipe.pixels.jpeg_scaling);
	assert_string_equal(c->encoders[0].name, "fake");
	assert_string_equal(c->encoders[1].name, "cpu");
	assert_int_equal(c->encoders[1].cpu.threads, 3);
	assert_string_equal(c->encoders[2].name, "fake-2");
	assert_string_equal(c->encoders[3].name, "big");
	daemon_config_free(c);
}

static void a_relative_path_begins_at_the_files_folder(void **state)
{
	struct daemon_config *c =
	    parse("state_dir: state\n"
		  "datasets: {name: a, source: {path: ../photos/}, output: {path: out//}, recipe: "
		  "{vae: ./vae}}\n" ENCODER);

	(void)state;
	assert_string_equal(c->state_dir, "/etc/state");
	assert_string_equal(c->datasets[0].sources[0].path, "/etc/../photos");
	assert_string_equal(c->datasets[0].output.path, "/etc/out");
	assert_string_equal(c->datasets[0].recipe.vae, "/etc/./vae");
	daemon_config_free(c);
}

static void a_file_in_the_root_has_a_folder_too(void **state)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;
	const char *text = "state_dir: state\n" ENCODER;

	(void)state;
	assert_ok(daemon_config_parse("/f", text, strlen(text), &config, &err), &err);
	assert_string_equal(config->state_dir, "/state");
	daemon_config_free(config);
}

/* -- what is refused ----------------------------------------------------------------------------- */

static void what_is_no_plain_yaml_is_refused_with_its_place(void **state)
{
	(void)state;
	assert_refused("a: [1\n", "/f:2:1: this is no YAML: did not find expected ',' or ']', "
				  "while parsing a flow sequence");
	assert_refused("\tx: 1\n",
		       "/f:1:1: this is no YAML: found character that cannot start any token, "
		       "while scanning for the next token");
	assert_refused(ENCODER "api: &a {mode: 0600}\n",
		       "/f:2:6: an anchor (&a): expected every value written out");
	assert_refused("x: *a\n", "/f:1:4: an alias (*a): expected every value written out");
	assert_refused("*a : 1\n", "/f:1:1: an alias (*a): expected every value written out");
	assert_refused("log_level: !!str info\n",
		       "/f:1:12: a tag (\"tag:yaml.org,2002:str\"): expected plain values");
	assert_refused("a: 1\n---\nb: 1\n", "/f:2:1: a second document: expected one in a file");
	assert_refused("? [a]\n: 1\n",
		       "/f:1:3: a list or a mapping as a key: expected the name of a setting");
	assert_refused(ENCODER "log_level: info\nlog_level: debug\n",
		       "/f:3:1: \"log_level\" stands here for the second time, the first is in "
		       "line 2");
	assert_refused("log_level: \"in\\0fo\"\n", "/f:1:12: a text with a NUL in it");
	assert_refused("log_level: in\xff"
		       "fo\n",
		       "/f:1:14: a byte 0xff that is not UTF-8 text: expected UTF-8");
	assert_refused("\xff\xfe"
		       "a",
		       "/f:1:1: a byte 0xff that is not UTF-8 text: expected UTF-8");
	assert_refused("[[[[[[[[[[[[[[[[[[[[", "/f:1:18: nested deeper than 16 levels");
	assert_refused("- a\n", "/f:1:1: a list: expected settings, one a line");
	assert_refused("just text\n", "/f:1:1: a text: expected settings, one a line");
}

static void a_file_that_is_too_long_is_refused(void **state)
{
	size_t size = (1u << 20) + 1;
	char *text = xmalloc(size);
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	memset(text, '#', size);
	assert_error(daemon_config_parse("/f", text, size, &config, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, "/f: 1048577 bytes: expected at most 1048576");
	free(text);
}

static void an_unknown_setting_is_told_the_one_that_was_meant(void **state)
{
	(void)state;
	assert_refused("memory_limits: 2GiB\n" ENCODER,
		       "/f:1:1: unknown setting \"memory_limits\": did you mean memory_limit?");
	assert_refused("shard-size: 1GiB\n" ENCODER,
		       "/f:1:1: unknown setting \"shard-size\": expected one of state_dir, queue, "
		       "memory_limit, model_idle, log_level, log_format, decode, api, webhook, "
		       "serve, datasets, encoders");
	assert_refused("workers: 3\n" ENCODER,
		       "/f:1:1: unknown setting \"workers\": it belongs below decode");
	assert_refused("datasets:\n- name: a\n  resolution: 512\n" ENCODER,
		       "/f:3:3: unknown setting \"resolution\": it belongs below recipe");
	assert_refused("datasets:\n- name: a\n  recipe: {vae: /v, resoluiton: 512}\n" ENCODER,
		       "/f:3:21: unknown setting \"resoluiton\": did you mean resolution?");
	assert_refused("datasets:\n- name: a\n  output: {path: /o, shard-size: 1GiB}\n" ENCODER,
		       "/f:3:22: unknown setting \"shard-size\": did you mean shard_size?");
	assert_refused("\"\\x1b[31m\": 3\n" ENCODER,
		       "/f:1:1: unknown setting \"\\x1b[31m\": expected one of state_dir, queue, "
		       "memory_limit, model_idle, log_level, log_format, decode, api, webhook, "
		       "serve, datasets, encoders");
}

static void a_value_of_the_wrong_type_is_told_what_was_expected(void **state)
{
	(void)state;
	assert_refused("memory_limit: 2GB\n",
		       "/f:1:15: memory_limit: \"2GB\": expected a size like 512MiB or 2GiB, from "
		       "16MiB to 16TiB");
	assert_refused("memory_limit: [2GiB]\n",
		       "/f:1:15: memory_limit: a list: expected a size like 512MiB or 2GiB, from "
		       "16MiB to 16TiB");
	assert_refused("model_idle: 10 minutes\n",
		       "/f:1:13: model_idle: \"10 minutes\": expected a duration like 10s, 5min or "
		       "24h, from 0 to 365d");
	assert_refused("log_level: verbose\n",
		       "/f:1:12: log_level: \"verbose\": expected error or warning or info or "
		       "debug");
	assert_refused("decode: 4\n", "/f:1:9: decode: \"4\": expected settings (a mapping)");
	assert_refused("decode: {workers: many}\n",
		       "/f:1:19: workers: \"many\": expected a whole number from 0 to 256");
	assert_refused("decode: {workers: {a: 1}}\n",
		       "/f:1:19: workers: a mapping: expected a whole number from 0 to 256");
	assert_refused("api: {mode: 0o660}\n", "/f:1:13: mode: \"0o660\": expected permissions as "
					       "octal digits, like 0660");
	assert_refused("api: {mode: 438}\n",
		       "/f:1:13: mode: \"438\": expected permissions as octal digits, like 0660");
	assert_refused("state_dir:\nlog_level: info\n",
		       "/f:1:11: state_dir: nothing: expected a path");
	assert_refused("state_dir: ''\n", "/f:1:12: state_dir: \"\": expected a path");
	assert_refused("state_dir: ~/x\n",
		       "/f:1:12: state_dir: a path that begins with ~: expected it written out");
	assert_refused("datasets: 3\n", "/f:1:11: datasets: \"3\": expected a list of settings, or "
					"one");
	assert_refused("datasets: [3]\n",
		       "/f:1:12: datasets: \"3\": expected a list of settings, or one");
	assert_refused("datasets: {name: a/b}\n",
		       "/f:1:18: name: \"a/b\": expected " DATASET_NAME_EXPECTED);
	assert_refused("datasets: {captions: yes}\n",
		       "/f:1:22: captions: \"yes\": expected true or false");
	assert_refused("datasets: {part: 3/2}\n",
		       "/f:1:18: part: \"3/2\": expected I/N, as in 2/3");
	assert_refused("datasets: {priority: high}\n",
		       "/f:1:22: priority: \"high\": expected a whole number from -1000 to 1000");
	assert_refused("datasets: {priority: -1001}\n",
		       "/f:1:22: priority: \"-1001\": expected a whole number from -1000 to 1000");
	assert_refused(
	    "datasets: {recipe: {alpha: red}}\n",
	    "/f:1:28: alpha: \"red\": expected white, black, drop or a colour as #rrggbb");
	assert_refused("datasets: {recipe: {max_upscale: -1}}\n",
		       "/f:1:34: max_upscale: \"-1\": expected a number from 0 to 65536");
	assert_refused("datasets: {output: {format: npz}}\n",
		       "/f:1:29: format: \"npz\": expected wds or mds");
	assert_refused("datasets: {source: {path: /a, include: ['!a']}}\n",
		       "/f:1:41: include: \"!a\": expected a pattern like *.jpg, masks/ or raw/**, "
		       "relative to the source");
	assert_refused("datasets: {source: {path: /a, exclude: {a: b}}}\n",
		       "/f:1:40: exclude: a mapping: expected a pattern like *.jpg, masks/ or "
		       "raw/**, relative to the source");
	assert_refused("datasets: {on_delete: remove}\n",
		       "/f:1:23: on_delete: \"remove\": expected keep or drop");
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	assert_refused("datasets:\n- source: {path: /a}\n",
		       "/f:2:3: name is missing: name of the dataset, and of its folder in the "
		       "output");
	assert_refused(
	    "datasets:\n- name: a\n",
	    "/f:2:3: source is missing: where the images are: a folder, an archive, a manifest, "
	    "or a list of them; an item may be its path alone");
	assert_refused(
	    "datasets:\n- name: a\n  source: {recursive: true}\n",
	    "/f:3:11: path is missing: folder of images, archive "
	    "(.tar, .tar.gz, .tar.zst, .tar.xz, .zip, .7z), manifest "
	    "(.jsonl, .csv, .tsv, .json), list of URLs (.urls) or bucket (s3://BUCKET/PREFIX)");
	assert_refused("datasets:\n- name: a\n  source: {path: /a}\n",
		       "/f:2:3: output is missing: where the shards go, and how they look");
	assert_refused("datasets:\n- name: a\n  source: {path: /a}\n  output: {path: /o}\n",
		       "/f:2:3: recipe is missing: what decides the latents: another recipe needs "
		       "another dataset");
	assert_refused("datasets:\n- name: a\n  source: {path: /a}\n  output: {path: /o}\n"
		       "  recipe: {resolution: 512}\n",
		       "/f:5:11: vae is missing: folder, .safetensors file, hub id or name (sdxl); "
		       "docs/MODELS.md");
	assert_refused(DATASET, "/f:1:1: encoders is missing: what encodes, one or a list");
	assert_refused("", "/f:1:1: encoders is missing: what encodes, one or a list");
	assert_refused("# nothing\n---\n",
		       "/f:3:1: encoders is missing: what encodes, one or a list");
	assert_refused(DATASET "encoders: []\n",
		       "/f:6:1: encoders: an empty list: expected one like {type: cpu}");
	assert_refused(DATASET "encoders: [{threads: 3}]\n",
		       "/f:6:13: threads: only type cpu has it");
}

#define OTHER(name, source, output, recipe)                                                        \
	"  - name: " name "\n"                                                                     \
	"    source: " source "\n"                                                                 \
	"    output: {path: " output "}\n"                                                         \
	"    recipe: " recipe "\n"

static void what_does_not_go_together_is_refused_where_it_stands(void **state)
{
	(void)state;
	assert_refused(DATASET OTHER("photos", "{path: /b}", "/o", "{vae: /v}") ENCODER,
		       "/f:6:11: a second dataset photos, the first is in line 2: expected another "
		       "name");
	assert_refused("datasets:\n" OTHER("a", "[]", "/o", "{vae: /v}") ENCODER,
		       "/f:3:5: source: an empty list: expected a folder or more");
	assert_refused(
	    "datasets:\n" OTHER("a", "{path: /b}", "/o", "{vae: /v, resolution: 768x512}") ENCODER,
	    "/f:5:5: recipe: resolution 768x512: only bucketing fixed takes two sides");
	assert_refused(DATASET "    captions: false\n    require_caption: true\n" ENCODER,
		       "/f:7:22: require_caption without captions: expected captions: true");
	assert_refused(DATASET "encoders: {type: gpu}\n",
		       "/f:6:18: type: \"gpu\": expected cpu or fake or remote or cuda");
	assert_refused(DATASET "encoders: {type: cuda, gpu_share: 1.5}\n",
		       "/f:6:11: gpu_share 1.5: expected a part of the time, over 0 and at most 1");
	assert_refused(DATASET "encoders: {type: cpu, gpu_memory: 1GiB}\n",
		       "/f:6:23: gpu_memory: only type cuda has it");
	assert_refused(DATASET "encoders: {type: fake, threads: 2}\n",
		       "/f:6:24: threads: only type cpu has it");
	assert_refused(DATASET "encoders: {type: fake}\n",
		       "/f:5:19: vae: no encoder can encode it: expected one of a type other than "
		       "fake");
	assert_refused("datasets:\n" OTHER("a", "{path: /b}", "/o", "{vae: fake}") ENCODER,
		       "/f:5:19: vae fake: no encoder can encode it: expected one of type fake");
	assert_refused(DATASET "encoders: [{type: cpu}, {type: cpu, name: cpu}]\n",
		       "/f:6:25: a second encoder cpu: expected another name");
	assert_refused(
	    "api: {socket: /run/latentd/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n" ENCODER,
	    "/f:1:15: socket: a path of 113 bytes: expected at most 107");
}

static void a_server_is_checked_as_a_dataset_is(void **state)
{
	(void)state;
	assert_refused("serve: {listen: \"127.0.0.1:1\"}\n" ENCODER,
		       "/f:1:1: serve: vae is missing: expected what it encodes with");
	assert_refused("serve: {listen: 8188, vae: /v}\n" ENCODER,
		       "/f:1:17: listen: \"8188\": expected HOST:PORT, like 127.0.0.1:8188");
	assert_refused("serve: {listen: \"[::1]:1\", vae: /v, tls_key: /k}\n" ENCODER,
		       "/f:1:1: serve: tls_cert and tls_key: expected both or none");
	assert_refused("serve: {listen: \"h:1\", vae: /v, memory: 2MiB, max_body: 4MiB}\n" ENCODER,
		       "/f:1:1: serve: memory is less than max_body: expected at least as much");
	assert_refused("serve: {listen: \"h:1\", vae: /v}\nencoders: {type: fake}\n",
		       "/f:1:29: vae: no encoder can encode it: expected one of a type other than "
		       "fake");
}

static void folders_that_lie_in_each_other_are_refused(void **state)
{
	(void)state;
	assert_refused("datasets:\n" OTHER("a", "{path: /data/out/a}", "/data/out", "{vae: /v}")
			   ENCODER,
		       "/f:3:20: source /data/out/a and the output /data/out of dataset a: one "
		       "lies in the other, expected folders apart");
	assert_refused("datasets:\n" OTHER("a", "[{path: /a}, {path: /data/}]", "/data/../data/out",
					   "{vae: /v}") ENCODER,
		       "/f:3:33: source /data and the output /data/out of dataset a: one lies in "
		       "the other, expected folders apart");
	assert_refused(DATASET OTHER("b", "{path: /data/latents/photos}", "/o", "{vae: /v}")
			   ENCODER,
		       "/f:7:20: source /data/latents/photos and the output /data/latents of "
		       "dataset photos: one lies in the other, expected folders apart");
	assert_refused("datasets:\n" OTHER("a", "[{path: /a}, {path: /a/b}]", "/o", "{vae: /v}")
			   ENCODER,
		       "/f:3:33: source /a/b and source /a: one lies in the other, expected each "
		       "image once");
	assert_refused(DATASET OTHER("b", "{path: /b}", "/data/latents/photos", "{vae: /v}")
			   ENCODER,
		       "/f:8:20: output /data/latents/photos and the output /data/latents of "
		       "dataset photos: one lies in the other, expected the same folder or folders "
		       "apart");
	assert_refused("state_dir: /data/latents/state\n" DATASET ENCODER,
		       "/f:5:20: output /data/latents and state_dir /data/latents/state: one lies "
		       "in the other, expected folders apart");
	assert_refused("state_dir: /data/photos/state\n" DATASET ENCODER,
		       "/f:4:20: source /data/photos and state_dir /data/photos/state: one lies in "
		       "the other, expected folders apart");
}

static void datasets_may_share_a_source_and_an_output(void **state)
{
	struct daemon_config *c =
	    parse(DATASET OTHER("b", "{path: /data/photos}", "/data/latents", "{vae: /v}")
		      OTHER("c", "{path: /data/photos2}", "/data/latents2", "{vae: /v}") ENCODER);

	(void)state;
	assert_int_equal(c->n_datasets, 3);
	daemon_config_free(c);
}

/* -- what is there ------------------------------------------------------------------------------- */

/* Loads a file of that text in @dir; its message without the folder's name, or "". To be freed. */
static char *load(const char *dir, const char *text)
{
	cleanup_free char *path = testing_path(dir, "latentd.yaml");
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;
	size_t n = strlen(dir);
	cleanup_buffer struct buffer out = BUFFER_INIT;

	testing_write(path, text, strlen(text));
	if (daemon_config_load(path, &config, &err) < 0)
		assert_int_equal(err.code, ERR_CONFIG);
	daemon_config_free(config);
	buffer_append_string(&out, "");
	for (const char *p = err.message; *p; p += 1) {
		if (strncmp(p, dir, n) == 0)
			p += n;
		buffer_append(&out, p, 1);
	}
	return (char *)xstrdup(out.data ? (const char *)out.data : "");
}

static void models_must_be_there_and_sources_may_come_later(void **state)
{
	static const char text[] = "state_dir: state\n"
				   "datasets: {name: a, source: {path: in}, output: {path: out}, "
				   "recipe: {vae: vae}}\n" ENCODER;
	char *dir = testing_tempdir();
	static const char *const steps[][2] = {
	    {"vae", "/latentd.yaml:2:76: vae: there is no file or folder /vae"},
	    {NULL, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		cleanup_free char *message = load(dir, text);
		cleanup_free char *path = NULL;

		assert_string_equal(message, steps[i][1]);
		if (!steps[i][0])
			break;
		path = testing_path(dir, steps[i][0]);
		assert_int_equal(mkdir(path, 0777), 0);
	}
	testing_tempdir_remove(dir);
}

static void a_link_hides_no_folder_in_another(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *in = testing_path(dir, "in"), *link = testing_path(dir, "link");
	cleanup_free char *message = NULL;

	(void)state;
	assert_int_equal(mkdir(in, 0777), 0);
	assert_int_equal(symlink("in", link), 0);
	message = load(dir, "state_dir: state\n"
			    "datasets: {name: a, source: {path: in}, output: {path: link/out}, "
			    "recipe: {vae: fake}}\n"
			    "encoders: {type: fake}\n");
	assert_string_equal(message,
			    "/latentd.yaml:2:36: source /in and the output /in/out of dataset a: "
			    "one lies in the other, expected folders apart");
	testing_tempdir_remove(dir);
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(daemon_config_load("/no/such/file.yaml", &config, &err), &err, ERR_IO);
	assert_non_null(strstr(err.message, "/no/such/file.yaml"));
}

/* -- what changes -------------------------------------------------------------------------------- */

#define AND_ENCODER "encoders: {type: cpu, threads: 2}\n"

static void assert_change(const struct config_changes *changes, const char *setting,
			  const char *was, const char *now, bool reloadable)
{
	for (size_t i = 0; i < changes->n; i++) {
		const struct config_change *c = &changes->items[i];

		if (strcmp(c->setting, setting) != 0)
			continue;
		assert_int_equal(!c->was, !was);
		assert_int_equal(!c->now, !now);
		if (was)
			assert_string_equal(c->was, was);
		if (now)
			assert_string_equal(c->now, now);
		assert_int_equal(c->reloadable, reloadable);
		return;
	}
	fail_msg("%s is not among the changes", setting);
}

static const char before[] =
    "state_dir: /s1\nmodel_idle: 10min\n" DATASET "    priority: 1\n" AND_ENCODER;
static const char after[] =
    "state_dir: /s2\nmodel_idle: 5min\nlog_level: debug\n"
    "encoders: {type: cpu, threads: 3}\n"
    "datasets:\n" OTHER("new", "{path: /n}", "/data/new", "{vae: /v}")
	OTHER("photos", "[{path: /data/photos, watch: poll, exclude: ['a\"b', c]}, {path: /p2}]",
	      "/data/elsewhere", "{vae: /models/vae, resolution: 768}") "    priority: 2\n";

static void every_change_is_named_with_what_it_was_and_is(void **state)
{
	struct daemon_config *a = parse(before), *b = parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	assert_int_equal(changes.n, 11);
	assert_change(&changes, "datasets.photos.source./data/photos.exclude", NULL,
		      "[\"a\\\"b\", \"c\"]", true);
	assert_change(&changes, "state_dir", "/s1", "/s2", false);
	assert_change(&changes, "log_level", "info", "debug", true);
	assert_change(&changes, "model_idle", "10min", "5min", false);
	assert_change(&changes, "datasets.new", NULL, "new", true);
	assert_change(&changes, "datasets.photos.source./data/photos.watch", "auto", "poll", true);
	assert_change(&changes, "datasets.photos.source./p2", NULL, "/p2", true);
	assert_change(&changes, "datasets.photos.output.path", "/data/latents", "/data/elsewhere",
		      false);
	assert_change(&changes, "datasets.photos.recipe.resolution", NULL, "768", false);
	assert_change(&changes, "datasets.photos.priority", "1", "2", true);
	assert_change(&changes, "encoders.cpu.threads", "2", "3", true);
	for (size_t i = 0; i < changes.n; i++)
		assert_int_equal(!changes.items[i].dataset,
				 strncmp(changes.items[i].setting, "datasets.", 9) != 0);
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
}

static void a_dataset_that_is_gone_is_named_and_what_is_the_same_is_not(void **state)
{
	struct daemon_config *a = parse(before), *b = parse(after), *same = parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(same, b, &changes, &err), &err);
	assert_int_equal(changes.n, 0);
	assert_ok(daemon_config_merge(a, b, &changes, &err), &err);
	assert_change(&changes, "datasets.new", "new", NULL, true);
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
	daemon_config_free(same);
}

static void what_cannot_change_is_put_back(void **state)
{
	struct daemon_config *a = parse(before), *b = parse(after);
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;
	const struct dataset_config *d;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	daemon_config_free(a);
	d = &b->datasets[1];
	assert_string_equal(b->state_dir, "/s1");
	assert_int_equal(b->model_idle, 600 * 1000);
	assert_int_equal(b->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(b->n_datasets, 2);
	assert_string_equal(d->name, "photos");
	assert_string_equal(d->output.path, "/data/latents");
	assert_int_equal(d->recipe.pixels.resolution.width, 0);
	assert_int_equal(d->n_sources, 2);
	assert_string_equal(d->sources[0].path, "/data/photos");
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_POLL);
	assert_int_equal(d->priority, 2);
	assert_int_equal(b->n_encoders, 1);
	assert_string_equal(b->encoders[0].name, "cpu");
	assert_int_equal(b->encoders[0].cpu.threads, 3);
	assert_int_equal(d->sources[0].options.exclude.n, 2);
	assert_string_equal(d->sources[0].options.exclude.items[1], "c");
	assert_int_equal(changes.n, 11);
	config_changes_release(&changes);
	daemon_config_free(b);
}

/* The file says it in another order, with one encoder more and one less, and one that is of another type. */
static void encoders_come_go_and_change(void **state)
{
	struct daemon_config *a =
	    parse("state_dir: /s1\n" DATASET "encoders: [{type: cpu, threads: 2}, {type: fake}, "
		  "{type: cpu, name: x, threads: 5}]\n");
	struct daemon_config *b =
	    parse("state_dir: /s1\n" DATASET
		  "encoders: [{type: cuda}, {type: remote, name: x, endpoints: [http://a/]}, "
		  "{type: cpu, threads: 3, hours: 01:00-02:00}]\n");
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(daemon_config_merge(b, a, &changes, &err), &err);
	daemon_config_free(a);
	assert_change(&changes, "encoders.fake", "fake", NULL, true);
	assert_change(&changes, "encoders.cuda", NULL, "cuda", true);
	assert_change(&changes, "encoders.cpu.threads", "2", "3", true);
	assert_change(&changes, "encoders.cpu.hours", NULL, "01:00-02:00", true);
	assert_change(&changes, "encoders.x.type", "cpu", "remote", true);
	assert_change(&changes, "encoders.x.threads", "5", "0", true);
	assert_change(&changes, "encoders.x.endpoints.http://a/", NULL, "http://a/", true);
	assert_int_equal(changes.n, 7);
	assert_int_equal(b->n_encoders, 3);
	assert_string_equal(b->encoders[0].name, "cuda");
	assert_string_equal(b->encoders[1].remote.endpoints[0].url, "http://a/");
	assert_int_equal(b->encoders[2].cpu.threads, 3);
	config_changes_release(&changes);
	daemon_config_free(b);
}

static void every_setting_of_an_encoder_is_another_but_hours_and_what_it_may_spend(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} table[] = {
	    {"{type: cpu}", "{type: cpu, threads: 0, hours: 01:00-02:00}", true},
	    {"{type: cpu}", "{type: cpu, threads: 1}", false},
	    {"{type: cpu}", "{type: cpu, memory: 1GiB}", false},
	    {"{type: cuda, name: cpu}", "{type: cuda, name: cpu, device: 1}", false},
	    {"{type: cuda}", "{type: cuda, gpu_share: 0.5}", false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/}], max_requests_per_hour: 5, "
	     "max_bytes_per_day: 1KiB}",
	     true},
	    {"{type: remote, endpoints: http://a/}", "{type: remote, endpoints: http://b/}", false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [http://a/, http://b/]}", false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/, token_file: /t}], allow_http: true}",
	     false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: [{url: http://a/, max_in_flight: 3}]}", false},
	    {"{type: remote, endpoints: http://a/}",
	     "{type: remote, endpoints: http://a/, retries: 1}", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		cleanup_free char *text_a =
		    xasprintf("state_dir: /s\n" DATASET "encoders: %s\n", table[i].a);
		cleanup_free char *text_b =
		    xasprintf("state_dir: /s\n" DATASET "encoders: %s\n", table[i].b);
		struct daemon_config *a = parse(text_a), *b = parse(text_b);

		if (encoder_config_same(&a->encoders[0], &b->encoders[0]) != table[i].same)
			fail_msg("%s and %s", table[i].a, table[i].b);
		daemon_config_free(a);
		daemon_config_free(b);
	}
}

static void what_is_put_back_must_go_with_what_is_new(void **state)
{
	struct daemon_config *a = parse(before);
	struct daemon_config *b =
	    parse("state_dir: /s1\n" AND_ENCODER "datasets:\n" OTHER(
		"photos", "{path: /data/photos}", "/data/moved", "{vae: /models/vae}")
		      OTHER("b", "{path: /data/latents/x}", "/b", "{vae: /models/vae}"));
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(daemon_config_merge(b, a, &changes, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message,
			    "/etc/latentd.yaml:9:13: source /data/latents/x and the output "
			    "/data/latents of dataset photos: one lies in the other, expected "
			    "folders apart");
	config_changes_release(&changes);
	daemon_config_free(a);
	daemon_config_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_settings_that_were_promised_load_as_they_stand),
	    cmocka_unit_test(the_example_loads),
	    cmocka_unit_test(a_source_may_be_its_path_alone),
	    cmocka_unit_test(every_kind_of_value_is_read),
	    cmocka_unit_test(a_relative_path_begins_at_the_files_folder),
	    cmocka_unit_test(a_file_in_the_root_has_a_folder_too),
	    cmocka_unit_test(what_is_no_plain_yaml_is_refused_with_its_place),
	    cmocka_unit_test(a_file_that_is_too_long_is_refused),
	    cmocka_unit_test(an_unknown_setting_is_told_the_one_that_was_meant),
	    cmocka_unit_test(a_value_of_the_wrong_type_is_told_what_was_expected),
	    cmocka_unit_test(what_is_missing_is_named),
	    cmocka_unit_test(what_does_not_go_together_is_refused_where_it_stands),
	    cmocka_unit_test(a_server_is_checked_as_a_dataset_is),
	    cmocka_unit_test(folders_that_lie_in_each_other_are_refused),
	    cmocka_unit_test(datasets_may_share_a_source_and_an_output),
	    cmocka_unit_test(models_must_be_there_and_sources_may_come_later),
	    cmocka_unit_test(a_link_hides_no_folder_in_another),
	    cmocka_unit_test(a_file_that_is_not_there_is_named),
	    cmocka_unit_test(every_change_is_named_with_what_it_was_and_is),
	    cmocka_unit_test(a_dataset_that_is_gone_is_named_and_what_is_the_same_is_not),
	    cmocka_unit_test(what_cannot_change_is_put_back),
	    cmocka_unit_test(encoders_come_go_and_change),
	    cmocka_unit_test(
		every_setting_of_an_encoder_is_another_but_hours_and_what_it_may_spend),
	    cmocka_unit_test(what_is_put_back_must_go_with_what_is_new),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
