/*
 * Where latentctl gets what it shows, and whom it tells what to do.
 *
 * A daemon is looked for in this order: at --socket; at the socket that the state of --out, --state or --config names;
 * at $LATENTD_SOCKET; at the usual place. Where none answers, and one of --out, --state and --config says where a
 * state folder is, its database is read instead: the same lists in the same JSON (docs/API.md), only without what
 * nobody but a running daemon knows.
 *
 *	r = ctl_source_open(&options, &source, err)          0, CTL_NO_DAEMON, -1
 *	ctl_source_status(source, &status, err)              with the datasets that --out and --name leave
 *	ctl_source_each(source, "photos", "jobs?state=skipped", "jobs", fn, arg, err)
 *	ctl_source_close(source)
 */
#ifndef LATENTD_DAEMON_CTL_SOURCE_H
#define LATENTD_DAEMON_CTL_SOURCE_H

#include "base/cleanup.h"

#include "config/read_options.h"

#include <stdbool.h>

#define CTL_SOCKET_DEFAULT "/run/latentd/latentd.sock"

struct json_t;
struct ctl_source;

/* Neither a daemon nor a database: *err says where they were looked for, and how a daemon is started. */
#define CTL_NO_DAEMON 1

/* @options must outlive it. */
int ctl_source_open(const struct read_options *options, struct ctl_source **out, struct error *err);
/* The same, but only a daemon will do. */
int ctl_source_open_daemon(const struct read_options *options, struct ctl_source **out,
			   struct error *err);
/* The state folder that --out, --state or --config leads to, to be freed. NULL with *err. */
char *ctl_source_state(const struct read_options *options, struct error *err);
/* NULL is fine. */
void ctl_source_close(struct ctl_source *source);

bool ctl_source_is_daemon(const struct ctl_source *source);
/* The options that lead to it, as a shell takes them: "" or " --out DIR". */
const char *ctl_source_reach(const struct ctl_source *source);
/* One line about who works here, of a source that is no daemon. */
const char *ctl_source_owner(const struct ctl_source *source);
/* Whether another process, which is no daemon that answers, works on the output. */
bool ctl_source_busy(const struct ctl_source *source);

/*
 * What /api/v1/status says, with `datasets` reduced to those that are asked for, fresh from the source. ERR_CONFIG:
 * there is none of that name. The caller has the reference.
 */
int ctl_source_status(struct ctl_source *source, struct json_t **status, struct error *err);
/* One page of /api/v1/datasets/DATASET/@what ("jobs?state=skipped&limit=1"); the caller has the reference. */
int ctl_source_page(struct ctl_source *source, const char *dataset, const char *what,
		    struct json_t **page, struct error *err);
/* GET /api/v1/@what of a daemon; the caller has the reference. */
int ctl_source_get(struct ctl_source *source, const char *what, struct json_t **out,
		   struct error *err);
/* ctl_api_follow() of a daemon's /api/v1/events. */
int ctl_source_follow(struct ctl_source *source,
		      bool (*on_event)(void *arg, const struct json_t *event), void *arg,
		      struct error *err);
/*
 * Every member of @list in all pages of /api/v1/datasets/DATASET/@what. @fn returns 0 to go on, anything else ends the
 * listing, which then returns that.
 */
typedef int (*ctl_item_fn)(void *arg, struct json_t *item);
int ctl_source_each(struct ctl_source *source, const char *dataset, const char *what,
		    const char *list, ctl_item_fn fn, void *arg, struct error *err);
/*
 * Asks the daemon to do @command, of one dataset or (NULL) as a whole. @body is taken, NULL: none. The answer's count
 * and message; the caller has the reference.
 */
int ctl_source_post(struct ctl_source *source, const char *dataset, const char *command,
		    struct json_t *body, struct json_t **answer, struct error *err);

static inline void ctl_source_close_p(struct ctl_source **source)
{
	ctl_source_close(*source);
}

#define cleanup_ctl_source cleanup_with(ctl_source_close_p)

#endif
