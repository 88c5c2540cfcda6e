/*
 * The commands of latentctl. Each parses its own words (argv[0] is its name), prints its result on stdout
 * and returns an exit code; below zero, *err says in one line why it could not.
 */
#ifndef LATENTD_DAEMON_COMMANDS_H
#define LATENTD_DAEMON_COMMANDS_H

#include "daemon/exit_codes.h"
#include "daemon/output.h"
#include "queue/queue.h"

int cmd_encode(int argc, char **argv, struct error *err);
int cmd_status(int argc, char **argv, struct error *err);
int cmd_failed(int argc, char **argv, struct error *err);
int cmd_retry(int argc, char **argv, struct error *err);
int cmd_verify(int argc, char **argv, struct error *err);
int cmd_inspect(int argc, char **argv, struct error *err);
int cmd_extract(int argc, char **argv, struct error *err);

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

/* The dataset @name, or the only one where @name is NULL; all others are passed over. ERR_CONFIG: none, or
 * several and no name. */
int each_dataset(struct queue *queue, const char *name, queue_dataset_fn fn, void *arg,
		 struct error *err);

#define cleanup_opened_output cleanup_with(opened_output_close)

#endif
