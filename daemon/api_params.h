/*
 * What a request of the API asks for: the words of its path, the parameters of its query, the members of its body.
 * All of it comes from outside and is checked here, once: afterwards there are only strings without NUL bytes,
 * numbers in range and states that exist.
 */
#ifndef LATENTD_DAEMON_API_PARAMS_H
#define LATENTD_DAEMON_API_PARAMS_H

#include "base/cleanup.h"
#include "base/error.h"

#include "config/daemon_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_PATH_WORDS	  8
#define API_LIMIT_DEFAULT 100
#define API_LIMIT_MAX	  1000
#define API_GRACE_DEFAULT 24

struct api_path {
	char *words[API_PATH_WORDS]; /* decoded; "/a/b" has two */
	size_t n;
};

struct json_t;

struct api_params {
	int state;		    /* enum job_state; -1: not given */
	char *reason, *key, *after; /* NULL: not given; after: see the route */
	size_t limit;
	int64_t shard, offset; /* -1: not given */
	bool has_priority;
	int priority;		 /* -1000 to 1000 */
	struct json_t *captions; /* an object, its members strings or null; NULL: not given */
	bool dry_run;
	bool has_level;
	enum log_level level;
	char *dataset;	    /* NULL: not given; of the path it is elsewhere */
	char *array, *path; /* NULL: not given; a valid name, an absolute path */
	size_t grace_hours;
	size_t shard_samples, shard_bytes; /* 0: not given */
};

#define API_PARAMS_INIT                                                                            \
	{                                                                                          \
		-1, NULL, NULL, NULL, API_LIMIT_DEFAULT, -1, -1, false, 0, NULL, false, false,     \
		    LOG_LEVEL_DEBUG, NULL, NULL, NULL, API_GRACE_DEFAULT, 0, 0                     \
	}

/* The path of @uri, up to its query. False where it is none of ours: nothing is to be released then. */
bool api_path_parse(const char *uri, struct api_path *out);
void api_path_release(struct api_path *p);

/*
 * Both take only what stands in @accepted ("state reason limit"), each once, over what *params holds. ERR_CONFIG,
 * for people, names what is wrong and what is expected; *params may be filled in part, and is released either way.
 */
int api_params_query(const char *uri, const char *accepted, struct api_params *params,
		     struct error *err);
/* @body: a JSON object, or nothing at all. */
int api_params_body(const void *body, size_t size, const char *accepted, struct api_params *params,
		    struct error *err);
void api_params_release(struct api_params *p);

#define cleanup_params cleanup_with(api_params_release)

#endif
