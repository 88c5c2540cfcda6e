#include "daemon/log_event.h"

const struct log_event_kind *log_event_kind(enum log_event event)
{
	static const struct log_event_kind kinds[LOG_EVENTS] = {
	    [LOG_PLAIN_ERROR] = {NULL, NULL, LOG_LEVEL_ERROR},
	    [LOG_PLAIN_WARNING] = {NULL, NULL, LOG_LEVEL_WARNING},
	    [LOG_PLAIN_INFO] = {NULL, NULL, LOG_LEVEL_INFO},
	    [LOG_PLAIN_DEBUG] = {NULL, NULL, LOG_LEVEL_DEBUG},
	    [LOG_EVENT_STARTED] = {"started", "3d9c9a38e8cd4e219224b2ad95dce3fd", LOG_LEVEL_INFO},
	    [LOG_EVENT_STOPPING] = {"stopping", "8d005b3ad74e441bbdd2f874f49a3461", LOG_LEVEL_INFO},
	    [LOG_EVENT_RELOADED] = {"reloaded", "684478aca86b4dae8ec5b549a85b677c", LOG_LEVEL_INFO},
	    [LOG_EVENT_RELOAD_FAILED] = {"reload_failed", "086cf991b62b4e25853e564c24cb4c02",
					 LOG_LEVEL_ERROR},
	    [LOG_EVENT_DISK_FULL] = {"disk_full", "bcfcfa8be6b84c3eb9bec827c9f038a5",
				     LOG_LEVEL_ERROR},
	    [LOG_EVENT_DISK_ROOM] = {"disk_room", "cbef3c4a9a26403a919c5995004d9bf9",
				     LOG_LEVEL_INFO},
	    [LOG_EVENT_DATASET_FAILED] = {"dataset_failed", "3e131b42f1f543eeb3a2fc53800b03f2",
					  LOG_LEVEL_ERROR},
	    [LOG_EVENT_DATASET_WAITS] = {"dataset_waits", "92193e49884e451e9c5eb0414e3facb5",
					 LOG_LEVEL_WARNING},
	    [LOG_EVENT_IMAGE_FAILED] = {"image_failed", "c387e2d52e01453c9f28c83cad976dea",
					LOG_LEVEL_WARNING},
	    [LOG_EVENT_SHARD_SEALED] = {"shard_sealed", "0a116ea666994d0298dd697f6a0d5445",
					LOG_LEVEL_INFO},
	    [LOG_EVENT_ENCODER_FAILED] = {"encoder_failed", "2765eda3dec24986ad5c43e4f413d2f5",
					  LOG_LEVEL_WARNING},
	    [LOG_EVENT_ENCODER_BACK] = {"encoder_back", "2f402892337d4dedbe55098b03cce5f4",
					LOG_LEVEL_INFO},
	};

	return &kinds[event];
}
