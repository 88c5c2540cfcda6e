/*
 * Takes dead samples out of their shards, and removes replaced shards once their grace time is over.
 */
#include "daemon/upkeep_command.h"

int cmd_gc(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out config name dry-run grace", 0,
	    "gc --out DIR | --config FILE [--name NAME] [--grace HOURS] [--dry-run]"};

	return upkeep_command(argc, argv, &command, UPKEEP_GC, err);
}
