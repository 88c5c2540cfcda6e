/*
 * gc and compact as commands: by the daemon that works on the output; where none does, by ourselves. A dry run of ours needs nothing
 * but to read.
 */
#ifndef LATENTD_DAEMON_UPKEEP_COMMAND_H
#define LATENTD_DAEMON_UPKEEP_COMMAND_H

#include "daemon/commands.h"
#include "daemon/upkeep.h"

/* An exit code, or -1. */
int upkeep_command(int argc, char **argv, const struct read_command *command, enum upkeep_kind kind,
		   struct error *err);

#endif
