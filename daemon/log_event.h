/*
 * What the daemon says is of a kind, which has a level. Most are plain lines for people. The others are events that a
 * program may want to know by: MESSAGE_ID and LATENTD_EVENT in the journal, `event` in a line of fields.
 * docs/operations.md lists them, systemd/latentd.catalog explains those that ask somebody to act. An id is for ever.
 */
#ifndef LATENTD_DAEMON_LOG_EVENT_H
#define LATENTD_DAEMON_LOG_EVENT_H

#include "config/daemon_config.h"

enum log_event {
	LOG_PLAIN_ERROR,
	LOG_PLAIN_WARNING,
	LOG_PLAIN_INFO,
	LOG_PLAIN_DEBUG,
	LOG_EVENT_STARTED,
	LOG_EVENT_STOPPING,
	LOG_EVENT_RELOADED,
	LOG_EVENT_RELOAD_FAILED,  /* the old settings stay in force */
	LOG_EVENT_DISK_FULL,	  /* nothing new is begun */
	LOG_EVENT_DISK_ROOM,	  /* that is over */
	LOG_EVENT_DATASET_FAILED, /* it is tried again, or waits for people */
	LOG_EVENT_DATASET_WAITS,  /* a source is not there, and the like */
	LOG_EVENT_IMAGE_FAILED,
	LOG_EVENT_SHARD_SEALED,
	LOG_EVENT_ENCODER_FAILED, /* it, a GPU of it, or its endpoints */
	LOG_EVENT_ENCODER_BACK,
	LOG_EVENTS
};

struct log_event_kind {
	const char *name; /* "disk_full"; NULL: a plain line */
	const char *id;	  /* 32 hexadecimal digits; NULL likewise */
	enum log_level level;
};

const struct log_event_kind *log_event_kind(enum log_event event);

#endif
