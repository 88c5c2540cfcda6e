/*
 * The API as its client sees it: JSON in, JSON out, and what the daemon refuses as an error with its own words.
 */
#ifndef LATENTD_DAEMON_CTL_API_H
#define LATENTD_DAEMON_CTL_API_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>

struct json_t;
struct ctl_api;

/* Nobody listens at the socket. */
#define CTL_API_NOBODY 1

int ctl_api_open(const char *socket, struct ctl_api **out, struct error *err);
/* NULL is fine. */
void ctl_api_close(struct ctl_api *api);

/*
 * 0, CTL_API_NOBODY (with *err), or -1: ERR_CONFIG for what the daemon refuses, ERR_TRANSIENT where it cannot now,
 * ERR_DATA where what answers is no latentd. *out is an object; the caller has the reference.
 */
int ctl_api_get(struct ctl_api *api, const char *path, struct json_t **out, struct error *err);
/* @body is taken, NULL: none. */
int ctl_api_post(struct ctl_api *api, const char *path, struct json_t *body, struct json_t **out,
		 struct error *err);

/*
 * Server-sent events of @path, each as it comes, until @on_event returns false or the daemon ends them: 0 then. Else as
 * above. @event is lent.
 */
typedef bool (*ctl_event_fn)(void *arg, const struct json_t *event);
int ctl_api_follow(struct ctl_api *api, const char *path, ctl_event_fn on_event, void *arg,
		   struct error *err);

/* @s as part of a URL. To be freed. */
char *ctl_api_word(const char *s);
/* "/api/v1/datasets/NAME/WHAT", or "/api/v1/WHAT" where @dataset is NULL. To be freed. */
char *ctl_api_path(const char *dataset, const char *what);

#endif
