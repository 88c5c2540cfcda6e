/*
 * What people may ask the running daemon to do. The API's threads call one function, which the service offers:
 *
 *	r = options.request(options.arg, &request, &reply, err);
 *
 * It posts the request to the loop and waits for its answer, for at most SERVICE_REQUEST_MS. Several threads may
 * call it at once; the loop answers in the order in which the requests came. Strings are the caller's and live
 * during the call: a service that gives up waiting must have copied what the loop may still read.
 */
#ifndef LATENTD_DAEMON_SERVICE_REQUEST_H
#define LATENTD_DAEMON_SERVICE_REQUEST_H

#include "daemon/upkeep.h"
#include "queue/queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_REQUEST_MS 10000

/* In brackets what is counted in the reply, and which fields besides dataset are used. */
enum service_command {
	REQUEST_SCAN, /* look through the folders now [datasets] */
	REQUEST_PAUSE, /* begin nothing new; what is under way is finished: encoder [datasets or encoders] */
	REQUEST_RESUME, /* encoder [datasets or encoders] */
	REQUEST_DRAIN, /* take no new files, encode and seal what is queued, then idle (all: then end) [datasets] */
	REQUEST_SEAL,	  /* seal what is encoded, however few [datasets] */
	REQUEST_RETRY,	  /* state (quarantined, skipped or cancelled), reason, key [jobs] */
	REQUEST_CANCEL,	  /* jobs that nobody has begun: key [jobs] */
	REQUEST_PRIORITY, /* priority [datasets] */
	REQUEST_ACCEPT_DELETIONS, /* what vanished is removed [samples or files that waited] */
	REQUEST_CAPTIONS, /* captions, dry_run: given by a person from now on [those of its images] */
	REQUEST_RESET_CAPTIONS, /* those of the files count again [that were given] */
	REQUEST_ATTACH, /* array, path, dry_run: come into the shards when they are rewritten [images that get one] */
	REQUEST_RELOAD,	 /* the config file; dataset is NULL [datasets that changed] */
	REQUEST_GC,	 /* upkeep: begun as soon as it can be, id tells what becomes of it [1] */
	REQUEST_COMPACT, /* likewise */
	REQUEST_UPKEEP,	 /* what becomes of these: list [1] */
};
#define SERVICE_COMMANDS 16

struct json_t;

struct service_request {
	enum service_command command;
	const char *dataset; /* NULL: all */
	const char *encoder; /* pause, resume: this one, and no dataset; NULL: none */
	int state;	     /* enum job_state; -1: quarantined */
	const char *reason;  /* NULL: any */
	const char *key;     /* one sample; NULL: all */
	int priority;
	struct json_t
	    *captions; /* {key: text or null}; those that it has no image for are taken out */
	const char *array, *path; /* a name, and a .safetensors file or a folder */
	bool dry_run;
	struct upkeep_order upkeep; /* its dry_run, too */
};

struct service_reply {
	uint64_t count;
	int64_t id;   /* of gc and compact; 0: none */
	char *upkeep; /* a JSON array (lane_upkeep_json), to be freed; NULL: none */
	char message
	    [512]; /* one line for people; of a reload: what needs a restart. Empty: nothing to say */
};

/* Of a request: there is no dataset of this name; the reply is untouched. */
#define SERVICE_NO_DATASET 1
/* Of a request: there is no sample of this key. */
#define SERVICE_NO_KEY 2
/* Of a request: there is no encoder of this name. */
#define SERVICE_NO_ENCODER 3

/*
 * Errors: ERR_CONFIG (it cannot be done as asked: a bad config file, priorities out of range), ERR_TRANSIENT (no answer within the time: the loop is busy, or the daemon ends), ERR_IO (the disk).
 */
typedef int (*service_request_fn)(void *arg, const struct service_request *request,
				  struct service_reply *reply, struct error *err);

/* "scan", "accept-deletions": as in paths of the API and for latentctl. */
const char *service_command_name(enum service_command command);

#endif
