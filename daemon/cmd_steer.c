/*
 * Commands that only a daemon can follow.
 */
#include "daemon/commands.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include "daemon/ctl_source.h"
#include "daemon/ctl_steer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int steer(int argc, char **argv, const struct read_command *command,
		 const struct ctl_order *order, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open_daemon(&options, &source, err);
	return r == 0 ? ctl_steer(source, &options, order, NULL, err) : ctl_ended(argv[0], r, err);
}

#define STEER(verb, noun_, done_)                                                                  \
	int cmd_##verb(int argc, char **argv, struct error *err)                                   \
	{                                                                                          \
		static const struct read_command command = {                                       \
		    "daemon name", 0, #verb " [--socket PATH | --out DIR] [--name NAME]"};         \
		static const struct ctl_order order = {                                            \
		    .command = #verb, .noun = noun_, .done = done_};                               \
                                                                                                   \
		return steer(argc, argv, &command, &order, err);                                   \
	}

STEER(scan, "dataset", "looked through now")
STEER(drain, "dataset", "draining")
STEER(seal, "dataset", "sealed as far as encoded")

/* Of datasets, or of one encoder. */
static int steer_either(int argc, char **argv, const struct ctl_order *order, struct error *err)
{
	cleanup_free char *usage = xasprintf(
	    "%s [--socket PATH | --out DIR] [--name NAME | --encoder NAME]", order->command);
	const struct read_command command = {"daemon name encoder", 0, usage};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (options.encoder && options.name)
		return read_options_exit(read_options_wrong(
		    argv[0], &command, "--encoder and --name do not go together"));
	r = ctl_source_open_daemon(&options, &source, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	return options.encoder ? ctl_steer_encoder(source, options.encoder, order, err)
			       : ctl_steer(source, &options, order, NULL, err);
}

int cmd_pause(int argc, char **argv, struct error *err)
{
	static const struct ctl_order order = {
	    .command = "pause", .noun = "dataset", .done = "paused"};

	return steer_either(argc, argv, &order, err);
}

int cmd_resume(int argc, char **argv, struct error *err)
{
	static const struct ctl_order order = {
	    .command = "resume", .noun = "dataset", .done = "resumed"};

	return steer_either(argc, argv, &order, err);
}

int cmd_reload(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon", 0, "reload [--socket PATH | --out DIR | --state DIR | --config FILE]"};
	static const struct ctl_order order = {
	    .command = "reload", .noun = "setting", .done = "changed"};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open_daemon(&options, &source, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	options.out = NULL; /* it says which daemon; the file is the whole daemon's */
	return ctl_steer(source, &options, &order, NULL, err);
}

/* -- with more to say ----------------------------------------------------------------------------- */

static json_t *priority_body(const struct read_options *options)
{
	json_t *o = json_object();

	json_object_set_new(o, "priority", json_integer(strtol(options->words[1], NULL, 10)));
	return o;
}

int cmd_priority(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon", 2, "priority [--socket PATH | --out DIR] NAME N   (below zero: -- NAME -N)"};
	static const struct ctl_order order = {.command = "priority",
					       .body = priority_body,
					       .noun = "dataset",
					       .done = "changed",
					       .each = true};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	char *end = NULL;
	int r = read_options_parse(argc, argv, &command, &options);
	long n;

	if (r != 0)
		return read_options_exit(r);
	n = strtol(options.words[1], &end, 10);
	if (end == options.words[1] || *end != '\0' || n < -1000 || n > 1000)
		return read_options_exit(read_options_wrong(
		    argv[0], &command, "N: expected a whole number from -1000 to 1000"));
	options.name = options.words[0];
	r = ctl_source_open_daemon(&options, &source, err);
	return r == 0 ? ctl_steer(source, &options, &order, NULL, err) : ctl_ended(argv[0], r, err);
}

/* Those whose files vanished: how many wait in each dataset. */
static int print_deletions(struct ctl_source *source, struct error *err)
{
	json_t *status = NULL, *dataset;
	size_t i, waiting = 0;
	int r = ctl_source_status(source, &status, err);

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		json_int_t n = json_integer_value(json_object_get(dataset, "deletions"));

		if (n <= 0)
			continue;
		waiting++;
		printf("%s: %lld sample%s kept although the file is gone; --accept removes %s\n",
		       json_string_value(json_object_get(dataset, "name")), (long long)n,
		       n == 1 ? " is" : "s are", n == 1 ? "it" : "them");
	}
	json_decref(status);
	if (r == 0 && waiting == 0)
		puts("no samples wait to be removed");
	return r;
}

int cmd_deletions(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name accept", 0,
	    "deletions [--socket PATH | --out DIR] [--name NAME] [--accept]"};
	static const struct ctl_order order = {.command = "accept-deletions",
					       .noun = "sample",
					       .done = "removed",
					       .each = true,
					       .where = "deletions"};
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);
	size_t given = 0;

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open_daemon(&options, &source, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	if (!options.accept)
		return print_deletions(source, err);
	r = ctl_steer(source, &options, &order, &given, err);
	if (r == 0 && given == 0)
		puts("no samples wait to be removed");
	return r;
}
