#include "daemon/command_line.h"
#include "daemon/commands.h"
#include "daemon/rebuild.h"
#include "daemon/sources.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>

struct rebuild_words {
	const char *state;
	bool force, help;
};

#define FIELD(f) offsetof(struct rebuild_words, f)

static const struct setting settings[] = {
    {"state", SETTING_PATH, FIELD(state), .value_name = "DIR",
     .help = "where the queue goes, on a local disk (below XDG_STATE_HOME)"},
    {"force", SETTING_FLAG, FIELD(force), .help = "move a state that is there aside"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

static void print_help(void)
{
	printf("usage: latentctl rebuild OUT [SRC...] [--state DIR] [--force]\n\n"
	       "Makes the queue of an output from its shards alone. SRC: the source folders that "
	       "were\n"
	       "encoded, in the order of the first encode; needed where there were several.\n\n");
	settings_help(stdout, settings, ARRAY_SIZE(settings));
}

struct numbering {
	const char *state;
	char *const *paths;
	size_t n;
	struct error *err;
};

/* As 0, 1, ... in a state that has none yet; each dataset is taken to be of all of them. */
static int number_sources(void *arg, const struct queue_dataset *d)
{
	const struct numbering *x = arg;
	cleanup_free uint32_t *numbers = xcalloc(x->n, sizeof(*numbers));
	struct sources_numbers out = {.numbers = numbers};

	return sources_number(x->state, d->name, x->paths, x->n, &out, x->err);
}

static int remember_sources(const char *state, char *const *paths, size_t n, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", state);
	cleanup_queue struct queue *queue = NULL;
	struct numbering x = {state, paths, n, err};

	if (n == 0)
		return 0;
	if (queue_sqlite_open_readonly(path, &queue, err) < 0)
		return -1;
	return each_dataset(queue, NULL, NULL, number_sources, &x, err);
}

static int rebuild(const struct rebuild_words *words, const struct output *output,
		   char *const *paths, size_t n, struct error *err)
{
	cleanup_free struct shard_rows_root *roots = xcalloc(n + 1, sizeof(*roots));
	const struct rebuild_options options = {
	    .output = output, .force = words->force, .roots = roots, .n_roots = n};
	struct rebuild_result result = {.datasets = 0};

	for (size_t i = 0; i < n; i++)
		roots[i] = (struct shard_rows_root){paths[i], (uint32_t)i};
	if (rebuild_output(&options, &result, err) < 0 ||
	    remember_sources(output->state, paths, result.datasets > 0 ? n : 0, err) < 0)
		return -1;
	printf("%s: %zu sample%s in %zu shard%s of %zu dataset%s entered, %zu damaged\n",
	       output->root, result.samples, plural(result.samples), result.shards,
	       plural(result.shards), result.datasets, plural(result.datasets), result.damaged);
	return result.damaged > 0 ? EXIT_DAMAGED : EXIT_OK;
}

/* @words: OUT, then the sources. */
static int run(const struct rebuild_words *options, const char *const *words, size_t n,
	       struct error *err)
{
	cleanup_free char **paths = xcalloc(n, sizeof(*paths));
	struct output output = OUTPUT_INIT;
	int r = 0;

	if (!file_exists(words[0]))
		return error_set(err, ERR_CONFIG, "%s is not there", words[0]);
	for (size_t i = 1; i < n && r == 0; i++) {
		paths[i - 1] = realpath(words[i], NULL);
		r = paths[i - 1] ? 0 : error_sys(err, "%s", words[i]);
	}
	if (r == 0)
		r = output_open(words[0], options->state, &output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl rebuild: %s\n", output.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		r = rebuild(options, &output, paths, n - 1, err);
		if (r >= 0 && output_claim(&output, false, err) < 0)
			r = -1;
	}
	output_close(&output);
	for (size_t i = 0; i + 1 < n; i++)
		free(paths[i]);
	return r;
}

/* What the table cannot tell. */
static void check(const void *options, size_t n, struct error *err)
{
	(void)options;
	if (n == 0)
		error_set(err, ERR_CONFIG, "which output? OUT is missing");
}

int cmd_rebuild(int argc, char **argv, struct error *err)
{
	static const struct command_line line = {"rebuild", settings, ARRAY_SIZE(settings), check,
						 print_help};
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct rebuild_words options = {.state = NULL};
	size_t n = 0;
	int code;

	if (!command_line_read(&line, argc, argv, &options, &options.help, words, &n, &code))
		return code;
	return run(&options, words, n, err);
}
