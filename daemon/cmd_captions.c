/*
 * Captions from elsewhere than beside the images: they count from now on, and come into the shards with the next rewrite.
 */
#include "daemon/caption_list.h"
#include "daemon/foreign_keys.h"
#include "daemon/maintenance.h"
#include "daemon/recaption.h"

#include "source/sample_key.h"
#include "source/source.h"

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

/* KEY.txt, as it would lie beside an image. */
static int take_text(json_t *list, const struct file_tree_entry *entry, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT, clean = BUFFER_INIT;
	char key[SAMPLE_KEY_SIZE];

	if (file_read_regular(entry->path, SOURCE_CAPTION_MAX, &text, err) < 0)
		return -1;
	source_caption_clean(&text, &clean);
	sample_key(entry->below, key);
	caption_list_set(list, key, clean.data ? (const char *)clean.data : "");
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

/* -- setting -------------------------------------------------------------------------------------- */

/* Readers are told at once. */
static int tell(struct maintenance *m, const json_t *list, struct error *err)
{
	const struct recaption_options options = {.rewrite = *m->rewrite, .folder = m->folder};
	cleanup_free const char **keys = xcalloc(json_object_size(list) + 1, sizeof(*keys));
	const char *key;
	json_t *unused;
	size_t n = 0;

	json_object_foreach((json_t *)list, key, unused) keys[n++] = key;
	if (queue_recaption(m->rewrite->queue, m->dataset->id, keys, n, err) < 0)
		return -1;
	return captions_list_write(&options, err);
}

/* Adds what is of this dataset to its file. */
static int give(struct maintenance *m, const json_t *known, struct error *err)
{
	cleanup_free char *path = given_captions_path(m->folder);
	json_t *given = json_object();
	int r = caption_list_read(path, given, err);

	if (r == 0) {
		json_object_update(given, (json_t *)known);
		r = caption_list_write(path, given, err);
	}
	json_decref(given);
	return r < 0 ? -1 : tell(m, known, err);
}

static int set(struct maintenance *m, struct error *err)
{
	json_t *list = json_object();
	size_t foreign = 0;
	int r = read_input(m->options->words[1], list, err);

	if (r == 0)
		r = foreign_keys_leave("captions", m->rewrite->queue, m->dataset, list, &foreign,
				       err);
	if (r == 0 && !m->options->dry_run && json_object_size(list) > 0)
		r = give(m, list, err);
	if (r == 0) {
		printf("%s: %zu caption%s %s\n", m->dataset->name, json_object_size(list),
		       plural(json_object_size(list)),
		       m->options->dry_run
			   ? "would be set"
			   : "set; the next encode or compact brings them into the shards");
		m->ends = foreign > 0 ? EXIT_QUARANTINED : EXIT_OK;
	}
	json_decref(list);
	return r;
}

/* Those beside the images count again; the next encode reads them. */
static int reset(struct maintenance *m, struct error *err)
{
	cleanup_free char *path = given_captions_path(m->folder);
	json_t *given = json_object();
	int r = caption_list_read(path, given, err);

	if (r == 0)
		r = tell(m, given, err);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = error_sys(err, "remove %s", path);
	if (r == 0)
		printf("%s: %zu caption%s no longer set; the next encode reads those beside the "
		       "images\n",
		       m->dataset->name, json_object_size(given), plural(json_object_size(given)));
	json_decref(given);
	return r;
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
		return maintenance_run(argc, argv, &to_reset, reset, err);
	if (argc > 1 && strcmp(argv[1], "set") != 0 && argv[1][0] != '-') {
		char quoted[TEXT_QUOTE_SIZE];

		fprintf(stderr,
			"latentctl captions: %s: expected set or reset\nusage: latentctl %s\n",
			text_quote(argv[1], quoted), to_set.usage);
		return EXIT_USAGE;
	}
	return maintenance_run(argc, argv, &to_set, set, err);
}
