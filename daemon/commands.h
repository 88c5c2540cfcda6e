/*
 * The commands of latentctl. Each parses its own words (argv[0] is its name), prints its result on stdout
 * and returns an exit code; below zero, *err says in one line why it could not.
 */
#ifndef LATENTD_DAEMON_COMMANDS_H
#define LATENTD_DAEMON_COMMANDS_H

#include "config/read_options.h"
#include "daemon/exit_codes.h"
#include "daemon/output.h"
#include "queue/queue.h"

int cmd_encode(int argc, char **argv, struct error *err);
int cmd_preview(int argc, char **argv, struct error *err);
int cmd_plan(int argc, char **argv, struct error *err);
int cmd_status(int argc, char **argv, struct error *err);
int cmd_failed(int argc, char **argv, struct error *err);
int cmd_top_errors(int argc, char **argv, struct error *err);
int cmd_skipped(int argc, char **argv, struct error *err);
int cmd_dupes(int argc, char **argv, struct error *err);
int cmd_retry(int argc, char **argv, struct error *err);
int cmd_cancel(int argc, char **argv, struct error *err);
int cmd_scan(int argc, char **argv, struct error *err);
int cmd_pause(int argc, char **argv, struct error *err);
int cmd_resume(int argc, char **argv, struct error *err);
int cmd_drain(int argc, char **argv, struct error *err);
int cmd_seal(int argc, char **argv, struct error *err);
int cmd_priority(int argc, char **argv, struct error *err);
int cmd_deletions(int argc, char **argv, struct error *err);
int cmd_log(int argc, char **argv, struct error *err);
int cmd_nodes(int argc, char **argv, struct error *err);
int cmd_reload(int argc, char **argv, struct error *err);
int cmd_verify(int argc, char **argv, struct error *err);
int cmd_gc(int argc, char **argv, struct error *err);
int cmd_attach(int argc, char **argv, struct error *err);
int cmd_captions(int argc, char **argv, struct error *err);
int cmd_compact(int argc, char **argv, struct error *err);
int cmd_repack(int argc, char **argv, struct error *err);
int cmd_reindex(int argc, char **argv, struct error *err);
int cmd_rebuild(int argc, char **argv, struct error *err);
int cmd_merge(int argc, char **argv, struct error *err);
int cmd_model(int argc, char **argv, struct error *err);
int cmd_inspect(int argc, char **argv, struct error *err);
int cmd_extract(int argc, char **argv, struct error *err);
int cmd_export(int argc, char **argv, struct error *err);
int cmd_import(int argc, char **argv, struct error *err);
int cmd_bench(int argc, char **argv, struct error *err);
int cmd_decode(int argc, char **argv, struct error *err);
int cmd_doctor(int argc, char **argv, struct error *err);
int cmd_decode_latent(int argc, char **argv, struct error *err);
int cmd_encode_image(int argc, char **argv, struct error *err);

/* The exit code for an outcome of read_options_parse. */
int read_options_exit(int outcome);

/* The exit code where ctl_source_open gave @r, CTL_NO_DAEMON (which is said now) or below zero. */
int ctl_ended(const char *command, int r, struct error *err);

/*
 * Finds an output that exists and has a queue: *output as output_peek fills it. ERR_CONFIG where the state folder that
 * @out names has none, which is then named.
 */
int output_find_queue(const char *out, struct output *output, bool *running, struct error *err);

/* What the reading commands share: an output that exists, its queue open for reading. */
struct opened_output {
	struct output output;
	bool running;
	struct queue *queue;
};

#define OPENED_OUTPUT_INIT                                                                         \
	{                                                                                          \
		OUTPUT_INIT, false, NULL                                                           \
	}

int opened_output_open(const char *out, struct opened_output *o, struct error *err);
void opened_output_close(struct opened_output *o);
/*
 * The same for @command, which changes things: with the locks of exactly the output and state that are there, and
 * the queue open for writing. EXIT_BUSY: another process has them, and that has been said.
 */
int opened_output_own(const char *command, const char *out, struct opened_output *o,
		      struct error *err);

/* Says who is at work there, and gives EXIT_BUSY. */
int opened_output_busy(const char *command, const struct opened_output *o);

/*
 * Visits every dataset of @queue that is in @output (NULL: in any), or only the one called @name. @fn may use the queue.
 * ERR_CONFIG: there is none, or none of that name; nothing was visited then.
 */
int each_dataset(struct queue *queue, const struct output *output, const char *name,
		 queue_dataset_fn fn, void *arg, struct error *err);

/*
 * How @command ends when the shard at @path cannot be read as asked: damage is printed, with the shard's name, and
 * ends with EXIT_DAMAGED; any other error goes on to the caller (-1).
 */
int shard_failed(const char *command, const char *path, const struct error *err);

/* The ending of "image", "sample", "shard" behind that number. */
const char *plural(uint64_t n);

#define cleanup_opened_output cleanup_with(opened_output_close)

#endif
