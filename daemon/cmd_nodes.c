/*
 * The machines that share a queue. What is asked of them stands in the queue, where each looks every third of its
 * timeout: no daemon need answer here.
 */
#include "daemon/commands.h"

#include "config/daemon_config.h"

#include "daemon/ctl_source.h"
#include "daemon/state_queue.h"
#include "daemon/status_text.h"

#include "base/checked.h"
#include "base/files.h"
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

/* 0, CTL_NO_DAEMON or -1: the state folder of the daemon at --socket, or where the options say; to be freed. */
static int find_state(const struct read_options *o, char **out, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	cleanup_buffer struct buffer path = BUFFER_INIT;
	bool named = o->out || o->state || o->config;
	json_t *status = NULL;
	int r;

	if (!named && !o->socket && !file_exists(DAEMON_CONFIG_DEFAULT))
		return error_set(err, ERR_CONFIG,
				 "say with --out, --state, --config or --socket whose nodes (there "
				 "is no " DAEMON_CONFIG_DEFAULT ")");
	if (named || !o->socket) {
		*out = ctl_source_state(o, err);
		return *out ? 0 : -1;
	}
	r = ctl_source_open_daemon(o, &source, err);
	if (r == 0)
		r = ctl_source_get(source, "status", &status, err);
	if (r != 0)
		return r;
	status_path(&path, json_object_get(status, "daemon"), "state_dir");
	json_decref(status);
	buffer_append(&path, "", 1);
	*out = xstrdup((const char *)path.data);
	return 0;
}

/* Likewise. */
static int open_queue(const struct read_options *o, bool readonly, struct queue **out,
		      struct error *err)
{
	cleanup_free char *state = NULL, *node = NULL;
	int r = find_state(o, &state, err);

	if (r != 0)
		return r;
	if (!file_exists(state))
		return error_set(err, ERR_CONFIG, "there is no state folder %s", state);
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
	    "nodes [--out DIR | --state DIR | --config FILE | --socket PATH] [--json]\n"
	    "                       [--drain NODE | --resume NODE | --forget NODE]"};
	struct read_options o = {.out = NULL};
	cleanup_queue struct queue *queue = NULL;
	int r = read_options_parse(argc, argv, &command, &o);

	if (r != 0)
		return read_options_exit(r);
	if (!!o.drain + !!o.resume + !!o.forget > 1)
		return read_options_exit(read_options_wrong(
		    argv[0], &command, "only one of --drain, --resume and --forget"));
	r = open_queue(&o, !o.drain && !o.resume && !o.forget, &queue, err);
	if (r != 0)
		return ctl_ended(argv[0], r, err);
	if (o.forget)
		return forget(queue, o.forget, err);
	if (o.drain || o.resume)
		return order(queue, o.drain ? o.drain : o.resume, o.drain != NULL, err);
	return show(queue, o.json, err);
}
