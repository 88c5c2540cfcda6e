/*
 * The machines that share a queue. What is asked of them stands in the queue, where each looks every third of its
 * timeout: no daemon need answer here.
 */
#include "daemon/commands.h"

#include "daemon/ctl_source.h"
#include "daemon/state_queue.h"

#include "base/checked.h"
#include "queue/queue_nodes.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const char *state_name(const struct node_row *row)
{
	if (row->left)
		return "ended";
	if (!row->alive)
		return "silent";
	return row->drains ? "drains" : "works";
}

static int print_json(void *arg, const struct node_row *row)
{
	json_t *o = json_object();
	char *text;

	(void)arg;
	json_object_set_new(o, "name", json_string(row->name));
	json_object_set_new(o, "host", json_string(row->host));
	json_object_set_new(o, "version", json_string(row->version));
	json_object_set_new(o, "state", json_string(state_name(row)));
	json_object_set_new(o, "silent_s", json_real((double)row->silent_ms / 1000));
	json_object_set_new(o, "encoded", json_integer((json_int_t)row->encoded));
	json_object_set_new(o, "images_per_second", json_real(row->rate));
	json_object_set_new(o, "running", json_integer((json_int_t)row->running));
	json_object_set_new(o, "spooled", json_integer((json_int_t)row->spooled));
	json_object_set_new(o, "scans", json_string(row->duties));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (text)
		puts(text);
	free(text);
	return 0;
}

static int print_row(void *arg, const struct node_row *row)
{
	size_t *n = arg;

	if ((*n)++ == 0)
		printf("%-20s %-7s %9s %8s %8s %8s  %s\n", "NODE", "STATE", "IMAGES/S", "ENCODED",
		       "RUNNING", "SPOOLED", "SCANS");
	printf("%-20s %-7s %9.1f %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "  %s\n", row->name,
	       state_name(row), row->alive ? row->rate : 0, row->encoded, row->running,
	       row->spooled, row->duties);
	if (!row->alive && !row->left)
		printf("  silent for %" PRId64
		       " s; if it does not return: latentctl nodes --forget %s\n",
		       row->silent_ms / 1000, row->name);
	return 0;
}

static int show(struct queue *queue, bool json, struct error *err)
{
	size_t n = 0;

	if (queue_nodes(queue, json ? print_json : print_row, &n, err) < 0)
		return -1;
	if (!json && n == 0)
		puts("no node has begun yet");
	return EXIT_OK;
}

static int forget(struct queue *queue, const char *node, struct error *err)
{
	size_t requeued = 0;

	if (queue_node_forget(queue, node, &requeued, err) < 0)
		return -1;
	printf("node %s is forgotten: %zu image%s encoded again\n", node, requeued,
	       requeued == 1 ? " is" : "s are");
	return EXIT_OK;
}

static int order(struct queue *queue, const char *node, bool drains, struct error *err)
{
	if (queue_node_order(queue, node, drains, err) < 0)
		return -1;
	printf("node %s %s\n", node,
	       drains ? "drains: it begins nothing new and seals what it has" : "goes on");
	return EXIT_OK;
}

static int open_queue(const struct read_options *o, bool readonly, struct queue **out,
		      struct error *err)
{
	cleanup_free char *state = ctl_source_state(o, err), *node = NULL;

	if (!state)
		return -1;
	node = state_queue_node(state);
	if (!node)
		return error_set(err, ERR_CONFIG,
				 "%s has no queue that nodes share: it needs queue.postgres",
				 state);
	return readonly ? state_queue_open_readonly(state, out, err)
			: state_queue_open(state, out, err);
}

int cmd_nodes(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "daemon json drain forget resume", 0,
	    "nodes [--out DIR | --state DIR | --config FILE] [--json]\n"
	    "                       [--drain NODE | --resume NODE | --forget NODE]"};
	struct read_options o = {.out = NULL};
	cleanup_queue struct queue *queue = NULL;
	int r = read_options_parse(argc, argv, &command, &o);

	if (r != 0)
		return read_options_exit(r);
	if (!!o.drain + !!o.resume + !!o.forget > 1)
		return error_set(err, ERR_CONFIG, "only one of --drain, --resume and --forget");
	if (open_queue(&o, !o.drain && !o.resume && !o.forget, &queue, err) < 0)
		return -1;
	if (o.forget)
		return forget(queue, o.forget, err);
	if (o.drain || o.resume)
		return order(queue, o.drain ? o.drain : o.resume, o.drain != NULL, err);
	return show(queue, o.json, err);
}
