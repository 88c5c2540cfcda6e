/* What a configuration may not say, and the message for it. */
#include "tests/unit/config_rig.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

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
	assert_refused("datasets: {on_delete: drop}\n",
		       "/f:1:23: on_delete: \"drop\": expected keep or remove");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_no_plain_yaml_is_refused_with_its_place),
	    cmocka_unit_test(a_file_that_is_too_long_is_refused),
	    cmocka_unit_test(an_unknown_setting_is_told_the_one_that_was_meant),
	    cmocka_unit_test(a_value_of_the_wrong_type_is_told_what_was_expected),
	    cmocka_unit_test(what_is_missing_is_named),
	    cmocka_unit_test(what_does_not_go_together_is_refused_where_it_stands),
	    cmocka_unit_test(a_server_is_checked_as_a_dataset_is),
	    cmocka_unit_test(folders_that_lie_in_each_other_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
