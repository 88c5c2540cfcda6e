#include "daemon/command_line.h"
#include "daemon/commands.h"
#include "daemon/merge.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>

struct merge_words {
	const char *state;
	bool help;
};

#define FIELD(f) offsetof(struct merge_words, f)

static const struct setting settings[] = {
    {"state", SETTING_PATH, FIELD(state), .value_name = "DIR",
     .help = "where the queue of OUT goes, on a local disk (below XDG_STATE_HOME)"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

static void print_help(void)
{
	printf("usage: latentctl merge OUT PART... [--state DIR]\n\n"
	       "Brings the datasets of the outputs PART (of `encode --part i/n`) into the output "
	       "OUT.\n"
	       "The parts stay as they are.\n\n");
	settings_help(stdout, settings, ARRAY_SIZE(settings));
}

/* A part whose lock did not come along is only files: nobody works there. 0, EXIT_BUSY, or -1. */
static int check_part(const char *part, struct error *err)
{
	cleanup_free char *lock = xasprintf("%s/.latentd/lock", part);
	struct output output = OUTPUT_INIT;
	bool running = false;
	int r = file_exists(lock) ? output_peek(part, &output, &running, err) : 0;

	if (r == 0 && running)
		fprintf(stderr, "latentctl merge: %s\n", output.owner);
	output_close(&output);
	return r == 0 && running ? EXIT_BUSY : r;
}

static int merge_all(const struct output *output, struct merge_plan *plan, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", output->state);
	cleanup_queue struct queue *queue = NULL;

	if (queue_sqlite_open(path, &queue, err) < 0)
		return -1;
	for (size_t i = 0; i < plan->n; i++) {
		struct merge_counts counts = {0};

		if (merge_into(output, queue, &plan->datasets[i], plan, &counts, err) < 0)
			return -1;
		printf("%s/%s: %zu sample%s in %zu shard%s merged from %zu part%s\n", output->root,
		       plan->datasets[i].name, counts.samples, plural(counts.samples),
		       counts.shards, plural(counts.shards), plan->n_parts, plural(plan->n_parts));
	}
	return EXIT_OK;
}

static int merge_open(const char *out, const char *state, struct merge_plan *plan,
		      struct error *err)
{
	struct output output = OUTPUT_INIT;
	int r = output_open(out, state, &output, err);

	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl merge: %s\n", output.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		for (size_t i = 0; i < plan->n_parts && r == 0; i++) {
			if (strcmp(plan->parts[i], output.root) == 0)
				r = error_set(err, ERR_CONFIG, "%s is both a part and the output",
					      output.root);
		}
		if (r == 0)
			r = output_claim(&output, false, err);
		if (r == 0)
			r = merge_all(&output, plan, err);
	}
	output_close(&output);
	return r;
}

static int run(const struct merge_words *options, const char *const *words, size_t n,
	       struct error *err)
{
	cleanup_free char **parts = xcalloc(n, sizeof(*parts));
	struct merge_plan plan = {.parts = (const char *const *)parts, .n_parts = n - 1};
	int r = 0;

	for (size_t i = 1; i < n && r == 0; i++) {
		parts[i - 1] = realpath(words[i], NULL);
		r = parts[i - 1] ? check_part(parts[i - 1], err) : error_sys(err, "%s", words[i]);
	}
	if (r == 0)
		r = merge_plan_read(&plan, err);
	if (r == 0 && plan.damaged > 0) {
		printf("nothing is merged: repair the part%s with the same encode first\n",
		       plural(plan.n_parts));
		r = EXIT_DAMAGED;
	}
	if (r == 0)
		r = merge_open(words[0], options->state, &plan, err);
	merge_plan_release(&plan);
	for (size_t i = 0; i + 1 < n; i++)
		free(parts[i]);
	return r;
}

/* What the table cannot tell. */
static void check(const void *options, size_t n, struct error *err)
{
	(void)options;
	if (n < 2)
		error_set(err, ERR_CONFIG, "OUT and at least one PART are needed");
}

int cmd_merge(int argc, char **argv, struct error *err)
{
	static const struct command_line line = {"merge", settings, ARRAY_SIZE(settings), check,
						 print_help};
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct merge_words options = {.state = NULL};
	size_t n = 0;
	int code;

	if (!command_line_read(&line, argc, argv, &options, &options.help, words, &n, &code))
		return code;
	return run(&options, words, n, err);
}
