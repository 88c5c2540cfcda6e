/*
 * Captions from elsewhere than beside the images: they count from now on, and come into the shards with the next rewrite.
 */
#include "daemon/caption_list.h"
#include "daemon/ctl_source.h"
#include "daemon/ctl_steer.h"
#include "daemon/given_captions.h"
#include "daemon/maintenance.h"

#include "source/sample_key.h"
#include "source/source.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/file_tree.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* -- what is given -------------------------------------------------------------------------------- */

/* As it would lie beside an image, whose key the dataset knows. What no daemon could be told has the key of a new dataset. */
static int take_text(json_t *list, const struct file_tree_entry *entry, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT, clean = BUFFER_INIT;
	cleanup_free char *stem =
	    xasprintf("%.*s", (int)source_path_stem(entry->below), entry->below);
	char key[SAMPLE_KEY_SIZE];

	if (file_read_regular(entry->path, SOURCE_CAPTION_MAX, &text, err) < 0)
		return -1;
	source_caption_clean(&text, &clean);
	sample_key(entry->below, key);
	caption_list_set(list, utf8_valid(stem, strlen(stem)) ? stem : key,
			 clean.data ? (const char *)clean.data : "");
	return 0;
}

static int visit(void *list, const struct file_tree_entry *entry, struct error *err)
{
	size_t n = strlen(entry->name);
	char quoted[TEXT_QUOTE_SIZE];

	if (entry->kind == FILE_TREE_UNREADABLE) {
		errno = entry->why;
		return error_sys(err, "read %s", text_quote(entry->path, quoted));
	}
	if (entry->kind == FILE_TREE_FOLDER || n <= 4 || strcmp(entry->name + n - 4, ".txt") != 0)
		return 0;
	return take_text(list, entry, err);
}

static int read_input(const char *input, json_t *list, struct error *err)
{
	struct stat st;
	int r;

	if (stat(input, &st) < 0)
		return error_sys(err, "%s", input);
	r = S_ISDIR(st.st_mode) ? file_tree_walk(input, visit, list, err)
				: caption_list_read(input, list, err);
	if (r == 0 && json_object_size(list) == 0)
		return error_set(err, ERR_CONFIG, "%s has no captions: %s", input,
				 S_ISDIR(st.st_mode) ? "KEY.txt, by the images' paths"
						     : "lines of {\"key\": ..., \"caption\": ...}");
	return r;
}

/* -- by the daemon that works on the output ------------------------------------------------------ */

/* Of one request: less than the API takes (API_CAPTIONS_MAX). */
#define CHUNK_BYTES ((size_t)3 << 20)

struct telling {
	struct ctl_source *source;
	const char *dataset;
	bool dry_run;
	json_t *chunk;
	size_t bytes, given, set; /* of the chunk; keys */
};

static int post_chunk(struct telling *t, struct error *err)
{
	json_t *body = json_pack("{s:o, s:b}", "captions", t->chunk, "dry_run", t->dry_run);
	json_t *answer = NULL;
	const char *message;
	int r;

	t->chunk = NULL;
	r = ctl_source_post(t->source, t->dataset, "captions", body, &answer, err);
	if (r < 0)
		return error_wrap(err, "%s", t->dataset);
	message = json_string_value(json_object_get(answer, "message"));
	t->set += (size_t)json_integer_value(json_object_get(answer, "count"));
	if (message && *message)
		fprintf(stderr, "latentctl captions: %s\n", message);
	json_decref(answer);
	return 0;
}

static int tell_dataset(struct telling *t, json_t *list, struct error *err)
{
	const char *key;
	json_t *caption;
	int r = 0;

	json_object_foreach(list, key, caption)
	{
		/* A byte of a key has six at most, as \\u0001. */
		size_t bytes = json_dumpb(caption, NULL, 0, JSON_ENCODE_ANY) + 6 * strlen(key) + 4;

		if (t->chunk && t->bytes + bytes > CHUNK_BYTES && (r = post_chunk(t, err)) < 0)
			return -1;
		if (!t->chunk) {
			t->chunk = json_object();
			t->bytes = 0;
		}
		json_object_set(t->chunk, key, caption);
		t->bytes += bytes;
		t->given++;
	}
	return post_chunk(t, err);
}

/* Sets them in each of the datasets that are meant: an exit code, or -1. */
static int tell_daemon(struct ctl_source *source, const struct read_options *options, json_t *list,
		       struct error *err)
{
	json_t *status = NULL, *dataset;
	int r = ctl_source_status(source, &status, err), ends = EXIT_OK;
	size_t i;

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		struct telling t = {.source = source,
				    .dataset = json_string_value(json_object_get(dataset, "name")),
				    .dry_run = options->dry_run};

		r = r == 0 ? tell_dataset(&t, list, err) : r;
		if (r < 0)
			break;
		printf("%s: %zu caption%s %s\n", t.dataset, t.set, plural(t.set),
		       t.dry_run ? "would be set" : "set; the daemon brings them into the shards");
		ends = t.set < t.given ? EXIT_QUARANTINED : ends;
	}
	json_decref(status);
	return r < 0 ? -1 : ends;
}

static int set_by_daemon(struct ctl_source *source, const struct read_options *options,
			 struct error *err)
{
	json_t *list = json_object();
	int r = read_input(options->words[1], list, err);

	if (r == 0)
		r = tell_daemon(source, options, list, err);
	json_decref(list);
	return r;
}

static int reset_by_daemon(struct ctl_source *source, const struct read_options *options,
			   struct error *err)
{
	static const struct ctl_order order = {
	    .command = "reset-captions",
	    .noun = "caption",
	    .done = "no longer set; the daemon reads those beside the images",
	    .each = true};

	return ctl_steer(source, options, &order, NULL, err);
}

/* -- by ourselves --------------------------------------------------------------------------------- */

static int set(struct maintenance *m, struct error *err)
{
	const struct recaption_options options = {.rewrite = *m->rewrite, .folder = m->folder};
	cleanup_foreign_keys struct foreign_keys foreign = FOREIGN_KEYS_INIT;
	json_t *list = json_object();
	int r = read_input(m->options->words[1], list, err);

	if (r == 0)
		r = given_captions_set(&options, list, m->options->dry_run, &foreign, err);
	foreign_keys_say(&foreign, "captions", m->dataset->name);
	if (r == 0) {
		printf("%s: %zu caption%s %s\n", m->dataset->name, json_object_size(list),
		       plural(json_object_size(list)),
		       m->options->dry_run
			   ? "would be set"
			   : "set; the next encode or compact brings them into the shards");
		m->ends = foreign.n > 0 ? EXIT_QUARANTINED : EXIT_OK;
	}
	json_decref(list);
	return r;
}

/* Those beside the images count again; the next encode reads them. */
static int reset(struct maintenance *m, struct error *err)
{
	const struct recaption_options options = {.rewrite = *m->rewrite, .folder = m->folder};
	size_t n = 0;

	if (given_captions_reset(&options, &n, err) < 0)
		return -1;
	printf("%s: %zu caption%s no longer set; the next encode reads those beside the images\n",
	       m->dataset->name, n, plural(n));
	return 0;
}

int cmd_captions(int argc, char **argv, struct error *err)
{
	static const struct read_command to_set = {
	    "out name dry-run", 2,
	    "captions set FILE.jsonl|DIR --out DIR [--name NAME] [--dry-run]\n"
	    "       latentctl captions reset --out DIR [--name NAME]\n\n"
	    "FILE.jsonl has lines of {\"key\": KEY, \"caption\": TEXT or null}, DIR has KEY.txt as "
	    "images\n"
	    "would have them beside them. They count instead of those beside the images."};
	static const struct read_command to_reset = {"out name", 1,
						     "captions reset --out DIR [--name NAME]"};

	if (argc > 1 && strcmp(argv[1], "reset") == 0)
		return maintenance_change(argc, argv, &to_reset, reset, reset_by_daemon, false,
					  err);
	if (argc > 1 && strcmp(argv[1], "set") != 0 && argv[1][0] != '-') {
		char quoted[TEXT_QUOTE_SIZE];

		fprintf(stderr,
			"latentctl captions: %s: expected set or reset\nusage: latentctl %s\n",
			text_quote(argv[1], quoted), to_set.usage);
		return EXIT_USAGE;
	}
	return maintenance_change(argc, argv, &to_set, set, set_by_daemon, false, err);
}
