/*
 * Merges the small shards that many short runs leave, and brings captions that a person gave into theirs.
 */
#include "daemon/upkeep_command.h"

int cmd_compact(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out config name dry-run shard-samples shard-size", 0,
	    "compact --out DIR | --config FILE [--name NAME] [--shard-samples N] [--shard-size "
	    "SIZE] [--dry-run]"};

	return upkeep_command(argc, argv, &command, UPKEEP_COMPACT, err);
}
