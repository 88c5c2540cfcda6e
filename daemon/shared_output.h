/*
 * Datasets that nodes share, for a command that works on their shards while nodes do: found by the output of this machine's node, or
 * by a configuration on any machine that reaches database, folder and store.
 *
 *	r = shared_output_open("gc", &options, &shared, err)      0, SHARED_OUTPUT_NONE, -1
 *	shared_output_each(shared, fn, arg, err)
 *	shared_output_close(shared)
 */
#ifndef LATENTD_DAEMON_SHARED_OUTPUT_H
#define LATENTD_DAEMON_SHARED_OUTPUT_H

#include "config/read_options.h"
#include "queue/queue.h"

#include "base/cleanup.h"

struct shared_output;

#define SHARED_OUTPUT_NONE 1 /* nobody shares what --out names */

/*
 * What --config or --out leads to; with --dry-run nothing can be written. @command and @options must outlive it. ERR_CONFIG also where
 * nodes share the output and this machine does not know their queue.
 */
int shared_output_open(const char *command, const struct read_options *options,
		       struct shared_output **out, struct error *err);
struct queue *shared_output_queue(const struct shared_output *s);

/* @root: OUT. @now: by the database's clock, ms since 1970. @fn may use the queue; anything but 0 ends it, and is returned. */
typedef int (*shared_dataset_fn)(void *arg, const struct queue_dataset *dataset, const char *root,
				 int64_t now);
/*
 * All of them, or the one that --name says; each has its turn (queue_nodes.h) meanwhile, which a dry run does not need. EXIT_BUSY:
 * another process has it, and that has been said. ERR_CONFIG: there is no dataset, or none of that name.
 */
int shared_output_each(struct shared_output *s, shared_dataset_fn fn, void *arg, struct error *err);
/* NULL is fine. */
void shared_output_close(struct shared_output *s);

static inline void shared_output_close_p(struct shared_output **s)
{
	shared_output_close(*s);
}

#define cleanup_shared_output cleanup_with(shared_output_close_p)

#endif
