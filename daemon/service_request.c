#include "daemon/service_request.h"

#include "base/checked.h"

const char *service_command_name(enum service_command command)
{
	static const char *const names[SERVICE_COMMANDS] = {
	    "scan",   "pause",	  "resume",	      "drain",	  "seal",	    "retry",
	    "cancel", "priority", "accept-deletions", "captions", "reset-captions", "attach",
	    "reload", "gc",	  "compact",	      "upkeep"};

	return (size_t)command < ARRAY_SIZE(names) ? names[command] : "unknown";
}
