/*
 * Images that are to be tried again, or given up: by the daemon, or in the database where none works on the output.
 */
#include "daemon/commands.h"

#include "base/clock.h"

#include "daemon/ctl_source.h"
#include "daemon/ctl_steer.h"

#include <jansson.h>
#include <stdio.h>

struct change {
	const char *command;
	struct ctl_order order;
	/* Without a daemon: */
	int (*change)(struct queue *q, const struct job_filter *which, int64_t now, size_t *n,
		      struct error *err);
	const char *done;
};

static enum job_state state_of(const struct read_options *options)
{
	return options->skipped	    ? JOB_SKIPPED
	       : options->cancelled ? JOB_CANCELLED
				    : JOB_QUARANTINED;
}

static void set_text(json_t *o, const char *member, const char *value)
{
	if (value)
		json_object_set_new(o, member, json_string(value));
}

static json_t *retry_body(const struct read_options *options)
{
	json_t *o = json_object();

	set_text(o, "state", job_state_name(state_of(options)));
	set_text(o, "reason", options->reason);
	set_text(o, "key", options->key);
	return o;
}

static json_t *cancel_body(const struct read_options *options)
{
	json_t *o = json_object();

	set_text(o, "key", options->key);
	return o;
}

/* -- in the database ------------------------------------------------------------------------------ */

struct stored {
	const struct change *change;
	const struct read_options *options;
	struct queue *queue;
	struct error *err;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	const struct stored *s = arg;
	struct job_filter which = {.dataset = d->id,
				   .state = state_of(s->options),
				   .reason = s->options->reason,
				   .key = s->options->key};
	size_t n = 0;

	if (s->change->change(s->queue, &which, clock_wall_ms(), &n, s->err) < 0)
		return -1;
	printf("%s: %zu image%s %s\n", d->name, n, plural(n), s->change->done);
	return 0;
}

static int change_stored(const struct change *change, const struct read_options *options,
			 struct error *err)
{
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct stored stored = {.change = change, .options = options, .err = err};
	int r = opened_output_own(change->command, options->out, &opened, err);

	if (r != 0)
		return r;
	stored.queue = opened.queue;
	return each_dataset(opened.queue, &opened.output, options->name, on_dataset, &stored, err);
}

/* -- either --------------------------------------------------------------------------------------- */

static int change_jobs(const struct change *change, const struct read_options *options,
		       struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct ctl_order order = change->order;
	int r = ctl_source_open_daemon(options, &source, err);

	if (r == CTL_NO_DAEMON && options->out) {
		error_clear(err);
		return change_stored(change, options, err);
	}
	if (r != 0)
		return ctl_ended(change->command, r, err);
	order.each = order.each || options->key;
	return ctl_steer(source, options, &order, NULL, err);
}

int cmd_retry(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name reason key skipped cancelled", 0,
	    "retry [--out DIR | --socket PATH] [--name NAME] [--reason R] [--key KEY]\n"
	    "                       [--skipped | --cancelled]"};
	static const struct change change = {.command = "retry",
					     .order = {.command = "retry",
						       .body = retry_body,
						       .noun = "image",
						       .done = "will be tried again"},
					     .change = queue_retry,
					     .done = "will be tried again by the next encode"};
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	return r == 0 ? change_jobs(&change, &options, err) : read_options_exit(r);
}

int cmd_cancel(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon name key", 0, "cancel [--out DIR | --socket PATH] --name NAME [--key KEY]"};
	static const struct change change = {.command = "cancel",
					     .order = {.command = "cancel",
						       .body = cancel_body,
						       .noun = "image",
						       .done = "cancelled",
						       .each = true},
					     .change = queue_cancel,
					     .done = "cancelled"};
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (!options.name) /* nobody means every image of every dataset */
		return read_options_exit(
		    read_options_wrong(argv[0], &command, "say with --name of which dataset"));
	return change_jobs(&change, &options, err);
}
