#include "daemon/api_commands.h"

#include "daemon/json_text.h"

#include <jansson.h>
#include <stdlib.h>

static struct service_request request_of(const struct api_command *c)
{
	const struct api_params *p = c->params;

	return (struct service_request){
	    .command = c->command,
	    .dataset = c->dataset,
	    .encoder = c->encoder,
	    .state = p->state,
	    .reason = p->reason,
	    .key = p->key,
	    .priority = p->priority,
	    .captions = p->captions,
	    .array = p->array,
	    .path = p->path,
	    .dry_run = p->dry_run,
	    .upkeep = {.kind = c->command == REQUEST_GC ? UPKEEP_GC : UPKEEP_COMPACT,
		       .dry_run = p->dry_run,
		       .grace_hours = p->grace_hours,
		       .shard_samples = p->shard_samples,
		       .shard_bytes = p->shard_bytes}};
}

/* What is wrong with parameters that are right by themselves. NULL: nothing. */
static const char *wrong(enum service_command command, const struct api_params *p)
{
	switch (command) {
	case REQUEST_PRIORITY:
		return p->has_priority ? NULL : "priority is missing";
	case REQUEST_CAPTIONS:
		return p->captions ? NULL : "captions is missing";
	case REQUEST_ATTACH:
		return p->array && p->path ? NULL : "array or path is missing";
	case REQUEST_RETRY:
		return p->state < 0 || p->state == JOB_QUARANTINED || p->state == JOB_SKIPPED ||
			       p->state == JOB_CANCELLED
			   ? NULL
			   : "state: only quarantined, skipped and cancelled images are retried";
	default:
		return NULL;
	}
}

static const char *unknown(int outcome)
{
	switch (outcome) {
	case SERVICE_NO_KEY:
		return "there is no such image";
	case SERVICE_NO_ENCODER:
		return "there is no encoder of this name";
	default:
		return "there is no dataset of this name";
	}
}

/* Takes what *done has. */
static json_t *body_of(struct service_reply *done)
{
	json_t *body = json_object(), *list;

	if (done->upkeep) {
		list = json_loads(done->upkeep, 0, NULL);
		json_object_set_new(body, "upkeep", list ? list : json_array());
		free(done->upkeep);
		return body;
	}
	json_object_set_new(body, "count", json_count(done->count));
	json_object_set_new(body, "message", json_clean(done->message));
	if (done->id > 0)
		json_object_set_new(body, "id", json_integer(done->id));
	return body;
}

unsigned api_command(const struct api_context *context, const struct api_command *command,
		     json_t **body, struct error *err)
{
	struct service_request request = request_of(command);
	struct service_reply done = {.count = 0};
	const char *why = wrong(command->command, command->params);
	int r;

	if (why) {
		error_set(err, ERR_CONFIG, "%s", why);
		return 400;
	}
	r = context->request(context->arg, &request, &done, err);
	if (r < 0)
		return err->code == ERR_CONFIG ? 409 : err->code == ERR_TRANSIENT ? 503 : 500;
	if (r > 0) {
		error_set(err, ERR_CONFIG, "%s", unknown(r));
		return 404;
	}
	*body = body_of(&done);
	return 200;
}
