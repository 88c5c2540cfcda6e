#include "daemon/shared_output.h"

#include "daemon/commands.h"
#include "daemon/output.h"
#include "daemon/state_queue.h"

#include "config/daemon_config.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include "queue/queue_nodes.h"

#include <stdio.h>
#include <string.h>

struct shared_output {
	const char *command;
	const struct read_options *options;
	struct output output;	      /* of --out */
	struct daemon_config *config; /* of --config */
	struct queue *queue;
};

struct queue *shared_output_queue(const struct shared_output *s)
{
	return s->queue;
}

void shared_output_close(struct shared_output *s)
{
	if (!s)
		return;
	queue_close(s->queue);
	output_close(&s->output);
	daemon_config_free(s->config);
	free(s);
}

/* -- opening -------------------------------------------------------------------------------------- */

/* Only what it says of queue and outputs counts here, not whether all that it names is there. */
static int open_config(struct shared_output *s, struct error *err)
{
	const char *file = s->options->config;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *node = NULL;

	if (file_read_all(file, 16 << 20, &text, err) < 0 ||
	    daemon_config_parse(file, text.data ? text.data : (const uint8_t *)"", text.size,
				&s->config, err) < 0)
		return -1;
	if (!s->config->queue.postgres)
		return error_set(
		    err, ERR_CONFIG,
		    "%s has no queue that nodes share (queue.postgres): say with --out "
		    "which output is meant",
		    file);
	node = node_name(s->config->queue.node);
	return state_queue_open_at(s->config->queue.postgres, node, s->options->dry_run, &s->queue,
				   err);
}

/* 0, SHARED_OUTPUT_NONE or -1. */
static int open_state(struct shared_output *s, struct error *err)
{
	cleanup_free char *bound = xasprintf("%s/.latentd/queue.json", s->options->out);
	cleanup_free char *node = NULL;
	bool running;

	if (!file_exists(bound))
		return SHARED_OUTPUT_NONE;
	if (output_peek(s->options->out, &s->output, &running, err) < 0)
		return -1;
	node = state_queue_node(s->output.state);
	if (!node)
		return error_set(err, ERR_CONFIG,
				 "nodes share %s, and %s, which names their queue, is not on this "
				 "machine: give --config FILE with their queue.postgres",
				 s->output.root, s->output.state);
	return s->options->dry_run ? state_queue_open_readonly(s->output.state, &s->queue, err)
				   : state_queue_open(s->output.state, &s->queue, err);
}

int shared_output_open(const char *command, const struct read_options *options,
		       struct shared_output **out, struct error *err)
{
	struct shared_output *s = xcalloc(1, sizeof(*s));
	int r;

	s->command = command;
	s->options = options;
	s->output = (struct output)OUTPUT_INIT;
	r = options->config ? open_config(s, err) : open_state(s, err);
	if (r == 0)
		*out = s;
	else
		shared_output_close(s);
	return r;
}

/* -- datasets ------------------------------------------------------------------------------------- */

/* Nodes of another database would take these shards for theirs. */
static int check_queue(const struct shared_output *s, const char *root, struct error *err)
{
	cleanup_free char *bound = xasprintf("%s/.latentd/queue.json", root);
	struct output output = OUTPUT_INIT;
	char cluster[QUEUE_CLUSTER_SIZE];

	if (!file_exists(bound))
		return error_set(err, ERR_CONFIG, "%s is not there: no node has begun in it",
				 bound);
	output.root = (char *)root;
	return queue_cluster(s->queue, cluster, err) < 0 ? -1
							 : output_bind_queue(&output, cluster, err);
}

struct visit {
	const struct shared_output *shared;
	struct error *err;
	shared_dataset_fn fn;
	void *arg;
	const char *root;
};

static int in_turn(const struct visit *v, const struct queue_dataset *dataset)
{
	struct queue *queue = v->shared->queue;
	int64_t now = 0;
	int r = queue_turn_take(queue, dataset->id, &now, v->err);

	if (r < 0)
		return -1;
	if (r == QUEUE_TURN_TAKEN) {
		fprintf(stderr,
			"latentctl %s: %s: another process replaces or removes shards of it: again "
			"when that has ended\n",
			v->shared->command, dataset->name);
		return EXIT_BUSY;
	}
	r = v->fn(v->arg, dataset, v->root, now);
	queue_turn_end(queue);
	return r;
}

static int on_dataset(void *arg, const struct queue_dataset *dataset)
{
	const struct visit *v = arg;

	if (check_queue(v->shared, v->root, v->err) < 0)
		return -1;
	return v->shared->options->dry_run ? v->fn(v->arg, dataset, v->root, clock_wall_ms())
					   : in_turn(v, dataset);
}

static int each_of_config(struct shared_output *s, struct visit *v, struct error *err)
{
	const char *name = s->options->name;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < s->config->n_datasets && r == 0; i++) {
		const struct dataset_config *d = &s->config->datasets[i];

		if (name && strcmp(d->name, name) != 0)
			continue;
		n++;
		v->root = d->output.path;
		r = each_dataset(s->queue, NULL, d->name, on_dataset, v, err);
	}
	if (r == 0 && n == 0)
		return error_set(err, ERR_CONFIG, "%s has no dataset%s%s", s->options->config,
				 name ? " " : "", name ? name : "");
	return r;
}

int shared_output_each(struct shared_output *s, shared_dataset_fn fn, void *arg, struct error *err)
{
	struct visit v = {s, err, fn, arg, s->output.root};

	return s->config
		   ? each_of_config(s, &v, err)
		   : each_dataset(s->queue, &s->output, s->options->name, on_dataset, &v, err);
}
